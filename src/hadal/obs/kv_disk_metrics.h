// What a prefix cache on disk counts, each series with the label model_name.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace hadal {
namespace obs {
class Registry;
}

class KvDiskMetrics {
 public:
  // Registers every series at zero. `registry` empty: one of its own that nobody reads.
  explicit KvDiskMetrics(const std::string& model_name,
                         std::shared_ptr<obs::Registry> registry = nullptr);
  ~KvDiskMetrics();
  KvDiskMetrics(const KvDiskMetrics&) = delete;
  KvDiskMetrics& operator=(const KvDiskMetrics&) = delete;

  void held(int64_t pages, uint64_t bytes);  // pages that can be found; bytes of all files
  void read_page(uint64_t bytes);            // brought back into memory
  void written_page(uint64_t bytes);
  void evicted();  // a page made room for another
  void skipped();  // a page was not kept: the disk is behind, or paused after an error
  void read_error();
  void write_error();
  void damaged(int64_t pages);  // refused by a checksum, and forgotten

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal
