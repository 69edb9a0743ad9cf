#include "hadal/net/server.h"

#ifdef __SANITIZE_THREAD__  // it knows locks, which order the same things, but no fences
#define BOOST_ASIO_DISABLE_FENCED_BLOCK
#endif

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <exception>
#include <set>
#include <thread>
#include <utility>

#include "hadal/net/answer_head.h"
#include "hadal/net/reservation.h"

namespace hadal::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kAwait = asio::use_awaitable;
constexpr size_t kPipelinedBytesMax = 64u << 10;  // read ahead while an answer is under way
constexpr size_t kLingerBytesMax = 4u << 20;  // thrown away after a refusal, see Session::linger
constexpr milliseconds kLingerTime{2'000};
constexpr size_t kBodyStep = 64u << 10;

// What a request is refused with before any handler sees it.
struct Refusal {
  int status = 0;  // 0: close without a word
  std::string message;
};

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

}  // namespace

class Session;

class HttpServer::Impl {
 public:
  Impl(ServerOptions options, Handler handler, LogSink log)
      : options_(std::move(options)), handler_(std::move(handler)), log_(std::move(log)) {}
  ~Impl() { stop(); }

  Status listen();
  void stop();
  void drain();
  void leave(Session* session);
  void dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange, Reservation held);
  void run_later(std::function<void()> handle);
  void guarded(const std::function<void()>& handle);

  asio::awaitable<void> accept();
  void refuse_connection(tcp::socket socket);

  const ServerOptions options_;
  const Handler handler_;
  const LogSink log_;
  std::atomic<bool> draining_{false};
  std::atomic<int> exchanges_{0};
  std::atomic<size_t> bodies_bytes_{0};
  std::mutex mutex_;
  std::set<Session*> sessions_;  // each alive while it is in here: it leaves in its destructor
  bool stopped_ = false;
  // Below: destroyed first, since sessions inside still use what is above.
  asio::io_context io_;
  tcp::acceptor acceptor_{io_};
  asio::thread_pool handlers_{static_cast<size_t>(std::max(1, options_.handler_threads))};
  std::vector<std::thread> threads_;
};

// One connection. Everything runs on its strand.
//
// g++ 12 evaluates a co_await behind && and || always, and may destroy temporaries of its
// expression twice: so what a co_await takes has a name, and what it gives is stored before it is
// used.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(HttpServer::Impl& server, tcp::socket socket)
      : server_(server), stream_(std::move(socket)), wake_timer_(stream_.get_executor()) {}
  ~Session() {
    if (exchange_) exchange_->detach();
    server_.leave(this);
  }

  void start() {
    asio::co_spawn(
        stream_.get_executor(), [self = shared_from_this()] { return self->run(); },
        asio::detached);
  }
  // From any thread, under the server's lock (so *this is alive, but may be in its destructor).
  void close_if_idle() {
    asio::post(stream_.get_executor(), [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && self->idle_) self->stream_.cancel();
    });
  }

 private:
  using Parser = http::request_parser<http::buffer_body>;

  asio::awaitable<void> run();
  asio::awaitable<bool> serve_one();
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

  HttpServer::Impl& server_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  asio::steady_timer wake_timer_;
  std::shared_ptr<Exchange> exchange_;
  bool fresh_ = true;  // no request has come yet
  std::string peer_;
  bool idle_ = true;         // between requests
  bool keep_alive_ = false;  // of the request at hand
  bool http11_ = true;
  bool head_only_ = false;
  bool watching_ = false;
  bool answered_ = false;  // to the last byte: watch() should end
  bool gone_ = false;
};

asio::awaitable<void> Session::run() {
  error_code ec;
  stream_.socket().set_option(tcp::no_delay(true), ec);
  stream_.socket().non_blocking(true, ec);
  const auto peer = stream_.socket().remote_endpoint(ec);
  if (!ec) peer_ = peer.address().to_string();
  while (co_await serve_one()) {
  }
  stream_.socket().shutdown(tcp::socket::shutdown_both, ec);
}

// One request and its answer. False: the connection is over.
asio::awaitable<bool> Session::serve_one() {
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(server_.options_.header_bytes_max));
  parser.body_limit(boost::none);  // read_body counts
  if (error_code ec = co_await read_head(parser)) {
    Refusal refusal = refusal_for(ec, server_.options_);
    co_await refuse(std::move(refusal));
    co_return false;
  }
  http11_ = parser.get().version() >= 11;
  head_only_ = parser.get().method() == http::verb::head;
  keep_alive_ = parser.keep_alive();
  HttpRequest request;
  request.peer = peer_;
  Reservation held(&server_.bodies_bytes_);
  Refusal refusal = check_head(parser, &request);
  if (refusal.status == 0) refusal = co_await read_body(parser, &request.body, &held);
  if (refusal.status != 0) {
    co_await refuse(std::move(refusal));
    co_return false;
  }
  if (gone_) co_return false;

  exchange_ =
      std::make_shared<Exchange>(server_.options_.stream_buffer_max,
                                 [weak = weak_from_this(), executor = stream_.get_executor()] {
                                   asio::post(executor, [weak] {
                                     if (auto self = weak.lock()) self->wake();
                                   });
                                 });
  ++server_.exchanges_;
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
  --server_.exchanges_;
  error_code ec;
  if (!complete) stream_.socket().close(ec);
  answered_ = true;
  stream_.cancel();  // no effect on a read that is complete but not resumed: hence the flag
  while (watching_) co_await wait_for_wake(milliseconds(0));
  co_return complete&& keep_alive_ && !gone_;
}

asio::awaitable<error_code> Session::read_head(Parser& parser) {
  error_code ec;
  if (buffer_.size() == 0) {
    idle_ = true;
    if (server_.draining_ && !fresh_) co_return http::error::end_of_stream;
    stream_.expires_after(server_.options_.idle_timeout);
    const size_t size =
        co_await stream_.async_read_some(buffer_.prepare(4096), asio::redirect_error(kAwait, ec));
    idle_ = false;
    if (ec) co_return http::error::end_of_stream;
    buffer_.commit(size);
  }
  fresh_ = false;
  stream_.expires_after(server_.options_.header_timeout);
  co_await http::async_read_header(stream_, buffer_, parser, asio::redirect_error(kAwait, ec));
  co_return ec;
}

Refusal Session::check_head(const Parser& parser, HttpRequest* request) const {
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
  const auto length_text = message[http::field::content_length];
  if (message.count(http::field::content_length) > 1 ||
      length_text.find_first_not_of("0123456789") != length_text.npos ||  // "5, 5": two
      (message.count(http::field::transfer_encoding) > 0 &&
       (message.count(http::field::content_length) > 0 || !http11_))) {
    return {400, "a request has one Content-Length or Transfer-Encoding: chunked, not both"};
  }
  if (message.count(http::field::transfer_encoding) > 0 &&
      !beast::iequals(message[http::field::transfer_encoding], "chunked")) {
    return {501, "the only Transfer-Encoding understood here is chunked"};
  }
  const auto length = parser.content_length();
  if (length && *length > server_.options_.body_bytes_max) {
    return {413, fmt::format("the request body has {} bytes, at most {} are allowed", *length,
                             server_.options_.body_bytes_max)};
  }
  if (const auto expect = message[http::field::expect];
      !expect.empty() && !beast::iequals(expect, "100-continue")) {
    return {417, "the only expectation understood here is 100-continue"};
  }
  return {};
}

asio::awaitable<Refusal> Session::read_body(Parser& parser, std::string* body, Reservation* held) {
  const ServerOptions& options = server_.options_;
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
    co_await http::async_read(stream_, buffer_, parser, asio::redirect_error(kAwait, ec));
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
asio::awaitable<bool> Session::send_answer() {
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

asio::awaitable<bool> Session::send_some(Exchange::Taken taken, bool* streamed) {
  std::string text;
  if (taken.head) {
    *streamed = taken.head->streamed;
    if (server_.draining_ || (*streamed && !http11_)) keep_alive_ = false;
    if (taken.head->status == 500 && taken.head->length == 0 && !*streamed) {
      taken.bytes = server_.options_.error_body(500, "internal error");
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
asio::awaitable<void> Session::watch() {
  while (!answered_ && buffer_.size() < kPipelinedBytesMax) {
    error_code ec;
    const size_t size =
        co_await stream_.async_read_some(buffer_.prepare(4096), asio::redirect_error(kAwait, ec));
    buffer_.commit(size);
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
asio::awaitable<void> Session::wait_for_wake(milliseconds at_most) {
  if (at_most.count() > 0) {
    wake_timer_.expires_after(at_most);
  } else {
    wake_timer_.expires_at(asio::steady_timer::time_point::max());
  }
  error_code ec;
  co_await wake_timer_.async_wait(asio::redirect_error(kAwait, ec));
}

asio::awaitable<void> Session::refuse(Refusal refusal) {
  if (refusal.status == 0) co_return;
  keep_alive_ = false;
  Exchange::Head head;
  head.status = refusal.status;
  head.headers = {{"Content-Type", "application/json"}};
  if (refusal.status == 503) head.headers.push_back({"Retry-After", "1"});
  std::string body = server_.options_.error_body(refusal.status, refusal.message);
  head.length = body.size();
  std::string text = answer_head(head, http11_, keep_alive_);
  if (!head_only_) text += body;
  const bool sent = co_await write_all(text);
  if (sent) co_await linger();
}

// Closing while the client still sends would reset the connection and take the answer with it: so
// says goodbye, then throws away what comes for a moment.
asio::awaitable<void> Session::linger() {
  error_code ec;
  stream_.socket().shutdown(tcp::socket::shutdown_send, ec);
  std::vector<char> waste(kBodyStep);
  stream_.expires_after(kLingerTime);
  for (size_t total = 0; !ec && total < kLingerBytesMax;) {
    total +=
        co_await stream_.async_read_some(asio::buffer(waste), asio::redirect_error(kAwait, ec));
  }
}

asio::awaitable<bool> Session::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    // A client that reads has room for what comes: no timer, no turn of the event loop for it.
    error_code ec;
    size_t size = stream_.socket().write_some(asio::buffer(bytes.data(), bytes.size()), ec);
    if (ec == asio::error::would_block) {
      stream_.expires_after(server_.options_.write_timeout);
      size = co_await stream_.async_write_some(asio::buffer(bytes.data(), bytes.size()),
                                               asio::redirect_error(kAwait, ec));
    }
    if (ec) co_return false;
    bytes.remove_prefix(size);
  }
  co_return true;
}

Status HttpServer::Impl::listen() {
  error_code ec;
  tcp::resolver resolver(io_);
  const auto found =
      resolver.resolve(options_.host, std::to_string(options_.port), tcp::resolver::passive, ec);
  for (const auto& entry : found) {
    const tcp::endpoint endpoint = entry.endpoint();
    if (acceptor_.is_open()) acceptor_.close(ec);
    if (acceptor_.open(endpoint.protocol(), ec)) continue;
    acceptor_.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!acceptor_.bind(endpoint, ec) &&
        !acceptor_.listen(asio::socket_base::max_listen_connections, ec)) {
      break;
    }
  }
  if (ec || found.empty()) {
    return fail(Code::kUnavailable, fmt::format("cannot listen on {}:{}: {}", options_.host,
                                                options_.port, ec.message()));
  }
  asio::co_spawn(
      io_, [this] { return accept(); }, asio::detached);
  for (int i = 0; i < std::max(1, options_.io_threads); ++i) {
    threads_.emplace_back([this] { io_.run(); });
  }
  return {};
}

asio::awaitable<void> HttpServer::Impl::accept() {
  for (;;) {
    error_code ec;
    tcp::socket socket =
        co_await acceptor_.async_accept(asio::make_strand(io_), asio::redirect_error(kAwait, ec));
    if (ec == asio::error::operation_aborted) co_return;
    if (ec) {  // out of descriptors, most likely: the ones in use will come back
      log_to(log_, LogLevel::kWarning, "accept: " + ec.message());
      asio::steady_timer pause(io_, milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(kAwait, ec));
      continue;
    }
    std::shared_ptr<Session> session;
    {
      std::lock_guard lock(mutex_);
      if (static_cast<int>(sessions_.size()) < options_.connections_max) {
        session = std::make_shared<Session>(*this, std::move(socket));
        sessions_.insert(session.get());
      }
    }
    if (session) {
      session->start();
    } else {
      refuse_connection(std::move(socket));
    }
  }
}

// Best effort: what fits the fresh socket's send buffer, without waiting for the client.
void HttpServer::Impl::refuse_connection(tcp::socket socket) {
  const std::string body = options_.error_body(503, "too many connections, try again later");
  const std::string text = fmt::format(
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      body.size(), body);
  error_code ec;
  socket.non_blocking(true, ec);
  socket.write_some(asio::buffer(text), ec);
  socket.shutdown(tcp::socket::shutdown_send, ec);
}

void HttpServer::Impl::dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange,
                                Reservation held) {
  // asio wants copyable handlers.
  struct Job {
    HttpRequest request;
    ResponseWriter writer;
    Reservation held;
  };
  const bool quick = options_.is_quick && options_.is_quick(request);
  auto job = std::make_shared<Job>(
      Job{std::move(request), ResponseWriter(std::move(exchange)), std::move(held)});
  const auto handle = [this, job] { handler_(std::move(job->request), std::move(job->writer)); };
  if (quick) return guarded(handle);
  run_later(handle);
}

void HttpServer::Impl::guarded(const std::function<void()>& handle) {
  try {
    handle();
  } catch (const std::exception& e) {
    log_to(log_, LogLevel::kError, fmt::format("a request's handler threw: {}", e.what()));
  }
}

void HttpServer::Impl::run_later(std::function<void()> handle) {
  asio::post(handlers_, [this, handle = std::move(handle)] { guarded(handle); });
}

void HttpServer::Impl::leave(Session* session) {
  std::lock_guard lock(mutex_);
  sessions_.erase(session);
}

void HttpServer::Impl::drain() {
  draining_ = true;
  std::lock_guard lock(mutex_);
  for (Session* session : sessions_) session->close_if_idle();
}

void HttpServer::Impl::stop() {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    stopped_ = true;
  }
  handlers_.stop();
  handlers_.join();
  io_.stop();
  for (std::thread& thread : threads_) thread.join();
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(ServerOptions options, Handler handler,
                                                      LogSink log) {
  if (!options.error_body) {
    options.error_body = [](int, std::string_view) { return std::string("{}"); };
  }
  auto impl = std::make_unique<Impl>(std::move(options), std::move(handler), std::move(log));
  try {
    HADAL_TRY_VOID(impl->listen());
  } catch (const std::exception& e) {  // no threads or memory to be had
    return fail(Code::kUnavailable, fmt::format("cannot start the server: {}", e.what()));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

uint16_t HttpServer::port() const {
  error_code ec;
  return impl_->acceptor_.local_endpoint(ec).port();
}
asio::io_context& HttpServer::io() { return impl_->io_; }
void HttpServer::run_later(std::function<void()> rest) { impl_->run_later(std::move(rest)); }
int HttpServer::exchanges() const { return impl_->exchanges_; }
void HttpServer::drain() { impl_->drain(); }
void HttpServer::stop() { impl_->stop(); }

}  // namespace hadal::net
