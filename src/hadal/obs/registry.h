// Counters, gauges and histograms with labels, and the text that Prometheus scrapes. Names and text
// as in https://prometheus.io/docs/concepts/data_model/ and
// https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
//
// A family is a name with its help, type and label names; a series is a family with label values.
// Names are ours, so a bad one is a bug (HADAL_CHECK). Label values may come from outside: any
// bytes are accepted, and what is not UTF-8 is shown as U+FFFD, since Prometheus drops a whole
// scrape for one bad byte.
//
// Threads: every member may be called from any thread at any time. Changing a value takes no lock;
// with() takes its family's. Families live as long as their registry and series as long as their
// family, so who counts often keeps the reference.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hadal::obs {

using LabelNames = std::vector<std::string>;
using LabelValues = std::vector<std::string>;
// Upper bounds, inclusive, finite and rising; +Inf is added.
using Buckets = std::vector<double>;

class Counter {
 public:
  void increment(double by = 1);  // at least 0
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(const Buckets& bounds);
  void observe(double value);  // NaN counts as above every bound
  double sum() const { return sum_.load(std::memory_order_relaxed); }
  // How many lay at or below each bound and, last, how many there were. One consistent reading:
  // every count is at least the one before.
  std::vector<uint64_t> cumulative() const;

 private:
  const Buckets bounds_;
  std::vector<std::atomic<uint64_t>> counts_;  // per bucket, +Inf last
  std::atomic<double> sum_{0};
};

struct FamilyDescription {
  std::string name;
  std::string help;
  LabelNames labels;
  Buckets buckets;  // of histograms
  bool operator==(const FamilyDescription&) const = default;
};

class AnyFamily {
 public:
  explicit AnyFamily(FamilyDescription description) : description_(std::move(description)) {}
  virtual ~AnyFamily() = default;
  AnyFamily(const AnyFamily&) = delete;
  AnyFamily& operator=(const AnyFamily&) = delete;
  const FamilyDescription& description() const { return description_; }
  virtual void append_text(std::string* out) const = 0;

 private:
  const FamilyDescription description_;
};

template <typename Metric>
class Family final : public AnyFamily {
 public:
  Family(FamilyDescription description, size_t series_max)
      : AnyFamily(std::move(description)), series_max_(series_max) {}

  // The series with these values, one for each label name in their order; made at zero when new.
  // Once there are series_max, a new one is refused: the caller gets the series whose values are
  // all kOther, so that memory is bounded whatever a client sends, and sums stay right.
  Metric& with(const LabelValues& values = {});
  void append_text(std::string* out) const override;

 private:
  Metric& make_locked(const LabelValues& values);
  const size_t series_max_;
  mutable std::mutex mutex_;
  std::map<LabelValues, Metric> series_;
};

inline constexpr const char* kOther = "other";
inline constexpr size_t kSeriesMax = 1'000;
inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

class Registry {
 public:
  // `series_max` (at least 1) bounds each family.
  explicit Registry(size_t series_max = kSeriesMax);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Registers the family, or returns the one of that name, which must agree in everything. Names
  // are printed as given: a counter's ends in _total by convention.
  Family<Counter>& counter(std::string name, std::string help, LabelNames labels = {});
  Family<Gauge>& gauge(std::string name, std::string help, LabelNames labels = {});
  Family<Histogram>& histogram(std::string name, std::string help, Buckets buckets,
                               LabelNames labels = {});

 private:
  friend std::string exposition(const Registry& registry);
  template <typename Metric>
  Family<Metric>& family(FamilyDescription description);

  const size_t series_max_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<AnyFamily>> families_;
  std::set<std::string> sample_names_;  // a histogram has three
};

// Every family that has a series, in the order of names.
std::string exposition(const Registry& registry);

}  // namespace hadal::obs
