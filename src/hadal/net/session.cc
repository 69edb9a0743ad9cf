#include "hadal/net/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <utility>

#include "hadal/net/answer_head.h"
#include "hadal/net/request_check.h"
#include "hadal/net/tls_context.h"

namespace hadal::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using tcp = asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kAwait = asio::use_awaitable;
constexpr size_t kPipelinedBytesMax = 64u << 10;  // read ahead while an answer is under way
constexpr size_t kLingerBytesMax = 4u << 20;  // thrown away after a refusal, see Session::linger
constexpr milliseconds kLingerTime{2'000};
constexpr milliseconds kGoodbyeTime{500};  // of TLS, for the client to say it, too
constexpr size_t kBodyStep = 64u << 10;
constexpr size_t kNameBytesMax = 512;  // of a client's certificate
constexpr char kTlsHandshake = 0x16;   // what a TLS client says first

Refusal refusal_for(const error_code& ec, const ServerOptions& options) {
  if (ec == http::error::header_limit || ec == http::error::buffer_overflow) {
    return {431, fmt::format("the request head is larger than {} bytes", options.header_bytes_max)};
  }
  if (ec == http::error::body_limit) {
    return {413, fmt::format("the request body has more than {} bytes", options.body_bytes_max)};
  }
  if (ec == beast::error::timeout) return {408, "the request took too long to arrive"};
  if (ec == http::error::bad_version) return {505, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
  if (ec == http::error::bad_transfer_encoding || ec == http::error::bad_content_length ||
      ec == http::error::multiple_content_length) {
    return {400, "a request has one Content-Length or Transfer-Encoding: chunked, not both"};
  }
  if (ec == http::error::partial_message || ec == http::error::end_of_stream) return {};
  if (ec.category() == make_error_code(http::error::bad_method).category()) {
    return {400, "malformed HTTP request: " + ec.message()};
  }
  return {};
}

// "CN=name,O=firm" (RFC 2253) of the client's certificate, which has been verified; empty: none.
std::string client_name(SSL* tls) {
  X509* certificate = SSL_get1_peer_certificate(tls);
  if (certificate == nullptr) return {};
  std::string name;
  if (BIO* text = BIO_new(BIO_s_mem()); text != nullptr) {
    X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
    char* data = nullptr;
    const long size = BIO_get_mem_data(text, &data);
    if (size > 0) name.assign(data, std::min<size_t>(static_cast<size_t>(size), kNameBytesMax));
    BIO_free(text);
  }
  X509_free(certificate);
  return name;
}

// One connection. Everything runs on its strand.
//
// g++ 12 evaluates a co_await behind && and || always, and may destroy temporaries of its
// expression twice: so what a co_await takes has a name, and what it gives is stored before it is
// used.
class HttpSession final : public Session, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(SessionHost& server, tcp::socket socket)
      : server_(server), stream_(std::move(socket)), wake_timer_(stream_.get_executor()) {}
  ~HttpSession() override {
    if (exchange_) exchange_->detach();
    server_.leave(this);
  }

  void start() override {
    asio::co_spawn(
        stream_.get_executor(), [self = shared_from_this()] { return self->run(); },
        asio::detached);
  }
  void close_if_idle() override {
    asio::post(stream_.get_executor(), [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && self->idle_) self->stream_.cancel();
    });
  }

 private:
  using Parser = http::request_parser<http::buffer_body>;

  asio::awaitable<void> run();
  asio::awaitable<bool> shake_hands(const TlsContext& context);
  asio::awaitable<bool> serve_one();
  asio::awaitable<error_code> read_some();
  asio::awaitable<error_code> read_head(Parser& parser);
  Refusal check_head(const Parser& parser, HttpRequest* request) const;
  asio::awaitable<Refusal> read_body(Parser& parser, std::string* body, Reservation* held);
  asio::awaitable<bool> send_answer();
  asio::awaitable<bool> send_some(Exchange::Taken taken, bool* streamed);
  asio::awaitable<void> watch();
  asio::awaitable<void> wait_for_wake(milliseconds at_most);
  asio::awaitable<void> refuse(Refusal refusal);
  asio::awaitable<void> linger();
  asio::awaitable<bool> write_all(std::string_view bytes);
  asio::awaitable<bool> write_tls(std::string_view bytes);
  asio::awaitable<void> say_goodbye(bool refused);
  void wake() {
    wake_timer_.cancel();
    if (exchange_ && exchange_->abandoned()) {  // also out of a write that the client does not take
      error_code ec;
      gone();
      stream_.socket().close(ec);
    }
  }
  void gone() {
    if (exchange_) exchange_->client_gone();
    gone_ = true;
    wake_timer_.cancel();
  }

  SessionHost& server_;
  beast::tcp_stream stream_;
  std::unique_ptr<ssl::stream<beast::tcp_stream&>> tls_;  // around stream_; null: plain
  std::string peer_;
  std::string client_;  // see HttpRequest::client
  beast::flat_buffer buffer_;
  asio::steady_timer wake_timer_;
  std::shared_ptr<Exchange> exchange_;
  bool fresh_ = true;        // no request has come yet
  bool idle_ = true;         // between requests
  bool keep_alive_ = false;  // of the request at hand
  bool http11_ = true;
  bool head_only_ = false;
  bool watching_ = false;
  bool answered_ = false;  // to the last byte: watch() should end
  bool gone_ = false;
};

asio::awaitable<void> HttpSession::run() {
  error_code ec;
  stream_.socket().set_option(tcp::no_delay(true), ec);
  stream_.socket().non_blocking(true, ec);
  const auto peer = stream_.socket().remote_endpoint(ec);
  if (!ec) peer_ = peer.address().to_string();
  if (const std::shared_ptr<const TlsContext> context = server_.tls.load()) {
    const bool good = co_await shake_hands(*context);
    if (!good) co_return;
  }
  while (co_await serve_one()) {
  }
  if (tls_ && !gone_) co_await say_goodbye(false);
  stream_.socket().shutdown(tcp::socket::shutdown_both, ec);
}

// Its first bytes are read apart, to tell a client that speaks plain HTTP what is wrong.
asio::awaitable<bool> HttpSession::shake_hands(const TlsContext& context) {
  error_code ec;
  stream_.expires_after(server_.options.handshake_timeout);
  const size_t size =
      co_await stream_.async_read_some(buffer_.prepare(1024), asio::redirect_error(kAwait, ec));
  if (ec) co_return false;
  buffer_.commit(size);
  if (*static_cast<const char*>(buffer_.data().data()) != kTlsHandshake) {
    Refusal refusal{400, "plain HTTP came to a port that speaks TLS: ask https://"};
    co_await refuse(std::move(refusal));
    co_return false;
  }
  tls_ = std::make_unique<ssl::stream<beast::tcp_stream&>>(stream_, context.native());
  co_await tls_->async_handshake(ssl::stream_base::server, buffer_.data(),
                                 asio::redirect_error(kAwait, ec));
  buffer_.consume(buffer_.size());
  if (ec) {
    log_to(server_.log, LogLevel::kDebug, "TLS: " + ec.message());
    if (ec != beast::error::timeout) co_await linger();  // for the alert that says why
    co_return false;
  }
  client_ = client_name(tls_->native_handle());
  co_return true;
}

// One request and its answer. False: the connection is over.
asio::awaitable<bool> HttpSession::serve_one() {
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(server_.options.header_bytes_max));
  parser.body_limit(boost::none);  // read_body counts
  if (error_code ec = co_await read_head(parser)) {
    Refusal refusal = refusal_for(ec, server_.options);
    co_await refuse(std::move(refusal));
    co_return false;
  }
  http11_ = parser.get().version() >= 11;
  head_only_ = parser.get().method() == http::verb::head;
  keep_alive_ = parser.keep_alive();
  HttpRequest request;
  request.peer = peer_;
  request.client = client_;
  Reservation held(&server_.bodies_bytes);
  Refusal refusal = check_head(parser, &request);
  if (refusal.status == 0) refusal = co_await read_body(parser, &request.body, &held);
  if (refusal.status != 0) {
    co_await refuse(std::move(refusal));
    co_return false;
  }
  if (gone_) co_return false;

  exchange_ =
      std::make_shared<Exchange>(server_.options.stream_buffer_max,
                                 [weak = weak_from_this(), executor = stream_.get_executor()] {
                                   asio::post(executor, [weak] {
                                     if (auto self = weak.lock()) self->wake();
                                   });
                                 });
  ++server_.exchanges;
  stream_.expires_never();
  watching_ = true;
  answered_ = false;
  asio::co_spawn(
      stream_.get_executor(), [self = shared_from_this()] { return self->watch(); },
      asio::detached);
  server_.dispatch(std::move(request), exchange_, std::move(held));

  const bool complete = co_await send_answer();
  if (!complete) gone();
  exchange_->detach();
  exchange_.reset();
  --server_.exchanges;
  error_code ec;
  if (!complete) stream_.socket().close(ec);
  answered_ = true;
  stream_.cancel();  // no effect on a read that is complete but not resumed: hence the flag
  while (watching_) co_await wait_for_wake(milliseconds(0));
  co_return complete&& keep_alive_ && !gone_;
}

// What there is, into the buffer; at least a byte, unless there is an error.
asio::awaitable<error_code> HttpSession::read_some() {
  error_code ec;
  size_t size = 0;
  if (tls_) {
    size = co_await tls_->async_read_some(buffer_.prepare(4096), asio::redirect_error(kAwait, ec));
  } else {
    size =
        co_await stream_.async_read_some(buffer_.prepare(4096), asio::redirect_error(kAwait, ec));
  }
  buffer_.commit(size);
  co_return ec;
}

asio::awaitable<error_code> HttpSession::read_head(Parser& parser) {
  error_code ec;
  if (buffer_.size() == 0) {
    idle_ = true;
    if (server_.draining && !fresh_) co_return http::error::end_of_stream;
    stream_.expires_after(server_.options.idle_timeout);
    ec = co_await read_some();
    idle_ = false;
    if (ec) co_return http::error::end_of_stream;
  }
  fresh_ = false;
  stream_.expires_after(server_.options.header_timeout);
  if (tls_) {
    co_await http::async_read_header(*tls_, buffer_, parser, asio::redirect_error(kAwait, ec));
  } else {
    co_await http::async_read_header(stream_, buffer_, parser, asio::redirect_error(kAwait, ec));
  }
  co_return ec;
}

Refusal HttpSession::check_head(const Parser& parser, HttpRequest* request) const {
  const auto& message = parser.get();
  const auto target = std::string_view(message.target().data(), message.target().size());
  const size_t question = target.find('?');
  if (!decode_path(target.substr(0, question), &request->path)) {
    return {400, "the request target must be a path that begins with '/'"};
  }
  if (question != std::string_view::npos) request->query = target.substr(question + 1);
  request->method = std::string(message.method_string());
  for (const auto& field : message) {
    request->headers.push_back({std::string(field.name_string()), std::string(field.value())});
  }
  return check_framing(*request, http11_, server_.options.body_bytes_max);
}

asio::awaitable<Refusal> HttpSession::read_body(Parser& parser, std::string* body,
                                                Reservation* held) {
  const ServerOptions& options = server_.options;
  if (parser.is_done()) co_return Refusal{};
  if (http11_ && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    if (!co_await write_all("HTTP/1.1 100 Continue\r\n\r\n")) gone_ = true;
  }
  // Not filled with zeros, and no larger than it need be: most bodies are small.
  const size_t expected = static_cast<size_t>(parser.content_length().value_or(kBodyStep));
  const size_t step_size = std::clamp<size_t>(expected, 1, kBodyStep);
  const auto step = std::make_unique_for_overwrite<char[]>(step_size);
  auto check_chunk = [&options](uint64_t size, beast::string_view, error_code& ec) {
    if (size > options.body_bytes_max) ec = http::error::body_limit;
  };
  parser.on_chunk_header(check_chunk);
  stream_.expires_after(options.body_timeout);
  while (!parser.is_done()) {
    auto& sink = parser.get().body();
    sink.data = step.get();
    sink.size = step_size;
    error_code ec;
    // Goes on until `step` is full, so that a flood of tiny chunks costs parsing and nothing more.
    if (tls_) {
      co_await http::async_read(*tls_, buffer_, parser, asio::redirect_error(kAwait, ec));
    } else {
      co_await http::async_read(stream_, buffer_, parser, asio::redirect_error(kAwait, ec));
    }
    if (ec && ec != http::error::need_buffer) {
      gone_ = true;
      co_return refusal_for(ec, options);
    }
    const size_t size = step_size - sink.size;
    if (body->size() + size > options.body_bytes_max) {
      co_return refusal_for(http::error::body_limit, options);
    }
    if (!held->grow(size, options.bodies_bytes_max)) {
      co_return Refusal{503, "too many bytes of other requests are being read, try again later"};
    }
    body->append(step.get(), size);
  }
  co_return Refusal{};
}

// Sends what the writer produces until it has finished. False: the client has gone or was cut off.
asio::awaitable<bool> HttpSession::send_answer() {
  bool streamed = false;
  while (!gone_) {
    Exchange::Taken taken = exchange_->take();
    const bool finished = taken.finished;
    const bool abandoned = taken.abandoned;
    if (taken.head || !taken.bytes.empty()) {
      if (!co_await send_some(std::move(taken), &streamed)) co_return false;
      if (!finished && !abandoned) continue;
    }
    if (abandoned) co_return false;
    if (finished) {
      if (!streamed || !http11_ || head_only_) co_return true;
      const bool ended = co_await write_all("0\r\n\r\n");
      co_return ended;
    }
    const Exchange::Heartbeat heartbeat = exchange_->heartbeat();
    const auto asleep_since = std::chrono::steady_clock::now();
    co_await wait_for_wake(heartbeat.every);
    if (heartbeat.every.count() > 0 &&
        std::chrono::steady_clock::now() - asleep_since >= heartbeat.every) {
      exchange_->beat();
    }
  }
  co_return false;
}

asio::awaitable<bool> HttpSession::send_some(Exchange::Taken taken, bool* streamed) {
  std::string text;
  if (taken.head) {
    *streamed = taken.head->streamed;
    if (server_.draining || (*streamed && !http11_)) keep_alive_ = false;
    if (taken.head->status == 500 && taken.head->length == 0 && !*streamed) {
      taken.bytes = server_.options.error_body(500, "internal error");
      taken.head->headers = {{"Content-Type", "application/json"}};
      taken.head->length = taken.bytes.size();
    }
    text = answer_head(*taken.head, http11_, keep_alive_);
  }
  if (!head_only_ && !taken.bytes.empty()) {
    if (*streamed && http11_) {
      text += fmt::format("{:x}\r\n", taken.bytes.size());
      text += taken.bytes;
      text += "\r\n";
    } else {
      text += taken.bytes;
    }
  }
  const bool sent = co_await write_all(text);
  co_return sent;
}

// Reads ahead while an answer is under way, to notice at once that the client has gone. What a
// client pipelines meanwhile waits in the buffer.
asio::awaitable<void> HttpSession::watch() {
  while (!answered_ && buffer_.size() < kPipelinedBytesMax) {
    const error_code ec = co_await read_some();
    if (ec == asio::error::operation_aborted) break;
    if (ec) {
      gone();
      break;
    }
  }
  watching_ = false;
  wake_timer_.cancel();
}

// Until wake_timer_ is cancelled, or `at_most` has passed (0: no limit). Wakes run on this strand,
// so none is lost between looking and sleeping.
asio::awaitable<void> HttpSession::wait_for_wake(milliseconds at_most) {
  if (at_most.count() > 0) {
    wake_timer_.expires_after(at_most);
  } else {
    wake_timer_.expires_at(asio::steady_timer::time_point::max());
  }
  error_code ec;
  co_await wake_timer_.async_wait(asio::redirect_error(kAwait, ec));
}

asio::awaitable<void> HttpSession::refuse(Refusal refusal) {
  if (refusal.status == 0) co_return;
  keep_alive_ = false;
  Exchange::Head head;
  head.status = refusal.status;
  head.headers = {{"Content-Type", "application/json"}};
  if (refusal.status == 503) head.headers.push_back({"Retry-After", "1"});
  std::string body = server_.options.error_body(refusal.status, refusal.message);
  head.length = body.size();
  std::string text = answer_head(head, http11_, keep_alive_);
  if (!head_only_) text += body;
  const bool sent = co_await write_all(text);
  if (sent && tls_) co_await say_goodbye(true);
  if (sent) co_await linger();
}

// Closing while the client still sends would reset the connection and take the answer with it: so
// says goodbye, then throws away what comes for a moment.
asio::awaitable<void> HttpSession::linger() {
  error_code ec;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ec);
  std::vector<char> waste(kBodyStep);
  stream_.expires_after(kLingerTime);
  for (size_t total = 0; !ec && total < kLingerBytesMax;) {
    total +=
        co_await stream_.async_read_some(asio::buffer(waste), asio::redirect_error(kAwait, ec));
  }
}

// Tells the client that nothing was cut off. Without `refused` what it still sends is not waited
// for.
asio::awaitable<void> HttpSession::say_goodbye(bool refused) {
  error_code ec;
  stream_.expires_after(refused ? kLingerTime : kGoodbyeTime);
  co_await tls_->async_shutdown(asio::redirect_error(kAwait, ec));
}

asio::awaitable<bool> HttpSession::write_tls(std::string_view bytes) {
  while (!bytes.empty()) {
    error_code ec;
    stream_.expires_after(server_.options.write_timeout);
    const size_t size = co_await tls_->async_write_some(asio::buffer(bytes.data(), bytes.size()),
                                                        asio::redirect_error(kAwait, ec));
    if (ec) co_return false;
    bytes.remove_prefix(size);
  }
  co_return true;
}

asio::awaitable<bool> HttpSession::write_all(std::string_view bytes) {
  if (tls_) {
    const bool sent = co_await write_tls(bytes);
    co_return sent;
  }
  while (!bytes.empty()) {
    // A client that reads has room for what comes: no timer, no turn of the event loop for it.
    error_code ec;
    size_t size = stream_.socket().write_some(asio::buffer(bytes.data(), bytes.size()), ec);
    if (ec == asio::error::would_block) {
      stream_.expires_after(server_.options.write_timeout);
      size = co_await stream_.async_write_some(asio::buffer(bytes.data(), bytes.size()),
                                               asio::redirect_error(kAwait, ec));
    }
    if (ec) co_return false;
    bytes.remove_prefix(size);
  }
  co_return true;
}

}  // namespace

std::shared_ptr<Session> make_session(SessionHost& host, TcpSocket socket) {
  return std::make_shared<HttpSession>(host, std::move(socket));
}

}  // namespace hadal::net
