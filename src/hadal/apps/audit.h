// The audit record's places in a service.
#pragma once

#include <memory>

#include "hadal/apps/front.h"
#include "hadal/apps/serve_config.h"
#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/audit_stage.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {

// Opens the log that the configuration names and asks to be told of requests, refusals and reloads.
// Null: it names none. Must be the first of the front's hooks, and outlive front and servers' work.
Result<std::unique_ptr<gateway::AuditStage>> start_audit(LiveConfig& live, Front& front,
                                                         const Clock& clock,
                                                         obs::Registry& registry, LogSink log);

}  // namespace hadal::apps
