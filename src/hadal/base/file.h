// Files: mapped for reading, written so that a reader never sees half of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal {

// What changes whenever a file's content does: its writers cannot set `changed` (ctime) back.
struct FileStamp {
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified = 0, changed = 0;  // nanoseconds since 1970

  bool operator==(const FileStamp&) const = default;
};
Result<FileStamp> file_stamp(const std::string& path);

// A read-only mapping of a whole file. Movable; unmapped on destruction. Any thread may read.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  // At an address that lets the kernel map the file's cache by huge pages, where it keeps such.
  static Result<MappedFile> open_huge(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  const FileStamp& stamp() const { return stamp_; }  // when it was opened
  // Both ranges must lie inside the file.
  // Tells the kernel that [offset, offset + size) is not needed soon, so that packing a file does
  // not hold it twice in memory. Content stays readable.
  void release(size_t offset, size_t size) const;
  // Tells the kernel that [offset, offset + size) is about to be read in order.
  void prefetch(size_t offset, size_t size) const;
  // Whether the system has the whole range in memory now. Says nothing about the next moment.
  bool resident(size_t offset, size_t size) const;
  // Maps every page of the range, reading from the disk what is not in memory.
  void populate(size_t offset, size_t size) const;
  // Every page stays in memory from its first touch on, until the file is closed. kExhausted names
  // the limit that forbids it.
  Status lock() const;

 private:
  static Result<MappedFile> open(const std::string& path, size_t alignment);
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
  FileStamp stamp_;
};

// The whole file as text; kTooLarge over `size_max`.
Result<std::string> read_file(const std::string& path, uint64_t size_max);
// Writes beside the target, syncs, renames: after a crash the old or the new content, never a
// mixture.
Status write_file_atomic(const std::string& path, std::string_view content);

}  // namespace hadal
