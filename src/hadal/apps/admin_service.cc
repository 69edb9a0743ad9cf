#include "hadal/apps/admin_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/apps/admin_json.h"
#include "hadal/gateway/secret.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {

AdminService::AdminService(std::shared_ptr<gateway::KeyStore> keys,
                           std::shared_ptr<obs::Registry> registry, const Clock& clock,
                           std::function<void()> reload)
    : keys_(std::move(keys)),
      registry_(std::move(registry)),
      clock_(clock),
      reload_(std::move(reload)),
      http_metrics_(registry_) {}

const std::vector<AdminService::Route>& AdminService::routes() {
  static const std::vector<Route> kRoutes = {
      {"POST", "/admin/v1/keys", &AdminService::create_key},
      {"GET", "/admin/v1/keys", &AdminService::list_keys},
      {"DELETE", "/admin/v1/keys/", &AdminService::revoke_key},
      {"POST", "/admin/v1/reload", &AdminService::reload},
      {"DELETE", "/admin/v1/cache", &AdminService::forget_answers},
      {"GET", "/metrics", &AdminService::metrics},
      {"GET", "/admin/v1/rollouts", &AdminService::list_rollouts},
      {"GET", "/admin/v1/rollouts/", &AdminService::show_rollout},
      {"PUT", "/admin/v1/rollouts/", &AdminService::create_rollout},
      {"POST", "/admin/v1/rollouts/", &AdminService::command_rollout},
      {"DELETE", "/admin/v1/rollouts/", &AdminService::forget_rollout},
  };
  return kRoutes;
}

void AdminService::configure(AdminAccess access) {
  std::lock_guard lock(mutex_);
  access_ = std::move(access);
}

void AdminService::set_cache(Invalidate invalidate) {
  std::lock_guard lock(mutex_);
  invalidate_ = std::move(invalidate);
}

void AdminService::set_rollouts(std::shared_ptr<gateway::RolloutStage> rollouts) {
  std::lock_guard lock(mutex_);
  rollouts_ = std::move(rollouts);
}

void AdminService::handle(net::HttpRequest request, net::ResponseWriter writer) {
  Call call{request, writer, "admin", {}};
  {
    std::lock_guard lock(mutex_);
    call.access = access_;
    call.rollouts = rollouts_;
  }
  if (call.access.key.empty() ||
      !gateway::equal_in_constant_time(gateway::shown_key(request), call.access.key)) {
    return refuse(call, {Code::kUnauthorized,
                         "the admin key is needed: send the header 'Authorization: Bearer KEY'"});
  }
  if (witness_ && witness_(request, writer)) return;
  bool known = false;
  for (const Route& route : routes()) {
    const bool below = route.path.ends_with('/');
    const bool matches =
        below ? request.path.starts_with(route.path) && request.path.size() > route.path.size()
              : request.path == route.path;
    if (!matches) continue;
    known = true;
    if (route.method != request.method) continue;
    call.route = route.path;
    return (this->*route.handle)(call);
  }
  const std::string where = fmt::format("{} {}", request.method, request.path.substr(0, 128));
  if (!known) return refuse(call, {Code::kNotFound, "there is nothing at " + where});
  http_metrics_.answered(call.route, 405);
  writer.respond(405, {{"Content-Type", "application/json"}},
                 api::error_json({Code::kInvalidInput, where + " is not possible"}));
}

void AdminService::reply(Call& call, int status, std::string body, std::string_view type) {
  http_metrics_.answered(call.route, status);
  // Keys pass through here.
  call.writer.respond(status, {{"Content-Type", std::string(type)}, {"Cache-Control", "no-store"}},
                      std::move(body));
}

void AdminService::refuse(Call& call, const api::ApiError& error) {
  reply(call, api::http_status(error.code), api::error_json(error));
}

void AdminService::create_key(Call& call) {
  const int64_t now = clock_.unix_seconds();
  auto wanted = parse_new_key(call.request.body, now);
  if (!wanted) return refuse(call, wanted.error());
  if (!wanted->tenant.empty() && call.access.tenants->find(wanted->tenant) == nullptr) {
    return refuse(call,
                  {Code::kInvalidInput,
                   fmt::format("there is no tenant '{}'", wanted->tenant.substr(0, 64)), "tenant"});
  }
  auto key = keys_->create(std::move(*wanted), now);
  if (!key) return refuse(call, std::move(key.error()));
  reply(call, 201, key_json(key->record, now, key->text));
}

void AdminService::list_keys(Call& call) {
  auto records = keys_->list();
  if (!records) return refuse(call, std::move(records.error()));
  reply(call, 200, keys_json(*records, clock_.unix_seconds()));
}

void AdminService::revoke_key(Call& call) {
  const int64_t now = clock_.unix_seconds();
  const std::string id = call.request.path.substr(std::string_view("/admin/v1/keys/").size());
  auto record = keys_->revoke(id, now);
  if (!record) return refuse(call, std::move(record.error()));
  reply(call, 200, key_json(*record, now, {}));
}

void AdminService::reload(Call& call) {
  reload_();
  reply(call, 202, R"({"status":"reading the configuration again"})");
}

// ?tenant=NAME, ?model=NAME, both, or ?all=true: nothing goes by a forgotten parameter.
void AdminService::forget_answers(Call& call) {
  gateway::CacheFilter filter;
  bool all = false, good = true;
  std::string_view rest = call.request.query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view name = pair.substr(0, equals);
    std::string value;
    good = good && equals < pair.size() &&
           net::decode_path("/" + std::string(pair.substr(equals + 1)), &value) && value.size() > 1;
    if (!good) break;
    value.erase(0, 1);
    if (name == "tenant") {
      filter.tenant = std::move(value);
    } else if (name == "model") {
      filter.model = std::move(value);
    } else if (name == "all" && value == "true") {
      all = true;
    } else {
      good = false;
    }
  }
  if (!good || all == (!filter.tenant.empty() || !filter.model.empty())) {
    return refuse(call, {Code::kInvalidInput, "expected ?tenant=NAME, ?model=NAME or ?all=true"});
  }
  Invalidate invalidate;
  {
    std::lock_guard lock(mutex_);
    invalidate = invalidate_;
  }
  if (!invalidate) return refuse(call, {Code::kUnavailable, "the cache is not there yet"});
  auto gone = invalidate(filter);
  if (!gone) return refuse(call, std::move(gone.error()));
  reply(call, 200, fmt::format(R"({{"removed":{}}})", *gone));
}

void AdminService::metrics(Call& call) {
  reply(call, 200, exposition(*registry_), obs::kExpositionType);
}

}  // namespace hadal::apps
