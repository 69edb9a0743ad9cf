// Time is passed in, so that scheduler and gateway run in a simulation with invented seconds.
#pragma once

#include <chrono>
#include <cstdint>

namespace hadal {

using Nanos = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic, from an arbitrary start. For durations.
  virtual Nanos now() const = 0;
  // Seconds since 1970, for time stamps shown to users. Never for durations.
  virtual int64_t unix_seconds() const = 0;
};

class SystemClock final : public Clock {
 public:
  Nanos now() const override { return std::chrono::steady_clock::now().time_since_epoch(); }
  int64_t unix_seconds() const override {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

class FakeClock final : public Clock {
 public:
  Nanos now() const override { return now_; }
  int64_t unix_seconds() const override {
    return 1'700'000'000 + std::chrono::duration_cast<std::chrono::seconds>(now_).count();
  }
  void advance(Nanos by) { now_ += by; }

 private:
  Nanos now_{0};
};

inline double to_seconds(Nanos duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace hadal
