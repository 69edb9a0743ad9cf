// What hadal.yaml says, read and checked as a whole: nothing that is returned here names something
// that does not exist. The list of fields is config_fields.cc.
//
// Pure, apart from load_config(), which reads one file. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/audit_config.h"
#include "hadal/gateway/batch_config.h"
#include "hadal/gateway/cache_config.h"
#include "hadal/gateway/edge_config.h"
#include "hadal/gateway/field.h"
#include "hadal/gateway/rollout_config.h"
#include "hadal/gateway/route_config.h"
#include "hadal/gateway/sensitivity_config.h"
#include "hadal/gateway/tenant_config.h"
#include "hadal/net/url.h"

namespace hadal::gateway {

struct ServerConfig {
  std::string host = "127.0.0.1";
  int32_t port = 8080;
  std::string keys_file;
  int32_t connections = 1024;
  TlsConfig tls;
  CorsConfig cors;
  std::vector<std::string> trusted_proxies;
  bool operator==(const ServerConfig&) const = default;
};

// As the flags of the same names; what is 0 or empty is the engine's own default.
struct EngineConfig {
  int32_t context = 0;
  int32_t max_sequences = 0;
  uint64_t kv_memory = 0;
  std::string kv_type;
  std::string mla_prefill;
  std::string kv_disk;
  uint64_t kv_disk_max = 10ull << 30;
  int32_t threads = 0;
  std::string quantize;
  std::string speculate;
  std::string draft;
  int32_t draft_max = -1;
  Millis target_itl{1'000};
  std::string cpu_impl;
  std::string pack_cache;
  uint64_t pack_cache_max = 0;
  bool pack_cache_verify = false;
  bool mlock = false;
  bool operator==(const EngineConfig&) const = default;
};

struct TimeoutConfig {
  Millis connect{5'000};
  Millis first_byte{600'000};
  Millis idle{60'000};
  bool operator==(const TimeoutConfig&) const = default;
};

struct HealthConfig {
  std::string path;
  Millis every{5'000};
  Millis timeout{2'000};
  bool operator==(const HealthConfig&) const = default;
};

struct BackendConfig {
  std::string name;
  std::string model;  // run here
  EngineConfig engine;
  std::string url;  // or asked over HTTP
  TextPairs models;
  std::string key_env;
  std::string key_file;
  std::string ca_file;
  TimeoutConfig timeouts;
  HealthConfig health;
  int32_t weight = 1;
  bool backup = false;
  int32_t max_in_flight = 256;
  bool trusted = false;
  CostConfig cost;
  std::vector<std::string> names;  // of `model`
  double overflow_at = 1;

  bool is_local() const { return url.empty(); }
  bool operator==(const BackendConfig&) const = default;
};

struct BalancingConfig {
  std::string strategy = "least_tokens";
  double load_bound = 1.25;
  int32_t retries = 2;
  double retry_share = 0.2;
  Millis hedge_after{0};
  int32_t queue = 1'024;
  Millis queue_wait{10'000};
  int32_t breaker_failures = 5;
  Millis breaker_open{5'000};
  double eject_share = 0.5;
  Millis eject_for{30'000};
  int32_t health_fall = 3;
  int32_t health_rise = 2;
  bool operator==(const BalancingConfig&) const = default;
};

struct AliasConfig {
  std::string name;
  std::string model;  // a name that a backend serves
  std::optional<bool> thinking;
  std::string effort;
  bool listed = true;
  bool operator==(const AliasConfig&) const = default;
};

struct Config {
  ServerConfig server;
  std::vector<BackendConfig> backends;
  std::vector<AliasConfig> aliases;
  CacheConfig cache;
  BalancingConfig balancing;
  StoreConfig store;
  std::vector<TenantConfig> tenants;
  std::vector<PriceConfig> prices;
  QueueConfig queue;
  AdminConfig admin;
  SensitivityConfig sensitivity;
  std::vector<RouteConfig> routes;
  std::vector<RolloutConfig> rollouts;
  BatchConfig batches;
  AuditConfig audit;
  bool operator==(const Config&) const = default;

  const BackendConfig* local() const;  // the backend with `model`; null: there is none
};

// Names of the embedded model and of model files are the caller's to know.
struct ConfigContext {
  // What a `model:` is served under when it has no `names`.
  std::function<std::string(const std::string& model)> model_name;
};

inline constexpr std::string_view kEmbedded = "embedded";  // a `model:` that is part of the program

// Errors are in the order of the file.
tl::expected<Config, ConfigErrors> read_config(std::string_view yaml, const ConfigContext& context);

// The file, with relative paths in it taken from its folder. The error has one line a mistake,
// "hadal.yaml:3:5: ...".
Result<Config> load_config(const std::string& path, const ConfigContext& context);

const SectionInfo& config_section();

// Made from the list of fields: a JSON Schema (2020-12), and docs/configuration.md.
std::string config_schema();
std::string config_markdown();

}  // namespace hadal::gateway
