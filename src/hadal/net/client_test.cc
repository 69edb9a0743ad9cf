#include "hadal/net/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <latch>
#include <mutex>
#include <thread>

#include "hadal/net/io.h"

namespace hadal::net {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A peer that says exactly the bytes a test wants. Each connection runs `script` on a thread.
class RawServer {
 public:
  class Peer {
   public:
    explicit Peer(int socket) : socket_(socket) {}
    // Until the whole head and body of a request are there; empty: the client closed.
    std::string read_request() {
      for (;;) {
        const size_t end = text_.find("\r\n\r\n");
        if (end != std::string::npos) {
          const size_t field = text_.find("Content-Length: ");
          const size_t body = field < end ? std::stoul(text_.substr(field + 16)) : 0;
          if (text_.size() >= end + 4 + body) {
            std::string request = text_.substr(0, end + 4 + body);
            text_.erase(0, end + 4 + body);
            return request;
          }
        }
        char piece[4096];
        const ssize_t size = recv(socket_, piece, sizeof(piece), 0);
        if (size <= 0) return {};
        text_.append(piece, static_cast<size_t>(size));
      }
    }
    bool send(std::string_view bytes) {
      while (!bytes.empty()) {
        const ssize_t size = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (size <= 0) return false;
        bytes.remove_prefix(static_cast<size_t>(size));
      }
      return true;
    }
    // How many bytes the client's side takes without anybody reading there.
    size_t send_what_fits(size_t most) {
      const std::string piece(64 << 10, 'x');
      size_t total = 0;
      for (int quiet = 0; quiet < 5 && total < most;) {
        const ssize_t size = ::send(socket_, piece.data(), std::min(piece.size(), most - total),
                                    MSG_NOSIGNAL | MSG_DONTWAIT);
        quiet = size > 0 ? 0 : quiet + 1;
        if (size > 0) total += static_cast<size_t>(size);
        if (size <= 0) usleep(20'000);
      }
      return total;
    }
    bool client_closed() {
      pollfd waiting{socket_, POLLIN, 0};
      char byte = 0;
      return poll(&waiting, 1, 10'000) == 1 && recv(socket_, &byte, 1, MSG_PEEK) <= 0;
    }

   private:
    int socket_;
    std::string text_;
  };
  using Script = std::function<void(Peer&, int connection)>;

  explicit RawServer(Script script) : script_(std::move(script)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    listen(listener_, 16);
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~RawServer() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (const int socket : sockets_) shutdown(socket, SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
    for (const int socket : sockets_) close(socket);
    close(listener_);
  }
  uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  void accept_all() {
    for (;;) {
      const int socket = accept(listener_, nullptr, nullptr);
      if (socket < 0) return;
      sockets_.push_back(socket);
      const int number = connections_++;
      threads_.emplace_back([this, socket, number] {
        Peer peer(socket);
        script_(peer, number);
        shutdown(socket, SHUT_RDWR);
      });
    }
  }

  Script script_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread acceptor_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::atomic<int> connections_{0};
};

// Keeps what comes, and lets a test wait for it.
class Sink final : public ClientSink {
 public:
  void on_head(ClientHead head) override {
    change([&] { head_ = std::move(head); });
  }
  bool on_bytes(std::string_view bytes) override {
    change([&] { body_ += bytes; });
    return !enough_;
  }
  void on_end() override {
    change([&] { ended_ = true; });
  }
  void on_fault(ClientFault fault, std::string what) override {
    change([&] {
      fault_ = fault;
      what_ = std::move(what);
    });
  }
  void wait(const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), done)) << body_.size();
  }
  void wait_over() {
    wait([this] { return ended_ || fault_.has_value(); });
  }

  std::atomic<bool> enough_{false};
  ClientHead head_;
  std::string body_;
  bool ended_ = false;
  std::optional<ClientFault> fault_;
  std::string what_;

 private:
  template <class Change>
  void change(Change apply) {
    std::lock_guard lock(mutex_);
    apply();
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
};

class ClientTest : public ::testing::Test {
 protected:
  void serve(RawServer::Script script) {
    server_ = std::make_unique<RawServer>(std::move(script));
    ClientOptions options;
    options.url = {false, "127.0.0.1", server_->port(), "/v1"};
    make(options);
  }
  void make(ClientOptions options) {
    auto client = HttpClient::make(std::move(options), io_.context());
    ASSERT_TRUE(client) << client.error().what;
    client_ = std::move(*client);
  }
  std::shared_ptr<Sink> post(std::string body = "{}") {
    auto sink = std::make_shared<Sink>();
    call_ = client_->send({"POST", "/chat", {{"X-Mark", "1"}}, std::move(body)}, sink);
    return sink;
  }
  std::shared_ptr<Sink> post_and_wait() {
    auto sink = post();
    sink->wait_over();
    return sink;
  }

  std::unique_ptr<RawServer> server_;
  IoThreads io_;
  std::unique_ptr<HttpClient> client_;
  std::shared_ptr<ClientCall> call_;
};

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok";

TEST_F(ClientTest, OneConnectionServesManyCalls) {
  std::string seen;
  serve([&](RawServer::Peer& peer, int) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      seen = request;
      peer.send(kOk);
    }
  });
  for (int i = 0; i < 5; ++i) {
    const auto sink = post_and_wait();
    EXPECT_TRUE(sink->ended_) << sink->what_;
    EXPECT_EQ(sink->head_.status, 200);
    EXPECT_EQ(sink->head_.content_length, 2);
    EXPECT_EQ(find_header(sink->head_.headers, "x-a"), "b");
    EXPECT_EQ(sink->body_, "ok");
  }
  EXPECT_EQ(client_->connections_made(), 1u);
  EXPECT_EQ(seen, fmt::format("POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nX-Mark: 1\r\n"
                              "Content-Length: 2\r\n\r\n{{}}",
                              server_->port()));
}

TEST_F(ClientTest, PiecesComeAsTheyAreSent) {
  std::shared_ptr<Sink> sink;
  std::latch turn{1};
  serve([&](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    turn.wait();
    for (const std::string piece : {"data: 1\n\n", "data: \n", "\ndata: 3\n\n"}) {
      const size_t before = sink->body_.size();
      peer.send(fmt::format("{:x}\r\n{}\r\n", piece.size(), piece));
      sink->wait([&] { return sink->body_.size() == before + piece.size(); });
    }
    peer.send("0\r\n\r\n");
    peer.read_request();
  });
  sink = post();
  turn.count_down();
  sink->wait_over();
  EXPECT_TRUE(sink->ended_) << sink->what_;
  EXPECT_EQ(sink->head_.content_length, -1);
  EXPECT_EQ(sink->body_, "data: 1\n\ndata: \n\ndata: 3\n\n");
}

TEST_F(ClientTest, AKeptConnectionThatTheServerClosedIsNotUsed) {
  serve([](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send(kOk);
  });
  for (int i = 0; i < 3; ++i) {
    const auto sink = post_and_wait();
    EXPECT_TRUE(sink->ended_) << sink->what_;
  }
}

TEST_F(ClientTest, ACloseThatCrossesTheRequestIsTriedAgainOnceOnANewConnection) {
  serve([](RawServer::Peer& peer, int connection) {
    peer.read_request();
    peer.send(kOk);
    peer.read_request();  // the first connection's second request is dropped without an answer
    if (connection > 0) peer.send(kOk);
  });
  EXPECT_TRUE(post_and_wait()->ended_);
  EXPECT_TRUE(post_and_wait()->ended_);
  EXPECT_EQ(client_->connections_made(), 2u);
  serve([](RawServer::Peer& peer, int) { peer.read_request(); });
  EXPECT_EQ(post_and_wait()->fault_, ClientFault::kBroken);
  EXPECT_EQ(client_->connections_made(), 1u);  // a fresh one is not tried again
}

TEST_F(ClientTest, BrokenAnswers) {
  const struct {
    const char* name;
    std::string bytes;
    std::string body;
  } cases[] = {
      {"nothing", "", ""},
      {"not HTTP", "SSH-2.0-x\r\n", ""},
      {"length larger than the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", "four"},
      {"chunks without an end",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", "four"},
      {"a chunk that breaks off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nfour",
       "four"},
      {"not a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ""},
      {"a head without an end", "HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x'), ""},
      {"another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", ""},
      {"interim heads without an end",
       [] {
         std::string many;
         for (int i = 0; i < 20; ++i) many += "HTTP/1.1 103 Early Hints\r\n\r\n";
         return many;
       }(),
       ""},
  };
  for (const auto& one : cases) {
    serve([&](RawServer::Peer& peer, int) {
      peer.read_request();
      peer.send(one.bytes);
    });
    const auto sink = post_and_wait();
    EXPECT_EQ(sink->fault_, ClientFault::kBroken) << one.name << sink->what_;
    EXPECT_EQ(sink->body_, one.body) << one.name;
    EXPECT_EQ(client_->idle_connections(), 0) << one.name;
    server_.reset();  // joins the script, which may still be sending
  }
}

TEST_F(ClientTest, BytesBehindTheLengthAreNoPartOfTheNextAnswer) {
  serve([](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send(std::string(kOk) + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    peer.read_request();
  });
  for (int i = 0; i < 2; ++i) {
    const auto sink = post_and_wait();
    EXPECT_EQ(sink->body_, "ok");
  }
  EXPECT_EQ(client_->connections_made(), 2u);
}

TEST_F(ClientTest, InterimHeadsAreSkippedAndUnknownLengthEndsWithTheConnection) {
  serve([](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 429 Slow\r\nRetry-After: 7\r\n\r\nto the end");
  });
  const auto sink = post_and_wait();
  EXPECT_TRUE(sink->ended_) << sink->what_;
  EXPECT_EQ(sink->head_.status, 429);
  EXPECT_EQ(sink->body_, "to the end");
  EXPECT_EQ(client_->idle_connections(), 0);
}

TEST_F(ClientTest, AnAnswerBeforeTheRequestWasReadCounts) {
  serve([](RawServer::Peer& peer, int) {
    peer.send(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    peer.read_request();
  });
  auto sink = post(std::string(1 << 20, 'x'));
  sink->wait_over();
  EXPECT_TRUE(sink->ended_) << sink->what_;
  EXPECT_EQ(sink->head_.status, 413);
  EXPECT_EQ(client_->idle_connections(), 0);
}

TEST_F(ClientTest, NobodyThere) {
  uint16_t free_port = 0;
  {
    RawServer gone([](RawServer::Peer&, int) {});
    free_port = gone.port();
  }
  ClientOptions options;
  options.url = {false, "127.0.0.1", free_port, ""};
  make(options);
  EXPECT_EQ(post_and_wait()->fault_, ClientFault::kConnect);
  options.url.host = "no-such-host.invalid";
  make(options);
  const auto sink = post_and_wait();
  EXPECT_TRUE(sink->fault_ == ClientFault::kConnect ||
              sink->fault_ == ClientFault::kConnectTimeout);
  EXPECT_THAT(sink->what_, HasSubstr("no-such-host.invalid"));
}

TEST_F(ClientTest, Timeouts) {
  std::atomic<bool> head{false};
  serve([&](RawServer::Peer& peer, int) {
    peer.read_request();
    if (head) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome");
    EXPECT_TRUE(peer.client_closed());
  });
  ClientOptions options;
  options.url = {false, "127.0.0.1", server_->port(), ""};
  options.first_byte_timeout = milliseconds(50);
  make(options);
  EXPECT_EQ(post_and_wait()->fault_, ClientFault::kFirstByteTimeout);
  head = true;
  options.first_byte_timeout = milliseconds(60'000);
  options.idle_timeout = milliseconds(50);
  make(options);
  const auto sink = post_and_wait();
  EXPECT_EQ(sink->fault_, ClientFault::kIdleTimeout);
  EXPECT_EQ(sink->body_, "some");
}

TEST_F(ClientTest, CancelClosesTheConnectionAtOnceAndNothingFollows) {
  std::atomic<bool> closed{false};
  serve([&](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    closed = peer.client_closed();
  });
  const auto sink = post();
  sink->wait([&] { return sink->body_ == "x"; });
  call_->cancel();
  server_.reset();  // joins the script
  EXPECT_TRUE(closed);
  EXPECT_FALSE(sink->ended_);
  EXPECT_FALSE(sink->fault_);
  EXPECT_EQ(client_->idle_connections(), 0);
}

TEST_F(ClientTest, CancelBeforeTheHead) {
  std::atomic<bool> closed{false};
  std::latch asked{1};
  serve([&](RawServer::Peer& peer, int) {
    peer.read_request();
    asked.count_down();
    closed = peer.client_closed();
  });
  const auto sink = post();
  asked.wait();
  call_->cancel();
  server_.reset();
  EXPECT_TRUE(closed);
  EXPECT_FALSE(sink->fault_);
}

TEST_F(ClientTest, ASlowReaderSlowsTheServerDown) {
  constexpr size_t kMuch = 24u << 20;
  std::atomic<size_t> fitted{0};
  std::atomic<bool> go_on{false};
  serve([&](RawServer::Peer& peer, int) {
    peer.read_request();
    peer.send(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", kMuch));
    fitted = peer.send_what_fits(kMuch);
    go_on = true;
    peer.send(std::string(kMuch - fitted, 'y'));
    peer.read_request();
  });
  auto sink = std::make_shared<Sink>();
  sink->enough_ = true;
  call_ = client_->send({"POST", "/", {}, ""}, sink);
  while (!go_on) usleep(10'000);
  EXPECT_LT(fitted, 16u << 20);  // the kernel's buffers, and no more
  size_t held = 0;
  sink->wait([&] {
    held = sink->body_.size();
    return true;
  });
  EXPECT_LE(held, 64u << 10);
  sink->enough_ = false;
  call_->resume();
  sink->wait_over();
  EXPECT_TRUE(sink->ended_) << sink->what_;
  EXPECT_EQ(sink->body_.size(), kMuch);
}

TEST_F(ClientTest, ManyAtOnceEachGetTheirOwn) {
  serve([](RawServer::Peer& peer, int) {
    for (std::string request; !(request = peer.read_request()).empty();) {
      const std::string body = request.substr(request.find("\r\n\r\n") + 4);
      peer.send(fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body));
    }
  });
  for (int round = 0; round < 4; ++round) {
    std::vector<std::shared_ptr<Sink>> sinks;
    for (int i = 0; i < 16; ++i) sinks.push_back(post(std::to_string(1'000 * round + i)));
    for (int i = 0; i < 16; ++i) {
      sinks[static_cast<size_t>(i)]->wait_over();
      EXPECT_EQ(sinks[static_cast<size_t>(i)]->body_, std::to_string(1'000 * round + i));
    }
  }
  EXPECT_LE(client_->connections_made(), 32u);
}

}  // namespace
}  // namespace hadal::net
