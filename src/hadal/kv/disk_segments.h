// The folder of the prefix cache on disk: segment files (disk_format.h) of one or several spaces,
// together never larger than a bound. Pages of another space, which is another model, number format
// or layout, are never read; their files go first when room is needed.
//
// One process at a time holds a folder. Files and folder are made for their owner alone: they hold
// what users wrote.
//
// Threads: open() and grow() by one at a time; write() and read() by any, of different slots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/kv/disk_format.h"
#include "hadal/kv/disk_index.h"

namespace hadal::kv {

struct FoundPage {
  PageHeader header;
  DiskSlot slot;
};

// What the files hold.
struct DiskInventory {
  std::vector<FoundPage> pages;  // of our space, in no order, not related to each other yet
  std::vector<DiskSlot> free;
  int64_t damaged = 0;  // page headers and files that were refused
};

class DiskSegments {
 public:
  // `shape`: space, block_tokens and page_bytes of our pages; slots is not looked at. Creates the
  // folder; brings it below `bytes_max`. kUnavailable: another process holds the folder, or the
  // system refuses. kInvalidInput: not even one page fits into bytes_max.
  static Result<std::unique_ptr<DiskSegments>> open(const std::string& path, uint64_t bytes_max,
                                                    SegmentHeader shape, const LogSink& log,
                                                    DiskInventory* inventory);
  ~DiskSegments();
  DiskSegments(const DiskSegments&) = delete;
  DiskSegments& operator=(const DiskSegments&) = delete;

  // Slots of a new file; none when the bound is reached.
  Result<std::vector<DiskSlot>> grow();
  // Page first, header last. The header's page_hash is set here.
  Status write(DiskSlot slot, PageHeader header, std::span<const std::byte> page, uint64_t* hash);
  // kCorrupt: the bytes are not those that were written. kUnavailable: they cannot be read.
  Status read(DiskSlot slot, PageId id, uint64_t page_hash, std::span<std::byte> page) const;
  // So that the next start does not find the page again. Best effort.
  void clear(DiskSlot slot) const;
  // Tells the kernel that the page will be read soon.
  void prefetch(DiskSlot slot) const;

  uint64_t bytes() const;  // of all files

 private:
  struct File {
    std::string path;
    SegmentHeader header;
  };
  struct Foreign {
    std::string path;
    uint64_t bytes = 0;
  };
  DiskSegments(std::string path, uint64_t bytes_max, SegmentHeader shape);
  Status lock_folder();
  Status list_files(const LogSink& log, DiskInventory* inventory);
  Status scan(const std::string& path, int32_t segment, DiskInventory* inventory);
  void trim(DiskInventory* inventory);
  void drop_foreign(uint64_t room);
  uint32_t slots_within(uint64_t bytes) const;
  std::shared_ptr<const File> file(int32_t segment) const;

  const std::string path_;
  const uint64_t bytes_max_;
  const SegmentHeader shape_;
  int lock_ = -1;
  std::vector<Foreign> foreign_;  // the least recently written first

  mutable std::mutex mutex_;
  std::map<int32_t, std::shared_ptr<const File>> files_;
  uint64_t bytes_ = 0;
  int32_t next_ = 0;
};

}  // namespace hadal::kv
