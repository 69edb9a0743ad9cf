// The admin endpoints of rollouts.
#include <utility>

#include "hadal/apps/admin_service.h"
#include "hadal/apps/rollout_json.h"

namespace hadal::apps {
namespace {

using gateway::RolloutCommand;

constexpr std::string_view kBelow = "/admin/v1/rollouts/";

const std::pair<std::string_view, RolloutCommand> kCommands[] = {
    {"start", RolloutCommand::kStart},   {"pause", RolloutCommand::kPause},
    {"resume", RolloutCommand::kResume}, {"promote", RolloutCommand::kPromote},
    {"next", RolloutCommand::kNextStep}, {"abort", RolloutCommand::kAbort},
};

std::string name_in(const net::HttpRequest& request) { return request.path.substr(kBelow.size()); }

api::ApiError none() {
  return {Code::kNotFound, "rollouts need 'store.path' in hadal.yaml, and a start after it"};
}

}  // namespace

void AdminService::list_rollouts(Call& call) {
  if (call.rollouts == nullptr) return reply(call, 200, rollouts_json({}));
  reply(call, 200, rollouts_json(call.rollouts->list()));
}

void AdminService::show_rollout(Call& call) {
  if (call.rollouts == nullptr) return refuse(call, none());
  auto view = call.rollouts->find(name_in(call.request));
  if (!view) return refuse(call, std::move(view.error()));
  reply(call, 200, rollout_json(*view));
}

void AdminService::create_rollout(Call& call) {
  if (call.rollouts == nullptr) return refuse(call, none());
  auto view = call.rollouts->create(name_in(call.request), call.request.body);
  if (!view) return refuse(call, std::move(view.error()));
  reply(call, 201, rollout_json(*view));
}

void AdminService::command_rollout(Call& call) {
  if (call.rollouts == nullptr) return refuse(call, none());
  const std::string path = name_in(call.request);
  const size_t slash = path.rfind('/');
  for (const auto& [word, command] : kCommands) {
    if (slash == std::string::npos || path.substr(slash + 1) != word) continue;
    auto view = call.rollouts->command(path.substr(0, slash), command);
    if (!view) return refuse(call, std::move(view.error()));
    return reply(call, 200, rollout_json(*view));
  }
  refuse(call, {Code::kNotFound,
                "expected /NAME/ and one of start, pause, resume, promote, next, abort"});
}

void AdminService::forget_rollout(Call& call) {
  if (call.rollouts == nullptr) return refuse(call, none());
  const std::string name = name_in(call.request);
  const Status done = call.rollouts->forget(name);
  if (!done) return refuse(call, done.error());
  reply(call, 200, R"({"status":"forgotten"})");
}

}  // namespace hadal::apps
