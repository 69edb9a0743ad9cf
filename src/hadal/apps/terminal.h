// What goes to a person: messages, loading progress, dimmed text.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string_view>

#include "hadal/base/log.h"

namespace hadal::apps {

// Lines on stderr, from `least` on.
LogSink stderr_log(LogLevel least);

bool is_terminal(std::FILE* file);

inline constexpr std::string_view kDim = "\033[2m";
inline constexpr std::string_view kPlain = "\033[0m";

// Shows how far loading is: one line that is rewritten on a terminal, a line each tenth otherwise,
// and nothing for what takes less than half a second. Any thread.
class LoadingProgress {
 public:
  void operator()(uint64_t done, uint64_t total);

 private:
  std::mutex mutex_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  int shown_ = -1;  // percent
};

}  // namespace hadal::apps
