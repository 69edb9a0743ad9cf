// hadal chat: a conversation. Ctrl-C ends the answer, not the program; Ctrl-D or /exit ends the
// program.
#include <errno.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>

#include "hadal/apps/commands.h"
#include "hadal/apps/conversation.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/terminal.h"
#include "hadal/obs/registry.h"

namespace hadal::apps {
namespace {

struct ChatFlags {
  RuntimeFlags runtime;
  std::string system;
  std::optional<float> temperature;
  bool no_thinking = false;
};

// Lines from stdin, interruptible by a signal.
class LineReader {
 public:
  explicit LineReader(Signals& signals) : signals_(signals) {}

  enum class Outcome { kLine, kInterrupted, kTerminated, kEnd };
  Outcome read_line(std::string* line) {
    for (;;) {
      if (const size_t newline = buffer_.find('\n'); newline != std::string::npos) {
        *line = buffer_.substr(0, newline);
        buffer_.erase(0, newline + 1);
        return Outcome::kLine;
      }
      pollfd waiting[2] = {{STDIN_FILENO, POLLIN, 0}, {signals_.descriptor(), POLLIN, 0}};
      poll(waiting, 2, -1);
      if (const auto signal = signals_.wait(std::chrono::milliseconds(0))) {
        buffer_.clear();
        return *signal == SIGTERM ? Outcome::kTerminated : Outcome::kInterrupted;
      }
      if (waiting[0].revents == 0) continue;
      std::array<char, 4096> piece;
      const ssize_t size = read(STDIN_FILENO, piece.data(), piece.size());
      if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (size <= 0) {
        *line = std::exchange(buffer_, {});
        return line->empty() ? Outcome::kEnd : Outcome::kLine;
      }
      buffer_.append(piece.data(), static_cast<size_t>(size));
    }
  }

 private:
  Signals& signals_;
  std::string buffer_;
};

class Chat {
 public:
  Chat(const ChatFlags& flags, Runtime& runtime, Signals& signals)
      : flags_(flags), runtime_(runtime), signals_(signals), reader_(signals) {
    reset();
  }

  int run() {
    const bool terminal = is_terminal(stdin);
    if (terminal) {
      fmt::print("{}\nCtrl-C stops an answer, /reset forgets, /exit or Ctrl-D leaves\n",
                 runtime_.summary());
    }
    for (;;) {
      if (terminal) fmt::print("\n> ");
      std::fflush(stdout);
      std::string line;
      switch (reader_.read_line(&line)) {
        case LineReader::Outcome::kInterrupted:
          fmt::print("\n");
          continue;
        case LineReader::Outcome::kTerminated:
          return 128 + SIGTERM;
        case LineReader::Outcome::kEnd:
          if (terminal) fmt::print("\n");
          return 0;
        case LineReader::Outcome::kLine:
          break;
      }
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      if (line == "/exit" || line == "/quit") return 0;
      if (line == "/reset") {
        reset();
        fmt::print("forgotten\n");
        continue;
      }
      answer(std::move(line));
    }
  }

 private:
  void reset() {
    messages_.clear();
    if (!flags_.system.empty()) messages_.push_back({"system", flags_.system, {}});
  }

  void answer(std::string question) {
    messages_.push_back({"user", std::move(question), {}});
    LocalRequest request;
    request.messages = messages_;
    request.thinking = !flags_.no_thinking;
    request.temperature = flags_.temperature;
    const bool colours = is_terminal(stdout);
    bool reasoned = false;
    auto answer = answer_locally(runtime_, request, signals_, [&](const AnswerEvent& piece) {
      if (piece.kind != AnswerEvent::Kind::kReasoning) {
        if (std::exchange(reasoned, false)) fmt::print("\n");
        fmt::print("{}", piece.text);
      } else if (colours) {
        fmt::print("{}{}{}", kDim, piece.text, kPlain);
        reasoned = true;
      }
      std::fflush(stdout);
    });
    if (!answer) {  // the conversation stays as it was before the question
      fmt::print(stderr, "{}\n", answer.error().what);
      messages_.pop_back();
      return;
    }
    fmt::print("{}\n", answer->interrupted ? " [stopped]" : "");
    messages_.push_back({"assistant", answer->content, answer->reasoning});
  }

  const ChatFlags& flags_;
  Runtime& runtime_;
  Signals& signals_;
  LineReader reader_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

int cmd_chat(int argc, char** argv) {
  ChatFlags flags;
  CLI::App app("a conversation in the terminal", "hadal chat");
  add_runtime_flags(app, &flags.runtime);
  app.add_option("--system", flags.system, "a system message at the start");
  app.add_option("--temperature", flags.temperature, "0 to 2 [the model's]")
      ->check(CLI::Range(0.0, 2.0));
  app.add_flag("--no-thinking", flags.no_thinking, "answer at once, where the model can");
  if (const int status = parse_line(app, &flags.runtime, argc, argv); status >= 0) return status;

  const SystemClock clock;
  // Only now: Ctrl-C while loading ends the program, as anywhere.
  LoadingProgress progress;
  Signals signals({SIGINT, SIGTERM});
  auto runtime = Runtime::make(flags.runtime.options, std::make_shared<obs::Registry>(), clock,
                               stderr_log(LogLevel::kWarning),
                               [&](uint64_t done, uint64_t total) { progress(done, total); });
  if (!runtime) {
    fmt::print(stderr, "hadal chat: {}\n", runtime.error().what);
    return 1;
  }
  return Chat(flags, **runtime, signals).run();
}

}  // namespace hadal::apps
