// hadal ask "...": one answer on stdout. Reasoning goes to stderr, dimmed, and only to a terminal.
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "hadal/apps/commands.h"
#include "hadal/apps/conversation.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/terminal.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {
namespace {

struct AskFlags {
  RuntimeFlags runtime;
  std::vector<std::string> question;
  std::string system;
  std::optional<float> temperature;
  std::optional<uint64_t> seed;
  std::optional<int32_t> max_tokens;
  bool no_thinking = false;
};

void print_piece(const AnswerEvent& piece) {
  if (piece.kind != AnswerEvent::Kind::kReasoning) {
    fmt::print("{}", piece.text);
    std::fflush(stdout);
  } else if (is_terminal(stderr)) {
    fmt::print(stderr, "{}{}{}", kDim, piece.text, kPlain);
    std::fflush(stderr);
  }
}

int ask(const AskFlags& flags) {
  Signals signals({SIGINT, SIGTERM});
  const SystemClock clock;
  LoadingProgress progress;
  auto runtime = Runtime::make(flags.runtime.options, std::make_shared<obs::Registry>(), clock,
                               stderr_log(LogLevel::kWarning),
                               [&](uint64_t done, uint64_t total) { progress(done, total); });
  if (!runtime) {
    fmt::print(stderr, "hadal ask: {}\n", runtime.error().what);
    return 1;
  }
  std::vector<ChatMessage> messages;
  if (!flags.system.empty()) messages.push_back({"system", flags.system, {}});
  messages.push_back({"user", fmt::format("{}", fmt::join(flags.question, " ")), {}});
  LocalRequest request;
  request.messages = messages;
  request.thinking = !flags.no_thinking;
  request.temperature = flags.temperature;
  request.seed = flags.seed;
  request.max_tokens = flags.max_tokens;
  bool reasoned = false;
  auto answer = answer_locally(**runtime, request, signals, [&](const AnswerEvent& piece) {
    const bool thought = piece.kind == AnswerEvent::Kind::kReasoning;
    if (reasoned && !thought && is_terminal(stderr)) fmt::print(stderr, "\n");
    reasoned = thought;
    print_piece(piece);
  });
  if (!answer) {
    fmt::print(stderr, "hadal ask: {}\n", answer.error().what);
    return 1;
  }
  fmt::print("\n");
  return answer->interrupted ? 128 + SIGINT : 0;
}

}  // namespace

int cmd_ask(int argc, char** argv) {
  AskFlags flags;
  CLI::App app("prints one answer and leaves", "hadal ask");
  add_runtime_flags(app, &flags.runtime);
  app.add_option("question", flags.question, "what to ask")->required();
  app.add_option("--system", flags.system, "a system message before it");
  app.add_option("--temperature", flags.temperature, "0 to 2 [the model's]")
      ->check(CLI::Range(0.0, 2.0));
  app.add_option("--seed", flags.seed, "the same answer again at a temperature above 0");
  app.add_option("--max-tokens", flags.max_tokens, "[what the context holds]")
      ->check(CLI::Range(1, 1 << 30));
  app.add_flag("--no-thinking", flags.no_thinking, "answer at once, where the model can");
  if (const int status = parse_line(app, &flags.runtime, argc, argv); status >= 0) return status;
  return ask(flags);
}

}  // namespace hadal::apps
