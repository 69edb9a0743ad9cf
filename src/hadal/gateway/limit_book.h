// Whether a request is within its limits, and what it leaves for the next: the counters of one
// process, with time passed in.
//
// A request is charged an estimate when it is admitted and the difference when it is settled. What
// is admitted is charged whole, to each subject or to none, so:
//   tokens_per_minute  the charges of any 60 s never pass the limit (slots of a second, 61 of them
//                      counted, so that up to a second of a full window is given away);
//   tokens_per_day, money_per_month  the charges of one calendar day or month (UTC) never pass it;
//   concurrent         never more between admit() and settle();
//   requests_per_second  a bucket of `burst` that fills at that rate.
// What an answer takes beyond its estimate is charged, too, and counts from then on: a limit is
// passed by that much at most.
//
// Not thread-safe: a lock is its user's.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/gateway/limits.h"

namespace hadal::gateway {

// Who is charged: a tenant or a key.
struct Subject {
  std::string id;    // "tenant:NAME", "key:ID"
  std::string name;  // for people: "tenant 'NAME'", "key ID"
  LimitValues hard;
  LimitValues soft;
};

struct Moment {
  Nanos mono{0};             // for durations
  int64_t unix_seconds = 0;  // for days and months
};

struct OverLimit {
  Limit limit = Limit::kConcurrent;
  std::string subject;      // its name
  double allowed = 0;       // the limit's value
  Nanos retry_after{0};     // when the same request could pass, if nobody else asked
  bool impossible = false;  // the request alone is over the limit
};

struct Admission {
  std::optional<OverLimit> refused;  // a hard limit: nothing was charged
  std::vector<OverLimit> soft;       // admitted in spite of these
};

class LimitBook {
 public:
  // Requests at once after a pause, by `limits`.
  static double burst_of(const LimitValues& limits);
  // Each limit counts as this share of itself, in (0, 1]; at least one request at once.
  void set_share(double share) { share_ = share; }

  Admission admit(std::span<const Subject> subjects, const Cost& estimate, Moment now);
  // Charges whatever the limits say: what another store has admitted.
  void charge(std::span<const Subject> subjects, const Cost& estimate, Moment now);
  // Once for each admission.
  void settle(std::span<const Subject> subjects, const Cost& estimate, const Cost& actual,
              Moment admitted, Moment now);
  // What was used before this process began.
  void restore(const std::string& id, int64_t day, int64_t tokens, int64_t month, int64_t nanos);

  struct Used {
    int64_t tokens_minute = 0;
    int64_t tokens_day = 0;
    int64_t running = 0;
    int64_t nanos_month = 0;
  };
  Used used(const std::string& id, Moment now) const;

 private:
  struct Bucket {
    double level = -1;  // below 0: never asked, full
    Nanos at{0};
  };
  struct Slot {
    int64_t second = -1;
    int64_t tokens = 0;
  };
  static constexpr int64_t kWindow = 60;
  struct State {
    Bucket hard, soft;
    std::array<Slot, kWindow + 1> minute;
    int64_t day = 0, day_tokens = 0;
    int64_t month = 0, month_nanos = 0;
    int64_t running = 0;
  };

  static int64_t minute_sum(const State& state, Moment now);
  static void add_minute(State* state, int64_t second, int64_t tokens);
  static void roll(State* state, Moment now);
  static double level(const Bucket& bucket, const LimitValues& limits, Moment now);
  static void take(Bucket* bucket, const LimitValues& limits, Moment now);
  static Nanos minute_wait(const State& state, int64_t room, const Cost& estimate, Moment now);
  LimitValues scaled(const LimitValues& limits) const;
  // The limits that one more such request would pass.
  std::vector<OverLimit> over(const State& state, const Bucket& bucket, const LimitValues& limits,
                              const Subject& subject, const Cost& estimate, Moment now) const;

  double share_ = 1;
  std::map<std::string, State> states_;
};

}  // namespace hadal::gateway
