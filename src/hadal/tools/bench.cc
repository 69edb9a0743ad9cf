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
constexpr int32_t kFillRows = 512;  // computed to fill a cache; whole blocks
static_assert(kFillRows % kBlockTokens == 0);
constexpr int32_t kSameToken = 0;

enum class Tokens : uint8_t { kDrawn, kSame };

// Sequences side by side in one cache, with tokens from a fixed seed or all the same.
class Runner {
 public:
  Runner(Model& model, KvArena arena, int32_t blocks_each, const Clock& clock)
      : model_(model), arena_(std::move(arena)), blocks_each_(blocks_each), clock_(clock) {
    blocks_.resize(static_cast<size_t>(arena_.blocks()));
    for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i] = static_cast<int32_t>(i);
  }

  // Seconds for `rows` more positions from `position` in each of `batch` sequences from number
  // `first`, as one step.
  double step(int32_t first, int32_t batch, int32_t position, int32_t rows, Tokens kind) {
    std::vector<int32_t> tokens, wanted;
    std::vector<kernels::Segment> segments;
    for (int32_t s = 0; s < batch; ++s) {
      segments.push_back({s * rows, rows, position, sequence_blocks(first + s)});
      for (int32_t r = 0; r < rows; ++r) {
        tokens.push_back(kind == Tokens::kSame ? kSameToken : drawn_token());
      }
      wanted.push_back(s * rows + rows - 1);
    }
    const Nanos start = clock_.now();
    model_.forward({tokens, segments, wanted}, arena_);
    return to_seconds(clock_.now() - start);
  }

  // Rows for `depth` positions in each of `batch` sequences.
  void fill(int32_t batch, int32_t depth, Tokens kind) {
    for (int32_t s = 0; s < batch && depth > 0; ++s) {
      step(s, 1, 0, std::min(depth, kFillRows), kind);
      const std::span<const int32_t> blocks = sequence_blocks(s);
      for (int32_t b = kFillRows / kBlockTokens; b * kBlockTokens < depth; ++b) {
        arena_.copy_block(blocks[static_cast<size_t>(b % (kFillRows / kBlockTokens))],
                          blocks[static_cast<size_t>(b)]);
      }
    }
  }

  // Bytes of rows that a step at `depth` reads for each sequence.
  double cached_bytes(int32_t depth) const {
    return static_cast<double>(arena_.layout().block_bytes()) / kBlockTokens * depth;
  }

 private:
  std::span<const int32_t> sequence_blocks(int32_t s) const {
    return std::span(blocks_).subspan(static_cast<size_t>(s * blocks_each_),
                                      static_cast<size_t>(blocks_each_));
  }
  int32_t drawn_token() {
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

// Share of the weights that one step reads, by parameters, when its rows choose experts as
// `choosing` independent rows do.
double read_share(const ModelConfig& c, double choosing) {
  const auto total = static_cast<double>(c.parameters_total());
  const auto active = static_cast<double>(c.parameters_active());
  if (c.moe.experts == 0) return active / total;
  const double expert = 3.0 * c.hidden * c.moe.inner;
  const double layers = c.layers - c.moe.dense_layers;
  const double more = distinct_experts(c.moe, choosing) - c.moe.gate.experts_used;
  return (active + layers * expert * more) / total;
}

struct Ceilings {
  double bandwidth, int8;
  uint64_t weight_bytes;
};

// What a run is: rows of one step, and how many of them choose experts for themselves.
struct Run {
  std::string name;
  int32_t batch;
  double rows, choosing;
  double tokens;  // of one repeat
  int32_t depth = 0;
  double cached = 0;  // bytes of rows that a step reads
};

BenchResult summarize(const Run& run, std::vector<double> seconds, const ModelConfig& config,
                      const Ceilings& ceilings) {
  std::sort(seconds.begin(), seconds.end());
  BenchResult result;
  result.name = run.name;
  result.batch = run.batch;
  result.depth = run.depth;
  result.tokens_per_second = run.tokens / seconds[seconds.size() / 2];
  result.fastest = run.tokens / seconds.front();
  result.slowest = run.tokens / seconds.back();
  const double bytes =
      static_cast<double>(ceilings.weight_bytes) * read_share(config, run.choosing) + run.cached;
  if (ceilings.bandwidth > 0) result.bandwidth_ceiling = run.rows * ceilings.bandwidth / bytes;
  const double operations = 2.0 * static_cast<double>(config.parameters_active());
  if (ceilings.int8 > 0) result.compute_ceiling = ceilings.int8 / operations;
  return result;
}

// Decoding of `batch` sequences at every depth asked for, in turn.
std::vector<BenchResult> bench_decode(Runner& runner, const ModelConfig& config,
                                      const BenchOptions& options, const Ceilings& ceilings,
                                      int32_t batch) {
  const Tokens kind = options.same_token ? Tokens::kSame : Tokens::kDrawn;
  runner.fill(batch, *std::max_element(options.depths.begin(), options.depths.end()), kind);
  std::vector<std::vector<double>> seconds(options.depths.size());
  for (int32_t i = -1; i < options.repeats; ++i) {
    for (size_t d = 0; d < options.depths.size(); ++d) {
      const int32_t steps = i < 0 ? 1 : options.decode_tokens;  // first to touch what is needed
      double sum = 0;
      for (int32_t t = 0; t < steps; ++t) {
        sum += runner.step(0, batch, options.depths[d] + t, 1, kind);
      }
      if (i >= 0) seconds[d].push_back(sum);
    }
  }
  std::vector<BenchResult> results;
  for (size_t d = 0; d < options.depths.size(); ++d) {
    const int32_t depth = options.depths[d];
    const std::string at = depth > 0 ? fmt::format(" at {}", depth) : "";
    const Run run{fmt::format("decode x {}{}", batch, at),
                  batch,
                  batch * 1.0,
                  options.same_token ? 1.0 : batch,
                  1.0 * batch * options.decode_tokens,
                  depth,
                  batch * runner.cached_bytes(depth)};
    results.push_back(summarize(run, seconds[d], config, ceilings));
  }
  return results;
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
  const int32_t depth_max = *std::max_element(options.depths.begin(), options.depths.end());
  const int32_t positions = std::max(options.prefill_tokens, depth_max + options.decode_tokens + 1);
  const int32_t blocks_each = (positions + kBlockTokens - 1) / kBlockTokens;
  HADAL_TRY(KvArena arena, KvArena::make(config.kv_layout(options.kv_dtype, kBlockTokens),
                                         blocks_each * batch_max, backend));
  const int32_t fill = std::min(depth_max, kFillRows);
  HADAL_TRY_VOID(model.prepare(std::max({options.prefill_tokens, batch_max, fill}), batch_max));
  Runner runner(model, std::move(arena), blocks_each, clock);

  BenchReport report;
  report.model = config.name;
  report.implementation = backend.name();
  report.threads = pool.threads();
  report.weight_bytes = model.weight_bytes();
  report.same_token = options.same_token;
  progress("machine ceilings");
  HADAL_TRY(report.read_bandwidth, measure_read_bandwidth(pool, clock, {}));
  report.int8_peak = measure_arithmetic(pool, clock, features, {}).int8;
  const Ceilings ceilings{report.read_bandwidth, report.int8_peak, report.weight_bytes};

  if (options.prefill_tokens > 0) {
    const int32_t rows = options.prefill_tokens;
    const Run run{fmt::format("prefill {}", rows), 1, rows * 1.0, rows * 1.0, rows * 1.0};
    progress(run.name);
    std::vector<double> seconds;
    runner.step(0, 1, 0, std::min(rows, 32), Tokens::kDrawn);  // touches every page once
    for (int32_t i = 0; i < options.repeats; ++i) {
      seconds.push_back(runner.step(0, 1, 0, rows, Tokens::kDrawn));
    }
    report.results.push_back(summarize(run, seconds, config, ceilings));
  }
  for (const int32_t batch : options.batches) {
    progress(fmt::format("decode x {}", batch));
    for (BenchResult& result : bench_decode(runner, config, options, ceilings, batch)) {
      report.results.push_back(std::move(result));
    }
  }
  return report;
}

std::string bench_text(const BenchReport& r) {
  std::string out =
      fmt::format("{}: {} threads, {}, weights {}, reads {:.1f} GB/s, int8 {:.0f} GOPS\n\n",
                  r.model.empty() ? "model" : r.model, r.threads, r.implementation,
                  human_bytes(r.weight_bytes), r.read_bandwidth / 1e9, r.int8_peak / 1e9);
  out += fmt::format("{:<20}{:>10}{:>20}{:>14}{:>14}{:>9}\n", "", "tokens/s", "slowest - fastest",
                     "by bandwidth", "by arithmetic", "share");
  for (const BenchResult& b : r.results) {
    out += fmt::format("{:<20}{:>10.1f}{:>20}{:>14.1f}{:>14.1f}{:>8.0f}%\n", b.name,
                       b.tokens_per_second, fmt::format("{:.1f} - {:.1f}", b.slowest, b.fastest),
                       b.bandwidth_ceiling, b.compute_ceiling, 100.0 * b.share());
  }
  out += "\nshare: of the nearer ceiling, both measured on this machine beside the runs\n";
  if (r.same_token) {
    out += "every sequence decodes one and the same token: they share the experts of one row\n";
  }
  return out;
}

std::string bench_json(const BenchReport& r) {
  std::string out = fmt::format(
      "{{\"model\": {}, \"implementation\": \"{}\", \"threads\": {}, \"weight_bytes\": {}, "
      "\"read_bandwidth\": {:.0f}, \"int8_peak\": {:.0f}, \"same_token\": {}, \"results\": [",
      json_string(r.model), r.implementation, r.threads, r.weight_bytes, r.read_bandwidth,
      r.int8_peak, r.same_token);
  for (size_t i = 0; i < r.results.size(); ++i) {
    const BenchResult& b = r.results[i];
    out += fmt::format(
        "{}{{\"name\": \"{}\", \"batch\": {}, \"depth\": {}, \"tokens_per_second\": {:.3f}, "
        "\"slowest\": {:.3f}, "
        "\"fastest\": {:.3f}, \"bandwidth_ceiling\": {:.3f}, \"compute_ceiling\": {:.3f}, "
        "\"share\": {:.4f}}}",
        i ? ", " : "", b.name, b.batch, b.depth, b.tokens_per_second, b.slowest, b.fastest,
        b.bandwidth_ceiling, b.compute_ceiling, b.share());
  }
  return out + "]}\n";
}

}  // namespace hadal
