#include "hadal/base/pending_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace hadal {
namespace {

constexpr mode_t kFileMode = 0666;  // less the umask
constexpr int kAttempts = 100;

Error system_error(const std::string& path, const char* action) {
  const Code code =
      errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? Code::kExhausted : Code::kUnavailable;
  return Error{code, path + ": cannot " + action + ": " + std::strerror(errno)};
}

// False: the name stands for another file by now, or for none.
bool is_named(int fd, const std::string& path) {
  struct stat open {
  }, named{};
  return ::fstat(fd, &open) == 0 && ::stat(path.c_str(), &named) == 0 &&
         open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

}  // namespace

Result<std::optional<PendingFile>> PendingFile::create(const std::string& path) {
  const std::string name = path + kSuffix;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode);
    if (fd < 0) return fail(system_error(name, "create"));
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const bool busy = errno == EWOULDBLOCK;
      Error error = system_error(name, "lock");
      ::close(fd);
      if (busy) return std::optional<PendingFile>();
      return fail(std::move(error));
    }
    // Between open and lock its writer may have renamed it: then it is somebody's whole file.
    if (!is_named(fd, name)) {
      ::close(fd);
      continue;
    }
    PendingFile file(fd, path);
    if (::ftruncate(fd, 0) != 0) return fail(system_error(name, "empty"));
    return std::optional<PendingFile>(std::move(file));
  }
  return fail(Code::kUnavailable, name + ": cannot create: it keeps being replaced");
}

PendingFile::PendingFile(PendingFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

PendingFile::~PendingFile() {
  if (fd_ < 0) return;
  ::unlink((path_ + kSuffix).c_str());
  ::close(fd_);
}

Status PendingFile::reserve(uint64_t size) {
  const auto length = static_cast<off_t>(size);
  if (::ftruncate(fd_, length) != 0) return fail(system_error(path_ + kSuffix, "resize"));
  if (::fallocate(fd_, 0, 0, length) == 0) return {};
  // Where space cannot be reserved, write() finds out.
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR) return {};
  return fail(system_error(path_ + kSuffix, "reserve space"));
}

Status PendingFile::write(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error(path_ + kSuffix, "write"));
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

Status PendingFile::commit() {
  const std::string name = path_ + kSuffix;
  if (::fsync(fd_) != 0) return fail(system_error(name, "sync"));
  if (::rename(name.c_str(), path_.c_str()) != 0) return fail(system_error(name, "rename"));
  ::close(std::exchange(fd_, -1));
  // Makes the rename itself survive a crash; the content is whole either way.
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int handle = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle >= 0) {
    ::fsync(handle);
    ::close(handle);
  }
  return {};
}

void remove_abandoned(const std::string& folder, const std::string& suffix) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().string();
    if (!name.ends_with(suffix)) continue;
    const int fd = ::open(name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(fd, name)) ::unlink(name.c_str());
    ::close(fd);
  }
}

}  // namespace hadal
