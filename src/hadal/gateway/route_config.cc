#include "hadal/gateway/route_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/gateway/price_table.h"

namespace hadal::gateway {
namespace {

constexpr double kPriceMax = 1e6;

Section<PriceWindow> window_section() {
  Section<PriceWindow> section(
      "hourly_prices",
      "The first entry whose hours it is counts. With a budget, a request is held against the "
      "highest prices and billed by those of the moment when its answer is complete.");
  section.text("hours", &PriceWindow::hours, "UTC, such as `16:30-00:30`", {"all day"})
      .number("input_hit", &PriceWindow::input_hit, {0, kPriceMax},
              "a million tokens of prompts, found in the upstream's cache")
      .number("input_miss", &PriceWindow::input_miss, {0, kPriceMax}, "of prompts, the rest")
      .number("output", &PriceWindow::output, {0, kPriceMax}, "of answers, thinking included");
  return section;
}

void check_known(ConfigReader& reader, const std::string& path, const char* what,
                 const std::vector<std::string>& given, const std::vector<std::string>& known) {
  for (const std::string& name : given) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    reader.fault(path, fmt::format("there is no {} '{}'{}", what, name.substr(0, 128),
                                   near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
}

}  // namespace

Section<CostConfig> cost_section() {
  Section<CostConfig> section("cost", "What a backend in somebody else's hands may cost.");
  section.list("prices", &CostConfig::prices, window_section(), "what its tokens cost, by the hour")
      .number("budget_per_month", &CostConfig::budget_per_month, {0, 1e9},
              "in the currency of `prices`, from the first, midnight UTC; it gets no request that "
              "could exceed it. Needs `prices` and `store.path`",
              {"none"})
      .integer("answer_max", &CostConfig::answer_max, {1, 1'000'000},
               "with a budget: the `max_tokens` of a request that does not say");
  return section;
}

Section<RouteConfig> route_section() {
  Section<RouteConfig> section(
      "routes",
      "Who may be asked for what, in order: the first route counts of which all conditions hold. "
      "Without one: the local model, then trusted backends, then the others. What `sensitivity` "
      "keeps from leaving stays in any case. See hybrid.md.");
  section.text("name", &RouteConfig::name, "what headers, metrics and the audit call it")
      .required()
      .texts("labels", &RouteConfig::labels, "one of these was found", {"any request"})
      .boolean("clean", &RouteConfig::clean, "nothing was found")
      .texts("tenants", &RouteConfig::tenants, "who asks", {"anybody"})
      .texts("models", &RouteConfig::models, "the name that is asked for, or what it means",
             {"any"})
      .text_map("headers", &RouteConfig::headers, "all of these are in the request; `*`: any value",
                {"any"})
      .integer("prompt_min", &RouteConfig::prompt_min, {0, 1e9},
               "tokens of the request at least, at 4 bytes each", {"any"})
      .integer("prompt_max", &RouteConfig::prompt_max, {0, 1e9}, "... at most", {"any"})
      .number("load_above", &RouteConfig::load_above, {0, 1'000},
              "requests at the local model, as a share of those that it runs at once, above this",
              {"any"})
      .texts("to", &RouteConfig::to,
             "backends, the first first; neighbours that are equally trusted share the requests",
             {"none"})
      .boolean("refuse", &RouteConfig::refuse, "nobody: answered 403")
      .number("max_price", &RouteConfig::max_price, {0, kPriceMax},
              "backends whose `output` costs more at this hour are left out", {"any"})
      .choice("order", &RouteConfig::order, {"given", "cheapest"},
              "`cheapest`: by the price of `output` at this hour; the local model costs nothing");
  return section;
}

void check_routes(ConfigReader& reader, const std::vector<RouteConfig>& routes,
                  const SensitivityConfig& sensitivity, const RouteNames& names) {
  std::vector<std::string> tenants = {std::string(kDefaultTenant)};
  for (const TenantConfig& tenant : names.tenants) tenants.push_back(tenant.name);
  for (size_t i = 0; i < routes.size(); ++i) {
    const RouteConfig& route = routes[i];
    const std::string path = fmt::format("routes[{}]", i);
    for (size_t other = 0; other < i; ++other) {
      if (routes[other].name != route.name) continue;
      reader.fault(path + ".name", fmt::format("'{}' is another route, too", route.name));
    }
    const bool printable = !route.name.empty() && route.name.size() <= 64 &&
                           std::all_of(route.name.begin(), route.name.end(), [](char c) {
                             return c > ' ' && c < 0x7f && c != ';' && c != '=';
                           });
    if (!printable) {
      reader.fault(path + ".name",
                   "a route's name has 1 to 64 letters of ASCII without space, ';' and '='");
    }
    if (route.to.empty() != route.refuse) {
      reader.fault(path, "one of 'to' and 'refuse: true' is needed");
    }
    if ((!route.labels.empty() || route.clean) && !sensitivity.on) {
      reader.fault(path, "nothing is looked for: the section 'sensitivity' is missing");
    }
    if (sensitivity.on) {
      check_known(reader, path + ".labels", "label", route.labels, known_labels(sensitivity));
    }
    check_known(reader, path + ".to", "backend", route.to, names.backends);
    check_known(reader, path + ".models", "model", route.models, names.models);
    check_known(reader, path + ".tenants", "tenant", route.tenants, tenants);
    if (route.prompt_max > 0 && route.prompt_max < route.prompt_min) {
      reader.fault(path + ".prompt_max", "is less than 'prompt_min'");
    }
  }
}

void check_cost(ConfigReader& reader, const std::string& path, const CostConfig& cost,
                const StoreConfig& store) {
  for (size_t i = 0; i < cost.prices.size(); ++i) {
    const std::string& hours = cost.prices[i].hours;
    if (hours.empty() || parse_hours(hours)) continue;
    reader.fault(fmt::format("{}.prices[{}].hours", path, i),
                 fmt::format("found '{}', expected two times of a day, such as 16:30-00:30",
                             hours.substr(0, 64)));
  }
  if (cost.budget_per_month <= 0) return;
  if (cost.prices.empty()) {
    reader.fault(path + ".budget_per_month", "nothing costs anything: 'prices' is missing");
  }
  if (store.path.empty()) {
    reader.fault(path + ".budget_per_month", "has to be remembered: 'store.path' is missing");
  }
}

}  // namespace hadal::gateway
