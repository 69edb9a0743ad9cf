#include "hadal/apps/rollout_wiring.h"

#include <utility>

#include "hadal/apps/terminal.h"
#include "hadal/net/server.h"

namespace hadal::apps {

Result<std::shared_ptr<gateway::RolloutStage>> start_rollouts(
    Front& front, LiveConfig& live, AdminService* admin, gateway::AuditStage* audit,
    net::HttpServer& server, const Clock& clock, std::shared_ptr<obs::Registry> registry) {
  if (live.config().store.path.empty()) return std::shared_ptr<gateway::RolloutStage>();
  gateway::RolloutStage::Parts parts{
      server.io(), clock, std::move(registry), stderr_log(LogLevel::kInfo),
      [&front, audit](net::HttpRequest request, net::ResponseWriter writer) {
        auto* journey = gateway::Journey::of(request);
        if (audit != nullptr && journey != nullptr && audit->arrive(request, writer, *journey)) {
          return;
        }
        front.go_on(std::move(request), std::move(writer));
      }};
  if (audit != nullptr) {
    parts.decided = [audit](std::string_view rollout, std::string_view phase,
                            std::string_view what) {
      gateway::FieldText fields;
      fields.text("rollout", rollout).text("phase", phase).text("what", what);
      audit->event("rollout", fields.take());
    };
  }
  HADAL_TRY(std::shared_ptr<gateway::RolloutStage> stage,
            gateway::RolloutStage::make(live.config(), std::move(parts)));
  front.on_arrival(
      [raw = stage.get()](net::HttpRequest& request, net::ResponseWriter& writer,
                          gateway::Journey& journey) {
        raw->arrive(request, writer, journey);
        return false;
      },
      false);
  live.on_apply([raw = stage.get()](const gateway::Config& read) { raw->configure(read); });
  if (admin != nullptr) admin->set_rollouts(stage);
  return stage;
}

}  // namespace hadal::apps
