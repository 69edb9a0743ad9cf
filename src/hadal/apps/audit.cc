#include "hadal/apps/audit.h"

#include <utility>

#include "hadal/gateway/audit_mask.h"

namespace hadal::apps {

Result<std::unique_ptr<gateway::AuditStage>> start_audit(LiveConfig& live, Front& front,
                                                         const Clock& clock,
                                                         obs::Registry& registry, LogSink log) {
  const gateway::Config& config = live.config();
  if (!config.audit.on()) return std::unique_ptr<gateway::AuditStage>();
  HADAL_TRY(auto files, gateway::AuditLog::open(gateway::audit_log_options(config.audit), clock,
                                                registry, std::move(log)));
  auto made = std::make_unique<gateway::AuditStage>(std::move(files), clock, registry);
  gateway::AuditStage* const stage = made.get();
  stage->configure(config.audit, config.tenants, gateway::mask_findings);
  front.on_arrival(
      [stage](net::HttpRequest& request, net::ResponseWriter& writer, gateway::Journey& journey) {
        return stage->arrive(request, writer, journey);
      });
  front.on_refusal([stage](const net::HttpRequest& request, const gateway::Journey& journey) {
    stage->refuse(request, journey);
  });
  live.on_apply([stage](const gateway::Config& read) {
    stage->configure(read.audit, read.tenants, gateway::mask_findings);
    stage->event("configured", {});
  });
  return made;
}

}  // namespace hadal::apps
