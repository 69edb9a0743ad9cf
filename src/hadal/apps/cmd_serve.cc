// hadal serve: HTTP in front of one engine. The port is open before the model is loaded.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <thread>

#include "hadal/api/error.h"
#include "hadal/apps/answer_cache.h"
#include "hadal/apps/audit.h"
#include "hadal/apps/batch_side.h"
#include "hadal/apps/commands.h"
#include "hadal/apps/edge.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/front.h"
#include "hadal/apps/rollout_wiring.h"
#include "hadal/apps/runtime.h"
#include "hadal/apps/serve_config.h"
#include "hadal/apps/service.h"
#include "hadal/apps/signals.h"
#include "hadal/apps/terminal.h"
#include "hadal/apps/version.h"
#include "hadal/net/server.h"

namespace hadal::apps {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{50};

struct ServeFlags {
  RuntimeFlags runtime;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string api_key;
  std::string api_key_file;
  int connections = 1024;
  std::string config;
  std::string batch_dir;
  bool check = false;
  bool print_schema = false;
  bool print_docs = false;

  bool keyed = false;  // a key is needed
  bool tls = false;
};

Result<std::vector<std::string>> read_keys(const ServeFlags& flags) {
  if (!flags.api_key_file.empty()) return read_key_file(flags.api_key_file);
  if (flags.api_key.empty()) return std::vector<std::string>();
  std::vector<std::string> keys = split_keys(flags.api_key);
  if (keys.empty()) return fail(Code::kInvalidInput, "--api-key: no key was found");
  return keys;
}

void print_ready(const ServeFlags& flags, uint16_t port, const std::string& model) {
  const bool everywhere = flags.host == "0.0.0.0" || flags.host == "::";
  const bool v6 = flags.host.find(':') != std::string::npos;
  const std::string host = everywhere ? "127.0.0.1" : v6 ? "[" + flags.host + "]" : flags.host;
  const char* scheme = flags.tls ? "https" : "http";
  fmt::print(
      "model    {}\naddress  {}://{}:{}\ntry      curl {}://{}:{}/v1/chat/completions {}"
      "-H 'Content-Type: application/json' "
      "-d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is 17 + 25?\"}}]}}'\n",
      model, scheme, host, port, scheme, host, port,
      flags.keyed ? "-H \"Authorization: Bearer $KEY\" " : "");
  std::fflush(stdout);
}

// Waits for the model, then for signals, then for the last answer. The process's exit status.
class ServeLoop {
 public:
  // `live`: null without a configuration file.
  ServeLoop(const ServeFlags& flags, Signals& signals, Service& service, net::HttpServer& server,
            BatchSide& batches, LiveConfig* live)
      : flags_(flags),
        signals_(signals),
        service_(service),
        server_(server),
        batches_(batches),
        live_(live) {}

  int run(std::shared_ptr<obs::Registry> registry, const Clock& clock) {
    Result<std::unique_ptr<Runtime>> runtime = std::unique_ptr<Runtime>();
    const bool local = live_ == nullptr || live_->config().local() != nullptr;
    if (local) runtime = load(std::move(registry), clock);
    if (!runtime) {
      fmt::print(stderr, "hadal serve: {}\n", runtime.error().what);
      return 1;
    }
    if (local) service_.publish((*runtime)->served());
    batches_.start();
    print_ready(flags_, server_.port(), local ? (*runtime)->summary() : "none here: a gateway");
    while (!stops(signals_.wait(milliseconds(-1)))) {
    }
    drain(runtime->get());
    server_.stop();
    service_.publish(nullptr);
    return 0;
  }

 private:
  Result<std::unique_ptr<Runtime>> load(std::shared_ptr<obs::Registry> registry,
                                        const Clock& clock) {
    std::atomic<bool> loaded{false};
    Result<std::unique_ptr<Runtime>> runtime = fail(Code::kInternal, "not loaded");
    LoadingProgress progress;
    std::thread loader([&] {
      runtime = Runtime::make(flags_.runtime.options, registry, clock, stderr_log(LogLevel::kInfo),
                              [&](uint64_t done, uint64_t total) {
                                service_.loading(done, total);
                                progress(done, total);
                              });
      loaded = true;
    });
    while (!loaded) {
      // Nothing has been promised to anybody yet, and loading cannot be interrupted.
      if (stops(signals_.wait(kPoll))) std::_Exit(0);
    }
    loader.join();
    return runtime;
  }

  bool stops(std::optional<int> signal) {
    if (signal != SIGHUP || live_ == nullptr) return signal.has_value();
    live_->reload();
    return false;
  }

  void drain(Runtime* runtime) {
    fmt::print(stderr, "hadal: finishing {} requests; a second signal stops at once\n",
               server_.exchanges());
    batches_.stop();
    service_.drain();
    server_.drain();
    while ((runtime != nullptr && !runtime->engine().idle()) || server_.exchanges() > 0) {
      const auto signal = signals_.wait(kPoll);
      if (stops(signal)) std::_Exit(128 + *signal);
    }
  }

  const ServeFlags& flags_;
  Signals& signals_;
  Service& service_;
  net::HttpServer& server_;
  BatchSide& batches_;
  LiveConfig* const live_;
};

void add_serve_flags(CLI::App& app, ServeFlags* flags) {
  add_runtime_flags(app, &flags->runtime);
  app.add_option("--target-itl", flags->runtime.options.target_itl_ms,
                 "milliseconds between a stream's tokens that prompts of others may cause, 0: any "
                 "[1000]")
      ->check(CLI::Range(0.0, 3'600'000.0));
  auto* key = app.add_option("--api-key", flags->api_key, "keys that may ask, comma-separated");
  app.add_option("--api-key-file", flags->api_key_file, "the same, a line each, from a file")
      ->excludes(key);
  app.add_option("--max-connections", flags->connections, "[1024]")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--batch-dir", flags->batch_dir,
                 "folder that keeps files and batches, see docs/batches.md [none]");
  auto* config = app.add_option("--config", flags->config,
                                "hadal.yaml, which says all of this and more; see "
                                "docs/configuration.md");
  // Two places for one thing would leave open which counts.
  for (CLI::Option* option : app.get_options()) {
    if (option != config && option != app.get_help_ptr()) config->excludes(option);
  }
  app.add_flag("--check", flags->check, "only say whether the configuration is right")
      ->needs(config);
  app.add_option("--host", flags->host, "address to listen on [127.0.0.1]");
  app.add_option("--port,-p", flags->port, "0: any free one [8080]")->check(CLI::Range(0, 65'535));
  app.add_flag("--print-config-schema", flags->print_schema, "JSON Schema of hadal.yaml");
  app.add_flag("--print-config-docs", flags->print_docs, "docs/configuration.md");
}

// What the file says, where the line does not say otherwise.
Result<gateway::Config> take_config(const CLI::App& app, ServeFlags* flags) {
  HADAL_TRY(gateway::Config config, load_serve_config(flags->config));
  HADAL_TRY_VOID(check_secrets(config));
  if (app.count("--host") == 0) flags->host = config.server.host;
  if (app.count("--port") == 0) flags->port = config.server.port;
  flags->connections = config.server.connections;
  flags->keyed = !config.server.keys_file.empty() || !config.store.path.empty();
  if (const auto* local = config.local()) flags->runtime.options = runtime_options(*local);
  return config;
}

int failure(std::string_view what) {
  fmt::print(stderr, "hadal serve: {}\n", what);
  return 1;
}

int usage_error(std::string_view what) {
  fmt::print(stderr, "hadal serve: {}\n", what);
  return kUsageError;
}

net::ServerOptions server_options(const ServeFlags& flags) {
  net::ServerOptions options;
  options.host = flags.host;
  options.port = static_cast<uint16_t>(flags.port);
  options.connections_max = flags.connections;
  options.error_body = [](int status, std::string_view message) {
    return api::error_json({api::code_for_status(status), std::string(message)});
  };
  return options;
}

int check_config(const std::string& path, const gateway::Config& config) {
  if (const Status times = check_times(config); !times) return usage_error(times.error().what);
  fmt::print("{}: good, {} backends, {} aliases\n", path, config.backends.size(),
             config.aliases.size());
  return 0;
}

// Null without a configuration.
Result<std::unique_ptr<Edge>> make_edge(const std::optional<gateway::Config>& config,
                                        obs::Registry& registry, ServeFlags* flags) {
  if (!config) return std::unique_ptr<Edge>();
  HADAL_TRY(auto state, Edge::read(*config));
  if (const Status times = check_times(*config); !times) {
    stderr_log(LogLevel::kInfo)(LogLevel::kWarning, times.error().what);
  }
  flags->tls = state->tls != nullptr;
  return std::make_unique<Edge>(std::move(state), registry);
}

// The operator's endpoints. Null where there are none.
struct AdminSide {
  std::unique_ptr<AdminService> service;
  std::unique_ptr<net::HttpServer> server;
};

Result<AdminSide> start_admin(LiveConfig& live, std::shared_ptr<obs::Registry> registry,
                              const Clock& clock, gateway::AuditStage* audit) {
  AdminSide side;
  const gateway::AdminConfig& admin = live.config().admin;
  if (!admin.on()) return side;
  side.service = std::make_unique<AdminService>(live.keys(), std::move(registry), clock,
                                                [] { ::kill(::getpid(), SIGHUP); });
  live.attach(side.service.get());
  if (audit != nullptr) {
    side.service->set_witness(
        [audit](const net::HttpRequest& request, net::ResponseWriter& writer) {
          return audit->admin(request, writer);
        });
  }
  net::ServerOptions options;
  options.host = admin.host;
  options.port = static_cast<uint16_t>(admin.port);
  options.handler_threads = 1;
  options.connections_max = 64;
  options.tls = live.edge()->state()->admin_tls;
  HADAL_TRY(side.server, net::HttpServer::start(
                             std::move(options),
                             [service = side.service.get()](net::HttpRequest request,
                                                            net::ResponseWriter writer) {
                               service->handle(std::move(request), std::move(writer));
                             },
                             stderr_log(LogLevel::kInfo)));
  return side;
}

// Stores, the admin port, and then what the configuration says of the rest.
Result<AdminSide> begin(LiveConfig& live, const std::shared_ptr<obs::Registry>& registry,
                        const Clock& clock, Front& front,
                        std::unique_ptr<gateway::AuditStage>* audit) {
  HADAL_TRY_VOID(live.open_store(registry, clock));
  HADAL_TRY(*audit, start_audit(live, front, clock, *registry, stderr_log(LogLevel::kInfo)));
  HADAL_TRY(AdminSide side, start_admin(live, registry, clock, audit->get()));
  HADAL_TRY_VOID(live.apply(gateway::Config(live.config())));
  return side;
}

// `edge`: null without a configuration.
Result<std::unique_ptr<net::HttpServer>> start_server(const ServeFlags& flags, Front& front,
                                                      const Edge* edge) {
  net::ServerOptions options = server_options(flags);
  options.is_quick = [&front](const net::HttpRequest& request) { return front.is_quick(request); };
  if (edge != nullptr) options.tls = edge->state()->tls;
  return net::HttpServer::start(
      std::move(options),
      [&front, edge](net::HttpRequest request, net::ResponseWriter writer) {
        if (edge != nullptr && edge->admit(request, writer)) return;
        front.handle(std::move(request), std::move(writer));
      },
      stderr_log(LogLevel::kInfo));
}

gateway::BatchConfig batch_config(const ServeFlags& flags,
                                  const std::optional<gateway::Config>& config) {
  gateway::BatchConfig batches;
  if (config) batches = config->batches;
  if (!flags.batch_dir.empty()) batches.dir = flags.batch_dir;
  return batches;
}

// The answers that are given again, in front of everything that computes some.
Result<std::unique_ptr<AnswerCache>> make_cache(LiveConfig& live, Front& front, Service& service,
                                                net::HttpServer& server,
                                                std::shared_ptr<obs::Registry> registry,
                                                const Clock& clock) {
  HADAL_TRY(auto cache, AnswerCache::make(
                            live.config(),
                            [&front](net::HttpRequest request, net::ResponseWriter writer) {
                              front.go_on(std::move(request), std::move(writer));
                            },
                            clock, std::move(registry), stderr_log(LogLevel::kInfo)));
  cache->set_admit(
      [&service](const net::HttpRequest& request, net::ResponseWriter& writer,
                 std::string_view model) { return service.admit_again(request, writer, model); });
  front.set_later([&server](std::function<void()> rest) { server.run_later(std::move(rest)); });
  live.on_apply([raw = cache.get()](const gateway::Config& read) { raw->configure(read); });
  front.set_answers(cache.get());
  return cache;
}

}  // namespace

int cmd_serve(int argc, char** argv) {
  ServeFlags flags;
  CLI::App app("answers over HTTP, as OpenAI's API does", "hadal serve");
  add_serve_flags(app, &flags);
  if (const int status = parse_line(app, &flags.runtime, argc, argv); status >= 0) return status;
  if (flags.print_schema || flags.print_docs) {
    fmt::print("{}", flags.print_schema ? gateway::config_schema() : gateway::config_markdown());
    return 0;
  }
  auto keys = read_keys(flags);
  if (!keys) return usage_error(keys.error().what);
  flags.keyed = !keys->empty();
  std::optional<gateway::Config> config;
  if (!flags.config.empty()) {
    auto read = take_config(app, &flags);
    if (!read) return usage_error(read.error().what);
    config = std::move(*read);
    if (flags.check) return check_config(flags.config, *config);
  }

  for (const int ignored : {SIGPIPE, SIGXFSZ}) signal(ignored, SIG_IGN);  // errors say the same
  Signals signals = config ? Signals({SIGTERM, SIGINT, SIGHUP}) : Signals({SIGTERM, SIGINT});
  const SystemClock clock;
  auto registry = std::make_shared<obs::Registry>();
  Service service({std::move(*keys), std::string(version())}, registry, clock);
  std::unique_ptr<gateway::AuditStage> audit;  // the last to go
  Front front(service, clock);
  auto edge = make_edge(config, *registry, &flags);
  if (!edge) return usage_error(edge.error().what);
  auto server = start_server(flags, front, edge->get());
  if (!server) return failure(server.error().what);
  std::shared_ptr<gateway::Gateway> gateway;  // shared with the requests under way
  std::unique_ptr<AnswerCache> cache;
  std::optional<LiveConfig> live;
  std::shared_ptr<gateway::RolloutStage> rollouts;  // shared with the admin port
  AdminSide admin;
  if (config) {
    gateway = gateway::Gateway::make((*server)->io(), clock, registry, stderr_log(LogLevel::kInfo),
                                     std::random_device()());
    live.emplace(flags.config, *config, service, *gateway, stderr_log(LogLevel::kInfo));
    live->attach(edge->get());
    auto begun = begin(*live, registry, clock, front, &audit);
    if (!begun) return usage_error(begun.error().what);
    admin = std::move(*begun);
    front.set_gateway(gateway.get());
    (*edge)->attach(server->get(), admin.server.get());
    auto made = make_cache(*live, front, service, **server, registry, clock);
    if (!made) return usage_error(made.error().what);
    cache = std::move(*made);
    if (admin.service)
      admin.service->set_cache([&](const auto& f) { return cache->invalidate(f); });
    auto rolled = start_rollouts(front, *live, admin.service.get(), audit.get(), **server, clock, registry);
    if (!rolled) return usage_error(rolled.error().what);
    rollouts = std::move(*rolled);
  }
  auto batches = BatchSide::make(batch_config(flags, config), front, service, registry, clock,
                                 stderr_log(LogLevel::kInfo));
  if (!batches) return usage_error(batches.error().what);
  if (live) live->on_apply([&](const auto& read) { (*batches)->configure(read.batches); });
  front.open();
  fmt::print("listening on port {}\n", (*server)->port());
  if (admin.server != nullptr) fmt::print("admin on port {}\n", admin.server->port());
  std::fflush(stdout);
  const int status =
      ServeLoop(flags, signals, service, **server, **batches, live ? &*live : nullptr)
          .run(registry, clock);
  (*server)->stop();  // also where no model could be loaded: nothing may be asked from here on
  if (gateway) gateway->stop();
  return status;
}

}  // namespace hadal::apps
