// A server that speaks TLS, asked by our own client; what others see is in tests/e2e/tls_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <mutex>

#include "hadal/net/client.h"
#include "hadal/net/io.h"
#include "hadal/net/server.h"
#include "hadal/net/testing/certificate.h"
#include "hadal/net/testing/raw_client.h"
#include "hadal/net/tls_context.h"

namespace hadal::net {
namespace {

using std::chrono::milliseconds;

struct Sink final : ClientSink {
  void on_head(ClientHead head) override {
    set([&] { status = head.status; });
  }
  bool on_bytes(std::string_view bytes) override {
    set([&] { body += bytes; });
    return true;
  }
  void on_end() override {
    set([&] { over = true; });
  }
  void on_fault(ClientFault, std::string what) override {
    set([&] {
      body = what;
      over = failed = true;
    });
  }
  template <class Change>
  void set(Change change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  bool wait(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(30), condition);
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::string body;
  int status = 0;
  bool over = false, failed = false;
};

class ServerTls : public ::testing::Test {
 protected:
  ~ServerTls() override {
    kept_.clear();
    server_.reset();
    for (const char* end : {"", ".key", ".ca"}) unlink((path_ + end).c_str());
  }
  std::shared_ptr<const TlsContext> context(const Certificate& shown) {
    std::ofstream(path_) << shown.certificate;
    std::ofstream(path_ + ".key") << shown.key;
    auto made = TlsContext::load({path_, path_ + ".key", {}, true, false});
    EXPECT_TRUE(made) << made.error().what;
    return made ? *made : nullptr;
  }
  void start(const Certificate& shown, milliseconds handshake = milliseconds(10'000)) {
    ServerOptions options;
    options.tls = context(shown);
    options.handshake_timeout = handshake;
    options.error_body = [](int status, std::string_view message) {
      return std::to_string(status) + ": " + std::string(message);
    };
    auto server = HttpServer::start(std::move(options),
                                    [this](HttpRequest request, ResponseWriter writer) {
                                      if (request.path == "/stream") {
                                        writer.on_close([this] { left_ = true; });
                                        writer.start_stream(200, {});
                                        std::lock_guard lock(mutex_);
                                        kept_.push_back(std::move(writer));
                                        return;
                                      }
                                      writer.respond(200, {}, request.body + "!" + request.client);
                                    },
                                    {});
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
  }
  std::shared_ptr<Sink> ask(const Certificate& trusted, const char* target, std::string body,
                            std::shared_ptr<ClientCall>* call = nullptr) {
    std::ofstream(path_ + ".ca") << trusted.certificate;
    ClientOptions options;
    options.url = {true, "localhost", server_->port(), ""};
    options.ca_file = path_ + ".ca";
    auto client = HttpClient::make(options, io_.context());
    EXPECT_TRUE(client);
    auto sink = std::make_shared<Sink>();
    auto started = (*client)->send({"POST", target, {}, std::move(body)}, sink);
    if (call != nullptr) *call = started;
    clients_.push_back(std::move(*client));
    return sink;
  }

  const std::string path_ = ::testing::TempDir() + "hadal_server_tls_" + std::to_string(getpid());
  const Certificate here_ = make_certificate("DNS:localhost");
  std::atomic<bool> left_{false};
  std::mutex mutex_;
  std::deque<ResponseWriter> kept_;
  std::unique_ptr<HttpServer> server_;
  IoThreads io_;
  std::deque<std::unique_ptr<HttpClient>> clients_;
};

TEST_F(ServerTls, AnswersOfAnySize) {
  start(here_);
  for (const size_t size : {size_t{1}, size_t{20'000}, size_t{5'000'000}}) {
    const std::string body(size, 'x');
    auto sink = ask(here_, "/", body);
    ASSERT_TRUE(sink->wait([&] { return sink->over; }));
    EXPECT_FALSE(sink->failed) << sink->body;
    EXPECT_EQ(sink->body.size(), size + 1);
  }
}

TEST_F(ServerTls, AnotherCertificateForConnectionsToCome) {
  start(here_);
  auto stream = ask(here_, "/stream", "");
  ASSERT_TRUE(stream->wait([&] { return stream->status == 200; }));
  const Certificate later = make_certificate("DNS:localhost");
  server_->set_tls(context(later));
  auto sink = ask(later, "/", "new");
  ASSERT_TRUE(sink->wait([&] { return sink->over; }));
  EXPECT_EQ(sink->body, "new!");
  auto old = ask(here_, "/", "old");
  ASSERT_TRUE(old->wait([&] { return old->over; }));
  EXPECT_TRUE(old->failed);
  {
    std::lock_guard lock(mutex_);
    EXPECT_TRUE(kept_.at(0).write("still here"));
    kept_.at(0).finish();
  }
  ASSERT_TRUE(stream->wait([&] { return stream->over; }));
  EXPECT_EQ(stream->body, "still here");
}

TEST_F(ServerTls, AClientThatLeavesIsNoticed) {
  start(here_);
  std::shared_ptr<ClientCall> call;
  auto stream = ask(here_, "/stream", "", &call);
  ASSERT_TRUE(stream->wait([&] { return stream->status == 200; }));
  call->cancel();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!left_ && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(left_);
}

TEST_F(ServerTls, HalfAHandshakeIsDroppedAndHoldsNobodyUp) {
  start(here_, milliseconds(200));
  RawClient silent(server_->port()), half(server_->port()), wrong(server_->port());
  half.send(std::string("\x16\x03\x01\x02\x00\x01", 6));
  wrong.send("\x16 this is no TLS at all");
  auto sink = ask(here_, "/", "meanwhile");
  ASSERT_TRUE(sink->wait([&] { return sink->over; }));
  for (RawClient* one : {&silent, &half, &wrong}) {
    one->read_to_end();
    EXPECT_TRUE(one->closed());
  }
}

TEST_F(ServerTls, PlainHttpIsToldSo) {
  start(here_);
  RawClient plain(server_->port());
  plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(plain.read_to_end(), ::testing::AllOf(::testing::StartsWith("HTTP/1.1 400 "),
                                                    ::testing::HasSubstr("https://")));
}

TEST_F(ServerTls, FilesThatAreNotAPair) {
  context(here_);
  const Certificate other = make_certificate("DNS:localhost");
  std::ofstream(path_ + ".key") << other.key;
  auto made = TlsContext::load({path_, path_ + ".key", {}, true, false});
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().what, ::testing::HasSubstr("is not that of certificate"));
  EXPECT_FALSE(TlsContext::load({path_ + ".none", path_ + ".key", {}, true, false}));
  EXPECT_FALSE(TlsContext::load({path_, path_, {}, true, false}));
  std::ofstream(path_ + ".ca") << "nothing";
  std::ofstream(path_ + ".key") << here_.key;
  EXPECT_FALSE(TlsContext::load({path_, path_ + ".key", path_ + ".ca", true, false}));
}

TEST_F(ServerTls, ItsTime) {
  const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  EXPECT_EQ(context(here_)->fault_at(now), "");
  EXPECT_THAT(context(make_certificate("DNS:a", -86'400))->fault_at(now),
              ::testing::HasSubstr("expired since"));
  EXPECT_THAT(context(make_certificate("DNS:a", 86'400))->fault_at(now),
              ::testing::HasSubstr("valid only from"));
}

}  // namespace
}  // namespace hadal::net
