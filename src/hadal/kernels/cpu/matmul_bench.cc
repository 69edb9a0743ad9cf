// Projections by type and rows, and a mixture of experts in the shape of DeepSeek-V2-Lite. GB/s
// counts packed weights once; GOPS counts two operations a weight and row. Compare GB/s with the
// copy bandwidth that `hadal bench` measures, GOPS with the set's dot-product peak.
#include <benchmark/benchmark.h>

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/kernels/cpu/matmul.h"

namespace hadal::kernels::cpu {
namespace {

std::vector<std::byte> random_bytes(uint64_t count) {
  Rng rng(1);
  std::vector<std::byte> bytes(count);
  // Six bits, so that no half among them is infinite or NaN.
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next() & 0x3F);
  return bytes;
}

std::vector<float> random_floats(int64_t count) {
  Rng rng(2);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& v : values) v = static_cast<float>(rng.uniform() - 0.5);
  return values;
}

// `parts` matrices that share their bytes in the file.
MatrixSource source(DType dtype, int64_t rows, int64_t cols, int64_t parts,
                    const std::vector<std::byte>& bytes) {
  MatrixSource result;
  result.dtype = dtype;
  result.rows = rows;
  result.cols = cols;
  const uint64_t size = static_cast<uint64_t>(rows) * row_bytes(dtype, cols);
  for (int64_t i = 0; i < parts; ++i) {
    result.parts.push_back(std::span(bytes).first(size));
    if (dtype != DType::kF8E4M3) continue;
    result.fp8_scales.emplace_back((rows + 127) / 128 * ((cols + 127) / 128), 1.0f);
  }
  return result;
}

Isa best_set() { return cpu_features().avx512_vnni ? Isa::kAvx512 : Isa::kAvx2; }

// Larger than the caches.
void BM_Linear(benchmark::State& state, DType dtype, int threads, Isa isa) {
  constexpr int64_t kRows = 64 * 1024;
  constexpr int64_t kCols = 2048;
  const int64_t n = state.range(0);
  ThreadPool pool(threads);
  CpuContext context(pool, isa);
  std::unique_ptr<PackedMatrix> matrix;
  {
    const std::vector<std::byte> bytes = random_bytes(row_bytes(dtype, kRows * kCols));
    matrix = std::move(*PackedMatrix::make(source(dtype, kRows, kCols, 1, bytes), pool));
  }
  std::vector<float> x = random_floats(n * kCols);
  std::vector<float> out(static_cast<size_t>(n * kRows));
  LinearArgs args;
  args.x = View{x.data(), n, kCols, kCols};
  args.projections[0] = {matrix.get(), nullptr, {out.data(), n, kRows, kRows}, false};
  args.projection_count = 1;
  linear(context, args);
  for (auto _ : state) linear(context, args);
  const auto runs = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(runs * static_cast<double>(matrix->bytes()) * 1e-9,
                                              benchmark::Counter::kIsRate);
  state.counters["GOPS"] = benchmark::Counter(runs * 2e-9 * static_cast<double>(n * kRows * kCols),
                                              benchmark::Counter::kIsRate);
}

// 64 experts of 1408, six a row, and two shared: gate and up in Q4_K, down in Q5_0.
void BM_Experts(benchmark::State& state, int threads, Isa isa) {
  constexpr int64_t kHidden = 2048;
  constexpr int64_t kInner = 1408;
  constexpr int64_t kExperts = 64;
  const int64_t n = state.range(0);
  ThreadPool pool(threads);
  CpuContext context(pool, isa);
  const std::vector<std::byte> bytes = random_bytes(8 << 20);
  const auto pack = [&](int64_t inner, int64_t count) {
    return std::move(*PackedFfn::make(source(DType::kQ4_K, inner, kHidden, count, bytes),
                                      source(DType::kQ4_K, inner, kHidden, count, bytes),
                                      source(DType::kQ5_0, kHidden, inner, count, bytes), pool));
  };
  const std::unique_ptr<PackedFfn> experts = pack(kInner, kExperts);
  const std::unique_ptr<PackedFfn> shared = pack(2 * kInner, 1);
  const std::vector<float> router = random_floats(kExperts * kHidden);
  const std::vector<float> norm(kHidden, 1.0f);
  constexpr int64_t kVariants = 32;  // so that one row's experts are not in the caches again
  const std::vector<float> x = random_floats((n + kVariants) * kHidden);
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
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (isa == Isa::kAvx512 && best_set() != isa) continue;
    const std::string set = isa == Isa::kAvx512 ? "avx512" : "avx2";
    for (const int threads : {1, 2}) {
      const std::string suffix = "/" + set + "/threads:" + std::to_string(threads);
      for (const DType dtype : kTypes) {
        const std::string name = "linear/" + std::string(dtype_name(dtype)) + suffix;
        benchmark::RegisterBenchmark(name.c_str(), BM_Linear, dtype, threads, isa)
            ->ArgName("rows")
            ->Arg(1)
            ->Arg(4)
            ->Arg(16)
            ->Arg(128)
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
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
