#include "hadal/apps/rollout_wiring.h"

#include <utility>

#include "hadal/apps/terminal.h"
#include "hadal/net/server.h"

namespace hadal::apps {

Result<std::shared_ptr<gateway::RolloutStage>> start_rollouts(
    Front& front, LiveConfig& live, AdminService* admin, net::HttpServer& server,
    const Clock& clock, std::shared_ptr<obs::Registry> registry) {
  if (live.config().store.path.empty()) return std::shared_ptr<gateway::RolloutStage>();
  gateway::RolloutStage::Parts parts{
      server.io(), clock, std::move(registry), stderr_log(LogLevel::kInfo),
      [&front](net::HttpRequest request, net::ResponseWriter writer) {
        front.go_on(std::move(request), std::move(writer));
      }};
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
