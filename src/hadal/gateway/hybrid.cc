#include "hadal/gateway/hybrid.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/gateway/answer_bound.h"
#include "hadal/gateway/calendar.h"
#include "hadal/gateway/passing.h"

namespace hadal::gateway {
namespace {

constexpr std::string_view kRouteHeader = "X-Hadal-Route";
constexpr int64_t kRetrySeconds = 5;  // of what stays, until its backend may be there again

bool is_shared_name(const Config& config) {
  const BackendConfig* local = config.local();
  if (local == nullptr) return false;
  return std::any_of(config.backends.begin(), config.backends.end(), [&](const BackendConfig& one) {
    return std::any_of(one.models.begin(), one.models.end(), [&](const auto& pair) {
      return std::find(local->names.begin(), local->names.end(), pair.first) != local->names.end();
    });
  });
}

bool is_wanted(const Config& config) {
  return config.sensitivity.on || !config.routes.empty() || is_shared_name(config) ||
         std::any_of(config.backends.begin(), config.backends.end(),
                     [](const BackendConfig& one) { return one.cost.budget_per_month > 0; });
}

int64_t nanos_of(double money) { return static_cast<int64_t>(money * kNanosPerUnit); }

}  // namespace

HybridDesk::HybridDesk(const Clock& clock, std::shared_ptr<obs::Registry> registry, LogSink log)
    : clock_(clock), log_(std::move(log)), metrics_(std::move(registry)) {}

Status HybridDesk::configure(const Config& config) {
  std::shared_ptr<Rules> rules;
  if (is_wanted(config)) {
    rules = std::make_shared<Rules>(config);
    if (config.sensitivity.on) {
      HADAL_TRY(rules->screener, Screener::make(config.sensitivity));
    }
  }
  for (const BackendConfig& backend : config.backends) {
    if (backend.cost.budget_per_month > 0) {
      show_budget(backend.name, nanos_of(backend.cost.budget_per_month));
    }
  }
  std::lock_guard lock(mutex_);
  on_ = rules != nullptr;
  rules_ = std::move(rules);
  return {};
}

std::shared_ptr<const HybridDesk::Rules> HybridDesk::rules() const {
  std::lock_guard lock(mutex_);
  return rules_;
}

std::shared_ptr<const Screening> HybridDesk::screen(const Rules& rules,
                                                    const net::HttpRequest& request) const {
  const Nanos begin = clock_.now();
  auto screening = std::make_shared<const Screening>(rules.screener->screen(request));
  metrics_.screened(to_seconds(clock_.now() - begin));
  for (const std::string& label : screening->labels) metrics_.found(label);
  return screening;
}

void HybridDesk::classify(const net::HttpRequest& request, Journey& journey) const {
  if (!on_ || request.method != "POST" || upstream_path(request.path).empty()) return;
  const auto rules = this->rules();
  if (rules == nullptr || rules->screener == nullptr) return;
  auto screening = screen(*rules, request);
  for (const std::string& label : screening->labels) journey.note_label(label);
  journey.set_screening(std::move(screening), rules->screener);
}

std::shared_ptr<Crossing> HybridDesk::cross(const net::HttpRequest& request, const BodyScan& scan,
                                            const ModelTarget& target) const {
  const auto rules = this->rules();
  if (rules == nullptr) return nullptr;
  const Journey* journey = Journey::of(request);
  std::shared_ptr<const Screening> screening;
  if (rules->screener != nullptr) {
    // A journey's was made by the rules of its arrival, which a reload may have replaced.
    if (journey != nullptr) screening = journey->screening(rules->screener);
    if (screening == nullptr) screening = screen(*rules, request);
  }
  const Choice choice = journey != nullptr ? journey->choice() : Choice();
  RouteAsk ask;
  ask.asked = scan.model;
  ask.model = target.model;
  if (journey != nullptr && journey->who()) ask.tenant = journey->caller()->tenant->name;
  ask.screening = screening.get();
  ask.headers = &request.headers;
  ask.prompt_tokens = prompt_tokens(request);
  ask.local_ready = !ready_ || ready_();
  ask.local_load = static_cast<double>(at_local_.now()) / rules->routes.local_places();
  ask.now = clock_.unix_seconds();
  ask.only = &choice.backends;
  RoutePlan plan = rules->routes.plan(ask);
  return std::shared_ptr<Crossing>(
      new Crossing(shared_from_this(), rules, std::move(screening), std::move(plan)));
}

void HybridDesk::goes_local(net::ResponseWriter& writer) const { at_local_.watch(writer); }

void HybridDesk::show_budget(const std::string& backend, int64_t limit) const {
  if (budgets_ == nullptr) return;
  const auto state = budgets_->state(backend, month_of(clock_.unix_seconds()));
  if (!state) return;
  metrics_.budget(backend, static_cast<double>(limit - state->spent - state->held) / kNanosPerUnit,
                  static_cast<double>(state->spent) / kNanosPerUnit);
}

const RouteStage* Crossing::stage() const {
  return stage_ < plan_.stages.size() ? &plan_.stages[stage_] : nullptr;
}

std::vector<std::string> Crossing::elsewhere() const {
  std::vector<std::string> names;
  for (const RouteStage& stage : plan_.stages) {
    if (!stage.local) names.insert(names.end(), stage.backends.begin(), stage.backends.end());
  }
  return names;
}

// What must be masked is, and nothing is left that may not leave.
bool Crossing::mask(const net::HttpRequest& request) {
  if (masked_ != nullptr || screening_->spans.empty()) return !unmaskable_;
  const Screener& screener = *rules_->screener;
  auto masked =
      std::make_shared<const Masked>(mask_body(request.body, screening_->spans, screener.labels()));
  net::HttpRequest again;
  again.body = masked->body;
  const Screening left = screener.screen(again);
  unmaskable_ = left.stays || !left.spans.empty();
  if (unmaskable_) return false;
  desk_->metrics_.masked(screening_->spans.size());
  masked_ = std::move(masked);
  return true;
}

std::shared_ptr<BudgetHold> Crossing::hold(const BackendConfig& backend,
                                           const net::HttpRequest& request, std::string* body) {
  const int64_t month = month_of(desk_->clock_.unix_seconds());
  const int64_t limit = nanos_of(backend.cost.budget_per_month);
  const auto bound = bound_answer(request.path, body, backend.cost.answer_max);
  if (!bound || desk_->budgets_ == nullptr) return nullptr;
  const Price price = PriceTable(backend.cost.prices).highest();
  const Price dearest{0, std::max(price.input_miss, price.input_hit), price.output};
  const int64_t most = cost_of({0, bound->prompt, bound->output}, dearest).nanos;
  const auto held = desk_->budgets_->hold(backend.name, month, most, limit);
  if (!held) {
    log_to(desk_->log_, LogLevel::kError,
           fmt::format("backend '{}' gets nothing, its budget cannot be written: {}", backend.name,
                       held.error().what));
  }
  desk_->show_budget(backend.name, limit);
  if (!held || !*held) return nullptr;
  return std::make_shared<BudgetHold>(desk_->budgets_, backend.name, month, most);
}

std::optional<Crossing::Outgoing> Crossing::admit(const BackendConfig& backend,
                                                  const net::HttpRequest& request,
                                                  const BodyScan& scan, BodyChanges changes) {
  Outgoing out;
  const bool looks = screening_ != nullptr && !backend.trusted;
  if (looks && (screening_->stays || !mask(request))) return {};
  if (looks && masked_ != nullptr) {
    const auto masked_scan = scan_body(masked_->body);
    if (!masked_scan) return {};
    out.masked = masked_;
    out.body = rewrite_body(masked_->body, *masked_scan, changes);
  } else {
    out.body = rewrite_body(request.body, scan, changes);
  }
  for (const net::Header& header : request.headers) {
    if (!looks || Screener::passes(header.name)) out.headers.push_back(header);
  }
  if (backend.cost.budget_per_month > 0) {
    out.hold = hold(backend, request, &out.body);
    if (out.hold == nullptr) {
      over_budget_ = true;
      desk_->metrics_.over_budget(backend.name);
      return {};
    }
  }
  return out;
}

void Crossing::settle(const BackendConfig& backend, BudgetHold& hold, int status,
                      const UsageScan& usage) {
  bool written = true;
  if (status >= 400) {
    written = hold.settle(0);
  } else if (usage.is_reported()) {
    const Price price = PriceTable(backend.cost.prices).at(desk_->clock_.unix_seconds());
    written = hold.settle(cost_of(usage.tokens(0), price).nanos);
  }
  if (!written) {
    log_to(desk_->log_, LogLevel::kError,
           fmt::format("backend '{}': what was spent cannot be written", backend.name));
  }
  desk_->show_budget(backend.name, nanos_of(backend.cost.budget_per_month));
}

net::Header Crossing::header(std::string_view backend) const {
  std::string reasons = plan_.reasons;
  const auto add = [&](const std::string& reason) {
    reasons += (reasons.empty() ? "" : ", ") + reason;
  };
  const bool foreign = !backend.empty() && !rules_->routes.is_trusted(backend);
  if (foreign && masked_ != nullptr) add(fmt::format("masked {}", screening_->spans.size()));
  if (stage_ > 0 && !backend.empty()) add("the first choice could not be asked");
  if (over_budget_) add("budget");
  return {std::string(kRouteHeader),
          fmt::format("{}; backend={}{}{}", plan_.route, backend.empty() ? "none" : backend,
                      reasons.empty() ? "" : "; reason=", reasons)};
}

void Crossing::note(std::string_view backend, Journey* journey) {
  if (std::exchange(noted_, true)) return;
  const RouteBook& routes = rules_->routes;
  desk_->metrics_.decided(plan_.route, backend.empty()              ? "refused"
                                       : backend == routes.local()  ? "local"
                                       : routes.is_trusted(backend) ? "trusted"
                                                                    : "cloud");
  if (journey == nullptr) return;
  journey->note_reason("route " + header(backend).value);
  const PriceTable* prices = routes.prices(backend);
  if (prices != nullptr && !prices->empty()) {
    journey->note_price(prices->at(desk_->clock_.unix_seconds()));
  }
}

std::optional<Crossing::Refusal> Crossing::refusal(std::string_view model) const {
  const bool stays = screening_ != nullptr && screening_->stays;
  if (plan_.stages.empty() && !plan_.sensitive) {
    return Refusal{403, "no_route", fmt::format("no route leads to '{}' for this request", model)};
  }
  if (plan_.sensitive || unmaskable_ || (stays && !over_budget_)) {
    return Refusal{503, "no_trusted_backend",
                   "this request must not leave, and nobody here can answer it now", kRetrySeconds};
  }
  if (over_budget_) {
    const int64_t now = desk_->clock_.unix_seconds();
    return Refusal{429, "budget_exhausted",
                   fmt::format("what the backends of '{}' may cost this month is spent", model),
                   month_begin(month_of(now) + 1) - now};
  }
  return {};
}

}  // namespace hadal::gateway
