#include "hadal/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "hadal/base/check.h"

namespace hadal {
namespace {

Error system_error(const std::string& path, const char* action) {
  const Code code = errno == ENOENT ? Code::kNotFound : Code::kUnavailable;
  return Error{code, path + ": cannot " + action + ": " + std::strerror(errno)};
}

// Closes a descriptor on every way out.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

constexpr size_t kPage = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

FileStamp stamp_of(const struct stat& info) {
  const auto nanoseconds = [](const timespec& t) {
    return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
  };
  return {info.st_ino, static_cast<uint64_t>(info.st_size), nanoseconds(info.st_mtim),
          nanoseconds(info.st_ctim)};
}

// Maps at a multiple of `alignment`: takes more address space than needed, and keeps the aligned
// part.
void* map_aligned(int fd, size_t size, size_t alignment) {
  if (alignment <= kPage) return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  void* space = ::mmap(nullptr, size + alignment, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (space == MAP_FAILED) return MAP_FAILED;
  auto* begin = static_cast<std::byte*>(space);
  const size_t skip = (alignment - reinterpret_cast<uintptr_t>(space) % alignment) % alignment;
  void* data = ::mmap(begin + skip, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
  if (data == MAP_FAILED) {
    ::munmap(space, size + alignment);
    return MAP_FAILED;
  }
  if (skip > 0) ::munmap(begin, skip);
  const size_t used = (skip + size + kPage - 1) / kPage * kPage;
  if (used < size + alignment) ::munmap(begin + used, size + alignment - used);
  return data;
}

// What open() and write_file_atomic() leave readable to others is decided by the umask.
constexpr mode_t kFileMode = 0666;

Status write_all(int fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error(path, "write"));
    content.remove_prefix(static_cast<size_t>(n));
  }
  if (::fsync(fd) != 0) return fail(system_error(path, "sync"));
  return {};
}

// The name of a file beside `path` that does not exist yet, opened for writing. Not mkstemp: its
// files are private to their owner, and the target would become so.
Result<int> create_beside(const std::string& path, std::string* name) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    *name = path + ".new" + std::to_string(::getpid()) + "." + std::to_string(attempt);
    const int fd = ::open(name->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode);
    if (fd >= 0) return fd;
    if (errno != EEXIST) break;
  }
  return fail(system_error(*name, "create"));
}

// Makes the rename itself survive a crash. Some file systems cannot; the content is whole either
// way.
void sync_folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Descriptor handle{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (handle.fd >= 0) ::fsync(handle.fd);
}

}  // namespace

Result<FileStamp> file_stamp(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return fail(system_error(path, "stat"));
  return stamp_of(info);
}

Result<MappedFile> MappedFile::open(const std::string& path) { return open(path, kPage); }

Result<MappedFile> MappedFile::open_huge(const std::string& path) {
  HADAL_TRY(MappedFile mapped, open(path, kHugePage));
  if (mapped.size_ > 0) {
    ::madvise(const_cast<std::byte*>(mapped.data_), mapped.size_, MADV_HUGEPAGE);
  }
  return mapped;
}

Result<MappedFile> MappedFile::open(const std::string& path, size_t alignment) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return fail(system_error(path, "open"));
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return fail(system_error(path, "stat"));
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidInput, path + ": not a regular file");
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = static_cast<size_t>(info.st_size);
  mapped.stamp_ = stamp_of(info);
  if (mapped.size_ == 0) return mapped;
  void* data = map_aligned(file.fd, mapped.size_, alignment);
  if (data == MAP_FAILED) {
    mapped.size_ = 0;
    return fail(system_error(path, "map"));
  }
  mapped.data_ = static_cast<const std::byte*>(data);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  std::swap(stamp_, other.stamp_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t size) const {
  HADAL_CHECK(offset <= size_ && size <= size_ - offset, path_);
  // Whole pages inside the range only: a neighbour's page is not ours to drop.
  const size_t begin = (offset + kPage - 1) / kPage * kPage;
  const size_t end = (offset + size) / kPage * kPage;
  if (end > begin) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

void MappedFile::prefetch(size_t offset, size_t size) const {
  HADAL_CHECK(offset <= size_ && size <= size_ - offset, path_);
  const size_t begin = offset / kPage * kPage;
  const size_t end = offset + size;
  if (end > begin) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_WILLNEED);
}

bool MappedFile::resident(size_t offset, size_t size) const {
  HADAL_CHECK(offset <= size_ && size <= size_ - offset, path_);
  const size_t begin = offset / kPage * kPage;
  const size_t pages = (offset + size - begin + kPage - 1) / kPage;
  std::vector<unsigned char> in_memory(pages);
  void* const at = const_cast<std::byte*>(data_) + begin;
  if (pages == 0) return true;
  if (::mincore(at, pages * kPage, in_memory.data()) != 0) return false;
  return std::ranges::all_of(in_memory, [](unsigned char page) { return (page & 1) != 0; });
}

void MappedFile::populate(size_t offset, size_t size) const {
  HADAL_CHECK(offset <= size_ && size <= size_ - offset, path_);
  const size_t begin = offset / kPage * kPage;
  const size_t end = offset + size;
  if (begin == end) return;
  if (::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_POPULATE_READ) == 0)
    return;
  // Before Linux 5.14.
  for (size_t at = begin; at < end; at += kPage) {
    static_cast<void>(*static_cast<const volatile std::byte*>(data_ + at));
  }
}

Status MappedFile::lock() const {
  // On first touch: locking all of a large file at once would hold up whoever does it.
  if (size_ == 0 || ::mlock2(data_, size_, MLOCK_ONFAULT) == 0) return {};
  const std::string reason = std::strerror(errno);
  rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  const std::string allowed =
      limit.rlim_cur == RLIM_INFINITY ? "any number of" : std::to_string(limit.rlim_cur);
  return fail(Code::kExhausted,
              path_ + ": cannot lock " + std::to_string(size_) + " bytes in memory: " + reason +
                  "; RLIMIT_MEMLOCK allows " + allowed +
                  " bytes: raise it (ulimit -l, LimitMEMLOCK= of systemd, --ulimit memlock= of a "
                  "container), or give the process CAP_IPC_LOCK");
}

// Read, not mapped: a file that shrinks meanwhile is a short answer instead of a SIGBUS, and the
// kernel's own files (/proc), which claim to be empty, are read too.
Result<std::string> read_file(const std::string& path, uint64_t size_max) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return fail(system_error(path, "open"));
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return fail(system_error(path, "stat"));
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidInput, path + ": not a regular file");
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  std::string content;
  std::string chunk(64u << 10, '\0');
  if (size <= size_max) content.reserve(size);
  while (size <= size_max && content.size() <= size_max) {
    const ssize_t n = ::read(file.fd, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error(path, "read"));
    if (n == 0) return content;
    content.append(chunk, 0, static_cast<size_t>(n));
  }
  return fail(Code::kTooLarge, path + ": " +
                                   std::to_string(std::max<uint64_t>(size, content.size())) +
                                   " bytes, at most " + std::to_string(size_max));
}

Status write_file_atomic(const std::string& path, std::string_view content) {
  std::string temporary;
  HADAL_TRY(const int fd, create_beside(path, &temporary));
  const Descriptor file{fd};
  Status written = write_all(file.fd, temporary, content);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = fail(system_error(path, "replace"));
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  sync_folder_of(path);
  return {};
}

}  // namespace hadal
