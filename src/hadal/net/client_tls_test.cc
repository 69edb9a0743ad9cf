// TLS: an upstream is trusted by its certificate and its name, or not at all.
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "hadal/net/client.h"
#include "hadal/net/io.h"
#include "hadal/net/testing/certificate.h"

namespace hadal::net {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

// Answers each request of a connection with "ok".
class TlsServer {
 public:
  explicit TlsServer(const Certificate& certificate)
      : context_(asio::ssl::context::tls_server),
        acceptor_(io_, {asio::ip::make_address("127.0.0.1"), 0}) {
    context_.use_certificate(asio::buffer(certificate.certificate), asio::ssl::context::pem);
    context_.use_private_key(asio::buffer(certificate.key), asio::ssl::context::pem);
    thread_ = std::thread([this] { run(); });
  }
  ~TlsServer() {
    stopping_ = true;
    tcp::socket knock(io_);
    boost::system::error_code ec;
    knock.connect(acceptor_.local_endpoint(), ec);
    thread_.join();
  }
  uint16_t port() { return acceptor_.local_endpoint().port(); }

 private:
  void run() {
    while (!stopping_) {
      boost::system::error_code ec;
      asio::ssl::stream<tcp::socket> stream(io_, context_);
      acceptor_.accept(stream.lowest_layer(), ec);
      if (stopping_) return;
      stream.handshake(asio::ssl::stream_base::server, ec);
      std::string text;
      while (!ec) {
        asio::read_until(stream, asio::dynamic_buffer(text), "\r\n\r\n{}", ec);
        text.clear();
        if (!ec) asio::write(stream, asio::buffer(kAnswer, sizeof(kAnswer) - 1), ec);
      }
    }
  }
  static constexpr char kAnswer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  asio::io_context io_;
  asio::ssl::context context_;
  tcp::acceptor acceptor_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

struct Sink final : ClientSink {
  void on_head(ClientHead) override {}
  bool on_bytes(std::string_view bytes) override {
    body += bytes;
    return true;
  }
  void on_end() override { end(std::nullopt, ""); }
  void on_fault(ClientFault fault, std::string what) override { end(fault, std::move(what)); }
  void end(std::optional<ClientFault> fault, std::string why) {
    std::lock_guard lock(mutex);
    failed = fault;
    what = std::move(why);
    over = true;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::string body, what;
  std::optional<ClientFault> failed;
  bool over = false;
};

class TlsTest : public ::testing::Test {
 protected:
  ~TlsTest() override { unlink(path_.c_str()); }
  // "ok", or why not.
  std::string ask(const Certificate& server, const Certificate& trusted, const std::string& host,
                  int times = 1) {
    TlsServer listening(server);
    std::ofstream(path_) << trusted.certificate;
    ClientOptions options;
    options.url = {true, host, listening.port(), ""};
    options.ca_file = path_;
    auto client = HttpClient::make(options, io_.context());
    if (!client) return client.error().what;
    std::string said;
    for (int i = 0; i < times; ++i) {
      auto sink = std::make_shared<Sink>();
      (*client)->send({"POST", "/", {}, "{}"}, sink);
      std::unique_lock lock(sink->mutex);
      sink->changed.wait_for(lock, std::chrono::seconds(20), [&] { return sink->over; });
      EXPECT_EQ(sink->failed.value_or(ClientFault::kConnect), ClientFault::kConnect);
      said += sink->failed ? sink->what : sink->body;
    }
    connections_ = (*client)->connections_made();
    return said;
  }

  const std::string path_ = ::testing::TempDir() + "hadal_tls_test_" + std::to_string(getpid());
  IoThreads io_;
  uint64_t connections_ = 0;
};

TEST_F(TlsTest, TrustedByCertificateAndName) {
  const Certificate here = make_certificate("DNS:localhost,IP:127.0.0.1");
  EXPECT_EQ(ask(here, here, "localhost", 3), "okokok");
  EXPECT_EQ(connections_, 1u);
  EXPECT_EQ(ask(here, here, "127.0.0.1"), "ok");
}

TEST_F(TlsTest, NotTrusted) {
  const Certificate here = make_certificate("DNS:localhost");
  const Certificate other = make_certificate("DNS:localhost");
  const Certificate elsewhere = make_certificate("DNS:example.org");
  EXPECT_NE(ask(here, other, "localhost").find("certificate verify failed"), std::string::npos);
  EXPECT_NE(ask(elsewhere, elsewhere, "localhost").find("certificate verify failed"),
            std::string::npos);
}

TEST_F(TlsTest, CertificatesThatCannotBeRead) {
  ClientOptions options;
  options.url = {true, "localhost", 1, ""};
  options.ca_file = path_ + "-none";
  EXPECT_FALSE(HttpClient::make(options, io_.context()));
}

}  // namespace
}  // namespace hadal::net
