#include "hadal/hw/measure.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "hadal/base/check.h"

namespace hadal {
namespace {

// Enough independent chains to hide the latency of a multiply-add (4 cycles, two a cycle).
constexpr int kChains = 12;

struct Mapping {
  void* data = MAP_FAILED;
  size_t size = 0;
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data != MAP_FAILED) ::munmap(data, size);
  }
};

// Four sums, so that additions do not wait for each other. `words` is a multiple of 4.
uint64_t sum_words(const uint64_t* data, size_t words) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i < words; i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) sums[lane] += data[i + lane];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

// A loop of arithmetic: its result, so that nothing is optimised away, and what one round does.
struct ArithmeticLoop {
  uint64_t (*run)(uint64_t rounds) = nullptr;
  uint64_t operations = 0;
};

#if defined(__x86_64__)
template <class Lanes>
uint64_t fold(const Lanes (&chains)[kChains]) {
  uint64_t result = 0;
  for (const Lanes& chain : chains) {
    uint64_t words[sizeof(Lanes) / 8];
    std::memcpy(words, &chain, sizeof(chain));
    for (const uint64_t word : words) result ^= word;
  }
  return result;
}

__attribute__((target("avx2,fma"))) uint64_t f32_avx2(uint64_t rounds) {
  __m256 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm256_set1_ps(static_cast<float>(i));
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (__m256& chain : chains) chain = _mm256_fmadd_ps(chain, factor, factor);
  }
  return fold(chains);
}

__attribute__((target("avx512f"))) uint64_t f32_avx512(uint64_t rounds) {
  __m512 chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512 factor = _mm512_set1_ps(0.999f);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (__m512& chain : chains) chain = _mm512_fmadd_ps(chain, factor, factor);
  }
  return fold(chains);
}

// A dot product by AVX2 alone is three instructions: bytes to words, words to doublewords, add.
__attribute__((target("avx2"))) uint64_t int8_avx2(uint64_t rounds) {
  __m256i chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm256_set1_epi32(i);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i factor = _mm256_set1_epi8(3);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (__m256i& chain : chains) {
      const __m256i words = _mm256_maddubs_epi16(chain, factor);
      chain = _mm256_add_epi32(chain, _mm256_madd_epi16(words, ones));
    }
  }
  return fold(chains);
}

__attribute__((target("avx512f,avx512bw,avx512vnni"))) uint64_t int8_vnni(uint64_t rounds) {
  __m512i chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = _mm512_set1_epi32(i);
  const __m512i left = _mm512_set1_epi8(3);
  const __m512i right = _mm512_set1_epi8(5);
  for (uint64_t r = 0; r < rounds; ++r) {
    for (__m512i& chain : chains) chain = _mm512_dpbusd_epi32(chain, left, right);
  }
  return fold(chains);
}

ArithmeticLoop f32_loop(const CpuFeatures& features) {
  if (features.avx512f) return {f32_avx512, 2 * 16 * kChains};
  if (features.avx2 && features.fma) return {f32_avx2, 2 * 8 * kChains};
  return {};
}

ArithmeticLoop int8_loop(const CpuFeatures& features) {
  if (features.avx512_vnni && features.avx512bw) return {int8_vnni, 2 * 64 * kChains};
  if (features.avx2) return {int8_avx2, 2 * 32 * kChains};
  return {};
}
#else
ArithmeticLoop f32_loop(const CpuFeatures&) { return {}; }
ArithmeticLoop int8_loop(const CpuFeatures&) { return {}; }
#endif

// The shortest of `repeats` runs of body on every thread, in seconds.
double best_seconds(ThreadPool& pool, const Clock& clock, int repeats,
                    const std::function<void(int)>& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repeats; ++i) {
    const Nanos start = clock.now();
    pool.parallel(body);
    best = std::min(best, to_seconds(clock.now() - start));
  }
  return best;
}

double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

}  // namespace

struct BandwidthProbe::Memory {
  Mapping mapping;
  size_t words = 0;  // of one thread
};

BandwidthProbe::BandwidthProbe(ThreadPool& pool, std::unique_ptr<Memory> memory)
    : pool_(&pool), memory_(std::move(memory)) {}
BandwidthProbe::BandwidthProbe(BandwidthProbe&&) noexcept = default;
BandwidthProbe& BandwidthProbe::operator=(BandwidthProbe&&) noexcept = default;
BandwidthProbe::~BandwidthProbe() = default;

Result<BandwidthProbe> BandwidthProbe::make(ThreadPool& pool, uint64_t bytes) {
  const size_t threads = static_cast<size_t>(pool.threads());
  const size_t words = bytes / sizeof(uint64_t) / threads / 4 * 4;
  HADAL_CHECK(words > 0);
  auto memory = std::make_unique<Memory>();
  memory->words = words;
  Mapping& mapping = memory->mapping;
  mapping.size = words * threads * sizeof(uint64_t);
  mapping.data =
      ::mmap(nullptr, mapping.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping.data == MAP_FAILED) {
    return fail(Code::kExhausted,
                "bandwidth: no memory for " + std::to_string(mapping.size) + " bytes");
  }
  uint64_t* const data = static_cast<uint64_t*>(mapping.data);
  // Each thread writes what it will read: the pages become real, and lie on its own node.
  pool.parallel([&](int t) {
    uint64_t* mine = data + words * static_cast<size_t>(t);
    for (size_t i = 0; i < words; ++i) mine[i] = i;
  });
  return BandwidthProbe(pool, std::move(memory));
}

uint64_t BandwidthProbe::bytes() const { return memory_->mapping.size; }

double BandwidthProbe::pass(const Clock& clock) {
  const uint64_t* const data = static_cast<const uint64_t*>(memory_->mapping.data);
  const size_t words = memory_->words;
  std::vector<uint64_t> sums(static_cast<size_t>(pool_->threads()));
  const double seconds = best_seconds(*pool_, clock, 1, [&](int t) {
    const size_t thread = static_cast<size_t>(t);
    sums[thread] = sum_words(data + words * thread, words);
  });
  const uint64_t expected = static_cast<uint64_t>(words) * (words - 1) / 2;
  for (const uint64_t sum : sums) HADAL_CHECK(sum == expected, "a read went missing");
  return seconds;
}

Result<double> measure_read_bandwidth(ThreadPool& pool, const Clock& clock,
                                      const MeasureOptions& options) {
  HADAL_CHECK(options.repeats > 0);
  HADAL_TRY(BandwidthProbe probe, BandwidthProbe::make(pool, options.bytes));
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < options.repeats; ++i) best = std::min(best, probe.pass(clock));
  return rate(static_cast<double>(probe.bytes()), best);
}

ArithmeticPeak measure_arithmetic(ThreadPool& pool, const Clock& clock, const CpuFeatures& features,
                                  const MeasureOptions& options) {
  std::vector<uint64_t> results(static_cast<size_t>(pool.threads()));
  const auto peak = [&](const ArithmeticLoop& loop) -> double {
    if (loop.run == nullptr) return 0;
    const double seconds = best_seconds(pool, clock, options.repeats, [&](int t) {
      results[static_cast<size_t>(t)] = loop.run(options.rounds);
    });
    return rate(static_cast<double>(loop.operations * options.rounds * results.size()), seconds);
  };
  return {.f32 = peak(f32_loop(features)), .int8 = peak(int8_loop(features))};
}

}  // namespace hadal
