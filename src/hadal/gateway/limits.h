// The limits that a tenant and a key can have, and what a request costs.
//
// Values only. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::gateway {

// In the order in which they are told when a request is over several.
enum class Limit : uint8_t {
  kRequestsPerSecond,
  kTokensPerMinute,
  kTokensPerDay,
  kConcurrent,
  kMoneyPerMonth,
};
inline constexpr size_t kLimits = 5;
std::string_view limit_name(Limit limit);  // as in hadal.yaml: "tokens_per_day"

// Of one tenant or one key. 0: no such limit.
struct LimitValues {
  double requests_per_second = 0;
  int32_t burst = 0;              // requests at once after a pause; 0: one second's, at least one
  int64_t tokens_per_minute = 0;  // in any 60 s
  int64_t tokens_per_day = 0;     // from midnight UTC
  int32_t concurrent = 0;
  double money_per_month = 0;  // in the prices' currency, from the first, midnight UTC
  bool operator==(const LimitValues&) const = default;
  bool any() const { return *this != LimitValues{0, burst}; }
};

// Sums of what is below it are exact as doubles, too.
inline constexpr double kLimitMax = 1e12;

// visit(name, member) for each, in the order of the struct. `limits`: of LimitValues, const or not.
template <class Values, class Visit>
void for_each_limit(Values& limits, Visit visit) {
  visit("requests_per_second", limits.requests_per_second);
  visit("burst", limits.burst);
  visit("tokens_per_minute", limits.tokens_per_minute);
  visit("tokens_per_day", limits.tokens_per_day);
  visit("concurrent", limits.concurrent);
  visit("money_per_month", limits.money_per_month);
}
double limit_value(const LimitValues& limits, Limit limit);
// Sets the one called `name`; false: there is none.
bool set_limit(LimitValues* limits, std::string_view name, double value);

// Money is counted in billionths, so that one token's price is a whole number.
inline constexpr double kNanosPerUnit = 1e9;

struct Tokens {
  int64_t input_hit = 0;   // of the prompt, found in the prefix cache
  int64_t input_miss = 0;  // the rest of it
  int64_t output = 0;
  int64_t total() const { return input_hit + input_miss + output; }
  bool operator==(const Tokens&) const = default;
};

// Of a million tokens.
struct Price {
  double input_hit = 0;
  double input_miss = 0;
  double output = 0;
  bool operator==(const Price&) const = default;
};

struct Cost {
  int64_t tokens = 0;
  int64_t nanos = 0;  // money
  bool operator==(const Cost&) const = default;
};
Cost cost_of(const Tokens& tokens, const Price& price);

}  // namespace hadal::gateway
