#include "hadal/kv/disk_segments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"

namespace hadal::kv {
namespace {

namespace fs = std::filesystem;

constexpr mode_t kOwnerOnly = 0600;
constexpr uint64_t kFileBytesWanted = 256ull << 20;
constexpr uint64_t kFilesWanted = 64;  // at least, so that giving up a file gives up little
constexpr uint64_t kScanBytes = 4ull << 20;
constexpr std::string_view kPrefix = "segment-";
constexpr std::string_view kSuffix = ".kv";

Error system_error(const std::string& path, const char* action) {
  return Error{Code::kUnavailable, path + ": cannot " + action + ": " + std::strerror(errno)};
}

struct Descriptor {
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

Status write_at(int fd, const std::string& path, std::span<const std::byte> bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error(path, "write"));
    bytes = bytes.subspan(static_cast<size_t>(n));
    at += static_cast<uint64_t>(n);
  }
  return {};
}

// How many bytes there were; fewer than asked for at the end of the file.
Result<size_t> read_at(int fd, const std::string& path, std::span<std::byte> bytes, uint64_t at) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(system_error(path, "read"));
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

std::string name_of(int32_t segment) {
  return fmt::format("{}{:08x}{}", kPrefix, segment, kSuffix);
}

// -1: not a name of ours.
int32_t number_of(const std::string& name) {
  int32_t number = -1;
  if (!name.starts_with(kPrefix)) return -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), number, 16);
  return number >= 0 && name == name_of(number) ? number : -1;
}

// Takes its blocks at once where the file system can, so that a full disk is noticed here.
Status create(const std::string& path, const SegmentHeader& header) {
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly));
  if (file.fd < 0) return fail(system_error(path, "create"));
  const auto size = static_cast<off_t>(header.file_bytes());
  Status made;
  if (::fallocate(file.fd, 0, 0, size) != 0) {
    const bool cannot = errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL;
    if (!cannot || ::ftruncate(file.fd, size) != 0) made = fail(system_error(path, "extend"));
  }
  if (made) made = write_at(file.fd, path, encode_segment(header), 0);
  if (!made) ::unlink(path.c_str());
  return made;
}

}  // namespace

DiskSegments::DiskSegments(std::string path, uint64_t bytes_max, SegmentHeader shape)
    : path_(std::move(path)), bytes_max_(bytes_max), shape_(std::move(shape)) {}

DiskSegments::~DiskSegments() {
  if (lock_ >= 0) ::close(lock_);
}

Result<std::unique_ptr<DiskSegments>> DiskSegments::open(const std::string& path,
                                                         uint64_t bytes_max, SegmentHeader shape,
                                                         const LogSink& log,
                                                         DiskInventory* inventory) {
  std::unique_ptr<DiskSegments> segments(new DiskSegments(path, bytes_max, std::move(shape)));
  if (segments->slots_within(bytes_max) == 0) {
    return fail(Code::kInvalidInput,
                fmt::format("{}: {} bytes at most, one page of this model's cache has {}", path,
                            bytes_max, segments->shape_.page_bytes));
  }
  HADAL_TRY_VOID(segments->lock_folder());
  HADAL_TRY_VOID(segments->list_files(log, inventory));
  segments->trim(inventory);
  return segments;
}

Status DiskSegments::lock_folder() {
  std::error_code error;
  if (!fs::exists(path_, error)) {
    fs::create_directories(path_, error);
    if (!error) fs::permissions(path_, fs::perms::owner_all, error);
  }
  if (error) {
    return fail(Code::kUnavailable, path_ + ": cannot create the folder: " + error.message());
  }
  const std::string name = path_ + "/lock";
  lock_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kOwnerOnly);
  if (lock_ < 0) return fail(system_error(name, "open"));
  if (::flock(lock_, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return fail(system_error(name, "lock"));
  return fail(Code::kUnavailable,
              path_ + ": another process keeps its cache here; each needs a folder of its own");
}

Status DiskSegments::list_files(const LogSink& log, DiskInventory* inventory) {
  struct Other {
    fs::file_time_type written;
    Foreign file;
  };
  std::vector<Other> others;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end;
       entry.increment(error)) {
    const int32_t number = number_of(entry->path().filename().string());
    if (number < 0) continue;
    next_ = std::max(next_, number + 1);
    const std::string name = entry->path().string();
    const Status scanned = scan(name, number, inventory);
    if (scanned) {
      bytes_ += files_.at(number)->header.file_bytes();
      continue;
    }
    std::error_code gone;
    if (scanned.error().code == Code::kCorrupt) {
      ++inventory->damaged;
      log_to(log, LogLevel::kWarning, scanned.error().what + "; it is deleted");
      fs::remove(name, gone);
      continue;
    }
    const uint64_t bytes = entry->file_size(gone);
    others.push_back({entry->last_write_time(gone), {name, bytes}});
    bytes_ += bytes;
  }
  if (error) return fail(Code::kUnavailable, path_ + ": cannot list: " + error.message());
  std::ranges::sort(others, {}, &Other::written);
  for (Other& other : others) foreign_.push_back(std::move(other.file));
  return {};
}

// kCorrupt: not a segment. Any other error: not ours to read.
Status DiskSegments::scan(const std::string& path, int32_t segment, DiskInventory* inventory) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return fail(system_error(path, "open"));
  std::vector<std::byte> bytes(kSegmentHeaderBytes);
  HADAL_TRY(const size_t size, read_at(file.fd, path, bytes, 0));
  const auto header = decode_segment(std::span(bytes).first(size));
  if (!header) return fail(Code::kCorrupt, path + ": not a segment of this version");
  SegmentHeader wanted = shape_;
  wanted.slots = header->slots;
  if (*header != wanted) return fail(Code::kUnsupported, path + ": of another space");

  const uint64_t stride = header->header_bytes();
  const auto batch = static_cast<uint32_t>(std::max<uint64_t>(1, kScanBytes / stride));
  bytes.resize(batch * stride);
  FoundPage page;
  for (uint32_t slot = 0; slot < header->slots; ++slot) {
    if (slot % batch == 0) {
      std::ranges::fill(bytes, std::byte{0});
      HADAL_TRY_VOID(read_at(file.fd, path, bytes, header->header_at(slot)));
    }
    page.slot = {segment, slot};
    const auto from = std::span(bytes).subspan(slot % batch * stride, stride);
    const PageState state = decode_page(from, *header, &page.header);
    if (state == PageState::kHeld) {
      inventory->pages.push_back(page);
    } else {
      inventory->free.push_back(page.slot);
      inventory->damaged += state == PageState::kDamaged ? 1 : 0;
    }
  }
  files_.emplace(segment, std::make_shared<const File>(File{path, *header}));
  return {};
}

// The bound may be lower than it was. Foreign files go first, then ours, by their youngest page.
void DiskSegments::trim(DiskInventory* inventory) {
  drop_foreign(0);
  std::map<int32_t, uint64_t> youngest;
  for (const auto& [segment, file] : files_) youngest[segment] = 0;
  for (const FoundPage& page : inventory->pages) {
    uint64_t& born = youngest[page.slot.segment];
    born = std::max(born, page.header.born);
  }
  while (bytes_ > bytes_max_ && !files_.empty()) {
    const auto oldest =
        std::ranges::min_element(youngest, {}, [](const auto& entry) { return entry.second; });
    const int32_t segment = oldest->first;
    youngest.erase(oldest);
    ::unlink(files_.at(segment)->path.c_str());
    bytes_ -= files_.at(segment)->header.file_bytes();
    files_.erase(segment);
    std::erase_if(inventory->pages,
                  [segment](const FoundPage& page) { return page.slot.segment == segment; });
    std::erase_if(inventory->free,
                  [segment](const DiskSlot& slot) { return slot.segment == segment; });
  }
}

// Until `room` more bytes fit, or nothing foreign is left.
void DiskSegments::drop_foreign(uint64_t room) {
  while (!foreign_.empty() && (bytes_ > bytes_max_ || bytes_max_ - bytes_ < room)) {
    const Foreign file = foreign_.front();
    foreign_.erase(foreign_.begin());
    ::unlink(file.path.c_str());
    bytes_ -= file.bytes;
  }
}

uint32_t DiskSegments::slots_within(uint64_t bytes) const {
  SegmentHeader one = shape_;
  one.slots = 1;
  if (bytes < one.file_bytes()) return 0;
  // The headers' end is rounded up, by less than one header of a segment.
  const uint64_t rest = bytes - one.file_bytes();
  const uint64_t more = rest < kSegmentHeaderBytes ? 0
                                                   : (rest - kSegmentHeaderBytes) /
                                                         (one.header_bytes() + one.page_stride());
  return static_cast<uint32_t>(std::min<uint64_t>(more + 1, kSegmentSlotsMax));
}

Result<std::vector<DiskSlot>> DiskSegments::grow() {
  const std::lock_guard lock(mutex_);
  const uint64_t wanted = std::min(kFileBytesWanted, bytes_max_ / kFilesWanted);
  SegmentHeader header = shape_;
  header.slots = std::max(1u, slots_within(wanted));
  drop_foreign(header.file_bytes());
  const uint64_t room = bytes_max_ - std::min(bytes_, bytes_max_);
  header.slots = std::min(header.slots, slots_within(room));
  std::vector<DiskSlot> slots;
  if (header.slots == 0) return slots;
  HADAL_CHECK(header.file_bytes() <= room);
  if (next_ == std::numeric_limits<int32_t>::max()) {
    return fail(Code::kExhausted, path_ + ": no number is left for another segment");
  }
  const std::string path = path_ + "/" + name_of(next_);
  HADAL_TRY_VOID(create(path, header));
  for (uint32_t i = 0; i < header.slots; ++i) slots.push_back({next_, i});
  bytes_ += header.file_bytes();
  files_.emplace(next_++, std::make_shared<const File>(File{path, std::move(header)}));
  return slots;
}

std::shared_ptr<const DiskSegments::File> DiskSegments::file(int32_t segment) const {
  const std::lock_guard lock(mutex_);
  return files_.at(segment);
}

uint64_t DiskSegments::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

Status DiskSegments::write(DiskSlot slot, PageHeader header, std::span<const std::byte> page,
                           uint64_t* hash) {
  const auto segment = file(slot.segment);
  HADAL_CHECK(page.size() == shape_.page_bytes);
  *hash = header.page_hash = hash64(page, header.hash_seed());
  // Opened for each page: a page is large beside that, and any number of files is fine.
  const Descriptor handle(::open(segment->path.c_str(), O_WRONLY | O_CLOEXEC));
  if (handle.fd < 0) return fail(system_error(segment->path, "open"));
  HADAL_TRY_VOID(write_at(handle.fd, segment->path, page, segment->header.page_at(slot.slot)));
  return write_at(handle.fd, segment->path, encode_page(header, segment->header),
                  segment->header.header_at(slot.slot));
}

Status DiskSegments::read(DiskSlot slot, PageId id, uint64_t page_hash,
                          std::span<std::byte> page) const {
  const auto segment = file(slot.segment);
  HADAL_CHECK(page.size() == shape_.page_bytes);
  const Descriptor handle(::open(segment->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (handle.fd < 0) return fail(system_error(segment->path, "open"));
  HADAL_TRY(const size_t size,
            read_at(handle.fd, segment->path, page, segment->header.page_at(slot.slot)));
  const PageHeader header{.id = id, .parent = {}, .scope = {}, .tokens = {}};
  if (size == page.size() && hash64(page, header.hash_seed()) == page_hash) return {};
  return fail(Code::kCorrupt,
              fmt::format("{}: page {} is damaged: {} of {} bytes, checksum found to be wrong",
                          segment->path, slot.slot, size, page.size()));
}

void DiskSegments::clear(DiskSlot slot) const {
  const auto segment = file(slot.segment);
  const Descriptor handle(::open(segment->path.c_str(), O_WRONLY | O_CLOEXEC));
  if (handle.fd < 0) return;
  const std::vector<std::byte> zeros(segment->header.header_bytes());
  (void)write_at(handle.fd, segment->path, zeros, segment->header.header_at(slot.slot));
}

void DiskSegments::prefetch(DiskSlot slot) const {
  const auto segment = file(slot.segment);
  const Descriptor handle(::open(segment->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (handle.fd < 0) return;
  ::posix_fadvise(handle.fd, static_cast<off_t>(segment->header.page_at(slot.slot)),
                  static_cast<off_t>(shape_.page_bytes), POSIX_FADV_WILLNEED);
}

}  // namespace hadal::kv
