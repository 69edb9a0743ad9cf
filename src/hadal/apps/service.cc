#include "hadal/apps/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai_answer.h"
#include "hadal/api/openapi.h"

namespace hadal::apps {
namespace {

uint64_t random_salt() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

api::ApiError not_allowed(std::string_view model) {
  return {Code::kForbidden,
          fmt::format("this key may not ask the model '{}'", model.substr(0, 128)), "model",
          "model_not_allowed"};
}

Service::Service(ServiceOptions options, std::shared_ptr<obs::Registry> registry,
                 const Clock& clock)
    : options_(std::move(options)),
      registry_(std::move(registry)),
      clock_(clock),
      http_metrics_(registry_),
      openapi_(api::openapi_document(options_.version)),
      id_salt_(random_salt()),
      started_(clock.unix_seconds()) {
  auto access = std::make_shared<Access>();
  access->tenants = std::make_shared<gateway::TenantPolicy>(std::vector<gateway::TenantConfig>(),
                                                            options_.api_keys, nullptr);
  access_ = std::move(access);
}

void Service::configure(std::shared_ptr<const Access> access) {
  std::lock_guard lock(mutex_);
  access_ = std::move(access);
}

std::shared_ptr<const Access> Service::access() const {
  std::lock_guard lock(mutex_);
  return access_;
}

// Null while loading without a configuration.
std::shared_ptr<const gateway::Directory> Service::directory() const {
  std::lock_guard lock(mutex_);
  return access_->directory != nullptr ? access_->directory : own_names_;
}

void Service::loading(uint64_t done, uint64_t total) {
  loaded_ = done;
  load_total_ = total;
}

void Service::publish(std::shared_ptr<const ServedModel> model) {
  auto names = model ? std::make_shared<gateway::Directory>(model->names) : nullptr;
  std::lock_guard lock(mutex_);
  model_ = std::move(model);
  own_names_ = std::move(names);
}

std::shared_ptr<const ServedModel> Service::model() const {
  std::lock_guard lock(mutex_);
  return model_;
}

void Service::handle(net::HttpRequest request, net::ResponseWriter writer) {
  std::string_view method = request.method;
  if (method == "HEAD") method = "GET";
  const Route* found = nullptr;
  std::string allowed;
  for (const Route& route : routes()) {
    const bool below = route.path.size() > 1 && route.path.ends_with('/');
    const bool matches =
        below ? request.path.starts_with(route.path) && request.path.size() > route.path.size()
              : request.path == route.path;
    if (!matches) continue;
    if (route.method == method) found = &route;
    allowed = route.method;
  }
  Call call{request, writer, found != nullptr ? found->path : "other", nullptr, nullptr};
  if (!(found != nullptr && found->open)) {
    const auto* journey = gateway::Journey::of(request);
    auto caller = journey != nullptr ? journey->who() : authenticate(request);
    if (!caller) return refuse(call, std::move(caller.error()));
    call.caller = std::move(*caller);
  }
  if (found != nullptr) return dispatch(*found, call);
  const std::string where = fmt::format("{} {}", request.method, request.path.substr(0, 128));
  if (allowed.empty()) {
    return refuse(call, {Code::kNotFound, "there is nothing at " + where, {}, "unknown_url"});
  }
  reply(call, 405, "application/json",
        api::error_json({Code::kInvalidInput,
                         fmt::format("{} is not possible, use {}", where, allowed),
                         {},
                         "method_not_allowed"}),
        {{"Allow", allowed}});
}

gateway::Journey::Who Service::authenticate(const net::HttpRequest& request) const {
  return access()->tenants->authenticate(request, clock_.unix_seconds());
}

std::string Service::tag_of(const net::HttpRequest& request, const gateway::Caller& caller) const {
  return access()->tenants->tag_of(request, caller);
}

gateway::Journey::Who Service::restore(std::string_view tag) const {
  return access()->tenants->restore(tag, clock_.unix_seconds());
}

bool Service::asks_stores() const {
  const auto ours = access();
  return ours->metering != nullptr && ours->metering->asks_stores();
}

bool Service::pass_on(gateway::Gateway& gateway, net::HttpRequest& request,
                      net::ResponseWriter& writer) {
  if (draining_ || !gateway.is_passed_on(request)) return false;
  const auto ours = access();
  const auto notes = request.notes;  // the request moves on
  auto* journey = gateway::Journey::of(request);
  return gateway.handle(
      request, writer,
      [&](const gateway::PassedOn& passed) -> std::optional<std::shared_ptr<gateway::Permit>> {
        Call call{request, writer, request.path, journey->caller(), nullptr};
        if (!call.caller->may_ask(passed.asked)) {
          refuse(call, not_allowed(passed.asked));
          return {};
        }
        journey->note_model(passed.asked, passed.model, ours->tenants->price_of(passed.model));
        if (ours->metering == nullptr) return nullptr;
        call.target = passed.model;
        gateway::MeterAsk ask = meter_ask(call, *ours);
        ask.prompt_tokens = passed.prompt_tokens;
        ask.answer_tokens = passed.answer_tokens;
        auto permit = ours->metering->admit(std::move(ask));
        if (permit) return std::move(*permit);
        refuse_over(call, permit.error());
        return {};
      });
}

bool Service::shares_limits() const {
  const auto ours = access();
  return ours->metering != nullptr && ours->metering->is_shared();
}

std::optional<std::shared_ptr<void>> Service::admit_again(const net::HttpRequest& request,
                                                          net::ResponseWriter& writer,
                                                          std::string_view model) {
  auto* journey = gateway::Journey::of(request);
  const auto names = directory();
  const gateway::ModelTarget* target = names != nullptr ? names->find(model) : nullptr;
  if (journey == nullptr || target == nullptr) return nullptr;
  if (model.empty()) model = target->model;
  const auto ours = access();
  net::HttpRequest unused;
  Call call{unused, writer, request.path, journey->caller(), nullptr};
  if (!call.caller->may_ask(model)) {
    refuse(call, not_allowed(model));
    return {};
  }
  journey->note_model(model, target->model, ours->tenants->price_of(target->model));
  journey->note_used({});
  if (ours->metering == nullptr) return nullptr;
  call.target = target->model;
  gateway::MeterAsk ask = meter_ask(call, *ours);
  ask.answer_tokens = 0;
  auto permit = ours->metering->admit(std::move(ask));
  if (!permit) {
    refuse_over(call, permit.error());
    return {};
  }
  for (const net::Header& header : (*permit)->headers()) writer.also(header);
  return std::move(*permit);
}

void Service::dispatch(const Route& route, Call& call) {
  if (route.works && draining_) {
    return refuse(call, {Code::kUnavailable, "the server is shutting down, ask another one"});
  }
  call.model = model();
  if (route.needs_model && call.model == nullptr) return refuse_unready(call);
  (this->*route.handle)(call);
}

void Service::reply(Call& call, int status, std::string_view type, std::string body,
                    std::vector<net::Header> more) {
  http_metrics_.answered(call.route, status);
  std::vector<net::Header> headers = {{"Content-Type", std::string(type)}};
  for (net::Header& header : more) headers.push_back(std::move(header));
  call.writer.respond(status, std::move(headers), std::move(body));
}

void Service::refuse_over(Call& call, const gateway::MeterRefusal& refusal) {
  std::vector<net::Header> more;
  if (refusal.code != Code::kTooLarge) {
    more.push_back({"Retry-After", std::to_string(refusal.retry_after)});
  }
  if (!refusal.limit.empty()) more.push_back({"X-Hadal-Limit", refusal.limit});
  refuse(call, {refusal.code, refusal.what, {}, refusal.limit}, std::move(more));
}

void Service::refuse(Call& call, const api::ApiError& error, std::vector<net::Header> more) {
  const int status = api::http_status(error.code);
  if (more.empty() && (status == 429 || status == 503))
    more.push_back({"Retry-After", draining_ ? "5" : "1"});
  if (status == 401) more.push_back({"WWW-Authenticate", "Bearer"});
  const bool messages = call.route.find("/messages") != std::string_view::npos;
  reply(call, status, "application/json",
        messages ? api::messages_error(error) : api::error_json(error), std::move(more));
}

void Service::home(Call& call) {
  const auto names = directory();
  std::string name = "loading";
  if (call.model != nullptr || (names != nullptr && names->has_remote())) {
    name = fmt::format("{}", fmt::join(names->listed(), ", "));
  }
  reply(call, 200, "text/plain; charset=utf-8",
        fmt::format("Hadal {}\nmodel: {}\n\n"
                    "POST /v1/chat/completions  POST /v1/completions\n"
                    "POST /v1/responses  POST /v1/messages\n"
                    "GET /v1/models  GET /user/balance\n"
                    "POST /tokenize  POST /detokenize\n"
                    "GET /health  GET /metrics  GET /openapi.json  GET /version\n",
                    options_.version, name));
}

void Service::health(Call& call) {
  if (draining_) {
    return reply(call, 503, "application/json", R"({"status":"draining"})", {{"Retry-After", "5"}});
  }
  const auto names = directory();
  const bool only_passes_on = names != nullptr && !names->has_local();
  if (call.model != nullptr || only_passes_on) {
    // Going on without the shared store is what the operator chose: it is said, and no failure.
    const auto metering = access()->metering;
    const bool lost = metering != nullptr && metering->shared() == gateway::Metering::Shared::kLost;
    return reply_json(call,
                      lost ? R"({"status":"ok","limit_store":"lost"})" : R"({"status":"ok"})");
  }
  const uint64_t total = load_total_;
  const double share = total > 0 ? static_cast<double>(loaded_) / static_cast<double>(total) : 0.0;
  reply(call, 503, "application/json",
        fmt::format(R"({{"status":"loading","progress":{:.3f}}})", share), {{"Retry-After", "1"}});
}

void Service::version(Call& call) {
  reply_json(call, fmt::format(R"({{"version":"{}"}})", options_.version));
}

void Service::openapi(Call& call) { reply_json(call, openapi_); }

void Service::metrics(Call& call) {
  if (!call.caller->key.id.empty()) {
    return refuse(call, {Code::kForbidden, "a tenant's key does not show what others do"});
  }
  reply(call, 200, obs::kExpositionType, exposition(*registry_));
}

void Service::refuse_unready(Call& call) {
  const auto names = directory();
  if (names == nullptr || names->has_local()) {
    return refuse(call, {Code::kUnavailable, "the model is still loading, try again later"});
  }
  refuse(call, {Code::kNotFound,
                fmt::format("no such model, or this address is not passed on; served: {}",
                            fmt::join(names->listed(), ", ")),
                "model", "model_not_found"});
}

api::ModelCard Service::card_of(const Call& call, const std::string& name) const {
  const gateway::ModelTarget* target = directory()->find(name);
  if (target != nullptr && target->local && call.model != nullptr) {
    return {name, call.model->created, call.model->engine->context(), call.model->root};
  }
  return {name, started_, 0, target != nullptr ? target->model : name};
}

void Service::models(Call& call) {
  const auto names = directory();
  if (names == nullptr || (call.model == nullptr && !names->has_remote())) {
    return refuse_unready(call);
  }
  std::vector<api::ModelCard> cards;
  for (const std::string& name : names->listed()) {
    if (call.caller->may_ask(name)) cards.push_back(card_of(call, name));
  }
  reply_json(call, api::models_answer(cards));
}

void Service::model_card(Call& call) {
  const std::string asked = call.request.path.substr(call.route.size());
  const auto names = directory();
  if (names == nullptr || (call.model == nullptr && !names->has_remote())) {
    return refuse_unready(call);
  }
  if (names->find(asked) == nullptr || !call.caller->may_ask(asked)) {
    auto unknown = known_name(call, asked);
    return refuse(call, unknown.error());
  }
  reply_json(call, api::model_answer(card_of(call, asked)));
}

}  // namespace hadal::apps
