// Attention alone: one step of one layer. Rates: items are rows, FLOPs count the products with
// cached keys and values (not the projections, of which MLA has two inside; of MLA's naive form as
// if it were the absorbed one). "share" is of the
// nearer ceiling, both measured here first: the cache's bytes, read once a step, over the read
// bandwidth; those products over the peak of the dot products that the cache's type allows (int8;
// bf16 at half of that; else f32). "layers" is how many caches the steps take turns over: the last
// cache level may hold one, a model's come from memory. Build with the bench preset; compare runs
// only on an idle machine.
//
//   kernels_bench --benchmark_filter=MlaLite_avx512_int8
#include <benchmark/benchmark.h>

#include <cmath>
#include <numeric>

#include "hadal/base/clock.h"
#include "hadal/hw/measure.h"
#include "hadal/kernels/backend.h"
#include "hadal/tensor/quant.h"

namespace hadal::kernels {
namespace {

constexpr int32_t kPageTokens = 32;

struct Shape {
  int32_t heads, kv_heads, head_dim, rope, rank;  // kv_heads 0: MLA
  bool naive = false;                             // many rows in MLA's naive form
};
constexpr Shape kLite{16, 0, 192, 64, 512};  // DeepSeek-V2-Lite
constexpr Shape kLiteNaive{16, 0, 192, 64, 512, true};
constexpr Shape kQwen{12, 2, 128, 128, 0};   // R1-Distill-Qwen-1.5B
constexpr Shape kLlama{32, 8, 128, 128, 0};  // R1-Distill-Llama-8B

// A layer with `context` cached positions and `rows` new ones of one sequence.
class Layer {
 public:
  Layer(const std::string& implementation, int threads, const Shape& shape, DType dtype,
        int32_t context, int32_t rows, int layers)
      : pool_(threads), shape_(shape), dtype_(dtype), context_(context), rows_(rows) {
    auto backend = make_cpu_backend(implementation, cpu_features(), pool_);
    if (!backend) return;
    backend_ = std::move(*backend);
    const int32_t pages = (context + rows + kPageTokens - 1) / kPageTokens;
    blocks_.resize(pages);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    segment_ = {0, rows, context, blocks_};
    const int64_t key_width = mla() ? shape.rank + shape.rope : shape.kv_heads * shape.head_dim;
    for (int i = 0; i < layers; ++i) {
      keys_.push_back(cache(pages, key_width));
      if (!mla()) values_.push_back(cache(pages, key_width));
    }
    q_.assign(int64_t{rows} * shape.heads * shape.head_dim, 0.01f);
    k_.assign(rows * key_width, 0.5f);
    out_.resize(int64_t{rows} * shape.heads * 128);
    cos_.assign(rows * shape.rope / 2, 1.0f);
    sin_.assign(cos_.size(), 0.0f);
    norm_.assign(std::max(shape.rank, 1), 1.0f);
    if (mla()) {
      k_up_ = matrix(shape.rank, shape.head_dim - shape.rope);
      v_up_ = matrix(128, shape.rank);
      if (shape.naive) expansion_ = std::move(*backend_->pack_expansion(*k_up_, *v_up_));
    }
  }

  bool ready() const { return backend_ != nullptr; }

  void step() {
    mla() ? run_mla() : run_gqa();
    layer_ = (layer_ + 1) % keys_.size();
  }

  double flops() const {
    const double per_position =
        2.0 * shape_.heads * (mla() ? 2 * shape_.rank + shape_.rope : 2 * shape_.head_dim);
    return per_position * rows_ * (context_ + (rows_ + 1) / 2.0);
  }
  double bytes() const {
    const uint64_t row = cache_row_bytes(keys_[0]) + (mla() ? 0 : cache_row_bytes(values_[0]));
    return static_cast<double>(row) * (context_ + rows_);
  }
  ThreadPool& pool() { return pool_; }

 private:
  bool mla() const { return shape_.kv_heads == 0; }

  CachePages cache(int32_t pages, int64_t width) {
    CachePages result{
        nullptr, dtype_, kPageTokens, width, std::max(shape_.kv_heads, 1), mla() ? shape_.rope : 0};
    const uint64_t bytes = pages * kPageTokens * cache_row_bytes(result);
    buffers_.push_back(std::move(*backend_->allocate(bytes)));
    result.data = buffers_.back()->data();
    // Small numbers in every type.
    auto* words = reinterpret_cast<uint16_t*>(result.data);
    for (uint64_t i = 0; i < bytes / 2; ++i) words[i] = static_cast<uint16_t>(0x3000 + i % 1024);
    return result;
  }
  std::unique_ptr<Matrix> matrix(int64_t rows, int64_t cols) {
    std::vector<float> values(rows * cols, 0.01f);
    std::vector<std::byte> bytes(rows * row_bytes(DType::kQ8_0, cols));
    quantize(DType::kQ8_0, values.data(), bytes.data(), values.size());
    MatrixSource source{DType::kQ8_0, rows, cols, {}, {}};
    source.parts.assign(shape_.heads, bytes);
    return std::move(*backend_->pack(source));
  }
  View view(std::vector<float>& values) {
    const auto cols = static_cast<int64_t>(values.size()) / rows_;
    return {values.data(), rows_, cols, cols, Device::kCpu};
  }

  void run_mla() {
    MlaArgs args{};
    args.q = view(q_);
    args.kv = view(k_);
    args.kv_norm_weight = norm_.data();
    args.norm_eps = 1e-6f;
    args.k_up = k_up_.get();
    args.v_up = v_up_.get();
    args.rope = {cos_.data(), sin_.data(), shape_.rope, RopeStyle::kInterleaved};
    args.heads = shape_.heads;
    args.nope_dim = shape_.head_dim - shape_.rope;
    args.rank = shape_.rank;
    args.v_dim = 128;
    args.scale = 0.07f;
    args.cache = keys_[layer_];
    args.segments = {&segment_, 1};
    args.out = view(out_);
    args.naive = expansion_.get();
    backend_->mla(args);
  }
  void run_gqa() {
    GqaArgs args{};
    args.q = view(q_);
    args.k = view(k_);
    args.v = view(k_);
    args.rope = {cos_.data(), sin_.data(), shape_.rope, RopeStyle::kHalves};
    args.heads = shape_.heads;
    args.kv_heads = shape_.kv_heads;
    args.head_dim = shape_.head_dim;
    args.v_dim = 128;
    args.scale = 0.09f;
    args.k_cache = keys_[layer_];
    args.v_cache = values_[layer_];
    args.segments = {&segment_, 1};
    args.out = view(out_);
    backend_->gqa(args);
  }

  ThreadPool pool_;
  Shape shape_;
  DType dtype_;
  int32_t context_, rows_;
  std::unique_ptr<Backend> backend_;
  std::vector<int32_t> blocks_;
  Segment segment_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<CachePages> keys_, values_;  // one a layer
  size_t layer_ = 0;
  std::unique_ptr<Matrix> k_up_, v_up_;
  std::unique_ptr<Expansion> expansion_;
  std::vector<float> q_, k_, out_, cos_, sin_, norm_;
};

struct Ceilings {
  double bandwidth;  // bytes a second
  double dots;       // operations a second
};

Ceilings ceilings(ThreadPool& pool, DType dtype) {
  const SystemClock clock;
  const auto bandwidth = measure_read_bandwidth(pool, clock, {});
  const ArithmeticPeak peak = measure_arithmetic(pool, clock, cpu_features(), {});
  double dots = peak.f32;
  if (dtype == DType::kI8) dots = peak.int8;
  if (dtype == DType::kBF16 && cpu_features().avx512_bf16) dots = peak.int8 / 2;
  return {bandwidth ? *bandwidth : 0, dots};
}

void measure(benchmark::State& state, const std::string& implementation, const Shape& shape,
             DType dtype) {
  const auto context = static_cast<int32_t>(state.range(0));
  const auto rows = static_cast<int32_t>(state.range(1));
  Layer layer(implementation, static_cast<int>(state.range(2)), shape, dtype, context, rows,
              static_cast<int>(state.range(3)));
  if (!layer.ready()) return state.SkipWithError("not on this machine");
  const Ceilings most = ceilings(layer.pool(), dtype);
  const SystemClock clock;
  const Nanos start = clock.now();
  for (auto _ : state) layer.step();
  const double seconds = to_seconds(clock.now() - start);
  const auto steps = static_cast<double>(state.iterations());
  state.SetItemsProcessed(state.iterations() * rows);
  state.counters["FLOP"] = benchmark::Counter(layer.flops() * steps, benchmark::Counter::kIsRate);
  const double least = std::max(layer.bytes() / most.bandwidth, layer.flops() / most.dots);
  state.counters["share"] = least * steps / seconds;
}

void names(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"context", "rows", "threads", "layers"})
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}
void long_prompts(benchmark::internal::Benchmark* bench, int threads) {
  for (const int context : {0, 3584, 15872}) bench->Args({context, 512, threads, 1});
}
void sizes(benchmark::internal::Benchmark* bench) {
  names(bench);
  for (const int threads : {1, 2}) {
    for (const int context : {0, 1024, 4096, 16384}) bench->Args({context, 1, threads, 1});
    bench->Args({16384, 1, threads, 24});
    long_prompts(bench, threads);
  }
}
void prompt_sizes(benchmark::internal::Benchmark* bench) {
  names(bench);
  for (const int threads : {1, 2}) long_prompts(bench, threads);
}

#define HADAL_BENCH(name, implementation, shape, suffix, dtype) \
  BENCHMARK_CAPTURE(measure, name##_##suffix, implementation, shape, dtype)->Apply(sizes)
#define HADAL_BENCH_TYPES(name, implementation, shape)          \
  HADAL_BENCH(name, implementation, shape, f16, DType::kF16);   \
  HADAL_BENCH(name, implementation, shape, bf16, DType::kBF16); \
  HADAL_BENCH(name, implementation, shape, int8, DType::kI8)

HADAL_BENCH_TYPES(MlaLite_avx512, "avx512", kLite);
BENCHMARK_CAPTURE(measure, MlaLiteNaive_avx512_int8, "avx512", kLiteNaive, DType::kI8)
    ->Apply(prompt_sizes);
BENCHMARK_CAPTURE(measure, MlaLiteNaive_avx512_f16, "avx512", kLiteNaive, DType::kF16)
    ->Apply(prompt_sizes);
HADAL_BENCH_TYPES(GqaQwen_avx512, "avx512", kQwen);
HADAL_BENCH_TYPES(GqaLlama_avx512, "avx512", kLlama);
HADAL_BENCH_TYPES(MlaLite_avx2, "avx2", kLite);
HADAL_BENCH_TYPES(GqaQwen_avx2, "avx2", kQwen);

}  // namespace
}  // namespace hadal::kernels
