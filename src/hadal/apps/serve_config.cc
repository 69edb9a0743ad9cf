#include "hadal/apps/serve_config.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "hadal/base/file.h"

namespace hadal::apps {
namespace {

constexpr uint64_t kKeyFileBytesMax = 1 << 20;

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
  auto access = make_access(config);
  if (!access) return fail(std::move(access.error()));
  for (const gateway::BackendConfig& backend : config.backends) {
    auto key = upstream_key(backend);
    if (!key) return fail(std::move(key.error()));
  }
  return {};
}

Result<std::shared_ptr<const Access>> make_access(const gateway::Config& config) {
  auto access = std::make_shared<Access>();
  if (!config.server.keys_file.empty()) {
    HADAL_TRY(access->api_keys, read_key_file(config.server.keys_file));
  }
  access->directory = std::make_shared<gateway::Directory>(config);
  return access;
}

std::vector<std::string> waits_for_restart(const gateway::Config& running,
                                           const gateway::Config& read) {
  std::vector<std::string> words;
  const auto compare = [&](bool same, const char* what) {
    if (!same) words.emplace_back(what);
  };
  compare(running.server.host == read.server.host, "server.host");
  compare(running.server.port == read.server.port, "server.port");
  compare(running.server.connections == read.server.connections, "server.connections");
  compare(running.cache.disk == read.cache.disk && running.cache.disk_max == read.cache.disk_max,
          "cache.disk");
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
  HADAL_TRY(auto access, make_access(config));
  HADAL_TRY_VOID(gateway_.configure(config, access->directory, upstream_key));
  service_.configure(std::move(access));
  if (on_apply_) on_apply_(config);
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
  if (status) status = apply(*read);
  if (!status) {
    return log_to(log_, LogLevel::kError,
                  "the configuration stays as it was: " + status.error().what);
  }
  const gateway::ServerConfig server = config_.server;
  config_ = std::move(*read);
  config_.server.host = server.host;
  config_.server.port = server.port;
  config_.server.connections = server.connections;
  log_to(log_, LogLevel::kInfo,
         fmt::format("read {} again: {} backends, {} aliases", path_, config_.backends.size(),
                     config_.aliases.size()));
}

}  // namespace hadal::apps
