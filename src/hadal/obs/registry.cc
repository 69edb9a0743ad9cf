#include "hadal/obs/registry.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <type_traits>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::obs {
namespace {

bool is_name(std::string_view text, bool colons) {
  const auto letter = [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
  };
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return letter(c) || (c >= '0' && c <= '9');
  });
}

// The bytes of the UTF-8 sequence that `text` (not empty) begins with, 0 where that is none.
// Table 3-7 of the Unicode standard.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const unsigned least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

void append_escaped(std::string_view text, bool quoted, std::string* out) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) {
      *out += "\xEF\xBF\xBD";
    } else if (text[0] == '\\') {
      *out += "\\\\";
    } else if (text[0] == '\n') {
      *out += "\\n";
    } else if (quoted && text[0] == '"') {
      *out += "\\\"";
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
}

// The shortest decimal that parses back to `value`, without an exponent for whole numbers up to
// where a double still holds each: le="100000" is easier to read in a dashboard than le="1e+05".
std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[32];
  const bool whole = std::fabs(value) < 1e15 && value == std::trunc(value);
  const auto end = whole ? std::to_chars(text, std::end(text), value, std::chars_format::fixed)
                         : std::to_chars(text, std::end(text), value);
  return {text, end.ptr};
}

// One line: name{labels} value. `labels` as label_text() makes them.
void append_sample(const std::string& name, const std::string& labels, const std::string& value,
                   std::string* out) {
  *out += name;
  if (!labels.empty()) {
    *out += '{';
    *out += labels;
    *out += '}';
  }
  *out += ' ';
  *out += value;
  *out += '\n';
}

std::string label_text(const LabelNames& names, const LabelValues& values) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += ',';
    text += names[i];
    text += "=\"";
    append_escaped(values[i], true, &text);
    text += '"';
  }
  return text;
}

template <typename Simple>
void append_series(const FamilyDescription& family, const std::string& labels, const Simple& metric,
                   std::string* out) {
  append_sample(family.name, labels, number(metric.value()), out);
}

void append_series(const FamilyDescription& family, const std::string& labels,
                   const Histogram& metric, std::string* out) {
  const std::vector<uint64_t> counts = metric.cumulative();
  const std::string before_le = labels.empty() ? "" : labels + ",";
  for (size_t i = 0; i < counts.size(); ++i) {
    const std::string bound = i < family.buckets.size() ? number(family.buckets[i]) : "+Inf";
    append_sample(family.name + "_bucket", before_le + "le=\"" + bound + "\"",
                  std::to_string(counts[i]), out);
  }
  append_sample(family.name + "_sum", labels, number(metric.sum()), out);
  append_sample(family.name + "_count", labels, std::to_string(counts.back()), out);
}

template <typename Metric>
constexpr const char* kTypeName = "";
template <>
constexpr const char* kTypeName<Counter> = "counter";
template <>
constexpr const char* kTypeName<Gauge> = "gauge";
template <>
constexpr const char* kTypeName<Histogram> = "histogram";

template <typename Metric>
constexpr bool kIsHistogram = std::is_same_v<Metric, Histogram>;

template <typename Metric>
std::vector<std::string> sample_names(const std::string& name) {
  if constexpr (kIsHistogram<Metric>) {
    return {name, name + "_bucket", name + "_sum", name + "_count"};
  }
  return {name};
}

template <typename Metric>
void check_description(const FamilyDescription& family) {
  HADAL_CHECK(is_name(family.name, true), "metric name '" + family.name + "'");
  for (size_t i = 0; i < family.labels.size(); ++i) {
    const std::string& label = family.labels[i];
    const bool reserved = label.starts_with("__") || (kIsHistogram<Metric> && label == "le");
    const auto earlier = family.labels.begin() + static_cast<ptrdiff_t>(i);
    const bool twice = std::find(family.labels.begin(), earlier, label) != earlier;
    HADAL_CHECK(is_name(label, false) && !reserved && !twice,
                "label name '" + label + "' of " + family.name);
  }
  for (size_t i = 0; i < family.buckets.size(); ++i) {
    HADAL_CHECK(std::isfinite(family.buckets[i]), "bucket of " + family.name);
    HADAL_CHECK(i == 0 || family.buckets[i] > family.buckets[i - 1], "buckets of " + family.name);
  }
}

}  // namespace

void Counter::increment(double by) {
  HADAL_CHECK(by >= 0, std::to_string(by));
  value_.fetch_add(by, std::memory_order_relaxed);
}

Histogram::Histogram(const Buckets& bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

void Histogram::observe(double value) {
  // Not lower_bound: NaN compares false, and belongs to the last bucket.
  const auto bucket = std::partition_point(bounds_.begin(), bounds_.end(),
                                           [&](double bound) { return !(value <= bound); });
  counts_[static_cast<size_t>(bucket - bounds_.begin())].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::cumulative() const {
  std::vector<uint64_t> counts;
  uint64_t total = 0;
  for (const auto& count : counts_) {
    total += count.load(std::memory_order_relaxed);
    counts.push_back(total);
  }
  return counts;
}

template <typename Metric>
Metric& Family<Metric>::make_locked(const LabelValues& values) {
  if constexpr (kIsHistogram<Metric>) {
    return series_.try_emplace(values, description().buckets).first->second;
  } else {
    return series_.try_emplace(values).first->second;
  }
}

template <typename Metric>
Metric& Family<Metric>::with(const LabelValues& values) {
  const size_t labels = description().labels.size();
  HADAL_CHECK(values.size() == labels, description().name);
  std::lock_guard lock(mutex_);
  if (const auto found = series_.find(values); found != series_.end()) return found->second;
  return make_locked(series_.size() < series_max_ ? values : LabelValues(labels, kOther));
}

template <typename Metric>
void Family<Metric>::append_text(std::string* out) const {
  const FamilyDescription& family = description();
  std::lock_guard lock(mutex_);
  if (series_.empty()) return;
  *out += "# HELP " + family.name + ' ';
  append_escaped(family.help, false, out);
  *out += "\n# TYPE " + family.name + ' ' + kTypeName<Metric> + '\n';
  for (const auto& [values, metric] : series_) {
    append_series(family, label_text(family.labels, values), metric, out);
  }
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

Registry::Registry(size_t series_max) : series_max_(series_max) { HADAL_CHECK(series_max > 0); }

template <typename Metric>
Family<Metric>& Registry::family(FamilyDescription description) {
  check_description<Metric>(description);
  const std::string name = description.name;
  std::lock_guard lock(mutex_);
  if (const auto found = families_.find(name); found != families_.end()) {
    auto* same = dynamic_cast<Family<Metric>*>(found->second.get());
    HADAL_CHECK(same != nullptr && same->description() == description,
                name + " was registered as something else");
    return *same;
  }
  for (const std::string& sample : sample_names<Metric>(name)) {
    HADAL_CHECK(sample_names_.insert(sample).second, sample + " belongs to another family");
  }
  auto made = std::make_unique<Family<Metric>>(std::move(description), series_max_);
  Family<Metric>& family = *made;
  families_.emplace(name, std::move(made));
  return family;
}

Family<Counter>& Registry::counter(std::string name, std::string help, LabelNames labels) {
  return family<Counter>({std::move(name), std::move(help), std::move(labels), {}});
}
Family<Gauge>& Registry::gauge(std::string name, std::string help, LabelNames labels) {
  return family<Gauge>({std::move(name), std::move(help), std::move(labels), {}});
}
Family<Histogram>& Registry::histogram(std::string name, std::string help, Buckets buckets,
                                       LabelNames labels) {
  return family<Histogram>(
      {std::move(name), std::move(help), std::move(labels), std::move(buckets)});
}

std::string exposition(const Registry& registry) {
  std::string text;
  std::lock_guard lock(registry.mutex_);
  for (const auto& [name, family] : registry.families_) family->append_text(&text);
  return text;
}

}  // namespace hadal::obs
