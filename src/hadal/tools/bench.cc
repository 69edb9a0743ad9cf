#include "hadal/tools/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "hadal/base/check.h"
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

// What the machine could do at a moment; 0: unknown.
struct Peaks {
  double bandwidth = 0, int8 = 0;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Looks at the machine between runs.
class Lookout {
 public:
  static Result<Lookout> make(ThreadPool& pool, const Clock& clock, const CpuFeatures& features) {
    HADAL_TRY(BandwidthProbe probe, BandwidthProbe::make(pool, kProbeBytes));
    return Lookout(pool, clock, features, std::move(probe));
  }

  Peaks look() {
    std::vector<double> passes;
    for (int i = 0; i < kPasses; ++i) {
      passes.push_back(static_cast<double>(probe_.bytes()) / probe_.pass(clock_));
    }
    bandwidths_.push_back(median(passes));
    const MeasureOptions short_run{.bytes = 0, .repeats = 1, .rounds = kRounds};
    int8_.push_back(measure_arithmetic(pool_, clock_, features_, short_run).int8);
    return {bandwidths_.back(), int8_.back()};
  }

  const std::vector<double>& bandwidths() const { return bandwidths_; }
  Peaks medians() const { return {median(bandwidths_), median(int8_)}; }

 private:
  static constexpr uint64_t kProbeBytes = 256ull << 20;
  static constexpr int kPasses = 5;
  static constexpr uint64_t kRounds = 2'000'000;

  Lookout(ThreadPool& pool, const Clock& clock, const CpuFeatures& features, BandwidthProbe probe)
      : pool_(pool), clock_(clock), features_(features), probe_(std::move(probe)) {}

  ThreadPool& pool_;
  const Clock& clock_;
  const CpuFeatures& features_;
  BandwidthProbe probe_;
  std::vector<double> bandwidths_, int8_;
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

// One repeat, and the machine around it.
struct Timing {
  double seconds;
  Peaks peaks;
};

Peaks mean(const Peaks& a, const Peaks& b) {
  return {(a.bandwidth + b.bandwidth) / 2, (a.int8 + b.int8) / 2};
}

// Tokens per second that a run cannot exceed.
struct Ceilings {
  double bandwidth = 0, compute = 0;

  Ceilings(const Run& run, const Model& model, const Peaks& peaks) {
    const ModelConfig& config = model.config();
    const double experts = config.moe.experts > 0 ? distinct_experts(config.moe, run.choosing) : 0;
    const double bytes = static_cast<double>(model.step_bytes(experts)) + run.cached;
    const double operations = 2.0 * static_cast<double>(config.parameters_active());
    if (peaks.bandwidth > 0) bandwidth = run.rows * peaks.bandwidth / bytes;
    if (peaks.int8 > 0) compute = peaks.int8 / operations;
  }
  double nearer() const {
    if (bandwidth == 0 || compute == 0) return std::max(bandwidth, compute);
    return std::min(bandwidth, compute);
  }
};

// All but the ceilings by the report's peaks, which are known at the end.
BenchResult summarize(const Run& run, const std::vector<Timing>& timings, const Model& model) {
  std::vector<double> speeds, shares;
  for (const Timing& timing : timings) {
    speeds.push_back(run.tokens / timing.seconds);
    const double ceiling = Ceilings(run, model, timing.peaks).nearer();
    shares.push_back(ceiling > 0 ? speeds.back() / ceiling : 0.0);
  }
  BenchResult result;
  result.name = run.name;
  result.batch = run.batch;
  result.depth = run.depth;
  result.tokens_per_second = median(speeds);
  result.fastest = *std::max_element(speeds.begin(), speeds.end());
  result.slowest = *std::min_element(speeds.begin(), speeds.end());
  result.median_share = median(shares);
  return result;
}

// Runs and their results, in the order of the report.
struct Done {
  std::vector<Run> runs;
  std::vector<BenchResult> results;

  void add(const Run& run, const std::vector<Timing>& timings, const Model& model) {
    results.push_back(summarize(run, timings, model));
    runs.push_back(run);
  }
};

void bench_prefill(Runner& runner, const Model& model, const BenchOptions& options,
                   Lookout& lookout, Done* done) {
  const int32_t rows = options.prefill_tokens;
  const Run run{fmt::format("prefill {}", rows), 1, rows * 1.0, rows * 1.0, rows * 1.0};
  std::vector<Timing> timings;
  runner.step(0, 1, 0, std::min(rows, 32), Tokens::kDrawn);  // touches every page once
  Peaks before = lookout.look();
  for (int32_t i = 0; i < options.repeats; ++i) {
    double seconds = 0;
    for (int32_t at = 0; at < rows; at += options.step_rows) {
      seconds += runner.step(0, 1, at, std::min(options.step_rows, rows - at), Tokens::kDrawn);
    }
    const Peaks after = lookout.look();
    timings.push_back({seconds, mean(before, after)});
    before = after;
  }
  done->add(run, timings, model);
}

// Decoding of `batch` sequences at every depth asked for, in turn.
void bench_decode(Runner& runner, const Model& model, const BenchOptions& options, int32_t batch,
                  Lookout& lookout, Done* done) {
  const Tokens kind = options.same_token ? Tokens::kSame : Tokens::kDrawn;
  runner.fill(batch, *std::max_element(options.depths.begin(), options.depths.end()), kind);
  std::vector<std::vector<Timing>> timings(options.depths.size());
  Peaks before = lookout.look();
  for (int32_t i = -1; i < options.repeats; ++i) {
    for (size_t d = 0; d < options.depths.size(); ++d) {
      const int32_t steps = i < 0 ? 1 : options.decode_tokens;  // first to touch what is needed
      double sum = 0;
      for (int32_t t = 0; t < steps; ++t) {
        sum += runner.step(0, batch, options.depths[d] + t, 1, kind);
      }
      if (i < 0) continue;
      const Peaks after = lookout.look();
      timings[d].push_back({sum, mean(before, after)});
      before = after;
    }
  }
  for (size_t d = 0; d < options.depths.size(); ++d) {
    const int32_t depth = options.depths[d];
    const std::string at = depth > 0 ? fmt::format(" at {}", depth) : "";
    done->add({fmt::format("decode x {}{}", batch, at), batch, batch * 1.0,
               options.same_token ? 1.0 : batch, 1.0 * batch * options.decode_tokens, depth,
               batch * runner.cached_bytes(depth)},
              timings[d], model);
  }
}

}  // namespace

Result<BenchReport> run_bench(Model& model, kernels::Backend& backend, ThreadPool& pool,
                              const Clock& clock, const CpuFeatures& features,
                              const BenchOptions& options,
                              const std::function<void(const std::string&)>& progress) {
  HADAL_CHECK(options.repeats > 0 && !options.depths.empty());
  const ModelConfig& config = model.config();
  const int32_t batch_max = *std::max_element(options.batches.begin(), options.batches.end());
  const int32_t depth_max = *std::max_element(options.depths.begin(), options.depths.end());
  const int32_t positions = std::max(options.prefill_tokens, depth_max + options.decode_tokens + 1);
  const int32_t blocks_each = (positions + kBlockTokens - 1) / kBlockTokens;
  const KvLayout layout = config.kv_layout(options.kv_dtype, kBlockTokens);
  HADAL_TRY(KvArena arena, KvArena::make(layout, blocks_each * batch_max, backend));
  const int32_t fill = std::min(depth_max, kFillRows);
  // The first touch of all pages takes 32 rows.
  const int32_t prompt_rows = std::min(options.prefill_tokens, std::max(options.step_rows, 32));
  HADAL_TRY_VOID(model.prepare(std::max({prompt_rows, batch_max, fill}), batch_max));
  Runner runner(model, std::move(arena), blocks_each, clock);

  BenchReport report;
  report.model = config.name;
  report.implementation = backend.name();
  report.threads = pool.threads();
  report.weight_bytes = model.weight_bytes();
  report.kv_dtype = layout.dtype;
  report.same_token = options.same_token;
  progress("machine ceilings");
  HADAL_TRY(Lookout lookout, Lookout::make(pool, clock, features));

  Done done;
  if (options.prefill_tokens > 0) {
    progress(fmt::format("prefill {}", options.prefill_tokens));
    bench_prefill(runner, model, options, lookout, &done);
  }
  for (const int32_t batch : options.batches) {
    progress(fmt::format("decode x {}", batch));
    bench_decode(runner, model, options, batch, lookout, &done);
  }
  const Peaks peaks = lookout.medians();
  report.read_bandwidth = peaks.bandwidth;
  report.int8_peak = peaks.int8;
  const auto [slowest, fastest] =
      std::minmax_element(lookout.bandwidths().begin(), lookout.bandwidths().end());
  report.slowest_read = *slowest;
  report.fastest_read = *fastest;
  for (size_t i = 0; i < done.runs.size(); ++i) {
    const Ceilings ceilings(done.runs[i], model, peaks);
    done.results[i].bandwidth_ceiling = ceilings.bandwidth;
    done.results[i].compute_ceiling = ceilings.compute;
  }
  report.results = std::move(done.results);
  return report;
}

std::string bench_text(const BenchReport& r) {
  std::string out = fmt::format(
      "{}: {} threads, {}, weights {}, {} cache, reads {:.1f} GB/s ({:.1f} - {:.1f}), "
      "int8 {:.0f} GOPS\n\n",
      r.model.empty() ? "model" : r.model, r.threads, r.implementation, human_bytes(r.weight_bytes),
      kv_type_name(r.kv_dtype), r.read_bandwidth / 1e9, r.slowest_read / 1e9, r.fastest_read / 1e9,
      r.int8_peak / 1e9);
  out += fmt::format("{:<20}{:>10}{:>20}{:>14}{:>14}{:>9}\n", "", "tokens/s", "slowest - fastest",
                     "by bandwidth", "by arithmetic", "share");
  for (const BenchResult& b : r.results) {
    out += fmt::format("{:<20}{:>10.1f}{:>20}{:>14.1f}{:>14.1f}{:>8.0f}%\n", b.name,
                       b.tokens_per_second, fmt::format("{:.1f} - {:.1f}", b.slowest, b.fastest),
                       b.bandwidth_ceiling, b.compute_ceiling, 100.0 * b.share());
  }
  out += "\nshare: of the nearer ceiling by what was measured around each run, median\n";
  if (r.same_token) {
    out += "every sequence decodes one and the same token: they share the experts of one row\n";
  }
  return out;
}

std::string bench_json(const BenchReport& r) {
  std::string out = fmt::format(
      "{{\"model\": {}, \"implementation\": \"{}\", \"threads\": {}, \"weight_bytes\": {}, "
      "\"kv_type\": \"{}\", \"read_bandwidth\": {:.0f}, \"slowest_read\": {:.0f}, "
      "\"fastest_read\": {:.0f}, \"int8_peak\": {:.0f}, \"same_token\": {}, \"results\": [",
      json_string(r.model), r.implementation, r.threads, r.weight_bytes, kv_type_name(r.kv_dtype),
      r.read_bandwidth, r.slowest_read, r.fastest_read, r.int8_peak, r.same_token);
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
