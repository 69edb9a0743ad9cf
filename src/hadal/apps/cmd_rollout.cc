// hadal rollout: what a running server's rollouts do, through its admin port.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>

#include "hadal/apps/commands.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/http_call.h"
#include "hadal/apps/rollout_json.h"
#include "hadal/apps/serve_config.h"
#include "hadal/base/file.h"

namespace hadal::apps {
namespace {

constexpr uint64_t kSpecBytesMax = 1 << 20;

struct RolloutFlags {
  std::string config;
  std::string url;
  std::string key_env;
  bool json = false;
  std::string name;
  std::string file;
  std::string kind, model, candidate_model, window;
  std::vector<std::string> candidate_backends;
  std::vector<double> steps;
  bool next = false;
};

struct Admin {
  std::string url;
  std::string key;
};

Result<Admin> find_admin(const RolloutFlags& flags) {
  Admin admin{flags.url, {}};
  if (!flags.key_env.empty()) {
    const char* key = std::getenv(flags.key_env.c_str());
    if (key == nullptr || *key == '\0') {
      return fail(Code::kInvalidInput, "the environment has no variable " + flags.key_env);
    }
    admin.key = key;
  }
  if (flags.config.empty()) return admin;
  HADAL_TRY(const gateway::Config config, load_serve_config(flags.config));
  if (!config.admin.on()) {
    return fail(Code::kInvalidInput, flags.config + ": 'admin' is missing");
  }
  if (admin.key.empty()) {
    HADAL_TRY(admin.key, read_admin_key(config.admin));
  }
  if (!admin.url.empty()) return admin;
  if (config.admin.port == 0) {
    return fail(Code::kInvalidInput, flags.config + ": 'admin.port' is 0: any; say --url");
  }
  const std::string& host = config.admin.host;
  const bool everywhere = host == "0.0.0.0" || host == "::";
  admin.url = fmt::format("http://{}:{}",
                          everywhere                            ? "127.0.0.1"
                          : host.find(':') != std::string::npos ? "[" + host + "]"
                                                                : host,
                          config.admin.port);
  return admin;
}

// What the server said is wrong, in its words.
std::string error_of(const HttpAnswer& answer) {
  boost::system::error_code error;
  const boost::json::value root = boost::json::parse(answer.body, error);
  if (!error) {
    if (const auto* message = root.find_pointer("/error/message", error)) {
      if (message->is_string()) return std::string(message->as_string());
    }
  }
  return fmt::format("the server answered {}: {}", answer.status, answer.body.substr(0, 300));
}

Result<std::string> ask(const RolloutFlags& flags, const std::string& method,
                        const std::string& path, std::string body = {}) {
  HADAL_TRY(const Admin admin, find_admin(flags));
  HADAL_TRY(const auto server, HttpCaller::make(admin.url));
  net::ClientRequest request;
  request.method = method;
  request.target = "/admin/v1/rollouts" + path;
  request.headers = {{"Content-Type", "application/json"},
                     {"Authorization", "Bearer " + admin.key}};
  request.body = std::move(body);
  HADAL_TRY(const HttpAnswer answer, server->ask(std::move(request)));
  if (answer.status < 300) return answer.body;
  return fail(answer.status == 400 ? Code::kInvalidInput : Code::kUnavailable, error_of(answer));
}

// The fields of one that hadal.yaml does not have; empty: it has.
Result<std::string> spec_of(const RolloutFlags& flags) {
  if (!flags.file.empty()) return read_file(flags.file, kSpecBytesMax);
  if (flags.model.empty()) return std::string();
  boost::json::object spec{{"model", flags.model}};
  if (!flags.kind.empty()) spec["kind"] = flags.kind;
  if (!flags.window.empty()) spec["window"] = flags.window;
  boost::json::object candidate;
  if (!flags.candidate_model.empty()) candidate["model"] = flags.candidate_model;
  if (!flags.candidate_backends.empty()) {
    candidate["backends"] =
        boost::json::array(flags.candidate_backends.begin(), flags.candidate_backends.end());
  }
  if (!candidate.empty()) spec["candidate"] = std::move(candidate);
  if (!flags.steps.empty()) {
    boost::json::array steps;
    for (const double step : flags.steps) steps.push_back(step);
    spec["steps"] = std::move(steps);
  }
  return boost::json::serialize(spec);
}

Result<std::string> start(const RolloutFlags& flags) {
  HADAL_TRY(std::string spec, spec_of(flags));
  if (spec.empty()) return ask(flags, "POST", "/" + flags.name + "/start");
  return ask(flags, "PUT", "/" + flags.name, std::move(spec));
}

void add_flags(CLI::App& app, RolloutFlags* flags) {
  auto* where = app.add_option_group("where");
  where->add_option("--config", flags->config, "hadal.yaml, whose 'admin' is meant");
  where->add_option("--url", flags->url, "the admin port, such as http://127.0.0.1:8081");
  where->require_option(1, 2);
  app.add_option("--key-env", flags->key_env, "environment variable with the admin key");
  app.add_flag("--json", flags->json, "as the server says it");
}

void add_start_flags(CLI::App& app, RolloutFlags* flags) {
  auto* file =
      app.add_option("--file", flags->file, "its fields, for one that hadal.yaml does not have");
  app.add_option("--model", flags->model, "the same, from here: whose requests")->excludes(file);
  app.add_option("--kind", flags->kind, "canary, blue-green or shadow [canary]");
  app.add_option("--candidate", flags->candidate_model, "the model that the share goes to");
  app.add_option("--candidate-backend", flags->candidate_backends,
                 "the backends that it goes to; repeat");
  app.add_option("--step", flags->steps, "percent of the users; repeat [1 5 25 50]");
  app.add_option("--window", flags->window, "how long a step runs [30m]");
}

Status print(const RolloutFlags& flags, const Result<std::string>& answer, bool is_list) {
  if (!answer) return fail(answer.error());
  if (flags.json) {
    fmt::print("{}\n", *answer);
    return {};
  }
  HADAL_TRY(const std::string text, is_list ? rollouts_text(*answer) : rollout_text(*answer));
  fmt::print("{}", text);
  return {};
}

}  // namespace

int cmd_rollout(int argc, char** argv) {
  RolloutFlags flags;
  CLI::App app("new models and backends, by and by", "hadal rollout");
  app.require_subcommand(1);
  auto* begin = app.add_subcommand("start", "one that waits or has ended, or one of these flags");
  auto* list = app.add_subcommand("list", "all of them");
  auto* status = app.add_subcommand("status", "what one's arms have answered");
  auto* pause = app.add_subcommand("pause", "users stay where they are, nothing is judged");
  auto* resume = app.add_subcommand("resume", "this step again");
  auto* promote = app.add_subcommand("promote", "everybody to the candidate");
  promote->add_flag("--next", flags.next, "only the next step");
  auto* abort = app.add_subcommand("abort", "everybody back");
  auto* forget = app.add_subcommand("forget", "one that has ended and hadal.yaml does not have");
  for (CLI::App* command : {begin, status, pause, resume, promote, abort, forget}) {
    command->add_option("name", flags.name, "as in the list")->required();
  }
  add_start_flags(*begin, &flags);
  for (CLI::App* command : app.get_subcommands({})) add_flags(*command, &flags);
  if (const int usage = parse_line(app, nullptr, argc, argv); usage >= 0) return usage;
  const Status done = [&]() -> Status {
    const std::string path = "/" + flags.name;
    if (list->parsed()) return print(flags, ask(flags, "GET", ""), true);
    if (status->parsed()) return print(flags, ask(flags, "GET", path), false);
    if (begin->parsed()) return print(flags, start(flags), false);
    if (forget->parsed()) {
      HADAL_TRY_VOID(ask(flags, "DELETE", path));
      return {};
    }
    const char* command = pause->parsed()    ? "/pause"
                          : resume->parsed() ? "/resume"
                          : abort->parsed()  ? "/abort"
                          : flags.next       ? "/next"
                                             : "/promote";
    return print(flags, ask(flags, "POST", path + command), false);
  }();
  if (done) return 0;
  fmt::print(stderr, "hadal rollout: {}\n", done.error().what);
  return done.error().code == Code::kInvalidInput ? kUsageError : 1;
}

}  // namespace hadal::apps
