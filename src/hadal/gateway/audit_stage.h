// What is recorded of requests: "begin" before one goes anywhere, "end" when its answer is over,
// "refused" for a key that may not ask, "admin" before and "admin_end" after what an operator does.
// See docs/audit.md for their fields.
//
// Threads: any. The log is written on a thread of its own; arrive() and admin() wait for it, so
// they must not run on a thread that moves bytes.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/gateway/audit_config.h"
#include "hadal/gateway/audit_fields.h"
#include "hadal/gateway/audit_log.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/tenant_config.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/registry.h"

namespace hadal::gateway {

class AuditStage {
 public:
  // `clock` must outlive this. What is under way when this is destroyed must not end later.
  AuditStage(std::unique_ptr<AuditLog> log, const Clock& clock, obs::Registry& registry);
  ~AuditStage();

  // `masker`: what `content: masked` uses; empty: hashes only.
  void configure(const AuditConfig& config, const std::vector<TenantConfig>& tenants,
                 Masker masker);

  // A request that was let through. True: answered, as its record could not be written.
  bool arrive(net::HttpRequest& request, net::ResponseWriter& writer, Journey& journey);
  // A request whose key is none, or may not ask.
  void refuse(const net::HttpRequest& request, const Journey& journey);
  // What the operator asks for. True: answered, as its record could not be written.
  bool admin(const net::HttpRequest& request, net::ResponseWriter& writer);
  // Something else that was decided. `fields`: members of a JSON object.
  void event(std::string_view kind, std::string fields);
  AuditHead head() const { return log_->head(); }

 private:
  struct Policy {
    AuditConfig config;
    AuditContent content = AuditContent::kHash;
    std::map<std::string, AuditContent, std::less<>> tenants;
    Masker masker;
    AuditContent of(std::string_view tenant) const;
  };
  class Tap;
  class AdminTap;
  std::shared_ptr<const Policy> policy() const;
  bool give_up(const Policy& policy, net::ResponseWriter& writer, std::string_view path);

  const std::unique_ptr<AuditLog> log_;
  const Clock& clock_;
  obs::Counter& refused_keys_;
  std::atomic<uint64_t> admin_ids_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const Policy> policy_;
};

}  // namespace hadal::gateway
