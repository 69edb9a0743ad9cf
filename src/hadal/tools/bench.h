// Tokens per second of a loaded model, and how near they are to this machine's own ceilings: the
// body of `hadal bench`. Runs the forward pass directly, without scheduler or sockets.
//
// Ceilings (reference: rooflines of a decoder): a step cannot be faster than the weight bytes and
// cached rows it must read over the measured read bandwidth, nor than its weights' multiply-adds
// over the measured arithmetic peak. Both are measured right before and right after every run,
// since machines change within tenths of a second, and a run's share is of what was measured around
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/kernels/backend.h"
#include "hadal/model/model.h"

namespace hadal {

struct BenchOptions {
  int32_t prefill_tokens = 512;
  int32_t step_rows = 1 << 20;  // of the prompt, in one step
  int32_t decode_tokens = 32;   // steps of each decode run
  std::vector<int32_t> batches = {1, 4, 8, 16, 32, 64};
  // Tokens already in every sequence's cache, one result each. Runs at different depths take turns,
  // so that a machine whose speed drifts favours none. The first 512 tokens are computed, later
  // ones are copies of their rows: attention takes as long over those.
  std::vector<int32_t> depths = {0};
  int32_t repeats = 3;  // medians are quoted
  // Every sequence decodes one and the same token in every step, as llama-batched-bench does: all
  // rows choose the same experts. Otherwise each token is drawn by itself.
  bool same_token = false;
  std::optional<DType> kv_dtype;  // as ModelConfig::kv_layout()
};

struct BenchResult {
  std::string name;  // "prefill 512", "decode x 8", "decode x 8 at 4096"
  int32_t batch = 1;
  int32_t depth = 0;
  double tokens_per_second = 0;  // median
  double fastest = 0, slowest = 0;
  // Tokens per second by the report's read_bandwidth and int8_peak; 0: unknown.
  double bandwidth_ceiling = 0;
  double compute_ceiling = 0;
  // Median over the runs of speed / the nearer ceiling by what was measured around each.
  double share() const { return median_share; }
  double median_share = 0;
};

struct BenchReport {
  std::string model;
  std::string implementation;
  int threads = 1;
  double read_bandwidth = 0;  // bytes per second, median of what was measured around the runs
  double slowest_read = 0, fastest_read = 0;
  double int8_peak = 0;  // operations per second, likewise
  uint64_t weight_bytes = 0;
  DType kv_dtype = DType::kF16;
  bool same_token = false;  // of the decode runs
  std::vector<BenchResult> results;
};

// `progress` is told what runs next. kExhausted when the cache for the largest batch cannot be had.
Result<BenchReport> run_bench(Model& model, kernels::Backend& backend, ThreadPool& pool,
                              const Clock& clock, const CpuFeatures& features,
                              const BenchOptions& options,
                              const std::function<void(const std::string&)>& progress);

std::string bench_text(const BenchReport& report);
std::string bench_json(const BenchReport& report);

}  // namespace hadal
