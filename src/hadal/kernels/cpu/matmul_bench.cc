// Projections by type and rows, and a mixture of experts in the shape of DeepSeek-V2-Lite. GB/s
// counts packed weights once; GOPS counts two operations a weight and row. Compare GB/s with the
// copy bandwidth that `hadal bench` measures, GOPS with the set's dot-product peak.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/hw/measure.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/testing/linear_problem.h"

namespace hadal::kernels::cpu {
namespace {

Isa best_set() { return cpu_features().avx512_vnni ? Isa::kAvx512 : Isa::kAvx2; }

// Of this machine, with so many threads: measured once, beside the runs.
struct Ceilings {
  double bytes = 0, int8 = 0, f32 = 0;  // per second
};

const Ceilings& ceilings(int threads) {
  static std::map<int, Ceilings> known;
  const auto [at, is_new] = known.try_emplace(threads);
  if (is_new) {
    ThreadPool pool(threads);
    const SystemClock clock;
    const ArithmeticPeak peak = measure_arithmetic(pool, clock, cpu_features(), {});
    at->second = {measure_read_bandwidth(pool, clock, {}).value_or(0), peak.int8, peak.f32};
  }
  return at->second;
}

struct Shape {
  int64_t rows, cols;
};

// share: of the nearer ceiling, reading the weights once or the multiply-adds (int8 for quantised
// types, f32 for the others, twice that where they are rounded to BF16). A matrix that stays in a
// cache may read faster than memory.
void BM_Linear(benchmark::State& state, DType dtype, Shape shape, int threads, Isa isa) {
  const int64_t n = state.range(0);
  ThreadPool pool(threads);
  LinearProblem problem(dtype, shape.rows, shape.cols, n, pool, isa);
  problem.run();
  for (auto _ : state) problem.run();
  const auto runs = static_cast<double>(state.iterations());
  const auto rate = [](double x) { return benchmark::Counter(x, benchmark::Counter::kIsRate); };
  state.counters["GB/s"] = rate(runs * problem.bytes() * 1e-9);
  state.counters["GOPS"] = rate(runs * problem.operations() * 1e-9);
  const Ceilings& most = ceilings(threads);
  const bool integer = panel_form(dtype)->integer;
  const bool rounded =
      isa == Isa::kAvx512Bf16 && (dtype == DType::kBF16 || dtype == DType::kF8E4M3);
  const double peak = integer ? most.int8 : most.f32 * (rounded ? 2 : 1);
  const double fastest = std::max(problem.bytes() / most.bytes, problem.operations() / peak);
  state.counters["share"] = rate(runs * fastest);
}

// 64 experts of 1408, six a row, and two shared: gate and up in Q4_K, down in Q5_0.
void BM_Experts(benchmark::State& state, int threads, Isa isa) {
  constexpr int64_t kHidden = 2048;
  constexpr int64_t kInner = 1408;
  constexpr int64_t kExperts = 64;
  const int64_t n = state.range(0);
  ThreadPool pool(threads);
  CpuContext context(pool, isa);
  const std::vector<std::byte> bytes = random_weight_bytes(8 << 20);
  const auto pack = [&](int64_t inner, int64_t count) {
    return std::move(*PackedFfn::make(shared_source(DType::kQ4_K, inner, kHidden, count, bytes),
                                      shared_source(DType::kQ4_K, inner, kHidden, count, bytes),
                                      shared_source(DType::kQ5_0, kHidden, inner, count, bytes),
                                      pool));
  };
  const std::unique_ptr<PackedFfn> experts = pack(kInner, kExperts);
  const std::unique_ptr<PackedFfn> shared = pack(2 * kInner, 1);
  const std::vector<float> router = random_activations(kExperts * kHidden);
  const std::vector<float> norm(kHidden, 1.0f);
  constexpr int64_t kVariants = 32;  // so that one row's experts are not in the caches again
  const std::vector<float> x = random_activations((n + kVariants) * kHidden);
  std::vector<float> out(static_cast<size_t>(n * kHidden));
  MoeArgs args;
  args.norm_weight = norm.data();
  args.norm_eps = 1e-6f;
  args.gate.experts_used = 6;
  args.router = router.data();
  args.experts = experts.get();
  args.shared = shared.get();
  args.out = {out.data(), n, kHidden, kHidden};
  int64_t run = 0;
  uint64_t touched = 0;  // experts
  std::vector<uint64_t> expert_rows(kExperts);
  args.expert_rows = expert_rows.data();
  for (auto _ : state) {
    args.x = {x.data() + run++ % kVariants * kHidden, n, kHidden, kHidden};
    std::fill(expert_rows.begin(), expert_rows.end(), 0);
    moe(context, args);
    for (const uint64_t rows : expert_rows) touched += rows > 0;
  }
  const double read = static_cast<double>(touched * (experts->bytes() / kExperts)) +
                      static_cast<double>(state.iterations() * shared->bytes());
  const double weights = 3.0 * kHidden * kInner * 8;
  state.counters["GB/s"] = benchmark::Counter(read * 1e-9, benchmark::Counter::kIsRate);
  state.counters["GOPS"] = benchmark::Counter(
      static_cast<double>(state.iterations() * n) * 2e-9 * weights, benchmark::Counter::kIsRate);
  state.counters["rows/s"] =
      benchmark::Counter(static_cast<double>(state.iterations() * n), benchmark::Counter::kIsRate);
}

// What one stream a thread reads: the ceiling of the rows above it.
void BM_ReadBandwidth(benchmark::State& state) {
  const std::vector<uint64_t> words(size_t{32} << 20, 1);  // 256 MB
  ThreadPool pool(static_cast<int>(state.range(0)));
  const size_t share = words.size() / static_cast<size_t>(pool.threads());
  for (auto _ : state) {
    pool.parallel([&](int thread) {
      const uint64_t* p = words.data() + static_cast<size_t>(thread) * share;
      uint64_t sums[16] = {};
      for (size_t i = 0; i < share; i += 16) {
        for (size_t j = 0; j < 16; ++j) sums[j] += p[i + j];
      }
      for (const uint64_t sum : sums) benchmark::DoNotOptimize(sum);
    });
  }
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations() * words.size()) * 8e-9, benchmark::Counter::kIsRate);
}
BENCHMARK(BM_ReadBandwidth)->Arg(1)->Arg(2)->UseRealTime();

void register_all() {
  constexpr DType kTypes[] = {
      DType::kF32,  DType::kF16,  DType::kBF16,   DType::kF8E4M3, DType::kQ4_0, DType::kQ4_1,
      DType::kQ5_0, DType::kQ5_1, DType::kQ8_0,   DType::kQ2_K,   DType::kQ3_K, DType::kQ4_K,
      DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4};
  // A vocabulary's projection, larger than the caches; a long down projection.
  constexpr Shape kShapes[] = {{64 * 1024, 2048}, {1536, 8960}};
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16}) {
    if (isa != Isa::kAvx2 && best_set() == Isa::kAvx2) continue;
    if (isa == Isa::kAvx512Bf16 && !cpu_features().avx512_bf16) continue;
    const std::string set = isa == Isa::kAvx2     ? "avx2"
                            : isa == Isa::kAvx512 ? "avx512"
                                                  : "avx512bf16";
    for (const int threads : {1, 2}) {
      const std::string suffix = "/" + set + "/threads:" + std::to_string(threads);
      for (const DType dtype : kTypes) {
        if (isa == Isa::kAvx512Bf16 && dtype != DType::kBF16 && dtype != DType::kF8E4M3) continue;
        for (const Shape& shape : kShapes) {
          const std::string name = "linear/" + std::string(dtype_name(dtype)) + "/" +
                                   std::to_string(shape.rows) + "x" + std::to_string(shape.cols) +
                                   suffix;
          benchmark::RegisterBenchmark(name.c_str(), BM_Linear, dtype, shape, threads, isa)
              ->ArgName("columns")
              ->Arg(1)
              ->Arg(4)
              ->Arg(8)
              ->Arg(16)
              ->Arg(64)
              ->Arg(512)
              ->UseRealTime()
              ->Unit(benchmark::kMillisecond);
        }
      }
      benchmark::RegisterBenchmark(("experts" + suffix).c_str(), BM_Experts, threads, isa)
          ->ArgName("rows")
          ->Arg(1)
          ->Arg(2)
          ->Arg(8)
          ->Arg(32)
          ->Arg(128)
          ->Arg(512)
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond);
    }
  }
}

const bool kRegistered = (register_all(), true);

}  // namespace
}  // namespace hadal::kernels::cpu
