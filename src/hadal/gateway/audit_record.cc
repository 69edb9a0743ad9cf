#include "hadal/gateway/audit_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ctime>

#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

constexpr std::string_view kBegin = "{\"seq\":";
constexpr std::string_view kTime = ",\"time\":\"";
constexpr std::string_view kPrev = "\",\"prev\":\"";
constexpr std::string_view kFields = "\",";
constexpr std::string_view kHash = ",\"hash\":\"";
constexpr std::string_view kEnd = "\"}";
constexpr size_t kHashSize = 64;
constexpr size_t kTimeSize = 20;

bool take(std::string_view* text, std::string_view expected) {
  if (!text->starts_with(expected)) return false;
  text->remove_prefix(expected.size());
  return true;
}

std::string_view take_first(std::string_view* text, size_t size) {
  const std::string_view first = text->substr(0, size);
  text->remove_prefix(first.size());
  return first;
}

bool is_hash(std::string_view text) {
  return text.size() == kHashSize && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

std::string audit_time(int64_t unix_seconds) {
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::optional<int64_t> parse_audit_time(std::string_view text) {
  if (text.size() != kTimeSize) return std::nullopt;
  std::tm parts{};
  const std::string copy(text);
  const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return static_cast<int64_t>(timegm(&parts));
}

std::string audit_line(AuditHead* head, int64_t unix_seconds, std::string_view fields) {
  std::string line;
  line.reserve(fields.size() + 256);
  line += kBegin;
  line += std::to_string(++head->seq);
  line += kTime;
  line += audit_time(unix_seconds);
  line += kPrev;
  line += head->hash;
  line += kFields;
  line += fields;
  head->hash = hex(sha256(line));
  line += kHash;
  line += head->hash;
  line += kEnd;
  line += '\n';
  return line;
}

Result<AuditRecord> read_audit_line(std::string_view line) {
  const auto bad = [] { return fail(Code::kCorrupt, "not a record"); };
  AuditRecord record;
  std::string_view rest = line;
  if (!take(&rest, kBegin)) return bad();
  const size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  const auto read = std::from_chars(rest.data(), rest.data() + digits, record.seq);
  if (digits == 0 || read.ec != std::errc() || record.seq == 0 || rest.front() == '0') return bad();
  rest.remove_prefix(digits);
  if (!take(&rest, kTime)) return bad();
  const auto time = parse_audit_time(take_first(&rest, kTimeSize));
  if (!time || !take(&rest, kPrev)) return bad();
  record.time = *time;
  record.prev = take_first(&rest, kHashSize);
  if (!is_hash(record.prev) || !take(&rest, kFields)) return bad();
  constexpr size_t kTail = kHash.size() + kHashSize + kEnd.size();
  if (rest.size() < kTail) return bad();
  record.fields = take_first(&rest, rest.size() - kTail);
  const std::string_view hashed = line.substr(0, line.size() - kTail);
  if (!take(&rest, kHash)) return bad();
  record.hash = take_first(&rest, kHashSize);
  if (!is_hash(record.hash) || rest != kEnd) return bad();
  if (hex(sha256(hashed)) != record.hash) {
    return fail(Code::kCorrupt, "changed: its bytes do not have its hash");
  }
  return record;
}

bool is_torn_line(std::string_view bytes) {
  if (bytes.find('\n') != bytes.npos) return false;
  // Of a file that grew before its bytes came, when the machine stopped.
  if (bytes.find_first_not_of('\0') == bytes.npos) return true;
  const size_t begin = std::min(bytes.size(), kBegin.size());
  if (bytes.substr(0, begin) != kBegin.substr(0, begin)) return false;
  const size_t hash = bytes.find(kHash);  // only there: quotes inside of strings are escaped
  return hash == bytes.npos || bytes.size() <= hash + kHash.size() + kHashSize + kEnd.size();
}

std::string_view audit_field(std::string_view fields, std::string_view name) {
  const std::string mark = fmt::format("\"{}\":", name);
  const size_t at = fields.find(mark);
  if (at == fields.npos) return {};
  std::string_view value = fields.substr(at + mark.size());
  if (value.starts_with('"')) {
    value.remove_prefix(1);
    return value.substr(0, value.find('"'));
  }
  return value.substr(0, value.find_first_of(",}]"));
}

}  // namespace hadal::gateway
