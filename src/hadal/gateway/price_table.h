// What a backend's tokens cost at a time of day.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "hadal/gateway/limits.h"
#include "hadal/gateway/route_config.h"

namespace hadal::gateway {

// Minutes from midnight UTC; `end` is not in it, and may be before `begin`, over midnight. Equal:
// the whole day.
struct Hours {
  int32_t begin = 0, end = 0;
  bool holds(int32_t minute) const;
};
// "16:30-00:30", also with "24:00".
std::optional<Hours> parse_hours(std::string_view text);

class PriceTable {
 public:
  explicit PriceTable(const std::vector<PriceWindow>& windows);
  bool empty() const { return windows_.empty(); }
  // At hours that no window has: the highest.
  Price at(int64_t unix_seconds) const;
  Price highest() const { return highest_; }

 private:
  struct Window {
    Hours hours;
    Price price;
  };
  std::vector<Window> windows_;
  Price highest_;
};

}  // namespace hadal::gateway
