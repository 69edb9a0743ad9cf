#include "hadal/gateway/route_book.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/base/ascii.h"
#include "hadal/gateway/detect_parts.h"

namespace hadal::gateway {
namespace {

constexpr int32_t kSequences = 64;  // of a local model that does not say

bool has(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool says(const std::vector<net::Header>* headers, const TextPairs& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](const auto& pair) {
    return headers != nullptr &&
           std::any_of(headers->begin(), headers->end(), [&](const net::Header& header) {
             return equal_in_any_case(header.name, pair.first) &&
                    (pair.second == "*" || equal_in_any_case(header.value, pair.second));
           });
  });
}

void add_reason(RoutePlan* plan, const std::string& reason) {
  if (!plan->reasons.empty()) plan->reasons += ", ";
  plan->reasons += reason;
}

}  // namespace

RouteBook::RouteBook(const Config& config) : routes_(config.routes) {
  for (const BackendConfig& backend : config.backends) {
    Backend one{backend.name, backend.is_local(), backend.is_local() || backend.trusted,
                backend.names, PriceTable(backend.cost.prices)};
    for (const auto& [name, upstream] : backend.models) one.models.push_back(name);
    if (one.local) {
      local_ = backend.name;
      overflow_at_ = backend.overflow_at;
      local_places_ = backend.engine.max_sequences > 0 ? backend.engine.max_sequences : kSequences;
    }
    backends_.push_back(std::move(one));
  }
}

const RouteBook::Backend* RouteBook::find(std::string_view name) const {
  const auto found = std::find_if(backends_.begin(), backends_.end(),
                                  [&](const Backend& one) { return one.name == name; });
  return found == backends_.end() ? nullptr : &*found;
}

bool RouteBook::is_trusted(std::string_view backend) const {
  const Backend* found = find(backend);
  return found != nullptr && found->trusted;
}

const PriceTable* RouteBook::prices(std::string_view backend) const {
  const Backend* found = find(backend);
  return found == nullptr ? nullptr : &found->prices;
}

const RouteConfig* RouteBook::match(const RouteAsk& ask) const {
  static const std::vector<std::string> kNone;
  const std::vector<std::string>& labels = ask.screening ? ask.screening->labels : kNone;
  const auto holds = [&](const RouteConfig& route) {
    const bool labelled = route.labels.empty() ||
                          std::any_of(labels.begin(), labels.end(),
                                      [&](const auto& label) { return has(route.labels, label); });
    return labelled && (!route.clean || labels.empty()) &&
           (route.tenants.empty() || has(route.tenants, ask.tenant)) &&
           (route.models.empty() || has(route.models, ask.asked) || has(route.models, ask.model)) &&
           says(ask.headers, route.headers) && ask.prompt_tokens >= route.prompt_min &&
           (route.prompt_max == 0 || ask.prompt_tokens <= route.prompt_max) &&
           (route.load_above == 0 || ask.local_load > route.load_above);
  };
  const auto found = std::find_if(routes_.begin(), routes_.end(), holds);
  return found == routes_.end() ? nullptr : &*found;
}

// In the order in which they are to be asked.
std::vector<const RouteBook::Backend*> RouteBook::candidates(const RouteAsk& ask,
                                                             const RouteConfig* route) const {
  std::vector<const Backend*> found;
  const auto take = [&](const Backend& one) {
    if (!has(one.models, ask.model)) return;
    if (ask.only != nullptr && !ask.only->empty() && !has(*ask.only, one.name)) return;
    found.push_back(&one);
  };
  if (route == nullptr) {
    for (const Backend& one : backends_) take(one);
    std::stable_sort(found.begin(), found.end(), [](const Backend* a, const Backend* b) {
      return std::pair(!a->local, !a->trusted) < std::pair(!b->local, !b->trusted);
    });
    return found;
  }
  for (const std::string& name : route->to) {
    if (const Backend* one = find(name)) take(*one);
  }
  const auto output = [&](const Backend* one) { return one->prices.at(ask.now).output; };
  if (route->max_price > 0) {
    std::erase_if(found, [&](const Backend* one) { return output(one) > route->max_price; });
  }
  if (route->order == "cheapest") {
    std::stable_sort(found.begin(), found.end(),
                     [&](const Backend* a, const Backend* b) { return output(a) < output(b); });
  }
  return found;
}

RoutePlan RouteBook::plan(const RouteAsk& ask) const {
  const RouteConfig* route = match(ask);
  RoutePlan plan;
  plan.route = route != nullptr ? route->name : "default";
  std::vector<const Backend*> found = candidates(ask, route);
  const bool stays = ask.screening != nullptr && ask.screening->stays;
  if (stays) {
    add_reason(&plan, "stays: " + ask.screening->reason);
    const size_t before = found.size();
    const auto keep_trusted = [&] {
      std::erase_if(found, [](const Backend* one) { return !one->trusted; });
    };
    keep_trusted();
    // The route leads out only: whoever of the house serves the model.
    if (found.empty() && before > 0) {
      found = candidates(ask, nullptr);
      keep_trusted();
    }
    plan.sensitive = found.empty() && before > 0;
  }
  const auto local =
      std::find_if(found.begin(), found.end(), [](const Backend* one) { return one->local; });
  if (local != found.end() && found.size() > 1) {
    if (!ask.local_ready) {
      add_reason(&plan, "the local model is not ready");
      found.erase(local);
    } else if (overflow_at_ > 0 && ask.local_load >= overflow_at_) {
      add_reason(&plan, fmt::format("overflow, load {:.2f}", ask.local_load));
      std::rotate(local, local + 1, found.end());
    }
  }
  const bool apart = route != nullptr && route->order == "cheapest";
  const Backend* last = nullptr;
  for (const Backend* one : found) {
    const bool joins =
        last != nullptr && !apart && !last->local && !one->local && last->trusted == one->trusted;
    if (!joins) plan.stages.push_back({{}, one->local});
    plan.stages.back().backends.push_back(one->name);
    last = one;
  }
  return plan;
}

}  // namespace hadal::gateway
