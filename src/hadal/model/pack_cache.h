// A folder of packed weights: finds a model's, or has them written. docs/adr/0003 says what makes a
// model the same model.
//
// Whatever goes wrong here is a warning, and the weights are packed in memory.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/format/model_files.h"
#include "hadal/model/pack_file.h"

namespace hadal {

struct PackCacheOptions {
  std::string folder;                  // empty: off
  uint64_t bytes_min = 256ull << 20;   // smaller models are packed at every start
  uint64_t bytes_max = 0;              // of all files together; 0: only a full disk is a bound
  bool verify = false;                 // read every byte at start and compare checksums
  int64_t settled_ns = 2'000'000'000;  // a file that changed more recently may change again unseen:
                                       // clocks of file systems are coarse
};

class PackCache {
 public:
  // `layout` of the backend, `quantize` of LoadOptions, `order` of WeightSource. Empty: off, or not
  // for this model. `files` must outlive this.
  static std::optional<PackCache> make(const PackCacheOptions& options, const ModelFiles& files,
                                       const PackPlan& plan, std::string_view layout,
                                       std::string_view quantize, uint64_t order, LogSink log);

  // One of the two, or neither: then pack in memory. Waits while another process writes the same.
  struct Found {
    std::unique_ptr<PackReader> packed;
    std::unique_ptr<PackWriter> writer;
  };
  Found find(const PackPlan& plan, kernels::Backend& backend, ThreadPool* pool) const;
  // After the model was packed into `writer`: makes the file appear and opens it.
  std::unique_ptr<PackReader> publish(std::unique_ptr<PackWriter> writer, const PackPlan& plan,
                                      ThreadPool* pool) const;
  void give_up(const Error& error) const;

  const std::string& path() const { return path_; }

 private:
  explicit PackCache(const ModelFiles& files) : files_(&files) {}
  std::unique_ptr<PackReader> open(const PackPlan& plan, ThreadPool* pool) const;
  bool make_room(uint64_t bytes) const;
  // body(path, file, header) for every other model's file in the folder.
  template <class Body>
  void each_other(const Body& body) const;
  void keep_within_bound(uint64_t own) const;
  void remove_superseded() const;

  const ModelFiles* files_;
  PackCacheOptions options_;
  LogSink log_;
  PackKey key_;
  std::string path_;
};

// Of the files' content: their stamps, names, types and shapes of all tensors, and samples of the
// weights. kUnavailable when they have changed since they were opened. `changed`: the latest of all
// times of change.
Result<std::string> model_identity(const ModelFiles& files, int64_t* changed);

}  // namespace hadal
