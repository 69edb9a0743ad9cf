// A file of packed weights, mapped at start instead of being packed again.
//
//   header   little-endian: magic "HADALPAK"; u32 version, u32 header bytes; u64 checksum of the
//            header (with this field 0); u64 file bytes; u32 extents; u32 bytes of each of four
//            texts; the texts (PackKey); then of every extent u64 offset, bytes, checksum of its
//            first and last page, checksum of all of it
//   extents  at multiples of 4096, of 2 MB for large ones, in the order in which a model is loaded
//
// Offsets follow from the sizes (pack_offsets), so a header cannot point anywhere else.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hadal/base/file.h"
#include "hadal/base/pending_file.h"
#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/weights.h"

namespace hadal {

// Whose weights, and packed how. A file answers only for a key that is equal in all four.
struct PackKey {
  std::string source;    // path of the model
  std::string identity;  // of its content
  std::string family;    // what is packed: layout without its version, quantisation
  std::string recipe;    // how: versions, order

  bool operator==(const PackKey&) const = default;
  uint64_t checksum() const;
};

struct PackExtent {
  uint64_t offset = 0, bytes = 0;
  uint64_t ends_checksum = 0, checksum = 0;
};

struct PackHeader {
  PackKey key;
  uint64_t file_bytes = 0;
  std::vector<PackExtent> extents;
};

// kCorrupt says what was found and what expected; the file's size is checked too.
Result<PackHeader> parse_pack_header(const MappedFile& file);

// Collects the sizes that a model takes, without memory.
class PackPlan final : public kernels::WeightMemory {
 public:
  Result<Extent> take(uint64_t bytes) override;
  std::span<const uint64_t> sizes() const { return sizes_; }
  uint64_t bytes() const;

 private:
  std::vector<uint64_t> sizes_;
};

// Hands out extents of a mapped file.
class PackReader final : public kernels::WeightMemory {
 public:
  // kNotFound: no such file. kCorrupt: not what `key` and `sizes` say, or damaged, where that can
  // be seen from the header and each extent's first and last page; with `verify` from every byte.
  static Result<std::unique_ptr<PackReader>> open(const std::string& path, const PackKey& key,
                                                  std::span<const uint64_t> sizes, bool verify,
                                                  ThreadPool* pool);
  Result<Extent> take(uint64_t bytes) override;
  uint64_t bytes() const { return file_.bytes().size(); }
  const MappedFile& file() const { return file_; }
  const std::string& path() const { return file_.path(); }

 private:
  PackReader(MappedFile file, PackHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}
  Status check_content(bool verify, ThreadPool* pool) const;
  MappedFile file_;
  PackHeader header_;
  size_t next_ = 0;
};

// Lends memory for one extent at a time, and writes it when the next is taken.
class PackWriter final : public kernels::WeightMemory {
 public:
  // `backend` lends the memory; it and `pool` (may be null) must outlive the writer. kExhausted:
  // the disk is full.
  static Result<std::unique_ptr<PackWriter>> make(PendingFile file, PackKey key,
                                                  std::span<const uint64_t> sizes,
                                                  kernels::Backend& backend, ThreadPool* pool);
  Result<Extent> take(uint64_t bytes) override;
  // Writes what is left, and makes the file appear.
  Status commit();
  // An error here is of the file, not of the model.
  const Status& status() const { return status_; }

 private:
  PackWriter(PendingFile file, PackHeader header, std::unique_ptr<kernels::Buffer> memory,
             ThreadPool* pool);
  Status flush();

  PendingFile file_;
  PackHeader header_;
  std::unique_ptr<kernels::Buffer> memory_;
  ThreadPool* pool_;
  size_t next_ = 0;
  bool pending_ = false;  // memory_ holds extent next_ - 1
  Status status_;
};

}  // namespace hadal
