// What the API layer costs apart from the model: real sockets, the real service, and an engine that
// makes tokens out of nothing at a fixed rate.
//
//   api_layer_bench [--vocab GGUF] [--text FOLDER] [--tokens N] [--streams N] [--rate N] [--seconds
//   N]
//
// Prints one line of JSON. `core_percent_per_1000_tokens_s`: CPU time of this process (its kernel
// part included; the clients are another process) over the time and the rate, while every stream
// asks anew when its answer is complete. `first_ms`, `next_turn_ms`: from a request's body to its
// tokens, for a conversation of --tokens tokens and for the same with one more question.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "hadal/api/openai.h"
#include "hadal/apps/embedded_model.h"
#include "hadal/apps/prompt.h"
#include "hadal/apps/service.h"
#include "hadal/base/check.h"
#include "hadal/base/limits.h"
#include "hadal/format/model_files.h"
#include "hadal/net/server.h"
#include "hadal/text/detokenizer.h"

namespace hadal::apps {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Steady = std::chrono::steady_clock;

constexpr int kAnswerTokens = 256;
constexpr size_t kTurnBytes = 2'000;

struct Flags {
  std::string vocab;  // empty: the embedded model's
  std::string text = "docs";
  size_t tokens = 100'000;
  int streams = 16;
  int rate = 1'000;  // tokens a second, all streams together
  double seconds = 5;
};

double milliseconds_since(Steady::time_point start) {
  return std::chrono::duration<double, std::milli>(Steady::now() - start).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Every text below a folder, in the order of the names.
std::string read_texts(const std::string& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string suffix = entry.path().extension();
    if (suffix == ".md" || suffix == ".cc" || suffix == ".h" || suffix == ".py") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    all.append(std::istreambuf_iterator<char>(stream), {});
  }
  HADAL_CHECK(!all.empty(), "no text below " + folder);
  return all;
}

// [from, from + bytes) and on to the next character, of a text that is repeated without end.
std::string cut(const std::string& text, size_t from, size_t bytes) {
  std::string out;
  for (size_t at = from; out.size() < bytes || (text[at % text.size()] & 0xC0) == 0x80; ++at) {
    const char c = text[at % text.size()];
    if (!out.empty() || (c & 0xC0) != 0x80) out.push_back(c);
  }
  return out;
}

std::string chat_body(const std::vector<std::string>& turns, bool stream) {
  json::array messages;
  for (size_t i = 0; i < turns.size(); ++i) {
    json::object message;
    message["role"] = i % 2 == 0 ? "user" : "assistant";
    message["content"] = turns[i];
    messages.push_back(std::move(message));
  }
  json::object body;
  body["messages"] = std::move(messages);
  body["max_tokens"] = kAnswerTokens;
  body["stream"] = stream;
  body["stream_options"] = {{"include_usage", true}};
  return json::serialize(body);
}

// Every sequence gets a token at every tick, the next of one long text.
class TickingEngine final : public Engine {
 public:
  TickingEngine(const Tokenizer& tokenizer, std::vector<TokenId> text, const Flags& flags)
      : tokenizer_(tokenizer),
        text_(std::move(text)),
        period_(std::chrono::nanoseconds(1'000'000'000LL * flags.streams / flags.rate)),
        thread_([this] { run(); }) {}
  ~TickingEngine() override {
    stopping_ = true;
    thread_.join();
  }
  Result<RequestId> submit(GenerationRequest request, EventSink sink) override {
    std::lock_guard lock(mutex_);
    const RequestId id = ++last_id_;
    const auto prompt = static_cast<int32_t>(request.prompt.size());
    waiting_.push_back({id, prompt, std::move(sink), Detokenizer(tokenizer_, false, false, {})});
    return id;
  }
  void cancel(RequestId id) override {
    std::lock_guard lock(mutex_);
    cancelled_.push_back(id);
  }
  void drain() override {}
  bool idle() const override { return false; }
  EngineState state() const override { return {}; }
  const ModelConfig& config() const override { return config_; }
  int32_t context() const override { return 1 << 20; }
  int64_t produced() const { return produced_; }

 private:
  struct Sequence {
    RequestId id;
    int32_t prompt;
    EventSink sink;
    Detokenizer detokenizer;
    int32_t made = 0;
  };

  void run() {
    std::vector<Sequence> running;
    for (auto tick = Steady::now(); !stopping_; tick += period_) {
      std::this_thread::sleep_until(tick);
      {
        std::lock_guard lock(mutex_);
        for (Sequence& sequence : waiting_) running.push_back(std::move(sequence));
        waiting_.clear();
        for (const RequestId id : cancelled_) {
          std::erase_if(running, [id](const Sequence& sequence) { return sequence.id == id; });
        }
        cancelled_.clear();
      }
      for (Sequence& sequence : running) advance(&sequence);
      std::erase_if(running, [](const Sequence& s) { return s.made >= kAnswerTokens; });
    }
  }

  void advance(Sequence* sequence) {
    const TokenId token =
        text_[(sequence->id * 977 + static_cast<size_t>(sequence->made)) % text_.size()];
    ++sequence->made;
    ++produced_;
    GenerationEvent event;
    event.tokens = {token};
    event.text = sequence->detokenizer.push(token);
    event.usage = {sequence->prompt, sequence->made, 0};
    event.finished = sequence->made >= kAnswerTokens;
    if (event.finished) event.text += sequence->detokenizer.finish();
    sequence->sink(event);
  }

  const Tokenizer& tokenizer_;
  const std::vector<TokenId> text_;
  const std::chrono::nanoseconds period_;
  ModelConfig config_;
  std::mutex mutex_;
  std::vector<Sequence> waiting_;
  std::vector<RequestId> cancelled_;
  RequestId last_id_ = 0;
  std::atomic<int64_t> produced_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// The clients' process: keeps `streams` requests going until it is killed.
[[noreturn]] void run_clients(int port_pipe, int streams, const std::string& text) {
  uint16_t port = 0;
  if (read(port_pipe, &port, sizeof(port)) != sizeof(port)) _exit(1);
  std::vector<pollfd> sockets;
  std::vector<std::string> tails(static_cast<size_t>(streams));
  size_t asked = 0;
  const auto ask = [&](int socket) {
    const std::string body = chat_body({cut(text, 4'001 * asked++, 4'000)}, true);
    const std::string request =
        fmt::format("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{}",
                    body.size(), body);
    if (send(socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) _exit(1);
  };
  for (int i = 0; i < streams; ++i) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) _exit(1);
    sockets.push_back({client, POLLIN, 0});
    ask(client);
  }
  std::vector<char> piece(1 << 16);
  for (;;) {
    poll(sockets.data(), sockets.size(), -1);
    for (size_t i = 0; i < sockets.size(); ++i) {
      if (sockets[i].revents == 0) continue;
      const ssize_t size = recv(sockets[i].fd, piece.data(), piece.size(), 0);
      if (size <= 0) _exit(1);
      tails[i].append(piece.data(), static_cast<size_t>(size));
      const bool done = tails[i].find("[DONE]") != std::string::npos;
      tails[i] =
          done ? "" : tails[i].substr(tails[i].size() - std::min<size_t>(tails[i].size(), 8));
      if (done) ask(sockets[i].fd);
    }
  }
}

struct Streams {
  double core_percent;  // of one core, at 1,000 tokens a second
  double rate;          // tokens a second that came out
};

Streams measure_streams(const Flags& flags, const std::shared_ptr<ServedModel>& model,
                        std::vector<TokenId> answer, int port_pipe) {
  TickingEngine engine(*model->tokenizer, std::move(answer), flags);
  model->engine = &engine;
  const SystemClock clock;
  Service service({}, std::make_shared<obs::Registry>(), clock);
  service.publish(model);
  auto server = net::HttpServer::start({},
                                       [&](net::HttpRequest request, net::ResponseWriter writer) {
                                         service.handle(std::move(request), std::move(writer));
                                       },
                                       {});
  HADAL_CHECK(server.has_value(), "no port to listen on");
  const uint16_t port = (*server)->port();
  HADAL_CHECK(write(port_pipe, &port, sizeof(port)) == sizeof(port));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // until all streams run
  const auto start = Steady::now();
  const double cpu = cpu_seconds();
  const int64_t produced = engine.produced();
  std::this_thread::sleep_for(std::chrono::duration<double>(flags.seconds));
  const double used = cpu_seconds() - cpu;
  const auto tokens = static_cast<double>(engine.produced() - produced);
  HADAL_CHECK(tokens > 0, "no client asked");
  const double seconds = milliseconds_since(start) / 1'000;
  (*server)->stop();
  service.publish(nullptr);
  return {100 * used / (tokens / 1'000), tokens / seconds};
}

struct Conversation {
  double first_ms, next_turn_ms;
  size_t tokens;
};

Conversation measure_conversation(const Flags& flags, const Tokenizer& tokenizer,
                                  const ServedModel& model, const std::string& text) {
  std::vector<std::string> turns;
  for (size_t tokens = 0; tokens < flags.tokens;
       tokens += tokenizer.encode(turns.back(), {}).size()) {
    turns.push_back(cut(text, turns.size() * kTurnBytes, kTurnBytes));
  }
  if (turns.size() % 2 == 0) turns.push_back("And then?");
  std::vector<double> first, next;
  Conversation found{};
  const auto tokens_of = [&](const std::vector<std::string>& all, std::vector<double>* times) {
    const std::string body = chat_body(all, false);
    const auto start = Steady::now();
    const auto request = api::parse_chat(body);
    HADAL_CHECK(request.has_value(), request ? "" : request.error().message);
    const auto prompt = chat_prompt(model, *request, 0);
    HADAL_CHECK(prompt.has_value(), prompt ? "" : prompt.error().message);
    times->push_back(milliseconds_since(start));
    return prompt->tokens.size();
  };
  for (int i = 0; i < 7; ++i) {
    // Another first word: nothing of an earlier round is known.
    std::vector<std::string> all = turns;
    for (std::string& turn : all) turn.insert(0, fmt::format("{} ", i));
    found.tokens = tokens_of(all, &first);
    all.push_back("An answer.");
    all.push_back("One more question?");
    tokens_of(all, &next);
  }
  found.first_ms = median(first);
  found.next_turn_ms = median(next);
  return found;
}

int run(const Flags& flags) {
  const std::string text = read_texts(flags.text);
  int port_pipe[2];
  HADAL_CHECK(pipe(port_pipe) == 0);
  const pid_t clients = fork();  // before there are threads
  HADAL_CHECK(clients >= 0);
  if (clients == 0) run_clients(port_pipe[0], flags.streams, text);

  auto files = flags.vocab.empty() ? open_model(embedded_model(), std::string(kEmbeddedModelName))
                                   : open_model(flags.vocab);
  HADAL_CHECK(files.has_value(), files ? "" : files.error().what);
  auto vocab = files->vocab();
  HADAL_CHECK(vocab.has_value(), vocab ? "" : vocab.error().what);
  auto tokenizer = Tokenizer::make(std::move(*vocab));
  HADAL_CHECK(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().what);
  auto model = std::make_shared<ServedModel>();
  model->names = {"bench"};
  model->tokenizer = &*tokenizer;
  model->token_cache = std::make_shared<TokenCache>(limits::kTokenCacheBytes);
  model->chat = ChatFormat(ChatForm::kDeepseekR1);
  model->tools = ToolForm::kDeepseekV3;
  model->reasons = true;

  const Conversation conversation = measure_conversation(flags, *tokenizer, *model, text);
  const Streams streams =
      measure_streams(flags, model, tokenizer->encode(cut(text, 0, 200'000), {}), port_pipe[1]);
  kill(clients, SIGKILL);
  waitpid(clients, nullptr, 0);
  std::printf(
      "{\"conversation_tokens\": %zu, \"first_ms\": %.1f, \"next_turn_ms\": %.2f, \"streams\": %d, "
      "\"tokens_per_second\": %.0f, \"core_percent_per_1000_tokens_s\": %.2f}\n",
      conversation.tokens, conversation.first_ms, conversation.next_turn_ms, flags.streams,
      streams.rate, streams.core_percent);
  return 0;
}

}  // namespace
}  // namespace hadal::apps

int main(int argc, char** argv) {
  hadal::apps::Flags flags;
  CLI::App app("what the API layer costs apart from the model", "api_layer_bench");
  app.add_option("--vocab", flags.vocab, "GGUF whose tokenizer is used [the embedded model's]");
  app.add_option("--text", flags.text, "folder of texts [docs]");
  app.add_option("--tokens", flags.tokens, "of the conversation [100000]");
  app.add_option("--streams", flags.streams, "[16]")->check(CLI::Range(1, 1'000));
  app.add_option("--rate", flags.rate, "tokens a second, all streams [1000]")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("--seconds", flags.seconds, "[5]");
  CLI11_PARSE(app, argc, argv);
  signal(SIGPIPE, SIG_IGN);
  return hadal::apps::run(flags);
}
