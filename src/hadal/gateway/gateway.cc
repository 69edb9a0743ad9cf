#include "hadal/gateway/gateway.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/api/error.h"
#include "hadal/base/check.h"
#include "hadal/gateway/body_scan.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/passing.h"
#include "hadal/gateway/relay.h"

namespace hadal::gateway {
namespace {

constexpr Millis kTick{500};

Nanos nanos(Millis value) { return std::chrono::duration_cast<Nanos>(value); }

FleetRules fleet_rules(const BalancingConfig& config) {
  FleetRules rules;
  rules.strategy = strategy_from_name(config.strategy).value_or(Strategy::kLeastTokens);
  rules.load_bound = config.load_bound;
  rules.retries = config.retries;
  rules.retry_share = config.retry_share;
  rules.breaker.failures = config.breaker_failures;
  rules.breaker.open_for = nanos(config.breaker_open);
  rules.outlier.failure_share = config.eject_share;
  rules.outlier.eject_for = nanos(config.eject_for);
  rules.health.fall = config.health_fall;
  rules.health.rise = config.health_rise;
  return rules;
}

BackendRules backend_rules(const BackendConfig& config) {
  BackendRules rules;
  rules.name = config.name;
  rules.weight = config.weight;
  rules.backup = config.backup;
  rules.max_in_flight = config.max_in_flight;
  for (const auto& [name, upstream] : config.models) rules.models.push_back(name);
  return rules;
}

obs::Counter& counter_of(Outcome outcome, const GatewayMetrics::Backend& metrics) {
  switch (outcome) {
    case Outcome::kGood:
      return *metrics.good;
    case Outcome::kFailed:
      return *metrics.failed;
    case Outcome::kBusy:
      return *metrics.busy;
    case Outcome::kCancelled:
      break;
  }
  return *metrics.cancelled;
}

// Only whether there is an answer, and its status, counts.
class CheckSink final : public net::ClientSink {
 public:
  explicit CheckSink(std::function<void(bool good)> done) : done_(std::move(done)) {}
  void on_head(net::ClientHead head) override { good_ = head.status < 400; }
  bool on_bytes(std::string_view) override { return true; }
  void on_end() override { done_(good_); }
  void on_fault(net::ClientFault, std::string) override { done_(false); }

 private:
  std::function<void(bool good)> done_;
  bool good_ = false;
};

}  // namespace

const std::string& Upstream::model_name(const std::string& model) const {
  for (const auto& [name, upstream] : config.models) {
    if (name == model) return upstream;
  }
  return model;
}

Gateway::Gateway(boost::asio::io_context& io, const Clock& clock,
                 std::shared_ptr<obs::Registry> registry, LogSink log, uint64_t seed)
    : io_(io),
      clock_(clock),
      log_(std::move(log)),
      metrics_(registry),
      http_metrics_(registry),
      hybrid_(std::make_shared<HybridDesk>(clock, registry, log_)),
      fleet_(seed) {}

std::shared_ptr<Gateway> Gateway::make(boost::asio::io_context& io, const Clock& clock,
                                       std::shared_ptr<obs::Registry> registry, LogSink log,
                                       uint64_t seed) {
  return std::shared_ptr<Gateway>(
      new Gateway(io, clock, std::move(registry), std::move(log), seed));
}

std::shared_ptr<Upstream> Gateway::make_upstream(const BackendConfig& config, std::string key,
                                                 Status* status) {
  auto upstream = std::make_shared<Upstream>();
  upstream->metrics = metrics_.backend(config.name);
  upstream->config = config;
  upstream->key = std::move(key);
  auto url = net::parse_url(config.url);
  if (!url) {
    *status = fail(url.error());
    return nullptr;
  }
  net::ClientOptions options;
  options.url = std::move(*url);
  options.ca_file = config.ca_file;
  options.connect_timeout = config.timeouts.connect;
  options.first_byte_timeout = config.timeouts.first_byte;
  options.idle_timeout = config.timeouts.idle;
  options.idle_max = config.max_in_flight;
  const auto take = [&](net::ClientOptions with, std::unique_ptr<net::HttpClient>* client) {
    auto made = net::HttpClient::make(std::move(with), io_);
    if (made) {
      *client = std::move(*made);
    } else {
      *status = fail(made.error());
    }
  };
  take(options, &upstream->client);
  if (!config.health.path.empty()) {
    options.url.path.clear();
    options.connect_timeout = options.first_byte_timeout = options.idle_timeout =
        config.health.timeout;
    take(options, &upstream->checker);
  }
  return upstream;
}

Status Gateway::configure(const Config& config, std::shared_ptr<const Directory> directory,
                          const KeyOf& key_of) {
  std::vector<BackendRules> rules;
  std::vector<std::shared_ptr<Upstream>> made;
  for (const BackendConfig& backend : config.backends) {
    if (backend.is_local()) continue;
    HADAL_TRY(std::string key, key_of(backend));
    Status status = {};
    made.push_back(make_upstream(backend, std::move(key), &status));
    if (!status) {
      return fail(status.error().code,
                  fmt::format("backend '{}': {}", backend.name, status.error().what));
    }
    rules.push_back(backend_rules(backend));
  }
  HADAL_TRY_VOID(hybrid_->configure(config));
  std::unique_lock lock(mutex_);
  fleet_.configure(fleet_rules(config.balancing), rules);
  balancing_ = config.balancing;
  directory_ = std::move(directory);
  has_remote_ = directory_->has_remote();
  has_local_ = directory_->has_local();
  ++generation_;
  std::map<BackendId, std::shared_ptr<const Upstream>> now;
  for (std::shared_ptr<Upstream>& upstream : made) {
    const BackendId id = *fleet_.find(upstream->config.name);
    // What did not change keeps its connections.
    const auto before = upstreams_.find(id);
    const bool same = before != upstreams_.end() && before->second->config == upstream->config &&
                      before->second->key == upstream->key;
    if (same) {
      now[id] = before->second;
    } else {
      now[id] = std::move(upstream);
    }
    if (now[id]->checker) schedule_check(now[id]->config.name, generation_, Millis(0));
  }
  upstreams_ = std::move(now);
  show_locked();
  if (!std::exchange(ticking_, true)) schedule_tick();
  lock.unlock();
  call_all();  // there may be more places now
  return {};
}

void Gateway::stop() {
  std::lock_guard lock(mutex_);
  ++generation_;
  stopped_ = true;
}

// Some states end by time alone: what they allow is shown, and given to who waits for it.
void Gateway::schedule_tick() {
  net::call_after(io_, kTick, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      std::lock_guard lock(self->mutex_);
      if (self->stopped_) return;
      self->show_locked();
      self->schedule_tick();
    }
    self->call_all();
  });
}

void Gateway::call_all() {
  std::vector<BackendId> ids;
  {
    std::lock_guard lock(mutex_);
    if (line_.empty()) return;
    for (const auto& [id, upstream] : upstreams_) ids.push_back(id);
  }
  for (const BackendId id : ids) call_next(id);
}

bool Gateway::is_passed_on(const net::HttpRequest& request) const {
  return has_remote_ && request.method == "POST" && !upstream_path(request.path).empty();
}

bool Gateway::is_surely_passed_on(const net::HttpRequest& request) const {
  constexpr size_t kQuickBytes = 256u << 10;  // a fraction of a millisecond to look through
  return !has_local_ && !hybrid_->on() && request.body.size() <= kQuickBytes &&
         is_passed_on(request);
}

bool Gateway::handle(net::HttpRequest& request, net::ResponseWriter& writer, const Admit& admit) {
  if (!is_passed_on(request)) return false;
  auto scan = scan_body(request.body);
  if (!scan) {
    if (has_local_) return false;  // the parser behind says what is wrong, and better
    http_metrics_.answered(request.path, 400);
    writer.respond(400, {{"Content-Type", "application/json"}},
                   error_body(request.path, scan.error()));
    return true;
  }
  ModelTarget target;
  const Journey* journey = Journey::of(request);
  const Choice choice = journey != nullptr ? journey->choice() : Choice();
  {
    std::lock_guard lock(mutex_);
    const ModelTarget* found = directory_->find(choice.model.empty() ? scan->model : choice.model);
    if (found == nullptr) return false;
    target = *found;
  }
  const std::shared_ptr<Crossing> crossing = hybrid_->cross(request, *scan, target);
  if (crossing == nullptr ? target.local : stays_here(*crossing, target, request, writer)) {
    return crossing != nullptr && crossing->plan().stages.empty();
  }
  std::shared_ptr<Permit> permit;
  if (admit) {
    PassedOn passed{scan->model.empty() ? target.model : scan->model, target.model,
                    prompt_tokens(request)};
    if (scan->max_tokens > 0) passed.answer_tokens = scan->max_tokens;
    auto admitted = admit(passed);
    if (!admitted) return true;
    permit = std::move(*admitted);
  }
  {
    std::lock_guard lock(mutex_);
    fleet_.on_request();
  }
  std::make_shared<Relay>(shared_from_this(), std::move(request), std::move(*scan),
                          std::move(target), std::move(permit), std::move(writer), crossing)
      ->start();
  return true;
}

// True: for the local model, or answered, since nobody may be asked.
bool Gateway::stays_here(Crossing& crossing, const ModelTarget& target,
                         const net::HttpRequest& request, net::ResponseWriter& writer) {
  const RouteStage* first = crossing.stage();
  if (first != nullptr && !first->local) return false;
  const std::string backend = first != nullptr ? first->backends.front() : std::string();
  writer.also(crossing.header(backend));
  crossing.note(backend, Journey::of(request));
  if (first != nullptr) {
    hybrid_->goes_local(writer);
    return true;
  }
  const auto why = crossing.refusal(target.model);
  HADAL_CHECK(why, "a plan without stages says why");
  std::vector<net::Header> headers = {{"Content-Type", "application/json"}};
  if (why->retry_after > 0) headers.push_back({"Retry-After", std::to_string(why->retry_after)});
  http_metrics_.answered(request.path, why->status);
  metrics_.answered(target.model, "none", why->status);
  writer.respond(
      why->status, std::move(headers),
      error_body(request.path, {api::code_for_status(why->status), why->message, {}, why->code}));
  return true;
}

void Gateway::take_back(net::HttpRequest request, net::ResponseWriter writer) {
  hybrid_->goes_local(writer);
  // Later: this thread holds the relay's lock.
  auto held = std::make_shared<net::ResponseWriter>(std::move(writer));
  net::call_after(io_, Millis(0),
                  [take = take_, request = std::move(request), held = std::move(held)]() mutable {
                    take(std::move(request), std::move(*held));
                  });
}

tl::expected<Place, NoBackend> Gateway::start(const Ask& ask) {
  std::lock_guard lock(mutex_);
  auto lease = fleet_.start(clock_.now(), ask);
  if (!lease) {
    show_locked();
    return tl::unexpected(lease.error());
  }
  Place place{*lease, upstreams_.at(lease->backend)};
  show_locked(lease->backend, *place.upstream);
  return place;
}

void Gateway::finish(const Place& place, Outcome outcome) {
  const BackendId id = place.lease.backend;
  counter_of(outcome, place.upstream->metrics).increment();
  {
    std::lock_guard lock(mutex_);
    fleet_.finish(clock_.now(), place.lease, outcome);
    const auto upstream = upstreams_.find(id);
    if (upstream == upstreams_.end()) {  // gone from the configuration
      const BackendId* known = fleet_.find(place.upstream->config.name);
      place.upstream->metrics.in_flight->set(known ? fleet_.load(*known, clock_.now()).in_flight
                                                   : 0);
      place.upstream->metrics.up->set(0);
      return;
    }
    show_locked(id, *upstream->second);
    if (line_.empty()) return;
  }
  call_next(id);
}

void Gateway::call_next(BackendId freed) {
  std::shared_ptr<Relay> next;
  {
    std::lock_guard lock(mutex_);
    const auto upstream = upstreams_.find(freed);
    if (upstream == upstreams_.end() || line_.empty()) return;
    // Who was called would only go back to where he stood.
    if (fleet_.load(freed, clock_.now()).in_flight >= upstream->second->config.max_in_flight)
      return;
    const TextPairs& models = upstream->second->config.models;
    const auto first = std::find_if(line_.begin(), line_.end(), [&](const auto& relay) {
      return relay->may_go_to(freed) &&
             std::any_of(models.begin(), models.end(),
                         [&](const auto& model) { return model.first == relay->model(); });
    });
    if (first == line_.end()) return;
    next = std::move(*first);
    line_.erase(first);
    metrics_.waiting(line_.size());
  }
  // Later: this thread may hold another relay's lock.
  net::call_after(io_, Millis(0), [next, freed] { next->place_may_be_free(freed); });
}

bool Gateway::take_retry(int32_t attempts) {
  std::lock_guard lock(mutex_);
  return fleet_.take_retry(attempts);
}

bool Gateway::take_hedge() {
  std::lock_guard lock(mutex_);
  return fleet_.take_hedge();
}

bool Gateway::wait_in_line(const std::shared_ptr<Relay>& relay, bool in_front) {
  std::lock_guard lock(mutex_);
  if (in_front) {  // had its turn, and somebody was faster
    line_.push_front(relay);
  } else {
    if (static_cast<int>(line_.size()) >= balancing_.queue) return false;
    line_.push_back(relay);
  }
  metrics_.waiting(line_.size());
  return true;
}

std::vector<BackendId> Gateway::ids_of(const std::vector<std::string>& backends) const {
  std::lock_guard lock(mutex_);
  std::vector<BackendId> ids;
  for (const std::string& name : backends) {
    if (const BackendId* id = fleet_.find(name)) ids.push_back(*id);
  }
  return ids;
}

void Gateway::leave_line(const Relay* relay) {
  std::lock_guard lock(mutex_);
  std::erase_if(line_, [&](const auto& waiting) { return waiting.get() == relay; });
  metrics_.waiting(line_.size());
}

Millis Gateway::queue_wait() const {
  std::lock_guard lock(mutex_);
  return balancing_.queue_wait;
}

Millis Gateway::hedge_after() const {
  std::lock_guard lock(mutex_);
  return balancing_.hedge_after;
}

Nanos Gateway::back_after(std::string_view model) {
  std::lock_guard lock(mutex_);
  return fleet_.back_after(clock_.now(), model);
}

void Gateway::schedule_check(const std::string& backend, uint64_t generation, Millis after) {
  net::call_after(io_, after, [self = shared_from_this(), backend, generation] {
    self->check(backend, generation);
  });
}

void Gateway::check(const std::string& backend, uint64_t generation) {
  std::shared_ptr<const Upstream> upstream;
  {
    std::lock_guard lock(mutex_);
    const BackendId* id = fleet_.find(backend);
    if (generation != generation_ || id == nullptr || !upstreams_.count(*id)) return;
    upstream = upstreams_.at(*id);
  }
  net::ClientRequest request;
  request.method = "GET";
  request.target = upstream->config.health.path;
  upstream->checker->send(
      std::move(request),
      std::make_shared<CheckSink>([self = shared_from_this(), upstream, generation](bool good) {
        const BackendConfig& config = upstream->config;
        self->checked(config.name, good);
        self->schedule_check(config.name, generation, config.health.every);
      }));
}

void Gateway::checked(const std::string& backend, bool good) {
  metrics_.checked(backend, good);
  std::lock_guard lock(mutex_);
  if (const BackendId* id = fleet_.find(backend)) fleet_.checked(*id, good);
  show_locked();
}

// What changed, into the log; how things are, into the metrics.
void Gateway::show_locked() {
  for (const auto& [id, upstream] : upstreams_) show_locked(id, *upstream);
}

void Gateway::show_locked(BackendId id, const Upstream& upstream) {
  const Fleet::Load load = fleet_.load(id, clock_.now());
  const GatewayMetrics::Backend& metrics = upstream.metrics;
  const bool up = load.condition == Condition::kUp || load.condition == Condition::kHalfOpen;
  metrics.in_flight->set(load.in_flight);
  metrics.tokens->set(static_cast<double>(load.tokens));
  metrics.up->set(up ? 1 : 0);
  const auto [shown, fresh] = shown_.try_emplace(id, load.condition);
  if (shown->second == load.condition) return;
  log_to(log_, up ? LogLevel::kInfo : LogLevel::kWarning,
         fmt::format("backend '{}' is {} now, was {}", upstream.config.name,
                     condition_name(load.condition), condition_name(shown->second)));
  shown->second = load.condition;
}

}  // namespace hadal::gateway
