#include "hadal/obs/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace hadal::obs {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Registry, WritesTheWholeText) {
  Registry registry;
  auto& answers = registry.counter("answers_total", "Answers, by route.", {"route", "status"});
  answers.with({"/b", "200"}).increment();
  answers.with({"/a", "404"}).increment(2.5);
  registry.gauge("load", "Now.").with().set(-3);
  auto& seconds = registry.histogram("wait_seconds", "Waited.", {0.25, 1, 100'000}, {"queue"});
  for (const double value : {0.25, 0.2500001, 1e6}) seconds.with({"q"}).observe(value);
  registry.histogram("bare", "No labels, no buckets.", {}).with().observe(7);
  registry.counter("unused_total", "Has no series yet.", {"label"});
  EXPECT_EQ(exposition(registry),
            "# HELP answers_total Answers, by route.\n"
            "# TYPE answers_total counter\n"
            "answers_total{route=\"/a\",status=\"404\"} 2.5\n"
            "answers_total{route=\"/b\",status=\"200\"} 1\n"
            "# HELP bare No labels, no buckets.\n"
            "# TYPE bare histogram\n"
            "bare_bucket{le=\"+Inf\"} 1\n"
            "bare_sum 7\n"
            "bare_count 1\n"
            "# HELP load Now.\n"
            "# TYPE load gauge\n"
            "load -3\n"
            "# HELP wait_seconds Waited.\n"
            "# TYPE wait_seconds histogram\n"
            "wait_seconds_bucket{queue=\"q\",le=\"0.25\"} 1\n"
            "wait_seconds_bucket{queue=\"q\",le=\"1\"} 2\n"
            "wait_seconds_bucket{queue=\"q\",le=\"100000\"} 2\n"
            "wait_seconds_bucket{queue=\"q\",le=\"+Inf\"} 3\n"
            "wait_seconds_sum{queue=\"q\"} 1000000.5000001\n"
            "wait_seconds_count{queue=\"q\"} 3\n");
}

TEST(Registry, Escapes) {
  Registry registry;
  registry.gauge("g", "a \\ \"b\"\nc", {"l"}).with({"a \\ \"b\"\nc"}).set(1);
  EXPECT_EQ(exposition(registry),
            "# HELP g a \\\\ \"b\"\\nc\n"
            "# TYPE g gauge\n"
            "g{l=\"a \\\\ \\\"b\\\"\\nc\"} 1\n");
}

TEST(Registry, LabelValuesAreMadeUtf8) {
  const std::string bad = "\xEF\xBF\xBD";
  const struct {
    std::string value;
    std::string shown;
  } cases[] = {
      {"", ""},
      {"naïve 深海 🐋", "naïve 深海 🐋"},
      {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
       "\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
      {"a\x80z", "a" + bad + "z"},
      {"\xFFz", bad + "z"},
      {"\xC1\xBF", bad + bad},                      // overlong
      {"\xE0\x9F\xBF", bad + bad + bad},            // overlong
      {"\xED\xA0\x80", bad + bad + bad},            // a surrogate
      {"\xF4\x90\x80\x80", bad + bad + bad + bad},  // above U+10FFFF
      {"\xE6\xB7\"", bad + bad + "\\\""},           // cut short before a quote
      {"\xF0\x9F\x90", bad + bad + bad},            // cut short by the end
      {std::string("\xF0\x9F\0\x8B", 4), bad + bad + std::string("\0", 1) + bad},
  };
  for (const auto& c : cases) {
    Registry registry;
    registry.gauge("g", "h", {"l"}).with({c.value});
    EXPECT_THAT(exposition(registry), HasSubstr("{l=\"" + c.shown + "\"} 0\n"));
  }
}

TEST(Registry, NumbersParseBack) {
  const struct {
    double value;
    const char* shown;  // null: whatever parses back
  } cases[] = {{0, "0"},
               {-0.0, "-0"},
               {1, "1"},
               {100'000, "100000"},
               {-1e14, "-100000000000000"},
               {999'999'999'999'999, "999999999999999"},
               {1e15, "1e+15"},
               {0.1, "0.1"},
               {1e-9, "1e-09"},
               {1.0 / 3, nullptr},
               {9'007'199'254'740'991, nullptr},
               {123'456'789.125, nullptr},
               {0x1p-1074, nullptr},
               {0x1p-1022, nullptr},
               {std::numeric_limits<double>::max(), nullptr},
               {-std::numeric_limits<double>::max(), nullptr},
               {kInf, "+Inf"},
               {-kInf, "-Inf"},
               {kNan, "NaN"}};
  for (const auto& c : cases) {
    Registry registry;
    registry.gauge("g", "h").with().set(c.value);
    const std::string text = exposition(registry);
    const size_t at = text.find("\ng ");
    ASSERT_NE(at, std::string::npos);
    const std::string shown = text.substr(at + 3, text.size() - at - 4);
    if (c.shown != nullptr) {
      EXPECT_EQ(shown, c.shown);
    }
    if (!std::isfinite(c.value)) continue;
    double back = 0;
    const auto parsed = std::from_chars(shown.data(), shown.data() + shown.size(), back);
    EXPECT_EQ(parsed.ptr, shown.data() + shown.size()) << shown;
    EXPECT_EQ(std::bit_cast<uint64_t>(back), std::bit_cast<uint64_t>(c.value)) << shown;
  }
}

TEST(Registry, HistogramBounds) {
  Registry registry;
  auto& histogram = registry.histogram("h", "h", {-1, 0, 2}).with();
  for (const double value : {-kInf, -1.0, -0.5, -0.0, 0.0, 2.0, 2.5, kInf}) {
    histogram.observe(value);
  }
  EXPECT_THAT(histogram.cumulative(), testing::ElementsAre(2, 5, 6, 8));
  EXPECT_TRUE(std::isnan(histogram.sum()));  // both infinities
  histogram.observe(kNan);
  EXPECT_THAT(histogram.cumulative(), testing::ElementsAre(2, 5, 6, 9));
}

TEST(Registry, ASecondRegistrationIsTheSameFamily) {
  Registry registry;
  auto& first = registry.counter("a_total", "h", {"l"});
  first.with({"x"}).increment();
  EXPECT_EQ(&registry.counter("a_total", "h", {"l"}), &first);
  registry.counter("a_total", "h", {"l"}).with({"x"}).increment();
  EXPECT_EQ(first.with({"x"}).value(), 2);
  EXPECT_EQ(&first.with({"x"}), &first.with({"x"}));
  EXPECT_NE(&first.with({"x"}), &first.with({"y"}));
}

TEST(Registry, NewSeriesAboveTheLimitAreOther) {
  Registry registry(2);
  auto& family = registry.counter("a_total", "h", {"who", "what"});
  auto& first = family.with({"1", "x"});
  family.with({"2", "x"});
  for (int i = 3; i < 1'000; ++i) family.with({std::to_string(i), "x"}).increment();
  EXPECT_EQ(&family.with({"1", "x"}), &first);
  EXPECT_EQ(family.with({kOther, kOther}).value(), 997);
  const std::string text = exposition(registry);
  EXPECT_THAT(text, HasSubstr("a_total{who=\"other\",what=\"other\"} 997\n"));
  EXPECT_THAT(text, Not(HasSubstr("who=\"3\"")));
  registry.counter("b_total", "h", {"l"}).with({"of its own"}).increment();
  EXPECT_THAT(exposition(registry), HasSubstr("b_total{l=\"of its own\"} 1\n"));
  registry.histogram("h", "h", {1}, {"l"}).with({"1"});
  registry.histogram("h", "h", {1}, {"l"}).with({"2"});
  registry.histogram("h", "h", {1}, {"l"}).with({"3"}).observe(1);
  EXPECT_THAT(exposition(registry), HasSubstr("h_bucket{l=\"other\",le=\"1\"} 1\n"));
}

TEST(RegistryDeathTest, RefusesBadNames) {
  for (const char* name : {"", "1a", "a-b", "a b", "a\n", "ä", "a{b}", "a.b"}) {
    EXPECT_DEATH(Registry().counter(name, "h"), "metric name") << name;
  }
  for (const char* label : {"", "1a", "a:b", "a-b", "__a", "ä", "a\""}) {
    EXPECT_DEATH(Registry().gauge("g", "h", {label}), "label name") << label;
  }
  EXPECT_DEATH(Registry().gauge("g", "h", {"a", "b", "a"}), "label name 'a'");
  EXPECT_DEATH(Registry().histogram("g", "h", {1}, {"le"}), "label name 'le'");
  Registry registry;
  registry.counter(":a_Z:09", "h", {"_a", "Z9", "le"}).with({"1", "2", "3"});
  EXPECT_THAT(exposition(registry), HasSubstr(":a_Z:09{_a=\"1\",Z9=\"2\",le=\"3\"} 0"));
}

TEST(RegistryDeathTest, RefusesBadBuckets) {
  for (const Buckets& buckets : {Buckets{1, 1}, {2, 1}, {kNan}, {1, kInf}, {-kInf}}) {
    EXPECT_DEATH(Registry().histogram("h", "h", buckets), "bucket");
  }
}

TEST(RegistryDeathTest, RefusesAnotherFamilyOfThatName) {
  Registry registry;
  registry.counter("a", "h", {"l"});
  registry.histogram("h", "h", {1, 2});
  registry.gauge("taken_sum", "h");
  EXPECT_DEATH(registry.gauge("a", "h", {"l"}), "registered as something else");
  EXPECT_DEATH(registry.counter("a", "h", {"k"}), "registered as something else");
  EXPECT_DEATH(registry.counter("a", "h"), "registered as something else");
  EXPECT_DEATH(registry.counter("a", "i", {"l"}), "registered as something else");
  EXPECT_DEATH(registry.histogram("h", "h", {1, 3}), "registered as something else");
  EXPECT_DEATH(registry.counter("h_count", "h"), "h_count belongs to another family");
  EXPECT_DEATH(registry.histogram("taken", "h", {}), "taken_sum belongs to another family");
}

TEST(RegistryDeathTest, RefusesWrongUse) {
  Registry registry;
  auto& family = registry.counter("a_total", "h", {"l"});
  EXPECT_DEATH(family.with({}), "a_total");
  EXPECT_DEATH(family.with({"1", "2"}), "a_total");
  EXPECT_DEATH(family.with({"1"}).increment(-1), "by >= 0");
  EXPECT_DEATH(family.with({"1"}).increment(kNan), "by >= 0");
  EXPECT_DEATH(Registry(0), "series_max");
}

TEST(Registry, ThreadsCountTogetherWhileOthersRead) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 2'000;
  Registry registry(8);
  auto& counter = registry.counter("a_total", "h").with();
  auto& histogram = registry.histogram("h", "h", {0.5}).with();
  std::atomic<int> left{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        counter.increment(2);
        histogram.observe(i % 2);
        registry.counter("b_total", "h", {"l"}).with({std::to_string((t + i) % 32)}).increment();
      }
      --left;
    });
  }
  do {
    const std::vector<uint64_t> counts = histogram.cumulative();
    EXPECT_LE(counts[0], counts[1]);
    EXPECT_THAT(exposition(registry), HasSubstr("# TYPE a_total counter\n"));
  } while (left > 0);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 2 * kThreads * kRounds);
  EXPECT_THAT(histogram.cumulative(),
              testing::ElementsAre(kThreads * kRounds / 2, kThreads * kRounds));
  EXPECT_EQ(histogram.sum(), kThreads * kRounds / 2);
  auto& family = registry.counter("b_total", "h", {"l"});
  double sum = family.with({kOther}).value();
  for (int i = 0; i < 32; ++i) {
    auto& series = family.with({std::to_string(i)});
    if (&series != &family.with({kOther})) sum += series.value();
  }
  EXPECT_EQ(sum, kThreads * kRounds);
}

// Prometheus's own reader, and its rules of style.
TEST(Registry, PromtoolAccepts) {
  if (std::system("promtool --version >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool (Debian's package prometheus) is not installed";
  }
  Registry registry(3);
  auto& counter = registry.counter("hadal_answers_total", "Help: \\ \"quoted\"\nsecond line, 深海.",
                                   {"route", "status"});
  for (const char* route : {"/", "a \\ \"b\"\nc", "\xFF\xED\xA0\x80", "深海", "more"}) {
    counter.with({route, "200"}).increment(1e20);
  }
  auto& gauge = registry.gauge("hadal_load", "A gauge.", {"l"});
  gauge.with({"nan"}).set(kNan);
  gauge.with({"inf"}).set(-kInf);
  gauge.with({"small"}).set(0x1p-1074);
  registry.histogram("hadal_wait_seconds", "A histogram.", {1e-9, 0.1, 100'000}, {"l"})
      .with({""})
      .observe(1e6);
  const std::string path = testing::TempDir() + "hadal_registry_test.txt";
  std::ofstream(path, std::ios::binary) << exposition(registry);
  EXPECT_EQ(std::system(("promtool check metrics <'" + path + "'").c_str()), 0);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace hadal::obs
