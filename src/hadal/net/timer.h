// A function called later, once, unless told otherwise.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace boost::asio {
class io_context;
}

namespace hadal::net {

class Timer {
 public:
  virtual ~Timer() = default;
  // The function does not run after this returns, unless it is running already. Any thread.
  virtual void cancel() = 0;
};

// On a thread of `io`, `after` from now. Dropping the result cancels nothing.
std::shared_ptr<Timer> call_after(boost::asio::io_context& io, std::chrono::milliseconds after,
                                  std::function<void()> function);

}  // namespace hadal::net
