// Who answers: the state of all backends, and the choice among them. Everything that decides is
// here; sockets and threads are elsewhere, so a test runs it in invented time.
//
// A request asks start(), which reserves a place, and later says finish(), exactly once for each
// start. A backend may be asked when it serves the model, is configured (or still drains: no new
// requests), answers its health checks, is not ejected, its breaker admits, and it has a place
// free. Backups are asked only when no other backend could be, were it not for its places: a full
// fleet does not overflow into a backup.
//
// Pure, on a time that is passed in; seeded. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/breaker.h"
#include "hadal/gateway/outlier.h"
#include "hadal/gateway/picker.h"
#include "hadal/gateway/retry_budget.h"

namespace hadal::gateway {

struct HealthRules {
  int32_t fall = 3;  // failed checks in a row until it is down
  int32_t rise = 2;  // good ones until it is up again
  bool operator==(const HealthRules&) const = default;
};

struct BackendRules {
  std::string name;
  int32_t weight = 1;  // 0: gets nothing, as one that drains
  bool backup = false;
  int32_t max_in_flight = 256;
  std::vector<std::string> models;
};

struct FleetRules {
  Strategy strategy = Strategy::kLeastTokens;
  double load_bound = 1.25;  // of kPrefix, at least 1
  BreakerRules breaker;
  OutlierRules outlier;
  HealthRules health;
  int32_t retries = 2;       // of a request, beside the first attempt
  double retry_share = 0.2;  // of all requests, see RetryBudget
  double retry_burst = 10;
};

enum class Outcome : uint8_t {
  kGood,       // answered, also when it refused the request as wrong
  kFailed,     // could not be reached, broke off, or answered that it is at fault
  kBusy,       // answered that it has too much to do: not its fault, but another may have room
  kCancelled,  // the client left: says nothing
};

enum class NoBackend : uint8_t {
  kUnknown,  // none serves the model
  kDown,     // none that serves it can be asked now
  kFull,     // some could, but have no place free
};

struct Ask {
  std::string_view model;
  uint64_t affinity = 0;
  int64_t tokens = 0;                             // what it is expected to cost
  const std::vector<BackendId>* tried = nullptr;  // these only when there is no other
  const std::vector<BackendId>* only = nullptr;   // no others at all; null: any
};

// A place at a backend.
struct Lease {
  BackendId backend = 0;
  int64_t tokens = 0;
  bool probe = false;  // of a breaker that is half open
};

enum class Condition : uint8_t { kUp, kUnhealthy, kEjected, kOpen, kHalfOpen, kDraining };
std::string_view condition_name(Condition condition);

class Fleet {
 public:
  explicit Fleet(uint64_t seed) : picker_(seed), budget_(0, 0) {}

  // Backends are the same when their names are: what is known of them stays. One that is gone
  // drains: nothing new, and forgotten when its last request is finished.
  void configure(const FleetRules& rules, const std::vector<BackendRules>& backends);

  tl::expected<Lease, NoBackend> start(Nanos now, const Ask& ask);
  void finish(Nanos now, const Lease& lease, Outcome outcome);
  // Once for each request, before its first start().
  void on_request() { budget_.on_request(); }
  // Whether there may be one more attempt, `attempts` having been made.
  bool take_retry(int32_t attempts);
  bool take_hedge() { return budget_.take(); }

  // The result of an active check.
  void checked(BackendId id, bool good);
  // Operator's wish: no new requests.
  void drain(BackendId id, bool draining);

  struct View {
    BackendId id = 0;
    std::string name;
    Condition condition = Condition::kUp;
    int32_t in_flight = 0;
    int64_t tokens = 0;
    bool gone = false;  // not configured any more
  };
  std::vector<View> view(Nanos now) const;
  // The same of one, without its name; `id` must be known.
  struct Load {
    Condition condition;
    int32_t in_flight;
    int64_t tokens;
  };
  Load load(BackendId id, Nanos now) const;
  const std::string& name(BackendId id) const;
  const BackendId* find(std::string_view name) const;
  // When the first of a model's backends that cannot be asked may be asked again; for Retry-After.
  Nanos back_after(Nanos now, std::string_view model) const;

 private:
  struct Backend {
    BackendRules rules;
    uint64_t name_hash = 0;
    bool gone = false;
    bool draining = false;
    bool healthy = true;
    int32_t checks_in_a_row = 0;  // that disagree with `healthy`
    int32_t in_flight = 0;
    int64_t tokens = 0;
    Breaker breaker;
    OutlierWatch outlier;
  };
  Condition condition(const Backend& backend, Nanos now) const;
  bool serves(const Backend& backend, std::string_view model) const;
  bool can_be_asked(const Backend& backend, Nanos now) const;
  void eject_if_outlier(Nanos now, Backend* backend);

  FleetRules rules_;
  Picker picker_;
  RetryBudget budget_;
  std::map<BackendId, Backend> backends_;
  std::map<std::string, BackendId, std::less<>> ids_;
  BackendId next_id_ = 0;
};

}  // namespace hadal::gateway
