// Where rollouts stand in a running service.
#pragma once

#include <memory>

#include "hadal/apps/admin_service.h"
#include "hadal/apps/front.h"
#include "hadal/apps/serve_config.h"
#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/gateway/audit_stage.h"
#include "hadal/gateway/rollout_stage.h"
#include "hadal/obs/registry.h"

namespace hadal::net {
class HttpServer;
}

namespace hadal::apps {

// Hooks them into `front`, `live`, `admin` (null: no admin port) and `audit` (null: none), which
// records decisions, and what copies and probes ask. Null where there can be none: without a store.
// What is given must outlive the result, which is shared with `admin` and hooks.
Result<std::shared_ptr<gateway::RolloutStage>> start_rollouts(
    Front& front, LiveConfig& live, AdminService* admin, gateway::AuditStage* audit,
    net::HttpServer& server, const Clock& clock, std::shared_ptr<obs::Registry> registry);

}  // namespace hadal::apps
