// hadal.yaml on its way into a service, at start and while it runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hadal/apps/admin_service.h"
#include "hadal/apps/edge.h"
#include "hadal/apps/runtime.h"
#include "hadal/apps/service.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/config.h"
#include "hadal/gateway/gateway.h"

namespace hadal::apps {

// Keys separated by commas or lines.
std::vector<std::string> split_keys(std::string_view text);
// Of a file with at least one; an error names the file.
Result<std::vector<std::string>> read_key_file(const std::string& path);

// The file, checked against what this program has. The error has a line for each mistake.
Result<gateway::Config> load_serve_config(const std::string& path);
RuntimeOptions runtime_options(const gateway::BackendConfig& local);
// Whatever else a configuration names is there: files of keys, variables of keys.
Status check_secrets(const gateway::Config& config);
// No certificate that clients would refuse now.
Status check_times(const gateway::Config& config);
// The key that a backend wants, from its variable or file; empty: none.
Result<std::string> upstream_key(const gateway::BackendConfig& backend);
// Reads the keys' file. `keys`: the store's, or null.
Result<std::shared_ptr<Access>> make_access(const gateway::Config& config,
                                            std::shared_ptr<gateway::KeyStore> keys);

// The key itself, from the environment or its file.
Result<std::string> read_admin_key(const gateway::AdminConfig& admin);

// What differs and waits for the next start, in words for the log.
std::vector<std::string> waits_for_restart(const gateway::Config& running,
                                           const gateway::Config& read);

// A running service's configuration. One thread.
class LiveConfig {
 public:
  // `service` and `gateway` must outlive this.
  LiveConfig(std::string path, gateway::Config config, Service& service, gateway::Gateway& gateway,
             LogSink log)
      : path_(std::move(path)),
        config_(std::move(config)),
        service_(service),
        gateway_(gateway),
        log_(std::move(log)) {}

  // Also told of each configuration that is applied, in this order.
  void on_apply(std::function<void(const gateway::Config&)> callback) {
    on_apply_.push_back(std::move(callback));
  }
  // Before apply(): what `store` and `admin` name. `admin` gets the other half of every apply().
  Status open_store(std::shared_ptr<obs::Registry> registry, const Clock& clock);
  const std::shared_ptr<gateway::KeyStore>& keys() const { return keys_; }  // null: no store
  void attach(AdminService* admin) { admin_ = admin; }
  void attach(Edge* edge) { edge_ = edge; }
  Edge* edge() const { return edge_; }

  // Puts `config` into service and gateway; on an error, into neither.
  Status apply(const gateway::Config& config);
  // Reads the file again and applies it. A mistake is logged and changes nothing.
  void reload();
  const gateway::Config& config() const { return config_; }

 private:
  const std::string path_;
  gateway::Config config_;  // of the last start as far as that cannot change, else of the last load
  Service& service_;
  gateway::Gateway& gateway_;
  const LogSink log_;
  std::vector<std::function<void(const gateway::Config&)>> on_apply_;
  std::shared_ptr<gateway::KeyStore> keys_;
  std::shared_ptr<gateway::Metering> metering_;
  std::shared_ptr<ModelGate> gate_;
  AdminService* admin_ = nullptr;
  Edge* edge_ = nullptr;
};

}  // namespace hadal::apps
