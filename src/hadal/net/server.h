// An HTTP/1.1 server: accepts, parses with limits, hands whole requests to a handler, sends
// answers.
//
// A request that breaks HTTP or a limit is answered here and never reaches the handler. One with
// both Content-Length and Transfer-Encoding, or two Content-Lengths, is refused: two readers would
// disagree about where it ends.
//
// While an answer is under way the read side is watched: a client that closes its connection (also
// only its sending half) has gone, and the writer's on_close runs at once.
//
// With TLS all of this is the same, after a handshake with a time limit of its own. Plain HTTP that
// comes to such a port is answered 400.
//
// Threads: `io_threads` move bytes and never run the handler; `handler_threads` run it, so that
// tokenising a megabyte does not hold up another client's stream. Public members from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/limits.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"

namespace boost::asio {
class io_context;
}

namespace hadal::net {

class TlsContext;

struct ServerOptions {
  std::string host = "127.0.0.1";  // a name or an address; several addresses: the first that binds
  uint16_t port = 0;               // 0: any free one, see HttpServer::port()
  int io_threads = 1;
  int handler_threads = 2;
  int connections_max = 1024;  // more are answered 503 and closed
  size_t header_bytes_max = limits::kHeaderBytesMax;
  size_t body_bytes_max = limits::kBodyBytesMax;
  size_t bodies_bytes_max = 8 * limits::kBodyBytesMax;  // of all requests being read or handled
  size_t stream_buffer_max = 1u << 20;              // bytes of one stream that wait for its client
  std::shared_ptr<const TlsContext> tls = nullptr;  // null: plain HTTP
  std::chrono::milliseconds handshake_timeout{10'000};  // of TLS, from the connection's beginning
  std::chrono::milliseconds idle_timeout{75'000};       // between requests of a connection
  std::chrono::milliseconds header_timeout{15'000};     // first to last byte of a head
  std::chrono::milliseconds body_timeout{120'000};      // first to last byte of a body
  std::chrono::milliseconds write_timeout{60'000};      // without the client taking a byte
  // Requests whose handler may run on an I/O thread, as it neither blocks nor computes for long:
  // two turns between threads fewer. Empty: none.
  std::function<bool(const HttpRequest&)> is_quick;
  // The body of an error that the server itself answers with, as JSON.
  std::function<std::string(int status, std::string_view message)> error_body;
};

class HttpServer {
 public:
  using Handler = std::function<void(HttpRequest, ResponseWriter)>;
  class Impl;  // server.cc

  // Binds and starts. kUnavailable: the address cannot be had (says why).
  static Result<std::unique_ptr<HttpServer>> start(ServerOptions options, Handler handler,
                                                   LogSink log);
  ~HttpServer();  // stop()

  uint16_t port() const;
  // For clients that answer requests by asking others: on the same threads, nothing has to cross.
  // Destroy them before this.
  boost::asio::io_context& io();
  // On a handler thread: for a handler that began on an I/O thread and finds that it has to wait.
  // What it still holds of the request's body counts no more in bodies_bytes_max.
  void run_later(std::function<void()> rest);
  // Requests handed to the handler and not yet answered to the last byte.
  int exchanges() const;
  // For connections to come; those there are keep what they began with. Null: plain HTTP.
  void set_tls(std::shared_ptr<const TlsContext> context);
  // From now on every answer says "Connection: close", and idle connections are closed. New
  // connections are still accepted, so that they can be told so.
  void drain();
  // Closes every connection and joins all threads. Running handlers are waited for.
  void stop();

 private:
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::net
