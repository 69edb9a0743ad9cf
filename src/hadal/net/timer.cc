#include "hadal/net/timer.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <mutex>
#include <utility>

namespace hadal::net {
namespace {

namespace asio = boost::asio;

class AsioTimer final : public Timer, public std::enable_shared_from_this<AsioTimer> {
 public:
  AsioTimer(asio::io_context& io, std::function<void()> function)
      : timer_(asio::make_strand(io)), function_(std::move(function)) {}

  void start(std::chrono::milliseconds after) {
    timer_.expires_after(after);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
      const std::function<void()> function = self->take();
      if (!ec && function) function();
    });
  }
  void cancel() override {
    if (!take()) return;
    asio::post(timer_.get_executor(), [self = shared_from_this()] { self->timer_.cancel(); });
  }

 private:
  std::function<void()> take() {
    std::lock_guard lock(mutex_);
    return std::exchange(function_, nullptr);
  }

  asio::steady_timer timer_;
  std::mutex mutex_;
  std::function<void()> function_;
};

}  // namespace

std::shared_ptr<Timer> call_after(asio::io_context& io, std::chrono::milliseconds after,
                                  std::function<void()> function) {
  auto timer = std::make_shared<AsioTimer>(io, std::move(function));
  timer->start(after);
  return timer;
}

}  // namespace hadal::net
