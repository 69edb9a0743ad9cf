#include "hadal/gateway/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "hadal/base/file.h"

namespace hadal::gateway {
namespace {

std::string backend_path(size_t index, std::string_view field = {}) {
  return fmt::format("backends[{}]{}{}", index, field.empty() ? "" : ".", field);
}

// What only sense can tell, once every field has its type.
class Checker {
 public:
  Checker(ConfigReader& reader, const ConfigContext& context, Config& config)
      : reader_(reader), context_(context), config_(config) {}

  void run() {
    if (reader_.was_given("backends") && config_.backends.empty()) {
      reader_.fault("backends", "there must be one at least");
    }
    for (size_t i = 0; i < config_.backends.size(); ++i) check_backend(i);
    check_weights();
    for (const AliasConfig& alias : config_.aliases) check_alias(alias);
    std::vector<std::string> names;
    for (const auto& [name, local] : served_) names.push_back(name);
    check_store(reader_, config_.store);
    check_prices(reader_, config_.prices, config_.tenants, names);
    for (const AliasConfig& alias : config_.aliases) names.push_back(alias.name);
    check_tenants(reader_, config_.tenants, config_.store, names);
    check_admin(reader_, config_.admin, config_.store);
    check_sensitivity(reader_, &config_.sensitivity);
    check_routes(reader_, config_.routes, config_.sensitivity,
                 {backend_names(), names, config_.tenants});
    check_rollouts(reader_, config_, names);
    check_batches(reader_, config_.batches);
    check_tls(reader_, "server.tls", config_.server.tls);
    check_tls(reader_, "admin.tls", config_.admin.tls);
    check_cors(reader_, config_.server.cors);
    check_audit(reader_, config_.audit);
    check_proxies(reader_, config_.server.trusted_proxies);
  }

 private:
  void check_backend(size_t index) {
    BackendConfig& backend = config_.backends[index];
    const auto given = [&](std::string_view field) {
      return reader_.was_given(backend_path(index, field));
    };
    for (size_t other = 0; other < index; ++other) {
      if (config_.backends[other].name == backend.name) {
        reader_.fault(backend_path(index, "name"),
                      fmt::format("'{}' is the name of another backend, too", backend.name));
      }
    }
    if (given("model") == given("url")) {
      reader_.fault(backend_path(index),
                    "a backend has either 'model' (run here) or 'url' (asked over HTTP)");
      return;
    }
    const bool local = given("model");
    constexpr std::string_view kLocalOnly[] = {"engine", "names", "overflow_at"};
    constexpr std::string_view kRemoteOnly[] = {"models",        "key_env", "key_file", "ca_file",
                                                "timeouts",      "health",  "weight",   "backup",
                                                "max_in_flight", "trusted", "cost"};
    const auto refuse = [&](std::string_view field) {
      if (!given(field)) return;
      reader_.fault(backend_path(index, field),
                    fmt::format("belongs to a backend with '{}'", local ? "url" : "model"));
    };
    if (local) {
      for (const std::string_view field : kRemoteOnly) refuse(field);
      check_local(index, &backend);
    } else {
      for (const std::string_view field : kLocalOnly) refuse(field);
      check_remote(index, backend);
    }
  }

  void check_local(size_t index, BackendConfig* backend) {
    if (has_local_) {
      reader_.fault(backend_path(index, "model"),
                    "one process runs one model; another backend "
                    "has 'model' already");
    }
    has_local_ = true;
    if (backend->model.empty()) {
      reader_.fault(backend_path(index, "model"), "is empty; 'embedded' is the built-in model");
      return;
    }
    if (backend->names.empty()) backend->names.push_back(context_.model_name(backend->model));
    for (const std::string& name : backend->names) {
      serve(
          name,
          backend_path(index, reader_.was_given(backend_path(index, "names")) ? "names" : "model"),
          true);
    }
  }

  void check_remote(size_t index, const BackendConfig& backend) {
    if (const auto url = net::parse_url(backend.url); !url) {
      reader_.fault(backend_path(index, "url"), url.error().what);
    }
    if (!backend.health.path.empty() && backend.health.path.front() != '/') {
      reader_.fault(backend_path(index, "health.path"), "expected a path that begins with '/'");
    }
    if (!backend.key_env.empty() && !backend.key_file.empty()) {
      reader_.fault(backend_path(index, "key_env"), "one of 'key_env' and 'key_file', not both");
    }
    if (backend.models.empty()) {
      reader_.fault(backend_path(index),
                    "'models' is missing: the model names that this backend "
                    "serves, each with the upstream's name for it");
    }
    check_cost(reader_, backend_path(index, "cost"), backend.cost, config_.store);
    for (const auto& [name, upstream] : backend.models) {
      const std::string path = backend_path(index, "models." + name);
      if (upstream.empty()) reader_.fault(path, "the upstream's name is empty");
      serve(name, path, false);
    }
  }

  std::vector<std::string> backend_names() const {
    std::vector<std::string> names;
    for (const BackendConfig& backend : config_.backends) names.push_back(backend.name);
    return names;
  }

  // A name may be served here and elsewhere: then by the local model first.
  void serve(const std::string& name, const std::string& path, bool local) {
    if (name.empty() || name.size() > 256) {
      return reader_.fault(path, "a model's name has 1 to 256 bytes");
    }
    const auto [entry, fresh] = served_.try_emplace(name, local);
    static_cast<void>(fresh);
    entry->second |= local;
  }

  // Of each model name: someone must be there to answer.
  void check_weights() {
    std::map<std::string, int64_t> weights;
    std::map<std::string, std::string> places;
    for (size_t i = 0; i < config_.backends.size(); ++i) {
      const BackendConfig& backend = config_.backends[i];
      for (const auto& [name, upstream] : backend.models) {
        weights[name] += backend.weight;
        places.try_emplace(name, backend_path(i, "weight"));
      }
    }
    for (const auto& [name, weight] : weights) {
      if (weight > 0) continue;
      reader_.fault(places[name], fmt::format("all backends of '{}' have the weight 0", name));
    }
  }

  void check_alias(const AliasConfig& alias) {
    const std::string path = "aliases." + alias.name;
    if (alias.name.empty() || alias.name.size() > 256) {
      reader_.fault(path, "a model's name has 1 to 256 bytes");
    }
    if (served_.count(alias.name) > 0) {
      reader_.fault(path, "a backend serves this name itself");
    }
    if (alias.model.empty() || served_.count(alias.model) > 0) return;
    std::vector<std::string> known;
    for (const auto& [name, local] : served_) known.push_back(name);
    const std::string near = nearest_name(alias.model, known);
    const bool chained =
        std::any_of(config_.aliases.begin(), config_.aliases.end(),
                    [&](const AliasConfig& other) { return other.name == alias.model; });
    reader_.fault(
        path + ".model",
        fmt::format("{} '{}'{}",
                    chained ? "an alias names a model, not another alias:" : "no backend serves",
                    alias.model.substr(0, 128),
                    !near.empty()   ? "; did you mean '" + near + "'?"
                    : known.empty() ? ""
                                    : fmt::format("; served: {}", fmt::join(known, ", "))));
  }

  ConfigReader& reader_;
  const ConfigContext& context_;
  Config& config_;
  bool has_local_ = false;
  std::map<std::string, bool> served_;  // name: by the local model
};

void make_absolute(const std::string& folder, std::string* path) {
  if (!path->empty() && path->front() != '/') *path = folder + *path;
}

}  // namespace

const BackendConfig* Config::local() const {
  for (const BackendConfig& backend : backends) {
    if (backend.is_local()) return &backend;
  }
  return nullptr;
}

tl::expected<Config, ConfigErrors> read_config(std::string_view yaml,
                                               const ConfigContext& context) {
  auto tree = parse_yaml(yaml);
  if (!tree) return tl::unexpected<ConfigErrors>(std::move(tree.error()));
  Config config;
  ConfigReader reader;
  reader.section(config_section(), *tree, "", &config);
  Checker(reader, context, config).run();
  ConfigErrors errors = reader.take_errors();
  if (errors.empty()) return config;
  std::stable_sort(errors.begin(), errors.end(), [](const ConfigError& a, const ConfigError& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  return tl::unexpected<ConfigErrors>(std::move(errors));
}

Result<Config> load_config(const std::string& path, const ConfigContext& context) {
  HADAL_TRY(const std::string text, read_file(path, kConfigBytesMax));
  auto config = read_config(text, context);
  if (!config) return fail(Code::kInvalidInput, error_lines(config.error(), path));
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  make_absolute(folder, &config->server.keys_file);
  for (TlsConfig* tls : {&config->server.tls, &config->admin.tls}) {
    make_absolute(folder, &tls->cert_file);
    make_absolute(folder, &tls->key_file);
    make_absolute(folder, &tls->client_ca_file);
  }
  make_absolute(folder, &config->cache.disk);
  make_absolute(folder, &config->audit.path);
  make_absolute(folder, &config->audit.anchor);
  make_absolute(folder, &config->store.path);
  make_absolute(folder, &config->admin.key_file);
  for (RolloutConfig& rollout : config->rollouts) make_absolute(folder, &rollout.probes.file);
  make_absolute(folder, &config->batches.dir);
  for (BackendConfig& backend : config->backends) {
    if (backend.model != kEmbedded) make_absolute(folder, &backend.model);
    make_absolute(folder, &backend.key_file);
    make_absolute(folder, &backend.ca_file);
    make_absolute(folder, &backend.engine.kv_disk);
    make_absolute(folder, &backend.engine.draft);
    if (backend.engine.pack_cache != "off") make_absolute(folder, &backend.engine.pack_cache);
  }
  return std::move(*config);
}

}  // namespace hadal::gateway
