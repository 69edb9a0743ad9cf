#include "hadal/gateway/audit_files.h"

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
#include <utility>

#include "hadal/base/file.h"
#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kName = "audit-";
constexpr std::string_view kSuffix = ".jsonl";
constexpr size_t kTornShown = 256;  // bytes of a torn line that its record repeats
constexpr size_t kRetiredAtOnce = 64;
constexpr mode_t kPrivate = 0600;

Status system_error(std::string_view doing, const std::string& path) {
  const Code code = errno == ENOSPC || errno == EDQUOT ? Code::kExhausted : Code::kUnavailable;
  return fail(code, fmt::format("audit log: cannot {} '{}': {}", doing, path, strerror(errno)));
}

std::string segment_path(const std::string& folder, uint64_t first) {
  return fmt::format("{}/{}{:012}{}", folder, kName, first, kSuffix);
}

Status sync_folder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_error("open", folder);
  const bool good = fsync(fd) == 0;
  ::close(fd);
  if (!good) return system_error("sync", folder);
  return {};
}

// The first record of a segment and, of it, what it follows.
struct SegmentBegin {
  AuditHead before;
  int64_t time = 0;
};
Result<SegmentBegin> read_begin(const AuditSegment& segment) {
  HADAL_TRY(const MappedFile file, MappedFile::open(segment.path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  const size_t end = text.find('\n');
  if (end == text.npos) return fail(Code::kCorrupt, segment.path + ": has no record");
  auto record = read_audit_line(text.substr(0, end));
  if (!record) return fail(record.error().code, segment.path + ":1: " + record.error().what);
  return SegmentBegin{{record->seq - 1, std::string(record->prev)}, record->time};
}

}  // namespace

Result<std::vector<AuditSegment>> audit_segments(const std::string& folder) {
  std::vector<AuditSegment> segments;
  std::error_code ec;
  for (fs::directory_iterator entry(folder, ec), end; !ec && entry != end; entry.increment(ec)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kName) || !name.ends_with(kSuffix)) continue;
    const std::string_view digits =
        std::string_view(name).substr(kName.size(), name.size() - kName.size() - kSuffix.size());
    AuditSegment segment;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), segment.first);
    if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) continue;
    segment.path = entry->path().string();
    std::error_code gone;
    segment.bytes = fs::file_size(entry->path(), gone);
    if (gone) continue;  // removed just now
    segments.push_back(std::move(segment));
  }
  if (ec) {
    return fail(Code::kNotFound, fmt::format("audit log: '{}': {}", folder, ec.message()));
  }
  std::sort(segments.begin(), segments.end(),
            [](const AuditSegment& a, const AuditSegment& b) { return a.first < b.first; });
  return segments;
}

Result<AuditHead> read_audit_anchor(const std::string& path) {
  std::error_code ec;
  if (!fs::exists(path, ec)) return fail(Code::kNotFound, path + " is not there");
  HADAL_TRY(const std::string text, read_file(path, 4'096));
  AuditHead head;
  const std::string_view seq = audit_field(text, "seq"), hash = audit_field(text, "hash");
  const auto read = std::from_chars(seq.data(), seq.data() + seq.size(), head.seq);
  if (read.ec != std::errc() || hash.size() != 64) {
    return fail(Code::kCorrupt, path + " is not an anchor");
  }
  head.hash = hash;
  return head;
}

Result<std::unique_ptr<AuditFiles>> AuditFiles::open(AuditFileOptions options, int64_t now) {
  if (!options.write) options.write = ::write;
  std::unique_ptr<AuditFiles> files(new AuditFiles(std::move(options)));
  HADAL_TRY_VOID(files->lock());
  HADAL_TRY_VOID(files->recover(now));
  return files;
}

AuditFiles::~AuditFiles() {
  if (file_ >= 0) ::close(file_);
  if (lock_ >= 0) ::close(lock_);
}

std::string AuditFiles::anchor_path() const {
  return options_.anchor.empty() ? options_.folder + "/anchor" : options_.anchor;
}

Status AuditFiles::lock() {
  std::error_code ec;
  fs::create_directories(options_.folder, ec);
  const std::string path = options_.folder + "/lock";
  lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivate);
  if (lock_ < 0) return system_error("open", path);
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kUnavailable,
                fmt::format("audit log: another process writes in '{}'", options_.folder));
  }
  return {};
}

// Leaves head_ at the segment's last whole record, size_ behind it, and what follows in `torn`.
Status AuditFiles::scan_last(const AuditSegment& segment, std::string* torn) {
  HADAL_TRY(const std::string text, read_file(segment.path, UINT64_MAX));
  std::string_view rest = text;
  for (uint64_t line = 1;; ++line) {
    const size_t end = rest.find('\n');
    if (end == rest.npos) break;
    const auto record = read_audit_line(rest.substr(0, end));
    const uint64_t expected = line == 1 ? segment.first : head_.seq + 1;
    if (!record || record->seq != expected || (line > 1 && record->prev != head_.hash)) {
      return fail(Code::kCorrupt,
                  fmt::format("audit log: {}:{}: {}; see `hadal audit verify`, "
                              "keep the folder as "
                              "evidence and let another begin",
                              segment.path, line,
                              record ? "does not follow the record before" : record.error().what));
    }
    if (line == 1) begun_ = record->time;
    head_ = {record->seq, std::string(record->hash)};
    rest.remove_prefix(end + 1);
  }
  if (!is_torn_line(rest)) {
    return fail(Code::kCorrupt, fmt::format("audit log: {} ends with {} bytes that are no "
                                            "record; keep the folder "
                                            "as evidence and let another begin",
                                            segment.path, rest.size()));
  }
  *torn = rest;
  size_ = text.size() - rest.size();
  return {};
}

Status AuditFiles::recover(int64_t now) {
  HADAL_TRY(std::vector<AuditSegment> segments, audit_segments(options_.folder));
  std::string torn;
  // A segment that was begun, and whose first line did not come, is begun again.
  for (bool found = false; !segments.empty() && !found;) {
    std::string tail;
    HADAL_TRY_VOID(scan_last(segments.back(), &tail));
    if (!tail.empty()) torn = std::move(tail);
    found = size_ > 0;
    if (found) break;
    ::unlink(segments.back().path.c_str());
    segments.pop_back();
  }
  if (!segments.empty()) {
    const std::string& path = segments.back().path;
    file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file_ < 0) return system_error("open", path);
    if (!torn.empty() && ftruncate(file_, static_cast<off_t>(size_)) != 0) {
      return system_error("cut the torn line of", path);
    }
  }
  const auto anchor = read_audit_anchor(anchor_path());
  if (!anchor && anchor.error().code != Code::kNotFound) return fail(anchor.error());
  if (file_ < 0) HADAL_TRY_VOID(begin_segment(now));
  std::vector<std::string> said;
  if (!torn.empty()) {
    recovered_ = fmt::format("a line of {} bytes was not complete", torn.size());
    said.push_back(fmt::format(
        R"("kind":"recovered","torn_bytes":{},"torn_sha256":"{}","torn_hex":"{}")", torn.size(),
        hex(sha256(torn)), hex(std::string_view(torn).substr(0, kTornShown))));
  }
  if (anchor && anchor->seq > head_.seq) {
    recovered_ = fmt::format("records up to {} are known by the anchor, the last here is {}",
                             anchor->seq, head_.seq);
    said.push_back(fmt::format(R"("kind":"cut","anchor_seq":{},"anchor_sha256":"{}","last":{})",
                               anchor->seq, anchor->hash, head_.seq));
  }
  if (!said.empty()) HADAL_TRY_VOID(append(said, now));
  return {};
}

Status AuditFiles::begin_segment(int64_t now) {
  AuditHead after = head_;
  const std::string line = audit_line(&after, now, R"("kind":"segment","version":1)");
  const std::string path = segment_path(options_.folder, after.seq);
  // What an attempt in vain has left is none of the log's.
  const int fd =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, kPrivate);
  if (fd < 0) return system_error("make", path);
  if (file_ >= 0) {
    fdatasync(file_);
    ::close(file_);
  }
  file_ = fd;
  size_ = 0;
  begun_ = now;
  HADAL_TRY_VOID(write_lines(line, after));
  return sync_folder(options_.folder);
}

// All of `lines`, or nothing.
Status AuditFiles::write_lines(const std::string& lines, const AuditHead& after) {
  if (misplaced_) {
    if (ftruncate(file_, static_cast<off_t>(size_)) != 0) {
      return system_error("write in", options_.folder);
    }
    misplaced_ = false;
  }
  std::string_view rest = lines;
  while (!rest.empty()) {
    const ssize_t size = options_.write(file_, rest.data(), rest.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      if (size == 0) errno = ENOSPC;
      const Status failed = system_error("write in", options_.folder);
      if (rest.size() != lines.size()) {
        misplaced_ = ftruncate(file_, static_cast<off_t>(size_)) != 0;
      }
      return failed;
    }
    rest.remove_prefix(static_cast<size_t>(size));
  }
  size_ += lines.size();
  head_ = after;
  return {};
}

Status AuditFiles::append(const std::vector<std::string>& fields, int64_t now) {
  if (fields.empty()) return {};
  // A segment without its first line, left by an attempt in vain, is begun anew.
  if (size_ == 0 || size_ >= options_.segment_bytes || now - begun_ >= options_.segment_seconds) {
    HADAL_TRY_VOID(begin_segment(now));
    HADAL_TRY_VOID(retire(now));
  }
  AuditHead after = head_;
  std::string lines;
  for (const std::string& one : fields) lines += audit_line(&after, now, one);
  return write_lines(lines, after);
}

Status AuditFiles::retire(int64_t now) {
  if (options_.keep_seconds == 0 && options_.keep_bytes == 0) return {};
  HADAL_TRY(const std::vector<AuditSegment> segments, audit_segments(options_.folder));
  uint64_t total = 0;
  for (const AuditSegment& segment : segments) total += segment.bytes;
  std::vector<AuditSegment> going;
  AuditHead after = head_;
  std::string lines;
  for (size_t i = 0; i + 1 < segments.size() && going.size() < kRetiredAtOnce; ++i) {
    HADAL_TRY(const SegmentBegin next, read_begin(segments[i + 1]));
    const bool old = options_.keep_seconds > 0 && now - next.time > options_.keep_seconds;
    const bool much = options_.keep_bytes > 0 && total > options_.keep_bytes;
    if (!old && !much) break;
    total -= segments[i].bytes;
    going.push_back(segments[i]);
    lines += audit_line(&after, now,
                        fmt::format(R"("kind":"retired","from":{},"to":{},"last_sha256":"{}")",
                                    segments[i].first, next.before.seq, next.before.hash));
  }
  if (going.empty()) return {};
  HADAL_TRY_VOID(write_lines(lines, after));
  HADAL_TRY_VOID(sync());
  for (const AuditSegment& segment : going) {
    if (::unlink(segment.path.c_str()) != 0) return system_error("remove", segment.path);
  }
  return {};
}

Status AuditFiles::sync() {
  if (fdatasync(file_) != 0) return system_error("sync", options_.folder);
  return {};
}

Status AuditFiles::write_anchor(int64_t now) {
  HADAL_TRY_VOID(sync());
  return write_file_atomic(
      anchor_path(), fmt::format("{{\"seq\":{},\"hash\":\"{}\",\"time\":\"{}\"}}\n", head_.seq,
                                 head_.hash, audit_time(now)));
}

}  // namespace hadal::gateway
