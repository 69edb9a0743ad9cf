// One connection of an HttpServer: requests one after another, each read within limits, handed on,
// and its answer sent as it is written.
//
// Threads: everything runs on the connection's strand; start() and close_if_idle() from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "hadal/net/reservation.h"
#include "hadal/net/server.h"

namespace boost::asio {
class any_io_executor;
template <class Protocol, class Executor>
class basic_stream_socket;
namespace ip {
class tcp;
}
}  // namespace boost::asio

namespace hadal::net {

using TcpSocket =
    boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::any_io_executor>;

class Session {
 public:
  virtual ~Session() = default;
  virtual void start() = 0;
  // Under the host's lock: so *this is there, but may be in its destructor.
  virtual void close_if_idle() = 0;
};

// What the connections of a server share.
struct SessionHost {
  SessionHost(ServerOptions given, LogSink sink)
      : options(std::move(given)), log(std::move(sink)), tls(options.tls) {}
  virtual ~SessionHost() = default;
  // A whole request, to whoever answers it.
  virtual void dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange,
                        Reservation held) = 0;
  virtual void leave(Session* session) = 0;  // from its destructor

  const ServerOptions options;
  const LogSink log;
  std::atomic<std::shared_ptr<const TlsContext>> tls;  // of connections to come; null: plain
  std::atomic<bool> draining{false};
  std::atomic<int> exchanges{0};
  std::atomic<size_t> bodies_bytes{0};
};

// `host` must outlive it.
std::shared_ptr<Session> make_session(SessionHost& host, TcpSocket socket);

}  // namespace hadal::net
