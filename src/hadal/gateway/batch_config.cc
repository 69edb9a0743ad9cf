#include "hadal/gateway/batch_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "hadal/base/limits.h"
#include "hadal/base/local_time.h"

namespace hadal::gateway {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int32_t kDay = 24 * 60;
constexpr int32_t kWeek = 7 * kDay;
constexpr uint64_t kFormBytes = 64u << 10;  // of a request beside its file
constexpr uint64_t kFileMax = limits::kBodyBytesMax - kFormBytes;
constexpr std::string_view kDays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

// "HH:MM" as minutes, 24:00 among them.
std::optional<int32_t> clock_minutes(std::string_view text) {
  const auto digit = [&](size_t i) {
    return text[i] >= '0' && text[i] <= '9' ? text[i] - '0' : 99;
  };
  if (text.size() != 5 || text[2] != ':') return {};
  const int32_t hour = digit(0) * 10 + digit(1);
  const int32_t minute = digit(3) * 10 + digit(4);
  if (minute > 59 || hour * 60 + minute > kDay) return {};
  return hour * 60 + minute;
}

std::optional<int32_t> day_of(std::string_view text) {
  const auto found = std::find(std::begin(kDays), std::end(kDays), text);
  if (found == std::end(kDays)) return {};
  return static_cast<int32_t>(found - std::begin(kDays));
}

// First and last day of "Sat-Sun" or "Mon".
std::optional<std::pair<int32_t, int32_t>> day_range(std::string_view text) {
  const size_t dash = text.find('-');
  const auto first = day_of(text.substr(0, dash));
  const auto last = dash == text.npos ? first : day_of(text.substr(dash + 1));
  if (!first || !last) return {};
  return std::pair(*first, *last);
}

}  // namespace

Status BatchHours::add(const std::string& text, std::vector<Span>* spans) {
  const auto wrong = [&] {
    return fail(Code::kInvalidInput,
                fmt::format("found '{}', expected hours like '22:00-06:00' or 'Sat-Sun "
                            "00:00-24:00', days being Mon to Sun",
                            text.substr(0, 64)));
  };
  std::pair<int32_t, int32_t> days = {0, 6};
  std::string_view times = text;
  if (const size_t blank = times.find(' '); blank != times.npos) {
    const auto given = day_range(times.substr(0, blank));
    if (!given) return wrong();
    days = *given;
    times.remove_prefix(blank + 1);
  }
  if (times.size() != 11 || times[5] != '-') return wrong();
  const auto begin = clock_minutes(times.substr(0, 5));
  const auto end = clock_minutes(times.substr(6));
  if (!begin || !end || *begin == *end || *begin == kDay) return wrong();
  const int32_t length = (*end - *begin + kDay) % kDay;
  const int32_t count = (days.second - days.first + 7) % 7 + 1;
  for (int32_t i = 0; i < count; ++i) {
    const int32_t start = (days.first + i) % 7 * kDay + *begin;
    spans->push_back({start, start + (length == 0 ? kDay : length)});
  }
  return {};
}

Result<BatchHours> BatchHours::parse(const std::vector<std::string>& hours,
                                     const std::string& time_zone) {
  BatchHours result;
  for (const std::string& text : hours) HADAL_TRY_VOID(add(text, &result.spans_));
  if (time_zone.empty()) return result;
  result.local_ = false;
  const bool west = time_zone.front() == '-';
  const auto offset = clock_minutes(std::string_view(time_zone).substr(1));
  if ((!west && time_zone.front() != '+') || !offset || *offset > 14 * 60) {
    return fail(Code::kInvalidInput,
                fmt::format("found '{}', expected a zone like '+08:00' or '-03:30'",
                            time_zone.substr(0, 64)));
  }
  result.offset_seconds_ = (west ? -60 : 60) * *offset;
  return result;
}

bool BatchHours::open_at(int64_t unix_seconds) const {
  if (spans_.empty()) return true;
  const int64_t there = local_ ? local_seconds(unix_seconds) : unix_seconds + offset_seconds_;
  // 1970-01-01 was a Thursday.
  const int64_t minute = (there / 60 + (there % 60 < 0 ? -1 : 0) + 3 * kDay) % kWeek;
  const int64_t at = (minute + kWeek) % kWeek;
  return std::any_of(spans_.begin(), spans_.end(), [&](const Span& span) {
    return (at >= span.begin && at < span.end) || at + kWeek < span.end;
  });
}

Section<BatchConfig> batch_section() {
  Section<BatchConfig> section(
      "batches",
      "`/v1/files` and `/v1/batches`: requests in a file, answered when there is time for it. See "
      "[batches](batches.md). Off without `dir`, whose change takes effect at the next start.");
  section
      .text("dir", &BatchConfig::dir,
            "folder that keeps files and batches, of one process; made when there is none",
            {"none: no batches"})
      .texts("hours", &BatchConfig::hours,
             "when requests of batches begin: `22:00-06:00`, or with days, `Sat-Sun 00:00-24:00`",
             {"always"})
      .text("time_zone", &BatchConfig::time_zone, "of `hours`: `+08:00`", {"the machine's"})
      .choice("outside_hours", &BatchConfig::outside_hours, {"wait", "when_idle"},
              "`when_idle`: requests of batches also begin while nobody else asks anything")
      .integer("load", &BatchConfig::load, {0, 100'000},
               "other requests under way, up to which those of batches begin")
      .duration("preempt_after", &BatchConfig::preempt_after, Millis(0), hours(24),
                "with more under way for so long, those of batches are broken off and asked again "
                "later")
      .integer("at_once", &BatchConfig::at_once, {1, 10'000}, "requests of batches under way")
      .duration("window_max", &BatchConfig::window_max, seconds(1), hours(24 * 365),
                "longest `completion_window`")
      .choice("shared_by", &BatchConfig::shared_by, {"key", "tenant"},
              "who sees a file or a batch: the key that made it, or every key of its tenant")
      .bytes("file_max", &BatchConfig::file_max, "bytes of an uploaded file, 31M at most")
      .integer("files_max", &BatchConfig::files_max, {1, 1'000'000},
               "files kept for one who shares")
      .bytes("bytes_max", &BatchConfig::bytes_max, "bytes of these together, results included")
      .integer("lines_max", &BatchConfig::lines_max, {1, 1'000'000}, "requests of one batch")
      .integer("batches_max", &BatchConfig::batches_max, {1, 100'000},
               "batches of one who shares that have not ended; more are answered 429")
      .duration("keep", &BatchConfig::keep, minutes(1), hours(24 * 3650),
                "after which a file, and a batch that has ended, is removed");
  return section;
}

void check_batches(ConfigReader& reader, const BatchConfig& batches) {
  if (!batches.on() && reader.was_given("batches")) {
    reader.fault("batches", "'dir' is missing: the folder that keeps them");
  }
  for (size_t i = 0; i < batches.hours.size(); ++i) {
    if (auto good = BatchHours::parse({batches.hours[i]}, ""); !good) {
      reader.fault("batches.hours", good.error().what);
    }
  }
  if (auto good = BatchHours::parse({}, batches.time_zone); !good) {
    reader.fault("batches.time_zone", good.error().what);
  }
  if (batches.file_max == 0 || batches.file_max > kFileMax) {
    reader.fault("batches.file_max",
                 fmt::format("found {}, expected 1 to {} bytes", batches.file_max, kFileMax));
  }
}

}  // namespace hadal::gateway
