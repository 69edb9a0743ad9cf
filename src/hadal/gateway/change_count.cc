#include "hadal/gateway/change_count.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace hadal::gateway {

Result<ChangeCount> ChangeCount::open(const std::string& path) {
  const auto failed = [&] {
    return fail(Code::kUnavailable, fmt::format("'{}': {}", path, std::strerror(errno)));
  };
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return failed();
  // Zeros where it was shorter; never shorter than it was.
  struct stat is {};
  const bool sized = ::fstat(file, &is) == 0 && (is.st_size >= static_cast<off_t>(sizeof(Count)) ||
                                                 ::ftruncate(file, sizeof(Count)) == 0);
  void* const page =
      sized ? ::mmap(nullptr, sizeof(Count), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
            : MAP_FAILED;
  const int error = errno;
  ::close(file);
  if (page == MAP_FAILED) {
    errno = error;
    return failed();
  }
  return ChangeCount(static_cast<Count*>(page));
}

ChangeCount::ChangeCount(ChangeCount&& other) noexcept
    : count_(std::exchange(other.count_, nullptr)) {}

ChangeCount& ChangeCount::operator=(ChangeCount&& other) noexcept {
  std::swap(count_, other.count_);
  return *this;
}

ChangeCount::~ChangeCount() {
  if (count_ != nullptr) ::munmap(static_cast<void*>(count_), sizeof(Count));
}

}  // namespace hadal::gateway
