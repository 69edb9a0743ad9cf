#include "hadal/gateway/audit_verify.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <map>
#include <set>

#include "hadal/base/file.h"
#include "hadal/gateway/audit_files.h"

namespace hadal::gateway {
namespace {

constexpr size_t kOpenMax = 1'000'000;  // requests under way that are remembered

class Verifier {
 public:
  Verifier(const AuditVerifyOptions& options, AuditReport* report)
      : options_(options), report_(*report) {}

  void expect_anchor(AuditHead anchor) { anchor_ = std::move(anchor); }

  // False: a fault has been found.
  bool segment(const AuditSegment& segment, bool last) {
    auto text = read_file(segment.path, UINT64_MAX);
    if (!text) return blame(segment.path + ": " + text.error().what);
    ++report_.segments;
    std::string_view rest = *text;
    uint64_t line = 0;
    for (size_t end = rest.find('\n'); end != rest.npos; end = rest.find('\n')) {
      const std::string at = fmt::format("{}:{}", segment.path, ++line);
      if (!record(rest.substr(0, end), at, line == 1 ? segment.first : 0)) return false;
      rest.remove_prefix(end + 1);
    }
    if (rest.empty()) return line > 0 || last ? true : blame(segment.path + ": is empty");
    if (!last || !is_torn_line(rest)) {
      return blame(fmt::format("{}:{}: {} bytes after record {} are no record", segment.path,
                               line + 1, rest.size(), report_.head.seq));
    }
    report_.notes.push_back(
        fmt::format("{}:{}: the last line is not complete ({} bytes): it is "
                    "being written, or its "
                    "writer was killed, which the next start records",
                    segment.path, line + 1, rest.size()));
    return true;
  }

  bool finish() {
    if (before_first_.seq > 0 && !retired_) {
      return blame(
          fmt::format("records 1 to {} are not there, and no record says that their time "
                      "was over",
                      before_first_.seq));
    }
    if (!anchor_) {
      report_.notes.push_back(
          "there is no anchor: records missing at the end "
          "could not be noticed");
    } else if (anchor_->seq > report_.head.seq) {
      return blame(fmt::format("records {} to {} are missing at the end: the anchor knows them",
                               report_.head.seq + 1, anchor_->seq));
    } else if (anchor_->seq >= report_.first && !anchor_found_) {
      return blame(
          fmt::format("record {}: its hash is not the one that the anchor knows: the log "
                      "was written anew",
                      anchor_->seq));
    }
    if (!options_.head.empty() && !head_found_) {
      return blame(fmt::format("no record has the hash {}", options_.head.substr(0, 64)));
    }
    if (!cut_.empty()) return blame(cut_);
    report_.open = open_.size();
    return true;
  }

 private:
  bool blame(std::string what) {
    report_.fault = std::move(what);
    return false;
  }

  // `named`: the seq that a segment's name says of its first record; else 0.
  bool record(std::string_view line, const std::string& at, uint64_t named) {
    const auto record = read_audit_line(line);
    const uint64_t expected = report_.head.seq + 1;
    if (!record) {
      return blame(fmt::format("{}: record {}: {}", at, report_.records == 0 ? named : expected,
                               record.error().what));
    }
    if (report_.records == 0) {
      report_.first = record->seq;
      report_.first_time = record->time;
      report_.head = before_first_ = {record->seq - 1, std::string(record->prev)};
      const std::string zeros(64, '0');
      if (record->seq == 1 && record->prev != zeros) {
        return blame(fmt::format("{}: record 1 follows another", at));
      }
    } else if (record->seq > expected) {
      return blame(fmt::format("{}: record {} comes after record {}: {} removed", at, record->seq,
                               report_.head.seq, record->seq - expected));
    } else if (record->seq < expected) {
      return blame(fmt::format("{}: record {} comes after record {}: moved, or there twice", at,
                               record->seq, report_.head.seq));
    } else if (record->prev != report_.head.hash) {
      return blame(fmt::format("{}: record {} does not follow record {}: one of them was replaced",
                               at, record->seq, report_.head.seq));
    }
    if (named != 0 && (named != record->seq || audit_field(record->fields, "kind") != "segment")) {
      return blame(fmt::format("{}: record {} is not where this segment begins", at, record->seq));
    }
    report_.head = {record->seq, std::string(record->hash)};
    report_.last_time = record->time;
    ++report_.records;
    learn(*record, at);
    if (options_.each) options_.each(*record);
    return true;
  }

  void learn(const AuditRecord& record, const std::string& at) {
    if (anchor_ && anchor_->seq == record.seq) anchor_found_ = anchor_->hash == record.hash;
    head_found_ = head_found_ || options_.head == record.hash;
    const std::string_view kind = audit_field(record.fields, "kind");
    if (kind == "begin" || kind == "end") {
      const std::string id(audit_field(record.fields, "request"));
      if (kind == "end") {
        open_.erase(id);
      } else if (open_.size() < kOpenMax) {
        open_.insert(id);
      }
    } else if (kind == "retired") {
      const std::string_view to = audit_field(record.fields, "to");
      retired_ = retired_ || (to == std::to_string(before_first_.seq) &&
                              audit_field(record.fields, "last_sha256") == before_first_.hash);
    } else if (kind == "cut" && cut_.empty()) {
      cut_ = fmt::format(
          "{}: record {} says that records up to {} had been "
          "there, and were gone "
          "when the log was opened",
          at, record.seq, audit_field(record.fields, "anchor_seq"));
    } else if (kind == "gap") {
      report_.notes.push_back(
          fmt::format("{}: record {}: {} records were lost before it, as they "
                      "could not be written",
                      at, record.seq, audit_field(record.fields, "lost")));
    } else if (kind == "recovered") {
      report_.notes.push_back(
          fmt::format("{}: record {}: a line of {} bytes was not complete when "
                      "the log was opened",
                      at, record.seq, audit_field(record.fields, "torn_bytes")));
    }
  }

  const AuditVerifyOptions& options_;
  AuditReport& report_;
  std::optional<AuditHead> anchor_;
  AuditHead before_first_;
  bool retired_ = false;
  bool anchor_found_ = false;
  bool head_found_ = false;
  std::string cut_;
  std::set<std::string> open_;
};

}  // namespace

Result<AuditReport> verify_audit(const AuditVerifyOptions& options) {
  // Before the segments: what it knows is in them by then.
  auto anchor =
      read_audit_anchor(options.anchor.empty() ? options.folder + "/anchor" : options.anchor);
  HADAL_TRY(const std::vector<AuditSegment> segments, audit_segments(options.folder));
  AuditReport report;
  if (!anchor && anchor.error().code != Code::kNotFound) {
    report.fault = anchor.error().what;
    return report;
  }
  if (segments.empty() && !anchor) {
    return fail(Code::kNotFound, fmt::format("'{}' holds no audit log", options.folder));
  }
  Verifier verifier(options, &report);
  if (anchor) verifier.expect_anchor(std::move(*anchor));
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!verifier.segment(segments[i], i + 1 == segments.size())) return report;
  }
  verifier.finish();
  return report;
}

}  // namespace hadal::gateway
