#include "hadal/gateway/audit_config.h"

namespace hadal::gateway {

namespace {
constexpr uint64_t kSegmentMin = 64u << 10;
}

Section<AuditConfig> audit_section() {
  const Millis second(1'000), day(24LL * 3600 * 1000);
  Section<AuditConfig> section("audit",
                               "Who asked what, where it went, at what cost: "
                               "an append-only record, see audit.md. "
                               "`content`, "
                               "`content_max`, `on_loss` and `refused_keys` "
                               "take effect at a reload, the rest at the next "
                               "start.");
  section
      .text("path", &AuditConfig::path, "folder of the record; made when there is none", {"none"})
      .text("anchor", &AuditConfig::anchor,
            "file with a recent end of the record; best on another disk, out "
            "of reach of who could "
            "cut the record",
            {"`anchor` in that folder"})
      .choice("content", &AuditConfig::content, {"none", "hash", "masked", "full"},
              "of requests and answers; `masked`: without what the detectors "
              "find. Tenants may have "
              "their own, `tenants.*.audit_content`")
      .bytes("content_max", &AuditConfig::content_max,
             "bytes of a request's or answer's content; of longer ones the "
             "beginning, marked so")
      .choice("sync", &AuditConfig::sync, {"always", "interval", "never"},
              "when records must survive a loss of power: before the request "
              "goes on, every "
              "`sync_every`, or when the system likes. A killed process loses "
              "none in any case")
      .duration("sync_every", &AuditConfig::sync_every, Millis(10), second * 3600,
                "with `sync: interval`")
      .bytes("segment", &AuditConfig::segment, "bytes of a file, then another is begun")
      .duration("segment_age", &AuditConfig::segment_age, second, day * 366, "... or its age")
      .duration("keep", &AuditConfig::keep, Millis(0), day * 36'600,
                "files with only older records are removed, which is recorded; "
                "0s: never")
      .bytes("keep_bytes", &AuditConfig::keep_bytes, "the oldest files go beyond it; 0: never")
      .integer("queue", &AuditConfig::queue, {16, 1'000'000}, "records that wait to be written")
      .choice("on_loss", &AuditConfig::on_loss, {"refuse", "continue"},
              "when a request's record cannot be written: answer it 503, or go "
              "on and count it in "
              "`hadal_audit_lost_total`")
      .choice("refused_keys", &AuditConfig::refused_keys, {"count", "record"},
              "requests without a good key: only counted, or recorded one by one");
  return section;
}

void check_audit(ConfigReader& reader, const AuditConfig& audit) {
  if (!reader.was_given("audit")) return;
  if (audit.path.empty()) reader.fault("audit", "'path' is missing");
  if (audit.segment < kSegmentMin) reader.fault("audit.segment", "64K at least");
  if (audit.keep_bytes > 0 && audit.keep_bytes < audit.segment) {
    reader.fault("audit.keep_bytes", "less than one 'segment'");
  }
}

bool same_audit_files(const AuditConfig& a, const AuditConfig& b) {
  AuditConfig same = b;
  same.content = a.content;
  same.content_max = a.content_max;
  same.on_loss = a.on_loss;
  same.refused_keys = a.refused_keys;
  return a == same;
}

}  // namespace hadal::gateway
