// This machine's own ceilings, measured: what a kernel's speed is a share of. Takes some tenths of
// a second each; nothing calls them unless a report asks.
//
// Threads: use the pool, so one at a time and not from inside it.
#pragma once

#include <cstdint>
#include <memory>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"

namespace hadal {

struct MeasureOptions {
  uint64_t bytes = 256ull << 20;  // read by all threads together; several times the last cache
  int repeats = 5;                // the best counts: a disturbed run says nothing of the machine
  uint64_t rounds = 4'000'000;    // of the arithmetic loops, on each thread
};

// Reads the same memory again and again, to see how fast that is from moment to moment: machines
// whose memory others use too change within tens of milliseconds.
class BandwidthProbe {
 public:
  // kExhausted without `bytes`. The pool must outlive the probe.
  static Result<BandwidthProbe> make(ThreadPool& pool, uint64_t bytes);
  BandwidthProbe(BandwidthProbe&&) noexcept;
  BandwidthProbe& operator=(BandwidthProbe&&) noexcept;
  ~BandwidthProbe();

  // Seconds for all threads together to read bytes() once.
  double pass(const Clock& clock);
  uint64_t bytes() const;

 private:
  struct Memory;
  BandwidthProbe(ThreadPool& pool, std::unique_ptr<Memory> memory);
  ThreadPool* pool_;
  std::unique_ptr<Memory> memory_;
};

// Bytes per second that all threads of the pool together read from memory. kExhausted without
// `bytes`.
Result<double> measure_read_bandwidth(ThreadPool& pool, const Clock& clock,
                                      const MeasureOptions& options);

// Operations per second (a multiply-add is two) of all threads together.
struct ArithmeticPeak {
  double f32 = 0;   // fused multiply-adds, AVX-512 or AVX2; 0 on a processor with neither
  double int8 = 0;  // 8-bit products summed to 32 bits: VNNI or AVX2; 0 likewise
};
ArithmeticPeak measure_arithmetic(ThreadPool& pool, const Clock& clock, const CpuFeatures& features,
                                  const MeasureOptions& options);

}  // namespace hadal
