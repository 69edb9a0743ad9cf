// Threads that move bytes, for clients without a server to share one with.
#pragma once

#include <memory>

namespace boost::asio {
class io_context;
}

namespace hadal::net {

class IoThreads {
 public:
  explicit IoThreads(int threads = 1);
  ~IoThreads();  // stop()
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  boost::asio::io_context& context();
  // Joins the threads. What is under way is dropped without a word when this is destroyed.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hadal::net
