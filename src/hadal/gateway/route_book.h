// Which backends a request may be asked of, and in which order: the operator's routes, kept within
// what may leave.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/config.h"
#include "hadal/gateway/price_table.h"
#include "hadal/gateway/screener.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

struct RouteAsk {
  std::string_view asked, model;  // as the client says it; a name that a backend serves
  std::string_view tenant;
  const Screening* screening = nullptr;  // null: nothing is looked for
  const std::vector<net::Header>* headers = nullptr;
  int64_t prompt_tokens = 0;
  bool local_ready = true;
  double local_load = 0;  // requests there, as a share of those that run at once
  int64_t now = 0;        // unix seconds
  const std::vector<std::string>* only = nullptr;  // of these backends; null or empty: any
};

// Backends that share a request's chances; the next stage is asked when none of these can be.
struct RouteStage {
  std::vector<std::string> backends;
  bool local = false;  // the model run here, alone in its stage
  bool operator==(const RouteStage&) const = default;
};

struct RoutePlan {
  std::string route;               // its name, "default"
  std::string reasons;             // for header and audit: "stays: id_card", "overflow, load 1.25"
  std::vector<RouteStage> stages;  // empty: nobody may be asked
  bool sensitive = false;          // ... since it may not leave
};

class RouteBook {
 public:
  explicit RouteBook(const Config& config);

  RoutePlan plan(const RouteAsk& ask) const;
  bool is_trusted(std::string_view backend) const;
  // The local model's name among the backends; empty: there is none.
  const std::string& local() const { return local_; }
  double local_places() const { return local_places_; }
  const PriceTable* prices(std::string_view backend) const;

 private:
  struct Backend {
    std::string name;
    bool local = false, trusted = false;
    std::vector<std::string> models;
    PriceTable prices;
  };
  const Backend* find(std::string_view name) const;
  const RouteConfig* match(const RouteAsk& ask) const;
  std::vector<const Backend*> candidates(const RouteAsk& ask, const RouteConfig* route) const;

  std::vector<Backend> backends_;
  std::vector<RouteConfig> routes_;
  std::string local_;
  double local_places_ = 1;  // requests that it runs at once
  double overflow_at_ = 0;
};

}  // namespace hadal::gateway
