// Whether an audit log is what was written: every record, unchanged, in its place.
//
// What the chain alone cannot tell is whether records are missing at its end: that takes a head
// that was noted elsewhere (`head`, or the anchor). Nor can it tell a log that was written anew as
// a whole from the one that was there; a head noted elsewhere does.
//
// Reads files; any thread; also while the log is written.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/audit_record.h"

namespace hadal::gateway {

struct AuditReport {
  uint64_t records = 0;
  uint64_t segments = 0;
  uint64_t first = 0;  // seq
  AuditHead head;
  int64_t first_time = 0, last_time = 0;
  uint64_t open = 0;               // requests with a beginning and no end
  std::string fault;               // the first; empty: good. "FILE:LINE: record N: ..."
  std::vector<std::string> notes;  // for the operator; no faults
  bool good() const { return fault.empty(); }
};

struct AuditVerifyOptions {
  std::string folder;
  std::string anchor;  // empty: `anchor` in the folder
  std::string head;    // a hash that one of the records must have; empty: none
  // Each good record, in order. Its views last for the call.
  std::function<void(const AuditRecord&)> each;
};

// An error: the folder cannot be read. What is wrong with its content is in the report.
Result<AuditReport> verify_audit(const AuditVerifyOptions& options);

}  // namespace hadal::gateway
