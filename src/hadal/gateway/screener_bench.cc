// What looking through a request costs.
#include <benchmark/benchmark.h>

#include <string>

#include "hadal/gateway/masker.h"
#include "hadal/gateway/screener.h"

namespace hadal::gateway {
namespace {

std::string body_of(size_t bytes, bool chinese) {
  const std::string part =
      chinese ? "请帮我总结这份会议记录，重点是第三季度的销售情况和下一步的安排。"
              : "Please summarise the minutes of the meeting, above all sales in the 3rd quarter. ";
  std::string text = R"({"model":"m","messages":[{"role":"user","content":")";
  while (text.size() < bytes) text += part;
  return text + "\"}]}";
}

std::shared_ptr<const Screener> screener(Findings wanted, size_t keywords) {
  SensitivityConfig config;
  config.on = true;
  for (size_t i = 0; i < kFindings; ++i) {
    const auto finding = static_cast<Finding>(i);
    if ((wanted & only(finding)) != 0) config.detectors.emplace_back(finding_name(finding));
  }
  SensitiveClass words{"words", {}, {}, {}};
  for (size_t i = 0; i < keywords; ++i) words.keywords.push_back("codename" + std::to_string(i));
  if (keywords > 0) config.classes.push_back(words);
  return *Screener::make(config);
}

void screen(benchmark::State& state, Findings wanted, size_t keywords, bool chinese) {
  const auto made = screener(wanted, keywords);
  net::HttpRequest request;
  request.body = body_of(static_cast<size_t>(state.range(0)), chinese);
  for (auto _ : state) benchmark::DoNotOptimize(made->screen(request).labels.size());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(request.body.size()));
}

void detect_only(benchmark::State& state, Findings wanted) {
  const Detector detector(wanted);
  const std::string body = body_of(static_cast<size_t>(state.range(0)), false);
  std::vector<Found> found;
  for (auto _ : state) {
    found.clear();
    detector.find(body, &found);
    benchmark::DoNotOptimize(found.size());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(body.size()));
}

BENCHMARK_CAPTURE(detect_only, id_card, only(Finding::kIdCard))->Arg(1'000);
BENCHMARK_CAPTURE(detect_only, phone, only(Finding::kPhone))->Arg(1'000);
BENCHMARK_CAPTURE(detect_only, bank_card, only(Finding::kBankCard))->Arg(1'000);
BENCHMARK_CAPTURE(detect_only, email, only(Finding::kEmail))->Arg(1'000);
BENCHMARK_CAPTURE(detect_only, key, only(Finding::kKey))->Arg(1'000);
BENCHMARK_CAPTURE(screen, all, kAllFindings, 0, false)->Arg(1'000)->Arg(100'000);
BENCHMARK_CAPTURE(screen, all_chinese, kAllFindings, 0, true)->Arg(1'000)->Arg(100'000);
BENCHMARK_CAPTURE(screen, all_and_1000_words, kAllFindings, 1'000, false)->Arg(1'000)->Arg(100'000);

}  // namespace
}  // namespace hadal::gateway
