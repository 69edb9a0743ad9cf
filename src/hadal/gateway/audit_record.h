// One line of the audit log, and how lines hang together.
//
//   {"seq":7,"time":"2026-11-22T14:00:00Z","prev":"HASH",FIELDS,"hash":"HASH"}
//
// `hash` is the SHA-256 of the line's bytes before `,"hash"`, in lower-case hexadecimal digits;
// `prev` is that of the record before, 64 zeros for the first. So whoever knows the last hash knows
// that nothing before it has been changed, removed or put elsewhere.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal::gateway {

// Where a chain ends.
struct AuditHead {
  uint64_t seq = 0;  // of the last record; 0: there is none
  std::string hash = std::string(64, '0');
  bool operator==(const AuditHead&) const = default;
};

// A line with its end, and the head after it. `fields`: members of an object, "\"kind\":\"begin\"",
// without a member called "hash".
std::string audit_line(AuditHead* head, int64_t unix_seconds, std::string_view fields);

struct AuditRecord {
  uint64_t seq = 0;
  int64_t time = 0;  // seconds since 1970
  std::string_view prev, hash;
  std::string_view fields;  // as audit_line() had them
};
// `line` has no end of line. kCorrupt says what is wrong: not a record, or changed.
Result<AuditRecord> read_audit_line(std::string_view line);
// Whether `bytes` may be what is left of a line whose writing was cut off.
bool is_torn_line(std::string_view bytes);

// The member `name` of FIELDS, which is a string without escapes or a number; empty: none.
std::string_view audit_field(std::string_view fields, std::string_view name);

// "2026-11-22T14:00:00Z"
std::string audit_time(int64_t unix_seconds);
std::optional<int64_t> parse_audit_time(std::string_view text);

}  // namespace hadal::gateway
