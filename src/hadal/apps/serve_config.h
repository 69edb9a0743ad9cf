// hadal.yaml on its way into a service, at start and while it runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "hadal/apps/runtime.h"
#include "hadal/apps/service.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/config.h"

namespace hadal::apps {

// Keys separated by commas or lines.
std::vector<std::string> split_keys(std::string_view text);
// Of a file with at least one; an error names the file.
Result<std::vector<std::string>> read_key_file(const std::string& path);

// The file, checked against what this program has. The error has a line for each mistake.
Result<gateway::Config> load_serve_config(const std::string& path);
RuntimeOptions runtime_options(const gateway::BackendConfig& local);
// Reads the keys' file.
Result<std::shared_ptr<const Access>> make_access(const gateway::Config& config);

// What differs and waits for the next start, in words for the log.
std::vector<std::string> waits_for_restart(const gateway::Config& running,
                                           const gateway::Config& read);

// A running service's configuration. One thread.
class LiveConfig {
 public:
  // `service` must outlive this.
  LiveConfig(std::string path, gateway::Config config, Service& service, LogSink log)
      : path_(std::move(path)),
        config_(std::move(config)),
        service_(service),
        log_(std::move(log)) {}

  // Puts `config` into the service.
  Status apply(const gateway::Config& config);
  // Reads the file again and applies it. A mistake is logged and changes nothing.
  void reload();
  const gateway::Config& config() const { return config_; }

 private:
  const std::string path_;
  gateway::Config config_;  // of the last start as far as that cannot change, else of the last load
  Service& service_;
  const LogSink log_;
};

}  // namespace hadal::apps
