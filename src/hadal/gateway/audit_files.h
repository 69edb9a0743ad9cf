// The folder of an audit log: segments "audit-SEQ.jsonl", named for their first record, which says
// what the segment follows; `anchor`, a recent head; `lock`, held by the one process that writes.
//
// A killed writer leaves at most a line that is not complete. Opening takes it out and says so in a
// record, with its bytes' hash. When a segment is removed because its time is over, a record says
// before which was its last and what hash that had, so that what is left can still be checked.
//
// Threads: one at a time.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/audit_record.h"

namespace hadal::gateway {

struct AuditFileOptions {
  std::string folder;                  // made when it is not there
  std::string anchor;                  // empty: `anchor` in the folder
  uint64_t segment_bytes = 64u << 20;  // a segment ends when it has as many
  int64_t segment_seconds = 86'400;    // ... or is as old
  int64_t keep_seconds = 0;            // segments whose last record is older go; 0: none
  uint64_t keep_bytes = 0;             // the oldest go while all have more; 0: none
  // write(2) where a test does not know better.
  std::function<ssize_t(int, const void*, size_t)> write;
};

struct AuditSegment {
  std::string path;
  uint64_t first = 0;  // seq, by its name
  uint64_t bytes = 0;
};
// In order.
Result<std::vector<AuditSegment>> audit_segments(const std::string& folder);

// What the anchor says. kNotFound: there is none.
Result<AuditHead> read_audit_anchor(const std::string& path);

class AuditFiles {
 public:
  // kUnavailable: another process writes here. kCorrupt: the last segment is damaged by more than a
  // torn line, with words on what to do.
  static Result<std::unique_ptr<AuditFiles>> open(AuditFileOptions options, int64_t now);
  ~AuditFiles();

  // Writes a line for each, all or none of them: after an error the log is as before, and another
  // try may do. Begins and removes segments as the options say. Does not sync.
  Status append(const std::vector<std::string>& fields, int64_t now);
  // What has been written survives a loss of power.
  Status sync();
  // sync(), then the anchor.
  Status write_anchor(int64_t now);
  const AuditHead& head() const { return head_; }
  // Of opening: what was recorded; empty: nothing to tell.
  const std::string& recovered() const { return recovered_; }

 private:
  explicit AuditFiles(AuditFileOptions options) : options_(std::move(options)) {}
  Status lock();
  Status recover(int64_t now);
  Status scan_last(const AuditSegment& segment, std::string* torn);
  Status begin_segment(int64_t now);
  Status retire(int64_t now);
  Status write_lines(const std::string& lines, const AuditHead& after);
  std::string anchor_path() const;

  const AuditFileOptions options_;
  int lock_ = -1;
  int file_ = -1;
  uint64_t size_ = 0;       // of the current segment, all of it whole lines
  int64_t begun_ = 0;       // when the current segment was, seconds since 1970
  bool misplaced_ = false;  // bytes behind size_ could not be taken back yet
  AuditHead head_;
  std::string recovered_;
};

}  // namespace hadal::gateway
