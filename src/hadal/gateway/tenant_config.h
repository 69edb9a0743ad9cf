// What hadal.yaml says of tenants, their limits, the store of keys and usage, and the admin
// endpoints. The list of their fields is tenant_config.cc.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "hadal/gateway/edge_config.h"
#include "hadal/gateway/field.h"
#include "hadal/gateway/limits.h"

namespace hadal::gateway {

// Who asks without a key of a tenant: everybody where no key is needed, and keys of `keys_file`.
inline constexpr std::string_view kDefaultTenant = "default";

struct StoreConfig {
  std::string path;
  std::string redis;
  Millis redis_timeout{200};
  std::string postgres;
  Millis postgres_timeout{500};
  // Of redis or postgres, whichever there is.
  const std::string& shared() const { return redis.empty() ? postgres : redis; }
  std::string on_store_loss = "refuse";
  double local_share = 0.5;
  bool operator==(const StoreConfig&) const = default;
};

struct AdminConfig {
  std::string host = "127.0.0.1";
  int32_t port = 8081;
  std::string key_env;
  std::string key_file;
  TlsConfig tls;
  bool on() const { return !key_env.empty() || !key_file.empty(); }
  bool operator==(const AdminConfig&) const = default;
};

struct TenantConfig {
  std::string name;
  std::vector<std::string> models;  // empty: all
  bool shares_cache = false;
  std::string audit_content;
  LimitValues limits, soft_limits;          // of all its keys together
  LimitValues key_limits, key_soft_limits;  // of each key that has none of its own
  int64_t answer_estimate = 512;
  double weight = 1;
  int32_t priority = 0;
  bool operator==(const TenantConfig&) const = default;
};

struct PriceConfig {
  std::string model;
  double input_hit = 0, input_miss = 0, output = 0;
  bool operator==(const PriceConfig&) const = default;
};

struct QueueConfig {
  int32_t in_flight = 0;
  int32_t waiting = 1024;
  bool operator==(const QueueConfig&) const = default;
};

Section<StoreConfig> store_section();
Section<PriceConfig> price_section();
Section<QueueConfig> queue_section();
Section<AdminConfig> admin_section();
Section<TenantConfig> tenant_section();

// What only sense can tell. `served`: the names that backends and aliases give.
void check_tenants(ConfigReader& reader, const std::vector<TenantConfig>& tenants,
                   const StoreConfig& store, const std::vector<std::string>& served);
void check_store(ConfigReader& reader, const StoreConfig& store);
void check_prices(ConfigReader& reader, const std::vector<PriceConfig>& prices,
                  const std::vector<TenantConfig>& tenants, const std::vector<std::string>& served);
void check_admin(ConfigReader& reader, const AdminConfig& admin, const StoreConfig& store);

}  // namespace hadal::gateway
