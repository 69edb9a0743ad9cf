#include "hadal/net/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "hadal/net/testing/raw_client.h"

namespace hadal::net {
namespace {

using std::chrono::milliseconds;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What a handler saw and was told, for the test's thread to wait for.
class Events {
 public:
  void add(std::string event) {
    std::lock_guard lock(mutex_);
    all_ += event + ";";
    changed_.notify_all();
  }
  bool wait_for(const std::string& event) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return all_.find(event) != std::string::npos; });
  }
  std::string all() {
    std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string all_;
};

class ServerTest : public ::testing::Test {
 protected:
  void start(ServerOptions options = {}) {
    options.error_body = [](int status, std::string_view message) {
      return fmt::format("{{{}: {}}}", status, message);
    };
    auto server = HttpServer::start(std::move(options),
                                    [this](HttpRequest request, ResponseWriter writer) {
                                      handle(std::move(request), std::move(writer));
                                    },
                                    {});
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
  }
  ~ServerTest() override {
    drop_kept();
    server_.reset();
  }

  void handle(HttpRequest request, ResponseWriter writer) {
    events_.add(request.path);
    if (request.path == "/drop") return;
    if (request.path == "/throw") throw std::runtime_error("oops");
    if (request.path == "/keep" || request.path == "/stream" || request.path == "/promise") {
      writer.on_close([this] { events_.add("closed"); });
      if (request.path == "/stream") {
        writer.start_stream(200, {{"Content-Type", "text/event-stream"}},
                            {": beat\n\n", milliseconds(20)});
      } else if (request.path == "/promise") {
        writer.promise({{"Content-Type", "application/json"}}, {"\n", milliseconds(20)});
      }
      std::lock_guard lock(mutex_);
      kept_.push_back(std::move(writer));
      events_.add("kept");
      return;
    }
    writer.respond(200, {{"X-Method", request.method}},
                   fmt::format("[{} {} {} {}]", request.path, request.query, request.body.size(),
                               request.body.substr(0, 32)));
  }

  ResponseWriter& kept(size_t i = 0) {
    std::lock_guard lock(mutex_);
    return kept_.at(i);
  }
  void drop_kept() {
    std::lock_guard lock(mutex_);
    kept_.clear();
  }
  std::string ask(std::string_view bytes) {
    RawClient client(server_->port());
    client.send(bytes);
    return client.read_to_end();
  }

  Events events_;
  std::mutex mutex_;
  std::deque<ResponseWriter> kept_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  start();
  RawClient client(server_->port());
  client.send("POST /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_THAT(client.read_past("]"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Connection: keep-alive"),
                    EndsWith("[/a b x=1 5 hello]")));
  client.send("GET /again HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(client.read_to_end(),
              AllOf(HasSubstr("Connection: close"), EndsWith("[/again  0 ]")));
}

// The next request may arrive in the moment in which the connection stops watching for the client's
// going.
TEST_F(ServerTest, ManyRequestsOnOneConnection) {
  start();
  RawClient client(server_->port());
  for (int i = 0; i < 500; ++i) {
    client.send(fmt::format("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", i));
    ASSERT_THAT(client.read_past("]"), EndsWith(fmt::format("[/{}  0 ]", i)));
  }
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  const std::string answer =
      ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
          "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const size_t first = answer.find("[/1");
  const size_t second = answer.find("[/2");
  const size_t third = answer.find("[/3");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_NE(third, std::string::npos) << answer;
}

TEST_F(ServerTest, JoinsChunks) {
  start();
  EXPECT_THAT(ask("POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n"),
              EndsWith("[/c  5 abcde]"));
}

TEST_F(ServerTest, AFloodOfTinyChunksIsOnlyABody) {
  start();
  std::string flood =
      "POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 300'000; ++i) flood += "1\r\nx\r\n";
  flood += "0\r\n\r\n";
  EXPECT_THAT(ask(flood), HasSubstr("[/c  300000 xxxx"));
}

struct BadRequest {
  const char* what;
  std::string bytes;
  const char* status;
  const char* message;
};

TEST_F(ServerTest, RefusesWhatBreaksHttpOrALimit) {
  ServerOptions options;
  options.header_bytes_max = 2'000;
  options.body_bytes_max = 1'000;
  start(options);
  const std::string post = "POST /x HTTP/1.1\r\nHost: h\r\n";
  const BadRequest cases[] = {
      {"both lengths", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "400", "not both"},
      {"both lengths, the other way",
       post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400",
       "not both"},
      {"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400",
       "not both"},
      {"the same length twice", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400",
       "not both"},
      {"a list of lengths", post + "Content-Length: 3, 4\r\n\r\nabcd", "400", ""},
      {"the same length in a list", post + "Content-Length: 3, 3\r\n\r\nabc", "400", ""},
      {"an endless chunk announced",
       post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "413", "1000"},
      {"negative length", post + "Content-Length: -3\r\n\r\nabc", "400", ""},
      {"huge length", post + "Content-Length: 99999999999999999999999\r\n\r\n", "400", ""},
      {"unknown coding", post + "Transfer-Encoding: gzip\r\n\r\n", "501", "chunked"},
      {"two codings", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501", "chunked"},
      {"coding in 1.0", "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
       ""},
      {"body over the limit", post + "Content-Length: 1001\r\n\r\n", "413", "1001"},
      {"chunks over the limit",
       post + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1001, 'x') +
           "\r\n0\r\n\r\n",
       "413", "1000"},
      {"bad chunk size", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", "400", ""},
      {"endless chunk size", post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
       "400", ""},
      {"long head", post + "X: " + std::string(3'000, 'x') + "\r\n\r\n", "431", ""},
      {"unknown version", "GET / HTTP/3.0\r\n\r\n", "505", ""},
      {"no version", "GET /\r\n\r\n", "400", ""},
      {"bare text", "hello there\r\n\r\n", "400", ""},
      {"space in a name", "GET / HTTP/1.1\r\nHo st: h\r\n\r\n", "400", ""},
      {"NUL in a value", std::string("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n", 27), "400", ""},
      {"escaped NUL in the path", "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "path"},
      {"broken escape", "GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", "400", "path"},
      {"no path", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "400", "path"},
      {"other expectation", post + "Expect: tea\r\nContent-Length: 3\r\n\r\nabc", "417", ""},
  };
  for (const BadRequest& bad : cases) {
    const std::string answer = ask(bad.bytes);
    EXPECT_THAT(answer, StartsWith(std::string("HTTP/1.1 ") + bad.status)) << bad.what;
    EXPECT_THAT(answer, HasSubstr(bad.message)) << bad.what;
    EXPECT_THAT(answer, HasSubstr("Connection: close")) << bad.what;
  }
  EXPECT_EQ(events_.all(), "") << "a broken request reached the handler";
}

TEST_F(ServerTest, SaysContinueWhenAsked) {
  start();
  RawClient client(server_->port());
  client.send("POST /e HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(client.read_past("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue"));
  client.send("ok");
  EXPECT_THAT(client.read_past("]"), EndsWith("[/e  2 ok]"));
}

TEST_F(ServerTest, HeadHasNoBodyAndOldClientsAreToldToClose) {
  start();
  EXPECT_THAT(ask("HEAD /h HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
              AllOf(HasSubstr("Content-Length: 8"), EndsWith("\r\n\r\n")));
  EXPECT_THAT(ask("GET /old HTTP/1.0\r\n\r\n"), HasSubstr("Connection: close"));
}

TEST_F(ServerTest, StreamsInChunksWithHeartbeats) {
  start();
  RawClient client(server_->port());
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_past("8\r\n: beat\n\n\r\n"), HasSubstr("Transfer-Encoding: chunked"));
  ASSERT_TRUE(events_.wait_for("kept"));
  EXPECT_TRUE(kept().write("data: one\n\n"));
  EXPECT_THAT(client.read_past("data: one\n\n\r\n"), HasSubstr("b\r\ndata: one"));
  EXPECT_TRUE(kept().write("data: two\n\n"));
  kept().finish();
  EXPECT_THAT(client.read_past("0\r\n\r\n"), HasSubstr("data: two"));
  client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_past("]"), EndsWith("[/next  0 ]"));
}

TEST_F(ServerTest, StreamToAnOldClientEndsWithTheConnection) {
  start();
  RawClient client(server_->port());
  client.send("GET /stream HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  kept().write("data: one\n\n");
  kept().finish();
  EXPECT_THAT(client.read_to_end(), AllOf(Not(HasSubstr("chunked")), EndsWith("data: one\n\n")));
}

TEST_F(ServerTest, APromisedAnswerSendsBlankLinesUntilItComes) {
  start();
  RawClient client(server_->port());
  client.send("GET /promise HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_past("\r\n1\r\n\n\r\n1\r\n\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK"), HasSubstr("Content-Type: application/json"),
                    HasSubstr("Transfer-Encoding: chunked")));
  ASSERT_TRUE(events_.wait_for("kept"));
  kept().respond(500, {{"X-Late", "1"}}, "{}");  // too late for a status
  EXPECT_THAT(client.read_past("0\r\n\r\n"),
              AllOf(EndsWith("2\r\n{}\r\n0\r\n\r\n"), Not(HasSubstr("X-Late"))));
  client.send("GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(client.read_past("]"), EndsWith("[/next  0 ]"));
}

TEST_F(ServerTest, APromiseThatIsKeptInTimeIsAnOrdinaryAnswer) {
  Exchange exchange(1 << 20, [] {});
  exchange.promise({}, {"\n", milliseconds(20)});
  EXPECT_FALSE(exchange.take().head);
  exchange.respond(429, {}, "busy");
  exchange.beat();
  const Exchange::Taken taken = exchange.take();
  EXPECT_EQ(taken.head->status, 429);
  EXPECT_FALSE(taken.head->streamed);
  EXPECT_EQ(taken.bytes, "busy");
}

TEST_F(ServerTest, APromiseToAnOldClientEndsWithTheConnection) {
  start();
  RawClient client(server_->port());
  client.send("GET /promise HTTP/1.0\r\n\r\n");
  client.read_past("\r\n\r\n\n\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  kept().respond(200, {}, "{}");
  EXPECT_THAT(client.read_to_end(), EndsWith("{}"));
}

TEST_F(ServerTest, APromiseThatIsDroppedHasNoProperEnd) {
  start();
  RawClient client(server_->port());
  client.send("GET /promise HTTP/1.1\r\nHost: h\r\n\r\n");
  client.read_past("1\r\n\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  drop_kept();
  EXPECT_THAT(client.read_to_end(), Not(HasSubstr("\r\n0\r\n\r\n")));
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, NoticesAClientThatLeavesBeforeTheAnswer) {
  start();
  RawClient client(server_->port());
  client.send("GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  client.close();
  EXPECT_TRUE(events_.wait_for("closed"));
  kept().respond(200, {}, "too late");
}

TEST_F(ServerTest, NoticesAClientThatLeavesDuringAStream) {
  start();
  RawClient client(server_->port());
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  client.close_sending();
  EXPECT_TRUE(events_.wait_for("closed"));
  EXPECT_FALSE(kept().write("too late"));
}

TEST_F(ServerTest, TellsAtOnceWhenTheClientHasAlreadyGone) {
  start();
  RawClient client(server_->port());
  client.send("GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  client.close();
  ASSERT_TRUE(events_.wait_for("closed"));
  bool told = false;
  kept().on_close([&] { told = true; });
  EXPECT_TRUE(told);
}

TEST_F(ServerTest, CutsOffAClientThatDoesNotRead) {
  ServerOptions options;
  options.stream_buffer_max = 64 << 10;
  start(options);
  RawClient client(server_->port(), 4 << 10);
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  const std::string piece(16 << 10, 'x');
  size_t written = 0;
  // The kernel's own buffers take some megabytes before ours fills.
  while (written < (256u << 20) && kept().write(piece)) {
    written += piece.size();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  EXPECT_LT(written, 256u << 20);
  EXPECT_TRUE(events_.wait_for("closed"));
}

TEST_F(ServerTest, AWriterThatIsDroppedIsAnInternalError) {
  start();
  for (const char* path : {"/drop", "/throw"}) {
    EXPECT_THAT(ask(fmt::format("GET {} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path)),
                AllOf(StartsWith("HTTP/1.1 500 "), EndsWith("{500: internal error}")));
  }
}

TEST_F(ServerTest, AStreamThatIsDroppedHasNoProperEnd) {
  start();
  RawClient client(server_->port());
  client.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  drop_kept();
  EXPECT_THAT(client.read_to_end(), Not(HasSubstr("\r\n0\r\n\r\n")));
  EXPECT_TRUE(client.closed());
}

TEST_F(ServerTest, MoreConnectionsThanAllowedAreTurnedAway) {
  ServerOptions options;
  options.connections_max = 1;
  start(options);
  RawClient first(server_->port());
  first.send("GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  RawClient second(server_->port());
  EXPECT_THAT(second.read_to_end(), AllOf(StartsWith("HTTP/1.1 503 "), HasSubstr("Retry-After")));
  kept().respond(200, {}, "]");
  EXPECT_THAT(first.read_past("]"), HasSubstr("200 OK"));
}

TEST_F(ServerTest, BodiesOfAllRequestsShareALimit) {
  ServerOptions options;
  options.bodies_bytes_max = 100'000;
  start(options);
  RawClient first(server_->port());
  first.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" +
             std::string(80'000, 'x'));
  RawClient second(server_->port());
  std::string answer;
  for (int i = 0; i < 100 && answer.find("503") == std::string::npos; ++i) {
    answer =
        ask("POST /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n" +
            std::string(70'000, 'y'));
  }
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  first.send(std::string(10'000, 'x'));
  EXPECT_THAT(first.read_past("]"), HasSubstr("[/a  90000 "));
  // The bytes are given back when the handler returns, which may be after its answer arrived here.
  for (int i = 0; i < 1000 && answer.find("[/c") == std::string::npos; ++i) {
    answer =
        ask("POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n" +
            std::string(70'000, 'y'));
  }
  EXPECT_THAT(answer, HasSubstr("[/c  70000 "));
}

TEST_F(ServerTest, SlowSendersAreTimedOut) {
  ServerOptions options;
  options.header_timeout = milliseconds(50);
  options.body_timeout = milliseconds(50);
  options.idle_timeout = milliseconds(50);
  start(options);
  RawClient silent(server_->port());
  EXPECT_EQ(silent.read_to_end(), "");
  EXPECT_TRUE(silent.closed());
  RawClient head(server_->port());
  head.send("GET / HT");
  head.read_to_end();
  EXPECT_TRUE(head.closed());
  RawClient body(server_->port());
  body.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
  body.read_to_end();
  EXPECT_TRUE(body.closed());
  EXPECT_EQ(events_.all(), "");
}

TEST_F(ServerTest, DrainClosesIdleConnectionsAndFinishesTheOthers) {
  start();
  RawClient idle(server_->port());
  idle.send("GET /i HTTP/1.1\r\nHost: h\r\n\r\n");
  idle.read_past("]");
  RawClient busy(server_->port());
  busy.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  EXPECT_EQ(server_->exchanges(), 1);
  server_->drain();
  EXPECT_EQ(idle.read_to_end(), "");
  EXPECT_TRUE(idle.closed());
  EXPECT_THAT(ask("GET /new HTTP/1.1\r\nHost: h\r\n\r\n"), HasSubstr("Connection: close"));
  kept().write("data: last\n\n");
  kept().finish();
  EXPECT_THAT(busy.read_to_end(), AllOf(HasSubstr("data: last"), EndsWith("0\r\n\r\n")));
}

TEST_F(ServerTest, StopsWithAnswersUnderWay) {
  start();
  RawClient busy(server_->port());
  busy.send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(events_.wait_for("kept"));
  server_.reset();
  EXPECT_THAT(events_.all(), HasSubstr("closed"));
  EXPECT_FALSE(kept().write("nobody"));
  busy.read_to_end();
  EXPECT_TRUE(busy.closed());
}

TEST_F(ServerTest, APortInUseIsRefusedByName) {
  start();
  ServerOptions options;
  options.port = server_->port();
  auto second = HttpServer::start(options, [](HttpRequest, ResponseWriter) {}, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_THAT(second.error().what, HasSubstr(std::to_string(server_->port())));
}

}  // namespace
}  // namespace hadal::net
