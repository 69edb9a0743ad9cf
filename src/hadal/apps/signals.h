// Signals as something to wait for, so that nothing runs in a signal handler.
#pragma once

#include <chrono>
#include <initializer_list>
#include <optional>

namespace hadal::apps {

// Blocks the given signals in this thread and all it starts afterwards, and hands them out one by
// one. Make it before the first thread.
class Signals {
 public:
  explicit Signals(std::initializer_list<int> signals);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The next signal, or nothing after `at_most`; negative: waits for ever.
  std::optional<int> wait(std::chrono::milliseconds at_most);
  // For poll(): readable when wait() would not wait.
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

}  // namespace hadal::apps
