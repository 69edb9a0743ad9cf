// What hadal.yaml says of batches: where they are kept, when they run, how much they may be. The
// list of fields is batch_config.cc.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/field.h"

namespace hadal::gateway {

struct BatchConfig {
  std::string dir;
  std::vector<std::string> hours;
  std::string time_zone;
  std::string outside_hours = "wait";  // wait, when_idle
  int32_t load = 4;
  Millis preempt_after{10'000};
  int32_t at_once = 4;
  Millis window_max{7LL * 24 * 3600 * 1000};
  std::string shared_by = "key";  // key, tenant
  uint64_t file_max = 24ull << 20;
  int32_t files_max = 1'000;
  uint64_t bytes_max = 4ull << 30;
  int32_t lines_max = 50'000;
  int32_t batches_max = 100;
  Millis keep{30LL * 24 * 3600 * 1000};
  bool operator==(const BatchConfig&) const = default;
  bool on() const { return !dir.empty(); }
};

Section<BatchConfig> batch_section();
void check_batches(ConfigReader& reader, const BatchConfig& batches);

// When lines may start. Immutable.
class BatchHours {
 public:
  // Each of `hours`: "22:00-06:00", or with days in front, "Sat-Sun 00:00-24:00"; none: always. One
  // that ends before it begins goes on into the next day. `time_zone`: "+08:00", or empty for the
  // zone of this process. kInvalidInput: not of that form; says which.
  static Result<BatchHours> parse(const std::vector<std::string>& hours,
                                  const std::string& time_zone);
  bool open_at(int64_t unix_seconds) const;

 private:
  // Minutes from Monday 00:00, [begin, end); `end` may lie in the next week.
  struct Span {
    int32_t begin;
    int32_t end;
  };
  static Status add(const std::string& text, std::vector<Span>* spans);

  std::vector<Span> spans_;
  bool local_ = true;
  int32_t offset_seconds_ = 0;  // east of Greenwich
};

}  // namespace hadal::gateway
