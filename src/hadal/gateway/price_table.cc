#include "hadal/gateway/price_table.h"

#include <algorithm>

#include "hadal/gateway/detect_parts.h"

namespace hadal::gateway {
namespace {

constexpr int32_t kDay = 24 * 60;

std::optional<int32_t> parse_time(std::string_view text) {
  if (text.size() != 5 || text[2] != ':' || !is_digit(text[0]) || !is_digit(text[1]) ||
      !is_digit(text[3]) || !is_digit(text[4])) {
    return {};
  }
  const int32_t hour = (text[0] - '0') * 10 + (text[1] - '0');
  const int32_t minute = (text[3] - '0') * 10 + (text[4] - '0');
  if (minute > 59 || hour * 60 + minute > kDay) return {};
  return hour * 60 + minute;
}

}  // namespace

bool Hours::holds(int32_t minute) const {
  if (begin == end) return true;
  if (begin < end) return minute >= begin && minute < end;
  return minute >= begin || minute < end;
}

std::optional<Hours> parse_hours(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return {};
  const auto begin = parse_time(text.substr(0, dash)), end = parse_time(text.substr(dash + 1));
  if (!begin || !end) return {};
  return Hours{*begin % kDay, *end % kDay};
}

PriceTable::PriceTable(const std::vector<PriceWindow>& windows) {
  for (const PriceWindow& window : windows) {
    const Price price{window.input_hit, window.input_miss, window.output};
    windows_.push_back({parse_hours(window.hours).value_or(Hours{}), price});
    highest_.input_hit = std::max(highest_.input_hit, price.input_hit);
    highest_.input_miss = std::max(highest_.input_miss, price.input_miss);
    highest_.output = std::max(highest_.output, price.output);
  }
}

Price PriceTable::at(int64_t unix_seconds) const {
  const auto minute = static_cast<int32_t>((unix_seconds % (kDay * 60) + kDay * 60) / 60 % kDay);
  for (const Window& window : windows_) {
    if (window.hours.holds(minute)) return window.price;
  }
  return highest_;
}

}  // namespace hadal::gateway
