#include "hadal/gateway/cache_stage.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "hadal/gateway/answer_store.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A connection's side of an answer.
class Client {
 public:
  Client() : exchange_(std::make_shared<net::Exchange>(1 << 20, [this] { woken_ = true; })) {}
  ~Client() { exchange_->detach(); }
  net::ResponseWriter writer() { return net::ResponseWriter(exchange_); }
  void go() { exchange_->client_gone(); }

  // Takes until `enough`, for ten seconds at most.
  const std::string& read(const std::function<bool(const Client&)>& enough) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
      net::Exchange::Taken taken = exchange_->take();
      if (taken.head) head = taken.head;
      body += taken.bytes;
      finished |= taken.finished;
      abandoned |= taken.abandoned;
      if (enough(*this) || std::chrono::steady_clock::now() > end) return body;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  const std::string& whole() {
    return read([](const Client& client) { return client.finished; });
  }
  std::string header(std::string_view name) const {
    return head ? std::string(net::find_header(head->headers, name)) : "no head";
  }
  int status() const { return head ? head->status : 0; }

  std::optional<net::Exchange::Head> head;
  std::string body;
  bool finished = false;
  bool abandoned = false;

 private:
  std::atomic<bool> woken_{false};
  std::shared_ptr<net::Exchange> exchange_;
};

constexpr const char* kAsk =
    R"({"model":"m","temperature":0,"messages":[{"role":"user","content":"How do I delete my account?"}]})";

class Stage : public ::testing::Test {
 protected:
  struct Upstream {
    net::HttpRequest request;
    std::optional<net::ResponseWriter> writer;
    bool cancelled = false;
  };

  Stage() { config_.enabled = true; }
  ~Stage() override {
    asked_.clear();
    stage_.reset();
  }

  void start() {
    auto made = CacheStage::make(
        config_,
        [this](std::string_view model) {
          return AnswerSource{model == "unknown" ? "" : identity_ + std::string(model), true};
        },
        [this](net::HttpRequest request, net::ResponseWriter writer) {
          std::lock_guard lock(mutex_);
          auto& one = *asked_.emplace_back(std::make_unique<Upstream>());
          one.request = std::move(request);
          one.writer.emplace(std::move(writer));
          one.writer->on_close([&one] { one.cancelled = true; });
        },
        clock_, registry_, {});
    ASSERT_TRUE(made) << made.error().what;
    stage_ = std::move(*made);
  }
  size_t asked() {
    std::lock_guard lock(mutex_);
    return asked_.size();
  }
  void wait_for(size_t count) {
    for (int i = 0; i < 20'000 && asked() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    ASSERT_EQ(asked(), count);
  }
  Upstream& upstream(size_t nth) {
    std::lock_guard lock(mutex_);
    return *asked_.at(nth);
  }
  void ask(Client& client, std::string body = kAsk, std::vector<net::Header> headers = {},
           std::string_view scope = "one", std::string path = "/v1/chat/completions") {
    if (stage_ == nullptr) start();
    net::HttpRequest request{"POST", std::move(path), "", std::move(headers), std::move(body)};
    stage_->handle(std::move(request), client.writer(), scope);
  }
  void answer(size_t nth, int status = 200,
              std::string body = R"({"id":"chatcmpl-0123456789","x":1})",
              std::vector<net::Header> headers = {{"Content-Type", "application/json"}}) {
    auto writer = std::move(*upstream(nth).writer);
    writer.respond(status, std::move(headers), std::move(body));
  }
  // Asks; whoever is next answers. What the client was told of the cache.
  std::string result(std::string body = kAsk, std::vector<net::Header> headers = {},
                     std::string_view scope = "one", std::string path = "/v1/chat/completions") {
    Client client;
    const size_t before = asked();
    ask(client, std::move(body), std::move(headers), scope, std::move(path));
    if (asked() > before) answer(before);
    client.whole();
    EXPECT_EQ(client.status(), 200);
    const std::string told = client.header("x-hadal-cache");
    EXPECT_EQ(asked() > before, told != "hit") << told;
    return told;
  }

  CacheConfig config_;
  std::string identity_ = "files 1 ";
  FakeClock clock_;
  std::shared_ptr<obs::Registry> registry_ = std::make_shared<obs::Registry>();
  std::mutex mutex_;
  std::vector<std::unique_ptr<Upstream>> asked_;
  std::unique_ptr<CacheStage> stage_;
};

TEST_F(Stage, AnswersAgainWithAnIdOfItsOwn) {
  Client first, second;
  ask(first);
  answer(0, 200, R"({"id":"chatcmpl-0123456789","call":"call_0123456789_0","text":"hi"})");
  EXPECT_EQ(first.whole(),
            R"({"id":"chatcmpl-0123456789","call":"call_0123456789_0","text":"hi"})");
  EXPECT_EQ(first.header("x-hadal-cache"), "miss");
  clock_.advance(std::chrono::seconds(7));
  ask(second);
  EXPECT_EQ(asked(), 1u);
  EXPECT_EQ(second.whole().size(), first.body.size());
  EXPECT_THAT(second.body, HasSubstr(R"("text":"hi")"));
  EXPECT_EQ(second.body.find("0123456789"), std::string::npos);
  EXPECT_EQ(second.header("x-hadal-cache"), "hit");
  EXPECT_EQ(second.header("age"), "7");
  EXPECT_EQ(second.header("content-type"), "application/json");
}

TEST_F(Stage, OnlyWhatMayChangeNothingIsShared) {
  EXPECT_EQ(result(), "miss");
  EXPECT_EQ(result(), "hit");
  const std::string other_form =
      R"({ "messages":[{"content":"How do I delete my account?","role":"user"}], "temperature":0.0, "model":"m"})";
  EXPECT_EQ(result(other_form), "hit");
  EXPECT_EQ(result(kAsk, {}, "one", "/chat/completions"), "hit");
  EXPECT_EQ(result(kAsk, {}, "two"), "miss");
  EXPECT_EQ(result(kAsk, {}, "one", "/v1/messages"), "miss");
  EXPECT_EQ(result(kAsk, {{"anthropic-beta", "x"}}), "miss");
  identity_ = "files 2 ";
  EXPECT_EQ(result(), "miss");
  EXPECT_EQ(result(), "hit");
  config_.epoch = 1;
  stage_->configure(config_);
  EXPECT_EQ(result(), "miss");
}

TEST_F(Stage, OnlyRequestsWithOneAnswerAreKeptUnlessAskedFor) {
  const auto body = [](std::string_view with) {
    return fmt::format(R"({{"model":"m",{}"messages":[{{"role":"user","content":"x"}}]}})", with);
  };
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(result(body("")), "bypass");
    EXPECT_EQ(result(body(R"("temperature":0.7,)")), "bypass");
    EXPECT_EQ(result(body(R"("temperature":0,"previous_response_id":"r",)")), "bypass");
    EXPECT_EQ(result(body(R"("temperature":0,)"), {{"x-hadal-cache", "off"}}), "bypass");
    EXPECT_EQ(result(R"({"model":"unknown","temperature":0})"), "bypass");
    EXPECT_EQ(result("not JSON"), "bypass");
    EXPECT_EQ(result(body(R"("temperature":0,)") + std::string(600'000, ' ')),
              i == 0 ? "miss" : "hit");
    EXPECT_EQ(result(body(R"("seed":3,)")), i == 0 ? "miss" : "hit");
    EXPECT_EQ(result(body(R"("top_p":0.3,)"), {{"x-hadal-cache", "on"}}), i == 0 ? "miss" : "hit");
    EXPECT_EQ(result(body(R"("seed":9,)"), {{"x-hadal-cache", "refresh"}}), "miss");
  }
  EXPECT_EQ(result(body(R"("seed":9,)")), "hit");
  EXPECT_EQ(result(kAsk, {}, "one", "/tokenize"), "");
  config_.answers = "all";
  stage_->configure(config_);
  EXPECT_EQ(result(body("")), "miss");
  EXPECT_EQ(result(body("")), "hit");
  config_.enabled = false;
  stage_->configure(config_);
  EXPECT_EQ(result(), "");
}

TEST_F(Stage, StreamsAreGivenAgainAsStreams) {
  Client first, second;
  ask(first);
  auto writer = std::move(*upstream(0).writer);
  writer.start_stream(200, {{"Content-Type", "text/event-stream"}});
  writer.write("data: {\"id\":\"chatcmpl-0123456789\"}\n\n");
  first.read([](const Client& client) { return !client.body.empty(); });
  EXPECT_TRUE(first.head->streamed);  // as it comes
  EXPECT_FALSE(first.finished);
  writer.write("data: [DONE]\n\n");
  writer.finish();
  EXPECT_THAT(first.whole(), HasSubstr("[DONE]"));
  ask(second);
  EXPECT_EQ(asked(), 1u);
  EXPECT_THAT(second.whole(), HasSubstr("[DONE]"));
  EXPECT_TRUE(second.head->streamed);
  EXPECT_EQ(second.header("content-type"), "text/event-stream");
  EXPECT_EQ(second.body.size(), first.body.size());
}

TEST_F(Stage, WhatIsNotWholeIsNeverKept) {
  size_t nth = 0;
  const auto stream = [&](const std::string& bytes, bool finishes) {
    Client client;
    ask(client);
    ASSERT_EQ(asked(), ++nth) << bytes;
    {
      auto writer = std::move(*upstream(nth - 1).writer);
      writer.start_stream(200, {{"Content-Type", "text/event-stream"}});
      writer.write(bytes);
      if (finishes) writer.finish();
    }
    client.whole();
    // Broken off at once, it may not have begun.
    EXPECT_EQ(client.abandoned || client.status() == 500, !finishes);
  };
  stream("data: {}\n\n", true);
  stream("data: {}\n\ndata: [DONE]\n\n", false);
  stream("data: {\"error\":{}}\n\ndata: [DONE]\n\n", true);
  for (const int status : {400, 429, 500, 503, 302}) {
    Client client;
    ask(client);
    ASSERT_EQ(asked(), ++nth);
    answer(nth - 1, status, "no");
    EXPECT_EQ(client.whole(), "no");
    EXPECT_EQ(client.status(), status);
  }
  {
    Client client;
    ask(client);
    ASSERT_EQ(asked(), ++nth);
    answer(nth - 1, 200, "zip", {{"Content-Encoding", "gzip"}});
    client.whole();
    EXPECT_EQ(client.header("content-encoding"), "gzip");
  }
  {
    Client client;
    ask(client);
    ASSERT_EQ(asked(), ++nth);
    const std::string large(config_.entry_max + 1, 'x');
    auto writer = std::move(*upstream(nth - 1).writer);
    writer.start_sized(200, {}, large.size());
    writer.write(large.substr(0, 1000));
    client.read([](const Client& one) { return !one.body.empty(); });
    writer.write(large.substr(1000));
    writer.finish();
    EXPECT_EQ(client.whole().size(), large.size());
  }
  {
    Client client;
    ask(client);
    ASSERT_EQ(asked(), ++nth);
    upstream(nth - 1).writer.reset();  // nobody answers
    client.whole();
    EXPECT_EQ(client.status(), 500);
  }
  EXPECT_EQ(result(), "miss");
  EXPECT_EQ(result(), "hit");
}

TEST_F(Stage, OneRequestUnderWayIsComputedOnce) {
  Client clients[4];
  for (Client& client : clients) ask(client);
  EXPECT_EQ(asked(), 1u);
  clients[0].go();  // the first does not take the others with it
  EXPECT_FALSE(upstream(0).cancelled);
  answer(0);
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_THAT(clients[i].whole(), StartsWith("{\"id\":")) << i;
    EXPECT_EQ(clients[i].header("x-hadal-cache"), "hit");
  }
  EXPECT_EQ(result(), "hit");
}

TEST_F(Stage, LateOnesGetAStreamFromItsBeginning) {
  Client first, second;
  ask(first);
  auto writer = std::move(*upstream(0).writer);
  writer.start_stream(200, {});
  writer.write("data: 1\n\n");
  first.read([](const Client& client) { return !client.body.empty(); });
  ask(second);
  EXPECT_EQ(second.read([](const Client& client) { return !client.body.empty(); }), "data: 1\n\n");
  writer.write("data: [DONE]\n\n");
  writer.finish();
  EXPECT_EQ(second.whole(), first.whole());
  EXPECT_EQ(asked(), 1u);
}

TEST_F(Stage, NobodyLeftStopsTheComputation) {
  Client first, second, third;
  ask(first);
  ask(second);
  second.go();
  EXPECT_FALSE(upstream(0).cancelled);
  first.go();
  EXPECT_TRUE(upstream(0).cancelled);
  ask(third);  // what was cancelled is not waited for
  EXPECT_EQ(asked(), 2u);
  answer(1);
  EXPECT_THAT(third.whole(), StartsWith("{"));
}

TEST_F(Stage, AFailureIsHandedToTheNext) {
  Client clients[3];
  for (Client& client : clients) ask(client);
  answer(0, 503, "busy");
  EXPECT_EQ(clients[0].whole(), "busy");
  wait_for(2);
  EXPECT_EQ(upstream(1).request.body, kAsk);
  upstream(1).writer.reset();
  clients[1].whole();
  EXPECT_EQ(clients[1].status(), 500);
  wait_for(3);
  answer(2);
  EXPECT_THAT(clients[2].whole(), StartsWith("{\"id\""));
  EXPECT_EQ(clients[2].status(), 200);
}

TEST_F(Stage, WhatTheRequestIsAtFaultForIsEverybodys) {
  Client clients[3];
  for (Client& client : clients) ask(client);
  answer(0, 400, "bad");
  for (Client& client : clients) EXPECT_EQ(client.whole(), "bad");
  EXPECT_EQ(asked(), 1u);
}

TEST_F(Stage, APromiseReachesEverybody) {
  Client first, second;
  ask(first);
  upstream(0).writer->promise({{"Content-Type", "application/json"}},
                              {"\n", std::chrono::milliseconds(5)});
  ask(second);
  answer(0);
  EXPECT_THAT(first.whole(), HasSubstr("chatcmpl"));
  EXPECT_THAT(second.whole(), HasSubstr("chatcmpl"));
}

TEST_F(Stage, TimeAndSpaceAreBounded) {
  config_.ttl = Millis(10'000);
  EXPECT_EQ(result(), "miss");
  clock_.advance(std::chrono::seconds(9));
  EXPECT_EQ(result(), "hit");
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(result(), "miss");
  config_.memory = 0;
  stage_->configure(config_);
  EXPECT_EQ(result(), "miss");
}

TEST_F(Stage, TheDiskKeepsAnswersOverARestart) {
  const std::string path = testing::TempDir() + "answers.db";
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
  config_.disk = path;
  config_.semantic.mode = "on";
  EXPECT_EQ(result(), "miss");
  stage_.reset();
  EXPECT_EQ(result(), "hit");
  stage_.reset();
  const char* other =
      R"({"model":"m","temperature":0,"messages":[{"role":"user","content":"How can I remove my account please"}]})";
  EXPECT_EQ(result(other), "hit");
  stage_.reset();
  clock_.advance(std::chrono::hours(30));
  EXPECT_EQ(result(), "miss");
  stage_.reset();
  for (const char* end : {"-wal", "-shm"}) std::filesystem::remove(path + end);
  std::filesystem::resize_file(path, 0);
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fputs("this is no database, and long enough to be looked at as one", file);
  std::fclose(file);
  EXPECT_EQ(result(), "miss");
  EXPECT_EQ(result(), "hit");
  stage_.reset();
}

std::string chat(std::string_view system, std::string_view question, std::string_view more = "") {
  return fmt::format(
      R"({{"model":"m","temperature":0,{}"messages":[{{"role":"system","content":"{}"}},{{"role":"user","content":"{}"}}]}})",
      more, system, question);
}

TEST_F(Stage, AQuestionInOtherWordsIsAnsweredWhereTheRestIsEqual) {
  config_.semantic.mode = "on";
  config_.semantic.threshold = 0.5;
  EXPECT_EQ(result(chat("s", "How do I delete my account?")), "miss");
  Client client;
  ask(client, chat("s", "Please, how can I remove the account"));
  EXPECT_EQ(asked(), 1u);
  client.whole();
  EXPECT_EQ(client.header("x-hadal-cache"), "hit");
  EXPECT_GT(std::stod(client.header("x-hadal-cache-similarity")), 0.85);
  // Another prompt, parameter, key, or meaning.
  EXPECT_EQ(result(chat("t", "how can I remove the account")), "miss");
  EXPECT_EQ(result(chat("s", "how can I remove the account", R"("max_tokens":5,)")), "miss");
  EXPECT_EQ(result(chat("s", "how can I remove the account"), {}, "two"), "miss");
  EXPECT_EQ(result(chat("s", "How do I not delete my account?")), "miss");
  EXPECT_EQ(result(chat("s", "how can I remove the account"), {{"x-hadal-cache", "refresh"}}),
            "miss");
  EXPECT_THAT(exposition(*registry_),
              HasSubstr("hadal_cache_semantic_objections_total{objection=\"negation\"} 1"));
}

TEST_F(Stage, ConversationsAreLeftAloneUnlessWanted) {
  const auto talk = [](std::string_view last) {
    return fmt::format(
        R"({{"model":"m","temperature":0,"messages":[{{"role":"user","content":"a"}},{{"role":"assistant","content":"b"}},{{"role":"user","content":"{}"}}]}})",
        last);
  };
  config_.semantic.mode = "on";
  EXPECT_EQ(result(talk("How do I delete my account?")), "miss");
  EXPECT_EQ(result(talk("How can I delete my account?")), "miss");
  config_.semantic.multi_turn = true;
  stage_->configure(config_);
  EXPECT_EQ(result(talk("How do I delete the account?")), "miss");
  EXPECT_EQ(result(talk("How can we delete the account?")), "hit");
}

TEST_F(Stage, ADryRunOnlyTells) {
  config_.semantic.mode = "dry-run";
  EXPECT_EQ(result(chat("s", "How do I delete my account?")), "miss");
  Client client;
  ask(client, chat("s", "How can I delete my account?"));
  ASSERT_EQ(asked(), 2u);
  answer(1);
  client.whole();
  EXPECT_EQ(client.header("x-hadal-cache"), "miss");
  EXPECT_NE(client.header("x-hadal-cache-similarity"), "");
  EXPECT_THAT(exposition(*registry_), HasSubstr("hadal_cache_semantic_dry_run_total 1"));
}

// Many clients, few questions, some that leave: everybody who stays is answered.
TEST_F(Stage, ACrowd) {
  config_.memory = 20'000;
  std::atomic<int> computed{0};
  std::vector<std::thread> workers;
  std::mutex workers_mutex;
  auto made = CacheStage::make(
      config_,
      [](std::string_view) {
        return AnswerSource{"x", true};
      },
      [&](net::HttpRequest request, net::ResponseWriter writer) {
        const int nth = ++computed;
        auto shared = std::make_shared<net::ResponseWriter>(std::move(writer));
        std::lock_guard lock(workers_mutex);
        workers.emplace_back([nth, shared, body = request.body] {
          if (nth % 7 == 0) return;  // fails
          shared->respond(200, {}, "answer to " + body);
        });
      },
      clock_, registry_, {});
  ASSERT_TRUE(made);
  std::atomic<int> right{0}, failed{0}, left{0};
  std::vector<std::thread> crowd;
  for (int t = 0; t < 4; ++t) {
    crowd.emplace_back([&, t] {
      for (int i = 0; i < 150; ++i) {
        const std::string body = fmt::format(R"({{"temperature":0,"seed":{}}})", (i * 7 + t) % 12);
        Client client;
        (*made)->handle({"POST", "/v1/completions", "", {}, body}, client.writer(), "k");
        if (i % 11 == 0) {
          client.go();
          ++left;
          continue;
        }
        client.whole();
        if (client.status() == 200) {
          EXPECT_EQ(client.body, "answer to " + body);
          ++right;
        } else {
          EXPECT_EQ(client.status(), 500);
          ++failed;
        }
      }
    });
  }
  for (std::thread& thread : crowd) thread.join();
  for (;;) {
    std::vector<std::thread> some;
    {
      std::lock_guard lock(workers_mutex);
      some.swap(workers);
    }
    if (some.empty()) break;
    for (std::thread& thread : some) thread.join();
  }
  EXPECT_EQ(right + failed + left, 600);
  EXPECT_LE(failed, computed / 7 + 1);
  EXPECT_GT(right, 400);
}

StoredAnswer stored(const std::string& key, size_t bytes, int64_t expires = 100) {
  StoredAnswer answer;
  answer.key = key;
  answer.expires = expires;
  answer.body = std::string(bytes, 'x');
  return answer;
}

TEST(AnswerMemory, DropsTheLeastRecentlyUsed) {
  const size_t each = stored("a", 1'000).bytes();
  AnswerMemory memory(3 * each);
  for (const char* key : {"a", "b", "c"}) {
    memory.put(std::make_shared<const StoredAnswer>(stored(key, 1'000)));
  }
  EXPECT_NE(memory.find("a", 0), nullptr);
  memory.put(std::make_shared<const StoredAnswer>(stored("d", 1'000)));
  EXPECT_EQ(memory.find("b", 0), nullptr);
  EXPECT_NE(memory.find("a", 0), nullptr);
  EXPECT_EQ(memory.bytes(), 3 * each);
  memory.put(std::make_shared<const StoredAnswer>(stored("a", 10)));  // in the old one's place
  EXPECT_EQ(memory.size(), 3u);
  EXPECT_EQ(memory.find("a", 99)->body.size(), 10u);
  EXPECT_EQ(memory.find("a", 100), nullptr);
  EXPECT_EQ(memory.size(), 2u);
  memory.resize(0);
  EXPECT_EQ(memory.bytes(), 0u);
}

TEST(AnswerDisk, StaysWithinItsBytes) {
  const std::string path = testing::TempDir() + "bounded.db";
  for (const char* end : {"", "-wal", "-shm"}) std::filesystem::remove(path + end);
  auto disk = AnswerDisk::open(path, 100'000);
  ASSERT_TRUE(disk) << disk.error().what;
  for (int i = 0; i < 300; ++i) {
    StoredAnswer answer = stored(fmt::format("key {}", i), 1'000);
    answer.stored = i;
    ASSERT_TRUE((*disk)->put(answer, 0));
  }
  int there = 0;
  for (int i = 0; i < 300; ++i) {
    const auto found = (*disk)->find(fmt::format("key {}", i), 0);
    ASSERT_TRUE(found);
    if (*found == nullptr) continue;
    ++there;
    EXPECT_GT(i, 150) << "the oldest go first";
  }
  EXPECT_GT(there, 10);
  EXPECT_LE(there, 100);
  EXPECT_EQ(*(*disk)->find("key 299", 100), nullptr);
  EXPECT_FALSE(AnswerDisk::open("/proc/no/such.db", 1));
}

TEST(AnswerIds, AreFoundWhereverTheyStand) {
  EXPECT_EQ(find_ids(R"({"id":"chatcmpl-abcdef0123","x":"call_abcdef0123_1"})").size(), 2u);
  EXPECT_EQ(find_ids(R"({"message": {"id": "msg_abcdef0123"}})").size(), 1u);
  EXPECT_TRUE(find_ids(R"({"id":"short"})").empty());
  EXPECT_TRUE(find_ids(R"({"id":7})").empty());
  EXPECT_TRUE(find_ids(R"({"id":"a b c d e f g h"})").empty());
  EXPECT_TRUE(find_ids("").empty());
  EXPECT_TRUE(find_ids(R"("id":)").empty());
}

}  // namespace
}  // namespace hadal::gateway
