#include "hadal/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

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

// Page-aligned interior of a byte range, so that a neighbour's page is never advised away.
std::pair<size_t, size_t> whole_pages(size_t offset, size_t size) {
  constexpr size_t kPage = 4096;
  const size_t begin = (offset + kPage - 1) / kPage * kPage;
  const size_t end = (offset + size) / kPage * kPage;
  return {begin, end > begin ? end - begin : 0};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return fail(system_error(path, "open"));
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return fail(system_error(path, "stat"));
  if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidInput, path + ": not a regular file");
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = static_cast<size_t>(info.st_size);
  if (mapped.size_ == 0) return mapped;
  void* data = ::mmap(nullptr, mapped.size_, PROT_READ, MAP_SHARED, file.fd, 0);
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
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t size) const {
  const auto [begin, length] = whole_pages(offset, size);
  if (length > 0) ::madvise(const_cast<std::byte*>(data_) + begin, length, MADV_DONTNEED);
}

void MappedFile::prefetch(size_t offset, size_t size) const {
  const auto [begin, length] = whole_pages(offset, size);
  if (length > 0) ::madvise(const_cast<std::byte*>(data_) + begin, length, MADV_WILLNEED);
}

Result<std::string> read_file(const std::string& path, uint64_t size_max) {
  HADAL_TRY(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > size_max) {
    return fail(Code::kTooLarge, path + ": " + std::to_string(file.bytes().size()) +
                                     " bytes, at most " + std::to_string(size_max));
  }
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Status write_file_atomic(const std::string& path, std::string_view content) {
  std::string temporary = path + ".XXXXXX";
  Descriptor file{::mkstemp(temporary.data())};
  if (file.fd < 0) return fail(system_error(temporary, "create"));
  size_t written = 0;
  while (written < content.size()) {
    const ssize_t n = ::write(file.fd, content.data() + written, content.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      Error error = system_error(temporary, "write");
      ::unlink(temporary.c_str());
      return fail(std::move(error));
    }
    written += static_cast<size_t>(n);
  }
  if (::fsync(file.fd) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    Error error = system_error(path, "replace");
    ::unlink(temporary.c_str());
    return fail(std::move(error));
  }
  return {};
}

}  // namespace hadal
