#include "hadal/tools/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "hadal/base/rng.h"
#include "hadal/hw/measure.h"
#include "hadal/tools/report_text.h"

namespace hadal {
namespace {

constexpr int32_t kBlockTokens = 32;
constexpr int32_t kFillRows = 512;  // of a step that only fills caches to --depth

// Sequences side by side in one cache, with tokens from a fixed seed.
class Runner {
 public:
  Runner(Model& model, KvArena arena, int32_t blocks_each, const Clock& clock)
      : model_(model), arena_(std::move(arena)), blocks_each_(blocks_each), clock_(clock) {
    blocks_.resize(static_cast<size_t>(arena_.blocks()));
    for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i] = static_cast<int32_t>(i);
  }

  // Seconds for `rows` more positions from `position` in each of `batch` sequences from number
  // `first`, as one step.
  double step(int32_t first, int32_t batch, int32_t position, int32_t rows) {
    std::vector<int32_t> tokens, wanted;
    std::vector<kernels::Segment> segments;
    for (int32_t s = 0; s < batch; ++s) {
      segments.push_back({s * rows, rows, position, sequence_blocks(first + s)});
      for (int32_t r = 0; r < rows; ++r) tokens.push_back(token());
      wanted.push_back(s * rows + rows - 1);
    }
    const Nanos start = clock_.now();
    model_.forward({tokens, segments, wanted}, arena_);
    return to_seconds(clock_.now() - start);
  }

 private:
  std::span<const int32_t> sequence_blocks(int32_t s) const {
    return std::span(blocks_).subspan(static_cast<size_t>(s * blocks_each_),
                                      static_cast<size_t>(blocks_each_));
  }
  int32_t token() {
    return static_cast<int32_t>(rng_.next() % static_cast<uint64_t>(model_.config().vocabulary));
  }

  Model& model_;
  KvArena arena_;
  int32_t blocks_each_;
  const Clock& clock_;
  std::vector<int32_t> blocks_;
  Rng rng_{20'24};
};

// Distinct experts that `rows` rows choose when routing is even: E (1 - (1 - k/E)^rows).
double distinct_experts(const MoeConfig& moe, double rows) {
  const double experts = moe.experts;
  return experts * (1.0 - std::pow(1.0 - moe.gate.experts_used / experts, rows));
}

// Share of the weights that one step of `rows` rows reads, by parameters.
double read_share(const ModelConfig& c, double rows) {
  const auto total = static_cast<double>(c.parameters_total());
  const auto active = static_cast<double>(c.parameters_active());
  if (c.moe.experts == 0) return active / total;
  const double expert = 3.0 * c.hidden * c.moe.inner;
  const double layers = c.layers - c.moe.dense_layers;
  const double more = distinct_experts(c.moe, rows) - c.moe.gate.experts_used;
  return (active + layers * expert * more) / total;
}

struct Ceilings {
  double bandwidth, int8;
  uint64_t weight_bytes;
};

BenchResult summarize(std::string name, int32_t batch, double tokens, std::vector<double> seconds,
                      const ModelConfig& config, const Ceilings& ceilings, double rows) {
  std::sort(seconds.begin(), seconds.end());
  BenchResult result{std::move(name),
                     batch,
                     tokens / seconds[seconds.size() / 2],
                     tokens / seconds.front(),
                     tokens / seconds.back(),
                     0,
                     0};
  const double bytes = static_cast<double>(ceilings.weight_bytes) * read_share(config, rows);
  if (ceilings.bandwidth > 0) result.bandwidth_ceiling = rows * ceilings.bandwidth / bytes;
  const double operations = 2.0 * static_cast<double>(config.parameters_active());
  if (ceilings.int8 > 0) result.compute_ceiling = ceilings.int8 / operations;
  return result;
}

}  // namespace

double BenchResult::share() const {
  double ceiling = bandwidth_ceiling;
  if (compute_ceiling > 0 && (ceiling == 0 || compute_ceiling < ceiling)) ceiling = compute_ceiling;
  return ceiling > 0 ? tokens_per_second / ceiling : 0.0;
}

Result<BenchReport> run_bench(Model& model, kernels::Backend& backend, ThreadPool& pool,
                              const Clock& clock, const CpuFeatures& features,
                              const BenchOptions& options,
                              const std::function<void(const std::string&)>& progress) {
  const ModelConfig& config = model.config();
  const int32_t batch_max = *std::max_element(options.batches.begin(), options.batches.end());
  const int32_t positions =
      std::max(options.prefill_tokens, options.depth + options.decode_tokens + 1);
  const int32_t blocks_each = (positions + kBlockTokens - 1) / kBlockTokens;
  HADAL_TRY(KvArena arena, KvArena::make(config.kv_layout(options.kv_dtype, kBlockTokens),
                                         blocks_each * batch_max, backend));
  const int32_t chunk = std::clamp(options.depth, 1, kFillRows);
  HADAL_TRY_VOID(model.prepare(std::max({options.prefill_tokens, batch_max, chunk}), batch_max));
  Runner runner(model, std::move(arena), blocks_each, clock);

  BenchReport report{
      config.name, std::string(backend.name()), pool.threads(), 0, 0, model.weight_bytes(), {}};
  progress("machine ceilings");
  HADAL_TRY(report.read_bandwidth, measure_read_bandwidth(pool, clock, {}));
  report.int8_peak = measure_arithmetic(pool, clock, features, {}).int8;
  const Ceilings ceilings{report.read_bandwidth, report.int8_peak, report.weight_bytes};

  if (options.prefill_tokens > 0) {
    progress(fmt::format("prefill {}", options.prefill_tokens));
    std::vector<double> seconds;
    runner.step(0, 1, 0, std::min(options.prefill_tokens, 32));  // touches every page once
    for (int32_t i = 0; i < options.repeats; ++i)
      seconds.push_back(runner.step(0, 1, 0, options.prefill_tokens));
    report.results.push_back(summarize(fmt::format("prefill {}", options.prefill_tokens), 1,
                                       options.prefill_tokens, seconds, config, ceilings,
                                       options.prefill_tokens));
  }
  for (const int32_t batch : options.batches) {
    progress(fmt::format("decode x {}", batch));
    for (int32_t done = 0; done < options.depth; done += chunk) {
      for (int32_t s = 0; s < batch; ++s)
        runner.step(s, 1, done, std::min(chunk, options.depth - done));
    }
    runner.step(0, batch, options.depth, 1);
    std::vector<double> seconds;
    for (int32_t i = 0; i < options.repeats; ++i) {
      double sum = 0;
      for (int32_t t = 0; t < options.decode_tokens; ++t)
        sum += runner.step(0, batch, options.depth + t, 1);
      seconds.push_back(sum);
    }
    report.results.push_back(summarize(fmt::format("decode x {}", batch), batch,
                                       static_cast<double>(batch) * options.decode_tokens, seconds,
                                       config, ceilings, batch));
  }
  return report;
}

std::string bench_text(const BenchReport& r) {
  std::string out =
      fmt::format("{}: {} threads, {}, weights {}, reads {:.1f} GB/s, int8 {:.0f} GOPS\n\n",
                  r.model.empty() ? "model" : r.model, r.threads, r.implementation,
                  human_bytes(r.weight_bytes), r.read_bandwidth / 1e9, r.int8_peak / 1e9);
  out += fmt::format("{:<16}{:>10}{:>20}{:>14}{:>14}{:>9}\n", "", "tokens/s", "slowest - fastest",
                     "by bandwidth", "by arithmetic", "share");
  for (const BenchResult& b : r.results) {
    out += fmt::format("{:<16}{:>10.1f}{:>20}{:>14.1f}{:>14.1f}{:>8.0f}%\n", b.name,
                       b.tokens_per_second, fmt::format("{:.1f} - {:.1f}", b.slowest, b.fastest),
                       b.bandwidth_ceiling, b.compute_ceiling, 100.0 * b.share());
  }
  return out + "\nshare: of the nearer ceiling, both measured on this machine beside the runs\n";
}

std::string bench_json(const BenchReport& r) {
  std::string out = fmt::format(
      "{{\"model\": {}, \"implementation\": \"{}\", \"threads\": {}, \"weight_bytes\": {}, "
      "\"read_bandwidth\": {:.0f}, \"int8_peak\": {:.0f}, \"results\": [",
      json_string(r.model), r.implementation, r.threads, r.weight_bytes, r.read_bandwidth,
      r.int8_peak);
  for (size_t i = 0; i < r.results.size(); ++i) {
    const BenchResult& b = r.results[i];
    out += fmt::format(
        "{}{{\"name\": \"{}\", \"batch\": {}, \"tokens_per_second\": {:.3f}, \"slowest\": {:.3f}, "
        "\"fastest\": {:.3f}, \"bandwidth_ceiling\": {:.3f}, \"compute_ceiling\": {:.3f}, "
        "\"share\": {:.4f}}}",
        i ? ", " : "", b.name, b.batch, b.tokens_per_second, b.slowest, b.fastest,
        b.bandwidth_ceiling, b.compute_ceiling, b.share());
  }
  return out + "]}\n";
}

}  // namespace hadal
