// hadal serve: HTTP in front of one engine. The port is open before the model is loaded.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "hadal/api/error.h"
#include "hadal/apps/commands.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/runtime.h"
#include "hadal/apps/service.h"
#include "hadal/apps/signals.h"
#include "hadal/apps/terminal.h"
#include "hadal/apps/version.h"
#include "hadal/base/file.h"
#include "hadal/net/server.h"

namespace hadal::apps {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPoll{50};
constexpr uint64_t kKeyFileBytesMax = 1 << 20;

struct ServeFlags {
  RuntimeFlags runtime;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string api_key;
  std::string api_key_file;
  int connections = 1024;
};

Result<std::vector<std::string>> read_keys(const ServeFlags& flags) {
  std::string text = flags.api_key;
  if (!flags.api_key_file.empty()) {
    HADAL_TRY(text, read_file(flags.api_key_file, kKeyFileBytesMax));
  }
  std::vector<std::string> keys;
  std::string key;
  for (const char c : text + ",") {
    if (c != ',' && c != '\n' && c != '\r') {
      key.push_back(c);
    } else if (!key.empty()) {
      keys.push_back(std::exchange(key, {}));
    }
  }
  const bool asked = !flags.api_key.empty() || !flags.api_key_file.empty();
  if (asked && keys.empty()) return fail(Code::kInvalidInput, "--api-key: no key was found");
  return keys;
}

void print_ready(const ServeFlags& flags, uint16_t port, const Runtime& runtime) {
  const bool everywhere = flags.host == "0.0.0.0" || flags.host == "::";
  const bool v6 = flags.host.find(':') != std::string::npos;
  const std::string host = everywhere ? "127.0.0.1" : v6 ? "[" + flags.host + "]" : flags.host;
  const bool keyed = !flags.api_key.empty() || !flags.api_key_file.empty();
  fmt::print(
      "model    {}\naddress  http://{}:{}\ntry      curl http://{}:{}/v1/chat/completions {}"
      "-H 'Content-Type: application/json' "
      "-d '{{\"messages\": [{{\"role\": \"user\", \"content\": \"What is 17 + 25?\"}}]}}'\n",
      runtime.summary(), host, port, host, port, keyed ? "-H \"Authorization: Bearer $KEY\" " : "");
  std::fflush(stdout);
}

// Waits for the model, then for signals, then for the last answer. The process's exit status.
class ServeLoop {
 public:
  ServeLoop(const ServeFlags& flags, Signals& signals, Service& service, net::HttpServer& server)
      : flags_(flags), signals_(signals), service_(service), server_(server) {}

  int run(std::shared_ptr<obs::Registry> registry, const Clock& clock) {
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
      if (signals_.wait(kPoll)) std::_Exit(0);
    }
    loader.join();
    if (!runtime) {
      fmt::print(stderr, "hadal serve: {}\n", runtime.error().what);
      return 1;
    }
    service_.publish((*runtime)->served());
    print_ready(flags_, server_.port(), **runtime);
    signals_.wait(milliseconds(-1));
    drain(**runtime);
    server_.stop();
    service_.publish(nullptr);
    return 0;
  }

 private:
  void drain(Runtime& runtime) {
    fmt::print(stderr, "hadal: finishing {} requests; a second signal stops at once\n",
               server_.exchanges());
    service_.drain();
    server_.drain();
    while (!runtime.engine().idle() || server_.exchanges() > 0) {
      if (const auto signal = signals_.wait(kPoll)) std::_Exit(128 + *signal);
    }
  }

  const ServeFlags& flags_;
  Signals& signals_;
  Service& service_;
  net::HttpServer& server_;
};

}  // namespace

int cmd_serve(int argc, char** argv) {
  ServeFlags flags;
  CLI::App app("answers over HTTP, as OpenAI's API does", "hadal serve");
  add_runtime_flags(app, &flags.runtime);
  app.add_option("--target-itl", flags.runtime.options.target_itl_ms,
                 "milliseconds between a stream's tokens that prompts of others may cause, 0: any "
                 "[500]")
      ->check(CLI::Range(0.0, 3'600'000.0));
  app.add_option("--host", flags.host, "address to listen on [127.0.0.1]");
  app.add_option("--port,-p", flags.port, "0: any free one [8080]")->check(CLI::Range(0, 65'535));
  auto* key = app.add_option("--api-key", flags.api_key, "keys that may ask, comma-separated");
  app.add_option("--api-key-file", flags.api_key_file, "the same, a line each, from a file")
      ->excludes(key);
  app.add_option("--max-connections", flags.connections, "[1024]")->check(CLI::Range(1, 1'000'000));
  if (const int status = parse_line(app, &flags.runtime, argc, argv); status >= 0) return status;

  auto keys = read_keys(flags);
  if (!keys) {
    fmt::print(stderr, "hadal serve: {}\n", keys.error().what);
    return kUsageError;
  }
  signal(SIGPIPE, SIG_IGN);
  Signals signals({SIGTERM, SIGINT});
  const SystemClock clock;
  auto registry = std::make_shared<obs::Registry>();
  Service service({std::move(*keys), std::string(version())}, registry, clock);
  net::ServerOptions options;
  options.host = flags.host;
  options.port = static_cast<uint16_t>(flags.port);
  options.connections_max = flags.connections;
  options.error_body = [](int status, std::string_view message) {
    return api::error_json({api::code_for_status(status), std::string(message)});
  };
  auto server = net::HttpServer::start(
      std::move(options),
      [&](net::HttpRequest request, net::ResponseWriter writer) {
        service.handle(std::move(request), std::move(writer));
      },
      stderr_log(LogLevel::kInfo));
  if (!server) {
    fmt::print(stderr, "hadal serve: {}\n", server.error().what);
    return 1;
  }
  fmt::print("listening on port {}\n", (*server)->port());
  std::fflush(stdout);
  return ServeLoop(flags, signals, service, **server).run(registry, clock);
}

}  // namespace hadal::apps
