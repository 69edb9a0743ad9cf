// A large file that is written over some time and appears under its name when it is whole.
//
// Its bytes are in PATH.part until commit(). One writer at a time holds that file, by a lock that
// the kernel drops when the process ends, however it ends; what a killed writer left is overwritten
// by the next, or removed by remove_abandoned().
//
// Threads: write() by several at once; the rest by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "hadal/base/result.h"

namespace hadal {

class PendingFile {
 public:
  static constexpr const char* kSuffix = ".part";

  // Empty: another writer, here or in another process, is at it.
  static Result<std::optional<PendingFile>> create(const std::string& path);
  PendingFile(PendingFile&& other) noexcept;
  PendingFile& operator=(PendingFile&&) = delete;
  ~PendingFile();  // not committed: nothing remains

  // Makes the file `size` zero bytes long and takes its space on the disk, where the file system
  // can. kExhausted: the disk is full.
  Status reserve(uint64_t size);
  // Inside what was reserved. kExhausted: the disk is full.
  Status write(uint64_t offset, std::span<const std::byte> bytes);
  // Syncs and renames. After a crash the whole file is there, or the one before.
  Status commit();

 private:
  PendingFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;  // of the target
};

// Removes files of dead writers, *SUFFIX with SUFFIX ending in kSuffix, from a folder.
void remove_abandoned(const std::string& folder, const std::string& suffix);

}  // namespace hadal
