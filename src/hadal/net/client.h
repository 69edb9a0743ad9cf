// An HTTP/1.1 client of one server: keeps connections, streams answers with back-pressure, stops at
// once when told to.
//
// A call is one request and its answer. Its events come one after another on an I/O thread: head,
// bytes as they arrive (never gathered), then end or fault; a fault may come at any time. While the
// sink says that it has had enough, nothing is read, so a slow reader at the far end slows the
// server down instead of filling memory.
//
// A connection that the server closed while it was kept is noticed before it is used; if it closes
// in the moment between, the call goes over a new one, once, provided that nothing of an answer
// came.
//
// Bounds: the head of an answer (limits::kHeaderBytesMax), connections kept (idle_max), bytes read
// ahead of the sink (64 KiB a call). The caller bounds calls.
//
// Threads: public members from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/net/message.h"
#include "hadal/net/url.h"

namespace boost::asio {
class io_context;
}

namespace hadal::net {

struct ClientOptions {
  Url url;
  std::string ca_file;                               // PEM, of https; empty: the system's
  std::chrono::milliseconds connect_timeout{5'000};  // names, connection, TLS
  std::chrono::milliseconds first_byte_timeout{120'000};
  std::chrono::milliseconds idle_timeout{60'000};  // between two pieces; also of sending
  std::chrono::milliseconds keep{20'000};          // an unused connection, at most
  int idle_max = 64;                               // unused connections
};

struct ClientRequest {
  std::string method;
  std::string target;           // after the URL's path: "/chat/completions"; begins with '/'
  std::vector<Header> headers;  // without Host, Content-Length and Connection
  std::string body;
};

struct ClientHead {
  int status = 0;
  std::vector<Header> headers;  // as sent, hop-by-hop ones too
  int64_t content_length = -1;  // -1: not said
};

enum class ClientFault : uint8_t {
  kConnect,  // no such host, refused, TLS not trusted
  kConnectTimeout,
  kFirstByteTimeout,
  kIdleTimeout,
  kBroken,  // closed in the middle, or not HTTP
};

class ClientSink {
 public:
  virtual ~ClientSink() = default;
  virtual void on_head(ClientHead head) = 0;
  // False: enough for now, go on after ClientCall::resume().
  virtual bool on_bytes(std::string_view bytes) = 0;
  virtual void on_end() = 0;
  // `what`: one line for the log. Nothing follows.
  virtual void on_fault(ClientFault fault, std::string what) = 0;
};

class ClientCall {
 public:
  virtual ~ClientCall() = default;
  // Closes the connection. No event follows, but one may be under way on the I/O thread.
  virtual void cancel() = 0;
  virtual void resume() = 0;
};

class HttpClient {
 public:
  class Impl;  // client.cc

  // `io` must be running, and outlive this and every call. An error: the certificates of ca_file.
  static Result<std::unique_ptr<HttpClient>> make(ClientOptions options,
                                                  boost::asio::io_context& io);
  ~HttpClient();  // calls under way go on

  // The sink is kept until the call is over.
  std::shared_ptr<ClientCall> send(ClientRequest request, std::shared_ptr<ClientSink> sink);
  int idle_connections() const;
  uint64_t connections_made() const;

 private:
  explicit HttpClient(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with the calls under way
};

}  // namespace hadal::net
