#include "hadal/hw/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "hadal/base/threads.h"
#include "hadal/hw/pseudo_file.h"

namespace hadal {
namespace {

constexpr bool bit(uint64_t word, int index) { return (word >> index & 1) != 0; }

// "0-3,8" is 5 cores.
int count_of_list(std::string_view list) {
  int count = 0;
  while (!list.empty()) {
    const std::string_view part = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), part.size() + 1));
    const size_t dash = part.find('-');
    const auto first = pseudo::number(part.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : pseudo::number(part.substr(dash + 1));
    if (first && last && *last >= *first) count += static_cast<int>(*last - *first + 1);
  }
  return count;
}

// "32768K" in bytes.
uint64_t size_with_suffix(std::string_view text) {
  const size_t digits = text.find_first_not_of("0123456789");
  const uint64_t value = pseudo::number(text.substr(0, digits)).value_or(0);
  if (digits == std::string_view::npos) return value;
  switch (text[digits]) {
    case 'K':
      return value << 10;
    case 'M':
      return value << 20;
    case 'G':
      return value << 30;
    default:
      return value;
  }
}

std::vector<CpuCache> read_caches(const std::string& root) {
  constexpr int kIndexMax = 16;
  std::vector<CpuCache> caches;
  for (int i = 0; i < kIndexMax; ++i) {
    const std::string folder = root + "sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i);
    const std::string level = pseudo::line(folder + "/level");
    if (level.empty()) break;
    const std::string type = pseudo::line(folder + "/type");
    const int sharers = count_of_list(pseudo::line(folder + "/shared_cpu_list"));
    caches.push_back({.level = static_cast<int>(pseudo::number(level).value_or(0)),
                      .data = type != "Instruction",
                      .bytes = size_with_suffix(pseudo::line(folder + "/size")),
                      .shared_by = std::max(1, sharers)});
  }
  return caches;
}

// The least of what each group from this process's up to the root allows. Version 2 says
// "max 100000" or "200000 100000"; version 1 has a file for each number and -1 for none.
double read_quota(const std::string& root) {
  double least = 0;
  const auto lower = [&](std::string_view quota, std::string_view period) {
    const auto allowed = pseudo::number(quota);
    const auto of = pseudo::number(period);
    if (!allowed || !of || *of == 0 || *allowed == 0) return;
    const double cores = static_cast<double>(*allowed) / static_cast<double>(*of);
    if (least == 0 || cores < least) least = cores;
  };
  for (const std::string& folder : pseudo::cgroup_folders(root, "")) {
    const std::string both = pseudo::line(folder + "/cpu.max");
    const size_t space = both.find(' ');
    if (space != std::string::npos) lower(both.substr(0, space), both.substr(space + 1));
  }
  for (const std::string& folder : pseudo::cgroup_folders(root, "cpu")) {
    lower(pseudo::line(folder + "/cpu.cfs_quota_us"), pseudo::line(folder + "/cpu.cfs_period_us"));
  }
  return least;
}

#if defined(__x86_64__)
CpuidAnswer ask_processor(uint32_t leaf, uint32_t subleaf) {
  CpuidAnswer answer;
  __get_cpuid_count(leaf, subleaf, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx);
  return answer;
}

uint64_t ask_xcr0() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}
#endif

}  // namespace

CpuFeatures decode_features(const CpuidSource& cpuid, const std::function<uint64_t()>& xcr0) {
  constexpr uint64_t kAvxState = 0x6;      // XMM, YMM
  constexpr uint64_t kAvx512State = 0xE6;  // and masks, ZMM's upper halves, ZMM16 to 31
  constexpr uint64_t kAmxState = 0x60000;  // tile configuration and data
  CpuFeatures features;
  const uint32_t leaf_max = cpuid(0, 0).eax;
  if (leaf_max < 1) return features;
  const CpuidAnswer basic = cpuid(1, 0);
  const bool has_xgetbv = bit(basic.ecx, 27);
  const uint64_t saved = has_xgetbv ? xcr0() : 0;
  const bool avx = bit(basic.ecx, 28) && (saved & kAvxState) == kAvxState;
  if (!avx) return features;
  features.fma = bit(basic.ecx, 12);
  features.f16c = bit(basic.ecx, 29);
  if (leaf_max < 7) return features;
  const CpuidAnswer extended = cpuid(7, 0);
  const CpuidAnswer more = extended.eax >= 1 ? cpuid(7, 1) : CpuidAnswer{};
  features.avx2 = bit(extended.ebx, 5);
  features.avx_vnni = bit(more.eax, 4);
  if ((saved & kAvx512State) == kAvx512State && bit(extended.ebx, 16)) {
    features.avx512f = true;
    features.avx512dq = bit(extended.ebx, 17);
    features.avx512bw = bit(extended.ebx, 30);
    features.avx512vl = bit(extended.ebx, 31);
    features.avx512_vbmi = bit(extended.ecx, 1);
    features.avx512_vnni = bit(extended.ecx, 11);
    features.avx512_bf16 = bit(more.eax, 5);
  }
  if ((saved & kAmxState) == kAmxState && bit(extended.edx, 24)) {
    features.amx_tile = true;
    features.amx_bf16 = bit(extended.edx, 22);
    features.amx_int8 = bit(extended.edx, 25);
  }
  return features;
}

CpuFeatures cpu_features() {
#if defined(__x86_64__)
  return decode_features(ask_processor, ask_xcr0);
#else
  return {};
#endif
}

std::vector<std::string_view> feature_names(const CpuFeatures& features) {
  const std::pair<bool, std::string_view> all[] = {
      {features.avx2, "avx2"},
      {features.fma, "fma"},
      {features.f16c, "f16c"},
      {features.avx512f, "avx512f"},
      {features.avx512bw, "avx512bw"},
      {features.avx512vl, "avx512vl"},
      {features.avx512dq, "avx512dq"},
      {features.avx512_vnni, "avx512_vnni"},
      {features.avx512_bf16, "avx512_bf16"},
      {features.avx512_vbmi, "avx512vbmi"},
      {features.avx_vnni, "avx_vnni"},
      {features.amx_tile, "amx_tile"},
      {features.amx_int8, "amx_int8"},
      {features.amx_bf16, "amx_bf16"},
  };
  std::vector<std::string_view> names;
  for (const auto& [present, name] : all) {
    if (present) names.push_back(name);
  }
  return names;
}

int CpuInfo::useful_threads() const {
  if (quota <= 0 || quota >= cores) return std::max(1, cores);
  return std::max(1, static_cast<int>(std::ceil(quota)));
}

uint64_t CpuInfo::largest_cache() const {
  uint64_t largest = 0;
  for (const CpuCache& cache : caches) {
    if (cache.data) largest = std::max(largest, cache.bytes);
  }
  return largest;
}

CpuInfo cpu_info(const std::string& root) {
  CpuInfo info;
  info.model = pseudo::field(root + "proc/cpuinfo", "model name");
  info.cores = usable_cores();
  info.quota = read_quota(root);
  info.caches = read_caches(root);
  return info;
}

}  // namespace hadal
