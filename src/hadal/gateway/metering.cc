#include "hadal/gateway/metering.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "hadal/gateway/calendar.h"

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanos kConnectEvery = seconds(1);
constexpr Nanos kRenewEvery = seconds(20);
constexpr Nanos kBehind = milliseconds(100);
constexpr size_t kUnwrittenMax = 100'000;  // settled requests that wait for a disk that is gone

std::vector<Subject> subjects_of(const Caller& caller) {
  const TenantConfig& tenant = *caller.tenant;
  std::vector<Subject> subjects;
  subjects.push_back({"tenant:" + tenant.name, fmt::format("tenant '{}'", tenant.name),
                      tenant.limits, tenant.soft_limits});
  const KeyRecord& key = caller.key;
  if (!key.id.empty()) {
    subjects.push_back({"key:" + key.id, "key " + key.id,
                        key.hard.any() ? key.hard : tenant.key_limits,
                        key.soft.any() ? key.soft : tenant.key_soft_limits});
  }
  return subjects;
}

bool is_limited(const Subject& subject) { return subject.hard.any() || subject.soft.any(); }

// The shared store is asked for these alone.
std::vector<Subject> limited(const std::vector<Subject>& subjects) {
  std::vector<Subject> result;
  std::copy_if(subjects.begin(), subjects.end(), std::back_inserter(result), is_limited);
  return result;
}

// To a row that is there already, as most of a moment's requests are of few keys.
void add_change(std::vector<UsageChange>* changes, const UsageChange& more) {
  for (UsageChange& one : *changes) {
    if (one.day != more.day || one.key != more.key || one.tenant != more.tenant ||
        one.model != more.model) {
      continue;
    }
    one.requests += more.requests;
    one.used.input_hit += more.used.input_hit;
    one.used.input_miss += more.used.input_miss;
    one.used.output += more.used.output;
    one.nanos += more.nanos;
    one.held.tokens += more.held.tokens;
    one.held.nanos += more.held.nanos;
    return;
  }
  changes->push_back(more);
}

int64_t whole_seconds(Nanos wait) {
  return std::max<int64_t>(1, static_cast<int64_t>(std::ceil(to_seconds(wait))));
}

}  // namespace

MeteringOptions metering_options(const StoreConfig& store) {
  return {store.path, store.shared(),
          store.redis.empty() ? store.postgres_timeout : store.redis_timeout,
          store.on_store_loss == "refuse", store.local_share};
}

Permit::~Permit() { settle({}); }

void Permit::settle(const Tokens& used) {
  if (metering_ == nullptr || std::exchange(settled_, true)) return;
  metering_->settle(this, used);
}

Metering::Metering(MeteringOptions options, std::shared_ptr<obs::Registry> registry,
                   const Clock& clock, LogSink log)
    : options_(std::move(options)),
      clock_(clock),
      log_(std::move(log)),
      registry_(std::move(registry)),
      requests_(registry_->counter("hadal_tenant_requests_total",
                                   "Requests of each tenant, by what became of them.",
                                   {"tenant", "outcome"})),
      tokens_(registry_->counter("hadal_tenant_tokens_total", "Tokens of settled requests.",
                                 {"tenant", "kind"})),
      money_(registry_->counter("hadal_tenant_cost_total",
                                "What settled requests cost, by the configured prices.",
                                {"tenant"})),
      refusals_(registry_->counter("hadal_limit_refusals_total",
                                   "Requests answered 429 or 413, by the limit.",
                                   {"tenant", "limit"})),
      soft_(registry_->counter("hadal_soft_limit_total",
                               "Requests admitted over a soft limit, by the limit.",
                               {"tenant", "limit"})),
      failed_writes_(registry_
                         ->counter("hadal_usage_write_errors_total",
                                   "Writes to the store of usage that failed.")
                         .with()) {}

Result<std::shared_ptr<Metering>> Metering::make(MeteringOptions options,
                                                 std::shared_ptr<obs::Registry> registry,
                                                 const Clock& clock, LogSink log) {
  std::shared_ptr<Metering> metering(
      new Metering(std::move(options), std::move(registry), clock, std::move(log)));
  HADAL_TRY_VOID(metering->restore());
  const MeteringOptions& chosen = metering->options_;
  if (!chosen.shared.empty()) {
    HADAL_TRY(metering->shared_, SharedLimits::make({chosen.shared, chosen.shared_timeout}));
    metering->up_ =
        &metering->registry_
             ->gauge("hadal_limit_store_up",
                     "Whether the shared store of limits answers, and knows what was used "
                     "while it did not: 1 or 0.")
             .with();
    metering->keep_connected(clock.now());
  }
  metering->worker_ = std::thread([raw = metering.get()] { raw->work(); });
  return metering;
}

Status Metering::restore() {
  if (options_.usage_path.empty()) return {};
  HADAL_TRY(usage_, UsageStore::open(options_.usage_path));
  const Moment at = now();
  const int64_t day = day_of(at.unix_seconds);
  const int64_t month = month_of(at.unix_seconds);
  std::map<std::string, std::pair<int64_t, int64_t>> used;  // tokens today, money this month
  const auto add = [&](const UsageRow& row, bool today) {
    const auto take = [&](const std::string& id) {
      auto& [tokens, nanos] = used[id];
      if (today) {
        tokens += row.used.total() + row.held.tokens;
      } else {
        nanos += row.nanos + row.held.nanos;
      }
    };
    take("tenant:" + row.tenant);
    if (!row.key.empty()) take("key:" + row.key);
  };
  HADAL_TRY(const std::vector<UsageRow> todays, usage_->sums(day, day));
  for (const UsageRow& row : todays) add(row, true);
  HADAL_TRY(const std::vector<UsageRow> months, usage_->sums(day_of(month_begin(month)), day));
  for (const UsageRow& row : months) add(row, false);
  for (const auto& [id, sums] : used) book_.restore(id, day, sums.first, month, sums.second);
  return {};
}

Metering::~Metering() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  if (worker_.joinable()) worker_.join();
}

Metering::Shared Metering::shared() const {
  if (shared_ == nullptr) return Shared::kNone;
  return shared_->connected() ? Shared::kUp : Shared::kLost;
}

MeterRefusal Metering::refusal(const MeterAsk& ask, const OverLimit& over) {
  const std::string limit(limit_name(over.limit));
  const std::string& tenant = ask.caller->tenant->name;
  requests_.with({tenant, "refused"}).increment();
  refusals_.with({tenant, limit}).increment();
  if (over.impossible) {
    return {Code::kTooLarge,
            fmt::format("{}: this request alone could pass {} ({:g}); ask for fewer tokens "
                        "(max_tokens)",
                        over.subject, limit, over.allowed),
            limit, 0};
  }
  const int64_t wait = whole_seconds(over.retry_after);
  return {Code::kExhausted,
          fmt::format("{}: {} ({:g}) is used up; try again in {} s", over.subject, limit,
                      over.allowed, wait),
          limit, wait};
}

tl::unexpected<MeterRefusal> Metering::store_lost(const MeterAsk& ask, const char* what) {
  requests_.with({ask.caller->tenant->name, "store_lost"}).increment();
  return tl::unexpected<MeterRefusal>(MeterRefusal{Code::kUnavailable, what, {}, 1});
}

// Nothing: the store does not answer.
std::optional<Admission> Metering::admit_shared(Permit* permit) {
  const std::vector<Subject> subjects = limited(permit->subjects_);
  if (shared_ == nullptr || subjects.empty() || !shared_->connected()) return {};
  SharedLimits::Ticket ticket;
  auto admission =
      shared_->admit(subjects, permit->estimate_, permit->admitted_.unix_seconds, &ticket);
  if (!admission) {
    up_->set(0);
    log_to(log_, LogLevel::kError, admission.error().what);
    return {};
  }
  if (!admission->refused) {
    permit->ticket_ = ticket;
    std::lock_guard lock(mutex_);
    running_[ticket.lease] = {subjects, ticket};
  }
  return std::move(*admission);
}

Admission Metering::admit_local(const Permit& permit) {
  std::lock_guard lock(book_mutex_);
  // What the shared store has admitted is counted here, too: for when it is gone.
  if (permit.ticket_) {
    book_.charge(permit.subjects_, permit.estimate_, permit.admitted_);
    return {};
  }
  book_.set_share(shared_ == nullptr ? 1 : options_.local_share);
  return book_.admit(permit.subjects_, permit.estimate_, permit.admitted_);
}

tl::expected<std::shared_ptr<Permit>, MeterRefusal> Metering::admit(MeterAsk ask) {
  std::shared_ptr<Permit> permit(new Permit);
  permit->subjects_ = subjects_of(*ask.caller);
  const int64_t answer = ask.answer_tokens.value_or(ask.caller->tenant->answer_estimate);
  permit->estimate_ = cost_of({0, ask.prompt_tokens, answer}, ask.price);
  permit->admitted_ = now();
  permit->ask_ = std::move(ask);
  const MeterAsk& asked = permit->ask_;
  const bool is_bound = !limited(permit->subjects_).empty();

  std::optional<Admission> shared = admit_shared(permit.get());
  if (shared && shared->refused) {
    return tl::unexpected<MeterRefusal>(refusal(asked, *shared->refused));
  }
  if (!shared && shared_ != nullptr && is_bound && options_.refuse_on_loss) {
    return store_lost(asked, "limits cannot be checked at the moment, try again later");
  }
  Admission local = admit_local(*permit);
  if (local.refused) return tl::unexpected<MeterRefusal>(refusal(asked, *local.refused));
  permit->metering_ = shared_from_this();

  const bool is_free = permit->estimate_ == Cost{};
  if (usage_ != nullptr && !is_free) {
    UsageChange change{asked.caller->tenant->name,
                       asked.caller->key.id,
                       asked.model,
                       day_of(permit->admitted_.unix_seconds),
                       1,
                       {},
                       0,
                       permit->estimate_};
    const Status written = usage_->add({&change, 1});
    permit->held_ = written.has_value();
    if (!written) {
      failed_writes_.increment();
      if (is_bound && options_.refuse_on_loss) {
        permit->settle({});
        return store_lost(asked, "usage cannot be recorded at the moment, try again later");
      }
    }
  }
  requests_.with({asked.caller->tenant->name, "admitted"}).increment();
  for (const OverLimit& over : shared ? shared->soft : local.soft) {
    const std::string limit(limit_name(over.limit));
    soft_.with({asked.caller->tenant->name, limit}).increment();
    permit->headers_.push_back({"X-Hadal-Soft-Limit", fmt::format("{} {}", limit, over.subject)});
  }
  return permit;
}

void Metering::count(const MeterAsk& ask, const Tokens& used, int64_t nanos) {
  const std::string& tenant = ask.caller->tenant->name;
  const auto add = [&](const char* kind, int64_t tokens) {
    if (tokens > 0) tokens_.with({tenant, kind}).increment(static_cast<double>(tokens));
  };
  add("input_hit", used.input_hit);
  add("input_miss", used.input_miss);
  add("output", used.output);
  if (nanos > 0) money_.with({tenant}).increment(static_cast<double>(nanos) / kNanosPerUnit);
}

void Metering::settle(Permit* permit, const Tokens& used) {
  const MeterAsk& ask = permit->ask_;
  const Cost actual = cost_of(used, ask.price);
  count(ask, used, actual.nanos);
  {
    std::lock_guard lock(book_mutex_);
    book_.settle(permit->subjects_, permit->estimate_, actual, permit->admitted_, now());
  }
  Settled job;
  job.estimate = permit->estimate_;
  job.actual = actual;
  job.ticket = permit->ticket_;
  job.admitted = permit->admitted_.unix_seconds;
  if (shared_ != nullptr) {
    job.subjects = limited(permit->subjects_);
    job.unshared = !job.ticket && !job.subjects.empty();
  }
  const bool is_free = permit->estimate_ == Cost{} && actual == Cost{};
  if (usage_ != nullptr && (permit->held_ || is_free || actual.tokens > 0)) {
    UsageChange change{ask.caller->tenant->name,
                       ask.caller->key.id,
                       ask.model,
                       day_of(job.admitted),
                       permit->held_ ? 0 : 1,
                       used,
                       actual.nanos,
                       {}};
    if (permit->held_) change.held = {-permit->estimate_.tokens, -permit->estimate_.nanos};
    job.changes.push_back(std::move(change));
  }
  std::lock_guard lock(mutex_);
  if (job.ticket) running_.erase(job.ticket->lease);
  const bool is_first = settled_.empty();
  const bool is_urgent = !is_free || job.ticket || job.unshared;
  if (settled_.size() < kUnwrittenMax) settled_.push_back(std::move(job));
  urgent_ |= is_urgent;
  if (is_first || is_urgent) wake_.notify_one();
}

void Metering::flush() {
  std::unique_lock lock(mutex_);
  urgent_ = true;
  wake_.notify_one();
  idle_.wait(lock, [&] { return settled_.empty() && !busy_; });
}

void Metering::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto ready = [&] { return ended_ || !settled_.empty(); };
    if (shared_ != nullptr) {
      wake_.wait_for(lock, milliseconds(250), ready);
    } else {
      wake_.wait(lock, ready);
    }
    wake_.wait_for(lock, kBehind, [&] { return ended_ || urgent_ || settled_.empty(); });
    urgent_ = false;
    std::vector<Settled> batch = std::exchange(settled_, {});
    if (ended_ && batch.empty()) return;
    busy_ = true;
    lock.unlock();
    write(std::move(batch));
    keep_connected(clock_.now());
    lock.lock();
    busy_ = false;
    idle_.notify_all();
  }
}

void Metering::write(std::vector<Settled> batch) {
  std::vector<UsageChange> changes;
  for (const Settled& job : batch) {
    for (const UsageChange& change : job.changes) add_change(&changes, change);
  }
  if (usage_ != nullptr && !changes.empty()) {
    if (const Status written = usage_->add(changes); !written) {
      // The estimates stay in its place.
      failed_writes_.increment();
      log_to(log_, LogLevel::kError, "usage is not recorded: " + written.error().what);
    }
  }
  for (const Settled& job : batch) {
    if (job.ticket && shared_->connected()) {
      const Status told = shared_->settle(job.subjects, job.estimate, job.actual, *job.ticket);
      if (!told) log_to(log_, LogLevel::kError, told.error().what);
    }
    if (!job.unshared) continue;
    const int64_t month = month_of(job.admitted);
    if (std::exchange(unshared_month_, month) != month) unshared_.clear();
    for (const Subject& subject : job.subjects) {
      unshared_[subject.id].tokens += job.actual.tokens;
      unshared_[subject.id].nanos += job.actual.nanos;
    }
  }
}

// The worker's, and make()'s before there is one.
void Metering::keep_connected(Nanos at) {
  if (shared_ == nullptr) return;
  if (!shared_->connected() && at >= next_connect_) {
    next_connect_ = at + kConnectEvery;
    const Status status = shared_->reconnect();
    // Once a loss, not once a second.
    if (status || !std::exchange(told_lost_, true)) {
      log_to(log_, status ? LogLevel::kInfo : LogLevel::kError,
             status ? "the store of limits answers" : status.error().what);
    }
    if (status) told_lost_ = false;
  }
  if (!shared_->connected()) return up_->set(0);
  while (!unshared_.empty()) {
    const auto& [id, cost] = *unshared_.begin();
    if (!shared_->charge(id, cost, clock_.unix_seconds())) return;
    unshared_.erase(unshared_.begin());
  }
  up_->set(1);  // again only when it knows what was used without it
  if (at < next_renew_) return;
  next_renew_ = at + kRenewEvery;
  std::map<std::string, Running> running;
  {
    std::lock_guard lock(mutex_);
    running = running_;
  }
  for (const auto& [lease, one] : running) {
    if (!shared_->renew(one.subjects, one.ticket)) return;
  }
}

}  // namespace hadal::gateway
