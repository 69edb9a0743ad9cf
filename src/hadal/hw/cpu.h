// What this machine's processor is. Read once at start and handed down.
//
// Threads: pure functions of the machine; any thread may call them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal {

// Instruction sets that both the processor and the operating system support.
struct CpuFeatures {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512vl = false;
  bool avx512dq = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool avx512_vbmi = false;
  bool avx_vnni = false;
  bool amx_tile = false;  // Linux hands out the tiles' state on request only (arch_prctl)
  bool amx_int8 = false;
  bool amx_bf16 = false;
};

CpuFeatures cpu_features();
// The names of those present, as /proc/cpuinfo spells them: "avx2", "avx512_vnni".
std::vector<std::string_view> feature_names(const CpuFeatures& features);

// One cache that the first core sees.
struct CpuCache {
  int level = 0;
  bool data = true;  // false: instructions only
  uint64_t bytes = 0;
  int shared_by = 1;  // logical cores that have it in common
};

struct CpuInfo {
  std::string model;             // "AMD EPYC 9655 96-Core Processor"; empty when unknown
  int cores = 1;                 // logical cores that this process may run on
  double quota = 0;              // cores' worth of time that the cgroup allows; 0: no limit
  std::vector<CpuCache> caches;  // as the kernel lists them; empty when it does not

  // Threads worth starting: cores, or the quota rounded up where that is less. At least 1.
  int useful_threads() const;
  // The largest data cache's bytes; 0 when unknown.
  uint64_t largest_cache() const;
};

// `root` stands for "/": a test reads another machine's /proc and /sys.
CpuInfo cpu_info(const std::string& root = "/");

// For tests: what cpu_features() makes of other processors' answers.
struct CpuidAnswer {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
using CpuidSource = std::function<CpuidAnswer(uint32_t leaf, uint32_t subleaf)>;
// `xcr0`: which register states the operating system saves, as XGETBV(0) says; asked only when the
// processor has that instruction. Leaves and bits: Intel's manual, volume 2A, CPUID.
CpuFeatures decode_features(const CpuidSource& cpuid, const std::function<uint64_t()>& xcr0);

}  // namespace hadal
