// Rollouts as the admin endpoints show them, and as `hadal rollout` prints them.
//
// Pure. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/rollout_stage.h"

namespace hadal::apps {

std::string rollout_json(const gateway::RolloutView& view);
std::string rollouts_json(const std::vector<gateway::RolloutView>& views);

// Of what the two above made, for people. kCorrupt: of something else.
Result<std::string> rollout_text(std::string_view json);
Result<std::string> rollouts_text(std::string_view json);

}  // namespace hadal::apps
