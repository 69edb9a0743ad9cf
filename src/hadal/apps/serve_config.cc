#include "hadal/apps/serve_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "hadal/base/file.h"
#include "hadal/gateway/rollout_probe.h"

namespace hadal::apps {
namespace {

constexpr uint64_t kKeyFileBytesMax = 1 << 20;
constexpr int32_t kEngineSequences = 64;  // EngineOptions's own default

// A few more than run at once: whose turn comes next is there when an answer ends.
int64_t gate_width(const gateway::Config& config) {
  if (config.queue.in_flight > 0) return config.queue.in_flight;
  const gateway::BackendConfig* local = config.local();
  const int64_t sequences = local != nullptr && local->engine.max_sequences > 0
                                ? local->engine.max_sequences
                                : kEngineSequences;
  return sequences + std::max<int64_t>(sequences / 8, 1);
}

}  // namespace

std::vector<std::string> split_keys(std::string_view text) {
  std::vector<std::string> keys;
  std::string key;
  for (const char c : std::string(text) + ",") {
    if (c != ',' && c != '\n' && c != '\r') {
      key.push_back(c);
    } else if (!key.empty()) {
      keys.push_back(std::exchange(key, {}));
    }
  }
  return keys;
}

Result<std::vector<std::string>> read_key_file(const std::string& path) {
  HADAL_TRY(const std::string text, read_file(path, kKeyFileBytesMax));
  std::vector<std::string> keys = split_keys(text);
  if (keys.empty()) {
    return fail(Code::kInvalidInput, fmt::format("no key was found in '{}'", path));
  }
  return keys;
}

Result<gateway::Config> load_serve_config(const std::string& path) {
  gateway::ConfigContext context;
  context.model_name = [](const std::string& model) {
    return own_model_name(model == gateway::kEmbedded ? "" : model);
  };
  return gateway::load_config(path, context);
}

RuntimeOptions runtime_options(const gateway::BackendConfig& local) {
  const gateway::EngineConfig& engine = local.engine;
  RuntimeOptions options;
  if (local.model != gateway::kEmbedded) options.model = local.model;
  options.alias = fmt::format("{}", fmt::join(local.names, ","));
  options.context = engine.context;
  options.max_sequences = engine.max_sequences;
  options.kv_memory = engine.kv_memory;
  options.kv_type = engine.kv_type;
  options.mla_prefill = engine.mla_prefill;
  options.kv_disk = engine.kv_disk;
  options.kv_disk_max = engine.kv_disk_max;
  options.target_itl_ms = static_cast<double>(engine.target_itl.count());
  options.threads = engine.threads;
  options.quantize = engine.quantize;
  options.speculate = engine.speculate;
  options.draft = engine.draft;
  options.draft_max = engine.draft_max;
  options.cpu_impl = engine.cpu_impl;
  options.pack_cache = engine.pack_cache;
  options.pack_cache_max = engine.pack_cache_max;
  options.pack_cache_verify = engine.pack_cache_verify;
  options.mlock = engine.mlock;
  return options;
}

Result<std::string> upstream_key(const gateway::BackendConfig& backend) {
  if (!backend.key_env.empty()) {
    const char* value = std::getenv(backend.key_env.c_str());
    if (value != nullptr && *value != '\0') return std::string(value);
    return fail(Code::kNotFound, fmt::format("backend '{}': the environment has no variable {}",
                                             backend.name, backend.key_env));
  }
  if (backend.key_file.empty()) return std::string();
  HADAL_TRY(const std::vector<std::string> keys, read_key_file(backend.key_file));
  return keys.front();
}

Status check_secrets(const gateway::Config& config) {
  auto access = make_access(config, nullptr);
  if (!access) return fail(std::move(access.error()));
  for (const gateway::BackendConfig& backend : config.backends) {
    auto key = upstream_key(backend);
    if (!key) return fail(std::move(key.error()));
  }
  if (config.admin.on()) {
    HADAL_TRY(const std::string key, read_admin_key(config.admin));
    static_cast<void>(key);
  }
  auto edge = Edge::read(config);
  if (!edge) return fail(std::move(edge.error()));
  for (const gateway::RolloutConfig& rollout : config.rollouts) {
    HADAL_TRY_VOID(gateway::load_probes(rollout.probes.file));
  }
  return {};
}

Status check_times(const gateway::Config& config) {
  HADAL_TRY(const auto edge, Edge::read(config));
  return Edge::check_times(*edge, SystemClock().unix_seconds());
}

Result<std::shared_ptr<Access>> make_access(const gateway::Config& config,
                                            std::shared_ptr<gateway::KeyStore> keys) {
  auto access = std::make_shared<Access>();
  std::vector<std::string> file_keys;
  if (!config.server.keys_file.empty()) {
    HADAL_TRY(file_keys, read_key_file(config.server.keys_file));
  }
  auto tenants = std::make_shared<gateway::TenantPolicy>(config.tenants, std::move(file_keys),
                                                         std::move(keys));
  tenants->set_prices(config.prices);
  access->tenants = std::move(tenants);
  access->directory = std::make_shared<gateway::Directory>(config);
  return access;
}

Result<std::string> read_admin_key(const gateway::AdminConfig& admin) {
  std::string key;
  if (!admin.key_env.empty()) {
    const char* value = std::getenv(admin.key_env.c_str());
    key = value == nullptr ? "" : value;
    if (key.empty()) {
      return fail(Code::kInvalidInput,
                  fmt::format("admin.key_env: the variable {} is not set", admin.key_env));
    }
    return key;
  }
  HADAL_TRY(const std::vector<std::string> keys, read_key_file(admin.key_file));
  return keys.front();
}

std::vector<std::string> waits_for_restart(const gateway::Config& running,
                                           const gateway::Config& read) {
  std::vector<std::string> words;
  const auto compare = [&](bool same, const char* what) {
    if (!same) words.emplace_back(what);
  };
  compare(running.server.host == read.server.host, "server.host");
  compare(running.server.port == read.server.port, "server.port");
  compare(running.store == read.store, "store");
  compare(running.admin.on() == read.admin.on() && running.admin.host == read.admin.host &&
              running.admin.port == read.admin.port,
          "the address of admin");
  compare(running.batches.dir == read.batches.dir, "batches.dir");
  compare(running.server.connections == read.server.connections, "server.connections");
  compare(running.cache.disk == read.cache.disk && running.cache.disk_max == read.cache.disk_max,
          "cache.disk");
  compare(gateway::same_audit_files(running.audit, read.audit), "audit");
  const gateway::BackendConfig* before = running.local();
  const gateway::BackendConfig* after = read.local();
  if ((before == nullptr) != (after == nullptr)) {
    words.emplace_back(after != nullptr ? "the local model, which is new"
                                        : "the local model, which is gone");
  } else if (before != nullptr) {
    compare(before->model == after->model, "the local backend's model");
    compare(before->engine == after->engine, "the local backend's engine");
  }
  return words;
}

Status LiveConfig::apply(const gateway::Config& config) {
  HADAL_TRY(auto access, make_access(config, keys_));
  HADAL_TRY(auto edge, Edge::read(config));
  std::string admin_key;
  if (admin_ != nullptr && config.admin.on()) {
    HADAL_TRY(admin_key, read_admin_key(config.admin));
  }
  HADAL_TRY_VOID(gateway_.configure(config, access->directory, upstream_key));
  if (admin_ != nullptr) admin_->configure({std::move(admin_key), access->tenants});
  access->metering = metering_;
  // Without tenants there is nobody to be fair to, and the engine's own queue does.
  if (gate_ != nullptr && !config.tenants.empty()) {
    gate_->resize(gate_width(config), config.queue.waiting);
    access->gate = gate_;
  }
  service_.configure(std::move(access));
  if (edge_ != nullptr) edge_->use(std::move(edge));
  for (const auto& callback : on_apply_) callback(config);
  return {};
}

Status LiveConfig::open_store(std::shared_ptr<obs::Registry> registry, const Clock& clock) {
  if (config_.local() != nullptr) {
    gate_ = std::make_shared<ModelGate>(gate_width(config_), config_.queue.waiting, *registry);
  }
  const gateway::StoreConfig& store = config_.store;
  if (!store.path.empty()) {
    HADAL_TRY(keys_, gateway::KeyStore::open(store.path));
    HADAL_TRY(auto budgets, gateway::BudgetBook::open(store.path));
    gateway_.hybrid().set_budgets(std::move(budgets));
  }
  HADAL_TRY(metering_, gateway::Metering::make(gateway::metering_options(store),
                                               std::move(registry), clock, log_));
  return {};
}

void LiveConfig::reload() {
  auto read = load_serve_config(path_);
  Status status = {};
  if (!read) status = fail(read.error());
  if (status) {
    for (const std::string& what : waits_for_restart(config_, *read)) {
      log_to(log_, LogLevel::kWarning, "takes effect at the next start: " + what);
    }
    // Names of a model that is not there would be answered by the one that is.
    if ((read->local() == nullptr) != (config_.local() == nullptr) ||
        (read->local() != nullptr && read->local()->model != config_.local()->model)) {
      status = fail(Code::kUnsupported, path_ + ": another local model needs a restart");
    }
  }
  if (status) status = check_times(*read);
  if (status) status = apply(*read);
  if (!status) {
    return log_to(log_, LogLevel::kError,
                  "the configuration stays as it was: " + status.error().what);
  }
  const gateway::ServerConfig server = config_.server;
  const gateway::StoreConfig store = config_.store;
  config_ = std::move(*read);
  config_.server.host = server.host;
  config_.server.port = server.port;
  config_.server.connections = server.connections;
  config_.store = store;
  log_to(log_, LogLevel::kInfo,
         fmt::format("read {} again: {} backends, {} aliases", path_, config_.backends.size(),
                     config_.aliases.size()));
}

}  // namespace hadal::apps
