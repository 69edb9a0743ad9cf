// What hadal.yaml says of the audit log.
#pragma once

#include <cstdint>
#include <string>

#include "hadal/gateway/field.h"

namespace hadal::gateway {

struct AuditConfig {
  std::string path;
  std::string anchor;
  std::string content = "hash";
  uint64_t content_max = 64u << 10;
  std::string sync = "interval";
  Millis sync_every{1'000};
  uint64_t segment = 64u << 20;
  Millis segment_age{24LL * 3600 * 1000};
  Millis keep{0};
  uint64_t keep_bytes = 0;
  int32_t queue = 8'192;
  std::string on_loss = "refuse";
  std::string refused_keys = "count";
  bool on() const { return !path.empty(); }
  bool operator==(const AuditConfig&) const = default;
};

Section<AuditConfig> audit_section();
void check_audit(ConfigReader& reader, const AuditConfig& audit);
// That a change of the rest needs no restart.
bool same_audit_files(const AuditConfig& a, const AuditConfig& b);

}  // namespace hadal::gateway
