#include "hadal/gateway/limits.h"

#include <cmath>
#include <type_traits>

namespace hadal::gateway {

std::string_view limit_name(Limit limit) {
  switch (limit) {
    case Limit::kRequestsPerSecond:
      return "requests_per_second";
    case Limit::kTokensPerMinute:
      return "tokens_per_minute";
    case Limit::kTokensPerDay:
      return "tokens_per_day";
    case Limit::kConcurrent:
      return "concurrent";
    case Limit::kMoneyPerMonth:
      return "money_per_month";
  }
  return "limit";
}

double limit_value(const LimitValues& limits, Limit limit) {
  double value = 0;
  for_each_limit(limits, [&](std::string_view name, auto member) {
    if (name == limit_name(limit)) value = static_cast<double>(member);
  });
  return value;
}

bool set_limit(LimitValues* limits, std::string_view name, double value) {
  bool found = false;
  for_each_limit(*limits, [&](std::string_view known, auto& member) {
    if (known != name) return;
    member = static_cast<std::remove_reference_t<decltype(member)>>(value);
    found = true;
  });
  return found;
}

Cost cost_of(const Tokens& tokens, const Price& price) {
  constexpr double kPerToken = kNanosPerUnit / 1e6;
  const double nanos = kPerToken * (static_cast<double>(tokens.input_hit) * price.input_hit +
                                    static_cast<double>(tokens.input_miss) * price.input_miss +
                                    static_cast<double>(tokens.output) * price.output);
  return {tokens.total(), static_cast<int64_t>(std::llround(nanos))};
}

}  // namespace hadal::gateway
