#include "hadal/net/client.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "hadal/base/limits.h"

namespace hadal::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using tcp = asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kAwait = asio::use_awaitable;
constexpr size_t kPiece = 16u << 10;
constexpr size_t kReadAheadMax = 64u << 10;
constexpr int kHeadsMax = 8;
constexpr size_t kFirstRead = 4u << 10;  // most whole answers fit

// One connection to the server, plain or TLS.
struct Connection {
  explicit Connection(const asio::any_io_executor& executor) : stream(executor) {}
  Connection(const asio::any_io_executor& executor, ssl::context& context)
      : stream(executor), tls(std::in_place, stream, context) {}

  // Whether the server has neither closed it nor said anything unasked.
  bool is_quiet() {
    char byte = 0;
    const auto handle = stream.socket().native_handle();
    return recv(handle, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
  }

  beast::tcp_stream stream;
  std::optional<ssl::stream<beast::tcp_stream&>> tls;
  beast::flat_buffer buffer{kReadAheadMax + limits::kHeaderBytesMax};
  std::unique_ptr<char[]> piece = std::make_unique_for_overwrite<char[]>(kPiece);
  steady_clock::time_point unused_since;
};

struct Failure {
  ClientFault fault;
  std::string what;
};

}  // namespace

class HttpClient::Impl {
 public:
  Impl(ClientOptions options, asio::io_context& io) : options_(std::move(options)), io_(io) {
    host_header_ = "Host: " + options_.url.authority() + "\r\n";
  }

  Status set_up_tls();
  std::unique_ptr<Connection> take_kept();
  void keep(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> make_connection(const asio::any_io_executor& executor);

  const ClientOptions options_;
  asio::io_context& io_;
  std::string host_header_;
  std::optional<ssl::context> tls_;
  std::atomic<uint64_t> made_{0};
  mutable std::mutex mutex_;
  std::deque<std::unique_ptr<Connection>> kept_;  // the one used last at the end
  bool closed_ = false;
};

namespace {

// One request and its answer. It runs on its connection's strand, and so does the second connection
// that it may need.
//
// g++ 12 evaluates a co_await behind && and || always, and may destroy temporaries of its
// expression twice: so what a co_await takes has a name, and what it gives is stored before use.
class Call final : public ClientCall, public std::enable_shared_from_this<Call> {
 public:
  Call(std::shared_ptr<HttpClient::Impl> client, ClientRequest request,
       std::shared_ptr<ClientSink> sink)
      : client_(std::move(client)),
        connection_(client_->take_kept()),
        executor_(connection_ ? connection_->stream.get_executor()
                              : asio::any_io_executor(asio::make_strand(client_->io_))),
        timer_(executor_),
        resolver_(executor_),
        request_(std::move(request)),
        sink_(std::move(sink)) {}

  void start() {
    asio::co_spawn(
        executor_, [self = shared_from_this()] { return self->run(); }, asio::detached);
  }
  void cancel() override {
    asio::post(executor_, [self = shared_from_this()] {
      self->cancelled_ = true;
      self->timer_.cancel();
      self->resolver_.cancel();
      error_code ec;
      if (self->connection_) self->connection_->stream.socket().close(ec);
    });
  }
  void resume() override {
    asio::post(executor_, [self = shared_from_this()] {
      self->paused_ = false;
      self->timer_.cancel();
    });
  }

 private:
  using Parser = http::response_parser<http::buffer_body>;

  asio::awaitable<void> run();
  asio::awaitable<std::optional<Failure>> attempt(bool kept);
  asio::awaitable<std::optional<Failure>> find_server(std::vector<tcp::endpoint>* found);
  asio::awaitable<std::optional<Failure>> connect();
  template <class Stream>
  asio::awaitable<std::optional<Failure>> exchange(Stream& stream);
  template <class Stream>
  asio::awaitable<std::optional<Failure>> read_head(Stream& stream, Parser& parser);
  template <class Stream>
  asio::awaitable<std::optional<Failure>> read_body(Stream& stream, Parser& parser);
  error_code parse_kept(Parser& parser);
  asio::awaitable<void> wait_for_resume();
  Failure failure(ClientFault when_late, const error_code& ec, std::string_view doing) const;
  std::string head_text() const;
  void deliver_head(const Parser& parser);

  const std::shared_ptr<HttpClient::Impl> client_;
  std::unique_ptr<Connection> connection_;
  const asio::any_io_executor executor_;
  asio::steady_timer timer_;
  tcp::resolver resolver_;
  ClientRequest request_;
  std::shared_ptr<ClientSink> sink_;
  bool answered_ = false;  // some of the answer came
  bool cancelled_ = false;
  bool paused_ = false;
  bool reusable_ = false;
  bool too_late_ = false;  // of finding the server
};

asio::awaitable<void> Call::run() {
  std::optional<Failure> failed;
  const bool kept = connection_ != nullptr;
  failed = co_await attempt(kept);
  // The server's closing and the request crossed each other.
  if (failed && kept && !answered_ && !cancelled_ && failed->fault == ClientFault::kBroken) {
    connection_.reset();
    failed = co_await attempt(false);
  }
  if (!failed && reusable_ && !cancelled_) {
    client_->keep(std::move(connection_));
  } else if (connection_) {
    error_code ec;
    connection_->stream.socket().close(ec);
  }
  const std::shared_ptr<ClientSink> sink = std::move(sink_);
  if (cancelled_) co_return;
  if (failed) {
    sink->on_fault(failed->fault, std::move(failed->what));
  } else {
    sink->on_end();
  }
}

asio::awaitable<std::optional<Failure>> Call::attempt(bool kept) {
  std::optional<Failure> failed;
  if (!kept) {
    connection_ = client_->make_connection(executor_);
    failed = co_await connect();
    if (failed || cancelled_) co_return failed;
  }
  if (connection_->tls) {
    failed = co_await exchange(*connection_->tls);
  } else {
    failed = co_await exchange(connection_->stream);
  }
  co_return failed;
}

Failure Call::failure(ClientFault when_late, const error_code& ec, std::string_view doing) const {
  if (ec == beast::error::timeout) return {when_late, fmt::format("{}: took too long", doing)};
  const bool connecting = when_late == ClientFault::kConnectTimeout;
  const bool closed = ec == http::error::end_of_stream || ec == asio::error::eof ||
                      ec == http::error::partial_message || ec == ssl::error::stream_truncated;
  return {connecting ? ClientFault::kConnect : ClientFault::kBroken,
          fmt::format("{}: {}", doing, closed ? "the connection was closed" : ec.message())};
}

asio::awaitable<std::optional<Failure>> Call::find_server(std::vector<tcp::endpoint>* found) {
  const Url& url = client_->options_.url;
  error_code ec;
  const asio::ip::address address = asio::ip::make_address(url.host, ec);
  if (!ec) {
    found->emplace_back(address, url.port);
    co_return std::nullopt;
  }
  timer_.expires_after(client_->options_.connect_timeout);
  timer_.async_wait([self = shared_from_this()](const error_code& stopped) {
    if (stopped) return;
    self->too_late_ = true;
    self->resolver_.cancel();
  });
  const auto results = co_await resolver_.async_resolve(url.host, std::to_string(url.port),
                                                        asio::redirect_error(kAwait, ec));
  if (too_late_) ec = beast::error::timeout;
  timer_.cancel();
  if (ec) co_return failure(ClientFault::kConnectTimeout, ec, "finding " + url.host);
  for (const auto& result : results) found->push_back(result.endpoint());
  co_return std::nullopt;
}

asio::awaitable<std::optional<Failure>> Call::connect() {
  const ClientOptions& options = client_->options_;
  beast::tcp_stream& stream = connection_->stream;
  ++client_->made_;
  std::vector<tcp::endpoint> found;
  std::optional<Failure> failed = co_await find_server(&found);
  if (failed || cancelled_) co_return failed;
  error_code ec;
  stream.expires_after(options.connect_timeout);
  co_await stream.async_connect(found, asio::redirect_error(kAwait, ec));
  if (ec) co_return failure(ClientFault::kConnectTimeout, ec, "connecting");
  stream.socket().set_option(tcp::no_delay(true), ec);
  stream.socket().non_blocking(true, ec);
  connection_->buffer.reserve(kFirstRead);
  if (!connection_->tls) co_return std::nullopt;
  auto& tls = *connection_->tls;
  if (!SSL_set_tlsext_host_name(tls.native_handle(), options.url.host.c_str())) {
    co_return Failure{ClientFault::kConnect, "TLS: the host's name is not possible"};
  }
  tls.set_verify_callback(ssl::host_name_verification(options.url.host));
  co_await tls.async_handshake(ssl::stream_base::client, asio::redirect_error(kAwait, ec));
  if (ec) co_return failure(ClientFault::kConnectTimeout, ec, "TLS");
  co_return std::nullopt;
}

std::string Call::head_text() const {
  std::string text =
      fmt::format("{} {}{} HTTP/1.1\r\n{}", request_.method, client_->options_.url.path,
                  request_.target, client_->host_header_);
  for (const Header& header : request_.headers) {
    text += header.name;
    text += ": ";
    text += header.value;
    text += "\r\n";
  }
  if (!request_.body.empty() || request_.method != "GET") {
    text += fmt::format("Content-Length: {}\r\n", request_.body.size());
  }
  text += "\r\n";
  return text;
}

template <class Stream>
asio::awaitable<std::optional<Failure>> Call::exchange(Stream& stream) {
  const std::string head = head_text();
  std::array<asio::const_buffer, 2> pieces = {asio::buffer(head), asio::buffer(request_.body)};
  error_code ec;
  if (!connection_->tls) {
    // A fresh or quiet connection has room: no timer, no turn of the event loop.
    const size_t sent = connection_->stream.socket().write_some(pieces, ec);
    if (ec == asio::error::would_block) ec = {};
    pieces[1] += sent > head.size() ? sent - head.size() : 0;
    pieces[0] += std::min(sent, head.size());
  }
  if (!ec && asio::buffer_size(pieces) > 0) {
    connection_->stream.expires_after(client_->options_.idle_timeout);
    co_await asio::async_write(stream, pieces, asio::redirect_error(kAwait, ec));
  }
  // A server may refuse before it has read everything, and then close: its answer counts.
  std::optional<Failure> unsent;
  if (ec) unsent = failure(ClientFault::kIdleTimeout, ec, "sending the request");
  if (ec == beast::error::timeout || cancelled_) co_return unsent;

  std::optional<Parser> parser;
  std::optional<Failure> failed;
  for (int heads = 0; heads < kHeadsMax; ++heads) {  // interim ones, 1xx, come before the answer
    parser.emplace();
    parser->header_limit(static_cast<uint32_t>(limits::kHeaderBytesMax));
    parser->body_limit(boost::none);
    failed = co_await read_head(stream, *parser);
    if (failed || parser->get().result_int() >= 200) break;
  }
  if (failed) co_return unsent ? unsent : failed;
  if (parser->get().result_int() < 200) {
    co_return Failure{ClientFault::kBroken, "interim answers, and none that is final"};
  }
  deliver_head(*parser);
  failed = co_await read_body(stream, *parser);
  reusable_ = !failed && !unsent && parser->get().keep_alive() && !parser->get().need_eof() &&
              connection_->buffer.size() == 0;
  co_return failed;
}

template <class Stream>
asio::awaitable<std::optional<Failure>> Call::read_head(Stream& stream, Parser& parser) {
  error_code ec;
  connection_->stream.expires_after(client_->options_.first_byte_timeout);
  co_await http::async_read_header(stream, connection_->buffer, parser,
                                   asio::redirect_error(kAwait, ec));
  answered_ = answered_ || parser.got_some();
  if (ec) co_return failure(ClientFault::kFirstByteTimeout, ec, "waiting for the answer");
  if (parser.get().result_int() == 101) {  // nothing that we asked for
    co_return Failure{ClientFault::kBroken, "the server switched to another protocol"};
  }
  co_return std::nullopt;
}

void Call::deliver_head(const Parser& parser) {
  ClientHead head;
  head.status = static_cast<int>(parser.get().result_int());
  for (const auto& field : parser.get()) {
    head.headers.push_back({std::string(field.name_string()), std::string(field.value())});
  }
  if (const auto length = parser.content_length()) {
    head.content_length = static_cast<int64_t>(*length);
  }
  answered_ = true;
  if (!cancelled_) sink_->on_head(std::move(head));
}

// What has been read but not parsed: usually all of a short answer, which came with its head.
error_code Call::parse_kept(Parser& parser) {
  beast::flat_buffer& kept = connection_->buffer;
  error_code ec;
  while (kept.size() > 0 && !parser.is_done() && !paused_ && !cancelled_) {
    auto& sink = parser.get().body();
    sink.data = connection_->piece.get();
    sink.size = kPiece;
    const size_t used = parser.put(kept.data(), ec);
    kept.consume(used);
    const size_t size = kPiece - sink.size;
    if (size > 0) paused_ = !sink_->on_bytes({connection_->piece.get(), size});
    if (ec == http::error::need_buffer) continue;
    if (ec) break;
    if (used == 0) break;
  }
  if (ec == http::error::need_more || ec == http::error::need_buffer) ec = {};
  return ec;
}

template <class Stream>
asio::awaitable<std::optional<Failure>> Call::read_body(Stream& stream, Parser& parser) {
  error_code ec = parse_kept(parser);
  while (!ec && !parser.is_done() && !cancelled_) {
    if (paused_) {
      co_await wait_for_resume();
      ec = parse_kept(parser);
      continue;
    }
    auto& sink = parser.get().body();
    sink.data = connection_->piece.get();
    sink.size = kPiece;
    connection_->stream.expires_after(client_->options_.idle_timeout);
    co_await http::async_read_some(stream, connection_->buffer, parser,
                                   asio::redirect_error(kAwait, ec));
    if (ec == http::error::need_buffer) ec = {};
    const size_t size = kPiece - sink.size;
    if (size > 0 && !cancelled_) {
      paused_ = !sink_->on_bytes({connection_->piece.get(), size});
    }
  }
  if (ec) co_return failure(ClientFault::kIdleTimeout, ec, "reading the answer");
  co_return std::nullopt;
}

// resume() and cancel() run on this strand, so none is lost between looking and sleeping.
asio::awaitable<void> Call::wait_for_resume() {
  connection_->stream.expires_never();
  while (paused_ && !cancelled_) {
    error_code ec;
    timer_.expires_at(asio::steady_timer::time_point::max());
    co_await timer_.async_wait(asio::redirect_error(kAwait, ec));
  }
}

}  // namespace

Status HttpClient::Impl::set_up_tls() {
  if (!options_.url.tls) return {};
  error_code ec;
  tls_.emplace(ssl::context::tls_client);
  tls_->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                        ssl::context::no_sslv3 | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                    ec);
  tls_->set_verify_mode(ssl::verify_peer, ec);
  if (options_.ca_file.empty()) {
    tls_->set_default_verify_paths(ec);
  } else {
    tls_->load_verify_file(options_.ca_file, ec);
  }
  if (ec) {
    return fail(
        Code::kInvalidInput,
        fmt::format("certificates of '{}': {}",
                    options_.ca_file.empty() ? "the system" : options_.ca_file, ec.message()));
  }
  return {};
}

std::unique_ptr<Connection> HttpClient::Impl::make_connection(
    const asio::any_io_executor& executor) {
  if (tls_) return std::make_unique<Connection>(executor, *tls_);
  return std::make_unique<Connection>(executor);
}

std::unique_ptr<Connection> HttpClient::Impl::take_kept() {
  const auto now = steady_clock::now();
  std::unique_ptr<Connection> found;
  std::vector<std::unique_ptr<Connection>> stale;  // closed outside the lock
  std::lock_guard lock(mutex_);
  while (!kept_.empty() && now - kept_.front()->unused_since > options_.keep) {
    stale.push_back(std::move(kept_.front()));
    kept_.pop_front();
  }
  while (!kept_.empty() && !found) {
    found = std::move(kept_.back());
    kept_.pop_back();
    if (!found->is_quiet()) stale.push_back(std::move(found));
  }
  return found;
}

void HttpClient::Impl::keep(std::unique_ptr<Connection> connection) {
  connection->stream.expires_never();
  connection->unused_since = steady_clock::now();
  std::lock_guard lock(mutex_);
  if (closed_ || static_cast<int>(kept_.size()) >= options_.idle_max) return;
  kept_.push_back(std::move(connection));
}

HttpClient::HttpClient(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpClient::~HttpClient() {
  std::deque<std::unique_ptr<Connection>> kept;
  std::lock_guard lock(impl_->mutex_);
  impl_->closed_ = true;
  kept.swap(impl_->kept_);
}

Result<std::unique_ptr<HttpClient>> HttpClient::make(ClientOptions options, asio::io_context& io) {
  auto impl = std::make_shared<Impl>(std::move(options), io);
  HADAL_TRY_VOID(impl->set_up_tls());
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

std::shared_ptr<ClientCall> HttpClient::send(ClientRequest request,
                                             std::shared_ptr<ClientSink> sink) {
  auto call = std::make_shared<Call>(impl_, std::move(request), std::move(sink));
  call->start();
  return call;
}

int HttpClient::idle_connections() const {
  std::lock_guard lock(impl_->mutex_);
  return static_cast<int>(impl_->kept_.size());
}

uint64_t HttpClient::connections_made() const { return impl_->made_; }

}  // namespace hadal::net
