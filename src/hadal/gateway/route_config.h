// What hadal.yaml says of routes, and of what a backend in somebody else's hands costs.
// The list of their fields is route_config.cc.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hadal/gateway/field.h"
#include "hadal/gateway/sensitivity_config.h"
#include "hadal/gateway/tenant_config.h"

namespace hadal::gateway {

// The price of a million tokens, at some hours.
struct PriceWindow {
  std::string hours;  // "16:30-00:30", UTC; empty: all day
  double input_hit = 0, input_miss = 0, output = 0;
  bool operator==(const PriceWindow&) const = default;
};

// Of a backend with `url`.
struct CostConfig {
  std::vector<PriceWindow> prices;
  double budget_per_month = 0;  // 0: none
  int32_t answer_max = 8'192;  // tokens; put into requests that do not say, where there is a budget
  bool operator==(const CostConfig&) const = default;
};

struct RouteConfig {
  std::string name;
  // All that are said must hold.
  std::vector<std::string> labels;  // any of them was found
  bool clean = false;               // nothing was found
  std::vector<std::string> tenants, models;
  TextPairs headers;
  int64_t prompt_min = 0, prompt_max = 0;  // tokens, about; 0: any
  double load_above = 0;                   // of the local model; 0: any

  std::vector<std::string> to;
  bool refuse = false;
  double max_price = 0;  // of output, now; 0: any
  std::string order = "given";
  bool operator==(const RouteConfig&) const = default;
};

Section<CostConfig> cost_section();
Section<RouteConfig> route_section();

// What other parts of the file say.
struct RouteNames {
  std::vector<std::string> backends, models;  // models: aliases, too
  std::vector<TenantConfig> tenants;
};
void check_routes(ConfigReader& reader, const std::vector<RouteConfig>& routes,
                  const SensitivityConfig& sensitivity, const RouteNames& names);
// `path`: of the backend's `cost`.
void check_cost(ConfigReader& reader, const std::string& path, const CostConfig& cost,
                const StoreConfig& store);

}  // namespace hadal::gateway
