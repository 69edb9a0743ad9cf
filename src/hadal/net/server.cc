#include "hadal/net/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio.hpp>
#include <exception>
#include <set>
#include <thread>
#include <utility>

#include "hadal/net/session.h"

namespace hadal::net {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kAwait = asio::use_awaitable;

}  // namespace

class HttpServer::Impl final : public SessionHost {
 public:
  Impl(ServerOptions options, Handler handler, LogSink log)
      : SessionHost(std::move(options), std::move(log)), handler_(std::move(handler)) {}
  ~Impl() override { stop(); }

  Status listen();
  void stop();
  void drain();
  void leave(Session* session) override;
  void dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange, Reservation held) override;
  void run_later(std::function<void()> handle);
  void guarded(const std::function<void()>& handle);

  asio::awaitable<void> accept();
  void refuse_connection(tcp::socket socket);

  const Handler handler_;
  std::mutex mutex_;
  std::set<Session*> sessions_;  // each alive while it is in here: it leaves in its destructor
  bool stopped_ = false;
  // Below: destroyed first, since sessions inside still use what is above.
  asio::io_context io_;
  tcp::acceptor acceptor_{io_};
  asio::thread_pool handlers_{static_cast<size_t>(std::max(1, options.handler_threads))};
  std::vector<std::thread> threads_;
};

Status HttpServer::Impl::listen() {
  error_code ec;
  tcp::resolver resolver(io_);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, ec);
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
    return fail(Code::kUnavailable, fmt::format("cannot listen on {}:{}: {}", options.host,
                                                options.port, ec.message()));
  }
  asio::co_spawn(
      io_, [this] { return accept(); }, asio::detached);
  for (int i = 0; i < std::max(1, options.io_threads); ++i) {
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
      log_to(log, LogLevel::kWarning, "accept: " + ec.message());
      asio::steady_timer pause(io_, milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(kAwait, ec));
      continue;
    }
    std::shared_ptr<Session> session;
    {
      std::lock_guard lock(mutex_);
      if (static_cast<int>(sessions_.size()) < options.connections_max) {
        session = make_session(*this, std::move(socket));
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
  const std::string body = options.error_body(503, "too many connections, try again later");
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
  const bool quick = options.is_quick && options.is_quick(request);
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
    log_to(log, LogLevel::kError, fmt::format("a request's handler threw: {}", e.what()));
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
  draining = true;
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
int HttpServer::exchanges() const { return impl_->exchanges; }
void HttpServer::set_tls(std::shared_ptr<const TlsContext> context) {
  impl_->tls.store(std::move(context));
}
void HttpServer::drain() { impl_->drain(); }
void HttpServer::stop() { impl_->stop(); }

}  // namespace hadal::net
