#include "hadal/gateway/limit_book.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "hadal/gateway/calendar.h"

namespace hadal::gateway {
namespace {

using std::chrono::seconds;

int64_t second_of(Moment now) { return std::chrono::duration_cast<seconds>(now.mono).count(); }

Nanos from_seconds(double value) {
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(value));
}

}  // namespace

LimitValues LimitBook::scaled(const LimitValues& limits) const {
  if (share_ >= 1) return limits;
  LimitValues result = limits;
  const auto part = [&](auto value) {
    return static_cast<decltype(value)>(std::floor(static_cast<double>(value) * share_));
  };
  result.requests_per_second *= share_;
  result.money_per_month *= share_;
  // 0 would mean that there is no limit.
  const auto keep = [&](auto* value) {
    if (*value > 0) *value = std::max<std::remove_reference_t<decltype(*value)>>(part(*value), 1);
  };
  keep(&result.burst);
  keep(&result.tokens_per_minute);
  keep(&result.tokens_per_day);
  keep(&result.concurrent);
  return result;
}

double LimitBook::burst_of(const LimitValues& limits) {
  if (limits.burst > 0) return limits.burst;
  return std::max(1.0, std::ceil(limits.requests_per_second));
}

double LimitBook::level(const Bucket& bucket, const LimitValues& limits, Moment now) {
  const double burst = burst_of(limits);
  if (bucket.level < 0) return burst;
  const double gained = to_seconds(now.mono - bucket.at) * limits.requests_per_second;
  return std::min(burst, bucket.level + std::max(gained, 0.0));
}

void LimitBook::take(Bucket* bucket, const LimitValues& limits, Moment now) {
  if (limits.requests_per_second <= 0) return;
  bucket->level = std::max(level(*bucket, limits, now) - 1, 0.0);
  bucket->at = now.mono;
}

int64_t LimitBook::minute_sum(const State& state, Moment now) {
  const int64_t first = second_of(now) - kWindow;
  int64_t sum = 0;
  for (const Slot& slot : state.minute) {
    if (slot.second >= first) sum += slot.tokens;
  }
  return sum;
}

void LimitBook::add_minute(State* state, int64_t second, int64_t tokens) {
  Slot& slot = state->minute[static_cast<size_t>(second) % state->minute.size()];
  if (slot.second > second) return;  // long gone
  if (slot.second < second) slot = {second, 0};
  slot.tokens = std::max<int64_t>(slot.tokens + tokens, 0);
}

// Until so many seconds' charges have left that `estimate` fits into `room`.
Nanos LimitBook::minute_wait(const State& state, int64_t room, const Cost& estimate, Moment now) {
  const int64_t second = second_of(now);
  int64_t sum = minute_sum(state, now);
  for (int64_t leaving = second - kWindow; leaving <= second; ++leaving) {
    const Slot& slot =
        state.minute[static_cast<size_t>(leaving + kWindow + 1) % state.minute.size()];
    if (slot.second == leaving) sum -= slot.tokens;
    if (sum + estimate.tokens <= room) return seconds(leaving + kWindow + 1) - now.mono;
  }
  return seconds(kWindow + 1);
}

void LimitBook::roll(State* state, Moment now) {
  const int64_t day = day_of(now.unix_seconds);
  const int64_t month = month_of(now.unix_seconds);
  // A clock that was set back does not give anything back.
  if (day > state->day) {
    state->day = day;
    state->day_tokens = 0;
  }
  if (month > state->month) {
    state->month = month;
    state->month_nanos = 0;
  }
}

std::vector<OverLimit> LimitBook::over(const State& state, const Bucket& bucket,
                                       const LimitValues& limits, const Subject& subject,
                                       const Cost& estimate, Moment now) const {
  std::vector<OverLimit> found;
  const auto add = [&](Limit limit, double allowed, Nanos retry_after, bool impossible = false) {
    found.push_back(
        {limit, subject.name, allowed, std::max<Nanos>(retry_after, Nanos(1)), impossible});
  };
  if (limits.requests_per_second > 0) {
    const double there = level(bucket, limits, now);
    // Rounding must not take the request that is due exactly now.
    if (there < 1 - 1e-9) {
      add(Limit::kRequestsPerSecond, limits.requests_per_second,
          from_seconds((1 - there) / limits.requests_per_second));
    }
  }
  if (limits.tokens_per_minute > 0 &&
      minute_sum(state, now) + estimate.tokens > limits.tokens_per_minute) {
    add(Limit::kTokensPerMinute, static_cast<double>(limits.tokens_per_minute),
        minute_wait(state, limits.tokens_per_minute, estimate, now),
        estimate.tokens > limits.tokens_per_minute);
  }
  if (limits.tokens_per_day > 0 && state.day_tokens + estimate.tokens > limits.tokens_per_day) {
    add(Limit::kTokensPerDay, static_cast<double>(limits.tokens_per_day),
        seconds((state.day + 1) * kDaySeconds - now.unix_seconds),
        estimate.tokens > limits.tokens_per_day);
  }
  if (limits.concurrent > 0 && state.running >= limits.concurrent) {
    add(Limit::kConcurrent, limits.concurrent, seconds(1));
  }
  const double nanos = limits.money_per_month * kNanosPerUnit;
  if (nanos > 0 && static_cast<double>(state.month_nanos + estimate.nanos) > nanos) {
    add(Limit::kMoneyPerMonth, limits.money_per_month,
        seconds(month_begin(state.month + 1) - now.unix_seconds),
        static_cast<double>(estimate.nanos) > nanos);
  }
  return found;
}

Admission LimitBook::admit(std::span<const Subject> subjects, const Cost& estimate, Moment now) {
  Admission admission;
  for (const Subject& subject : subjects) {
    State& state = states_[subject.id];
    roll(&state, now);
    auto hard = over(state, state.hard, scaled(subject.hard), subject, estimate, now);
    for (OverLimit& one : hard) {
      auto& refused = admission.refused;
      // The one that lasts longest is the answer to "when".
      const bool later = refused && (one.impossible != refused->impossible
                                         ? one.impossible
                                         : one.retry_after > refused->retry_after);
      if (!refused || later) refused = std::move(one);
    }
    auto soft = over(state, state.soft, scaled(subject.soft), subject, estimate, now);
    for (OverLimit& one : soft) admission.soft.push_back(std::move(one));
  }
  if (!admission.refused) charge(subjects, estimate, now);
  return admission;
}

void LimitBook::charge(std::span<const Subject> subjects, const Cost& estimate, Moment now) {
  for (const Subject& subject : subjects) {
    State& state = states_[subject.id];
    roll(&state, now);
    take(&state.hard, scaled(subject.hard), now);
    take(&state.soft, scaled(subject.soft), now);
    add_minute(&state, second_of(now), estimate.tokens);
    state.day_tokens += estimate.tokens;
    state.month_nanos += estimate.nanos;
    ++state.running;
  }
}

void LimitBook::settle(std::span<const Subject> subjects, const Cost& estimate, const Cost& actual,
                       Moment admitted, Moment now) {
  const int64_t tokens = actual.tokens - estimate.tokens;
  const int64_t nanos = actual.nanos - estimate.nanos;
  for (const Subject& subject : subjects) {
    State& state = states_[subject.id];
    roll(&state, now);
    state.running = std::max<int64_t>(state.running - 1, 0);
    add_minute(&state, second_of(tokens > 0 ? now : admitted), tokens);
    // What was given too much goes back to its day; what was taken too much counts today.
    if (tokens > 0 || state.day == day_of(admitted.unix_seconds)) {
      state.day_tokens = std::max<int64_t>(state.day_tokens + tokens, 0);
    }
    if (nanos > 0 || state.month == month_of(admitted.unix_seconds)) {
      state.month_nanos = std::max<int64_t>(state.month_nanos + nanos, 0);
    }
  }
}

void LimitBook::restore(const std::string& id, int64_t day, int64_t tokens, int64_t month,
                        int64_t nanos) {
  State& state = states_[id];
  state.day = day;
  state.day_tokens = tokens;
  state.month = month;
  state.month_nanos = nanos;
}

LimitBook::Used LimitBook::used(const std::string& id, Moment now) const {
  const auto found = states_.find(id);
  if (found == states_.end()) return {};
  State state = found->second;
  roll(&state, now);
  return {minute_sum(state, now), state.day_tokens, state.running, state.month_nanos};
}

}  // namespace hadal::gateway
