#include "hadal/gateway/fleet.h"

#include <algorithm>
#include <set>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"

namespace hadal::gateway {
namespace {

bool contains(const std::vector<BackendId>& ids, BackendId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

std::string_view condition_name(Condition condition) {
  switch (condition) {
    case Condition::kUp:
      return "up";
    case Condition::kUnhealthy:
      return "unhealthy";
    case Condition::kEjected:
      return "ejected";
    case Condition::kOpen:
      return "open";
    case Condition::kHalfOpen:
      return "half_open";
    case Condition::kDraining:
      return "draining";
  }
  return "up";
}

void Fleet::configure(const FleetRules& rules, const std::vector<BackendRules>& backends) {
  if (rules.retry_share != rules_.retry_share || rules.retry_burst != rules_.retry_burst ||
      backends_.empty()) {
    budget_ = RetryBudget(rules.retry_share, rules.retry_burst);
  }
  rules_ = rules;
  for (auto& [id, backend] : backends_) backend.gone = true;
  for (const BackendRules& wanted : backends) {
    const auto [entry, fresh] = ids_.try_emplace(wanted.name, next_id_);
    if (fresh) ++next_id_;
    Backend& backend = backends_[entry->second];
    backend.rules = wanted;
    backend.gone = false;
    backend.name_hash = hash64(std::as_bytes(std::span(wanted.name)));
  }
  for (auto it = backends_.begin(); it != backends_.end();) {
    if (it->second.gone && it->second.in_flight == 0) {
      ids_.erase(it->second.rules.name);
      it = backends_.erase(it);
    } else {
      ++it;
    }
  }
}

Condition Fleet::condition(const Backend& backend, Nanos now) const {
  if (backend.gone || backend.draining || backend.rules.weight == 0) return Condition::kDraining;
  if (!backend.healthy) return Condition::kUnhealthy;
  if (backend.outlier.is_ejected(now)) return Condition::kEjected;
  switch (backend.breaker.state(now)) {
    case Breaker::State::kOpen:
      return Condition::kOpen;
    case Breaker::State::kHalfOpen:
      return Condition::kHalfOpen;
    case Breaker::State::kClosed:
      break;
  }
  return Condition::kUp;
}

bool Fleet::serves(const Backend& backend, std::string_view model) const {
  return std::find(backend.rules.models.begin(), backend.rules.models.end(), model) !=
         backend.rules.models.end();
}

bool Fleet::can_be_asked(const Backend& backend, Nanos now) const {
  const Condition is = condition(backend, now);
  return is == Condition::kUp ||
         (is == Condition::kHalfOpen && backend.breaker.admits(now, rules_.breaker));
}

tl::expected<Lease, NoBackend> Fleet::start(Nanos now, const Ask& ask) {
  bool known = false;
  bool able[2] = {false, false};             // could be asked if it had a place: others, backups
  std::vector<Candidate> free[2], again[2];  // `again`: tried before
  std::vector<Candidate> probes;
  for (const auto& [id, backend] : backends_) {
    if (backend.gone || !serves(backend, ask.model)) continue;
    if (ask.only != nullptr && !contains(*ask.only, id)) continue;
    known = true;
    if (!can_be_asked(backend, now)) continue;
    const size_t rank = backend.rules.backup ? 1 : 0;
    able[rank] = true;
    if (backend.in_flight >= backend.rules.max_in_flight) continue;
    const Candidate candidate{id, backend.rules.weight, backend.in_flight, backend.tokens,
                              backend.name_hash};
    const bool tried = ask.tried != nullptr && contains(*ask.tried, id);
    if (tried) {
      again[rank].push_back(candidate);
    } else if (condition(backend, now) == Condition::kHalfOpen && rank == 0) {
      probes.push_back(candidate);
    } else {
      free[rank].push_back(candidate);
    }
  }
  if (!known) return tl::unexpected(NoBackend::kUnknown);
  // A backend on probation gets the one request that will tell, whatever the strategy.
  const std::vector<Candidate>* from = nullptr;
  for (const auto* list : {&probes, &free[0], &again[0], able[0] ? nullptr : &free[1],
                           able[0] ? nullptr : &again[1]}) {
    if (from == nullptr && list != nullptr && !list->empty()) from = list;
  }
  // All others were tried in vain: then a backup is better than the same again.
  if (from == &again[0] && !free[1].empty()) from = &free[1];
  if (from == nullptr) {
    return tl::unexpected(able[0] || able[1] ? NoBackend::kFull : NoBackend::kDown);
  }
  const BackendId id = picker_.pick(rules_.strategy, *from, ask.affinity, rules_.load_bound);
  Backend& backend = backends_.at(id);
  ++backend.in_flight;
  backend.tokens += ask.tokens;
  return Lease{id, ask.tokens, backend.breaker.started(now)};
}

void Fleet::finish(Nanos now, const Lease& lease, Outcome outcome) {
  const auto found = backends_.find(lease.backend);
  HADAL_CHECK(found != backends_.end() && found->second.in_flight > 0, "finished twice");
  Backend& backend = found->second;
  --backend.in_flight;
  backend.tokens -= lease.tokens;
  if (outcome == Outcome::kFailed) {
    backend.breaker.failed(now, lease.probe, rules_.breaker);
    backend.outlier.count(now, true, rules_.outlier);
    eject_if_outlier(now, &backend);
  } else if (outcome == Outcome::kGood) {
    backend.breaker.succeeded(now, lease.probe, rules_.breaker);
    backend.outlier.count(now, false, rules_.outlier);
  } else {
    backend.breaker.dropped(lease.probe);
  }
  if (backend.gone && backend.in_flight == 0) {
    ids_.erase(backend.rules.name);
    backends_.erase(found);
  }
}

void Fleet::eject_if_outlier(Nanos now, Backend* backend) {
  if (backend->gone || !backend->outlier.is_outlier(now, rules_.outlier)) return;
  // Of those that serve anything that it serves: when most fail, the fault is elsewhere.
  int32_t peers = 0, ejected = 1;
  for (const auto& [id, other] : backends_) {
    const bool shares = std::any_of(backend->rules.models.begin(), backend->rules.models.end(),
                                    [&](const std::string& model) { return serves(other, model); });
    if (other.gone || !shares) continue;
    ++peers;
    if (&other != backend && other.outlier.is_ejected(now)) ++ejected;
  }
  if (static_cast<double>(ejected) > rules_.outlier.ejected_max * peers) return;
  backend->outlier.eject(now, rules_.outlier);
}

bool Fleet::take_retry(int32_t attempts) { return attempts <= rules_.retries && budget_.take(); }

void Fleet::checked(BackendId id, bool good) {
  const auto found = backends_.find(id);
  if (found == backends_.end()) return;
  Backend& backend = found->second;
  if (good == backend.healthy) {
    backend.checks_in_a_row = 0;
    return;
  }
  const int32_t needed = good ? rules_.health.rise : rules_.health.fall;
  if (++backend.checks_in_a_row < needed) return;
  backend.healthy = good;
  backend.checks_in_a_row = 0;
}

void Fleet::drain(BackendId id, bool draining) {
  if (const auto found = backends_.find(id); found != backends_.end()) {
    found->second.draining = draining;
  }
}

std::vector<Fleet::View> Fleet::view(Nanos now) const {
  std::vector<View> views;
  for (const auto& [id, backend] : backends_) {
    views.push_back({id, backend.rules.name, condition(backend, now), backend.in_flight,
                     backend.tokens, backend.gone});
  }
  return views;
}

Fleet::Load Fleet::load(BackendId id, Nanos now) const {
  const Backend& backend = backends_.at(id);
  return {condition(backend, now), backend.in_flight, backend.tokens};
}

const std::string& Fleet::name(BackendId id) const { return backends_.at(id).rules.name; }

const BackendId* Fleet::find(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? nullptr : &found->second;
}

Nanos Fleet::back_after(Nanos now, std::string_view model) const {
  Nanos least = std::chrono::seconds(1);
  bool found = false;
  for (const auto& [id, backend] : backends_) {
    if (backend.gone || !serves(backend, model)) continue;
    Nanos until = now + std::chrono::seconds(1);
    const Condition is = condition(backend, now);
    if (is == Condition::kOpen) until = backend.breaker.opens_until();
    if (is == Condition::kEjected) until = backend.outlier.ejected_until();
    if (!found || until - now < least) least = until - now;
    found = true;
  }
  return least;
}

}  // namespace hadal::gateway
