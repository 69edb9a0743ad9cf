// Where a library's messages go: a function handed down from apps. A library never prints.
#pragma once

#include <functional>
#include <string_view>

namespace hadal {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Called from any thread; must not block for long. An empty function means silence.
using LogSink = std::function<void(LogLevel, std::string_view message)>;

inline void log_to(const LogSink& sink, LogLevel level, std::string_view message) {
  if (sink) sink(level, message);
}

}  // namespace hadal
