#include "hadal/apps/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

namespace hadal::apps {

LogSink stderr_log(LogLevel least) {
  return [least](LogLevel level, std::string_view message) {
    if (level < least) return;
    const std::string_view prefix = level == LogLevel::kError     ? "error: "
                                    : level == LogLevel::kWarning ? "warning: "
                                                                  : "";
    fmt::print(stderr, "hadal: {}{}\n", prefix, message);
  };
}

bool is_terminal(std::FILE* file) { return isatty(fileno(file)) == 1; }

void LoadingProgress::operator()(uint64_t done, uint64_t total) {
  std::lock_guard lock(mutex_);
  if (total == 0) return;
  const int percent =
      static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
  const bool terminal = is_terminal(stderr);
  const int step = terminal ? 1 : 10;
  if (percent / step <= shown_ / step && shown_ >= 0) return;
  if (std::chrono::steady_clock::now() - started_ < std::chrono::milliseconds(500)) return;
  shown_ = percent;
  if (terminal) {
    fmt::print(stderr, "\rloading {:3d} %{}", percent, done >= total ? "\n" : "");
  } else {
    fmt::print(stderr, "hadal: loading {} %\n", percent);
  }
}

}  // namespace hadal::apps
