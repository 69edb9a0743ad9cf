#include "hadal/hw/cpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "hadal/base/threads.h"
#include "hadal/hw/pseudo_file.h"
#include "hadal/hw/testing/fake_root.h"

namespace hadal {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A processor that has everything, as its CPUID leaves; `saved` is what the system saves.
CpuFeatures decode(uint64_t saved,
                   std::map<std::pair<uint32_t, uint32_t>, CpuidAnswer> changed = {}) {
  const CpuidSource cpuid = [&](uint32_t leaf, uint32_t subleaf) -> CpuidAnswer {
    const auto found = changed.find({leaf, subleaf});
    if (found != changed.end()) return found->second;
    if (leaf == 0) return {.eax = 7};
    if (leaf == 1) return {.ecx = 0xFFFFFFFF};
    if (leaf == 7 && subleaf == 0) return {.eax = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~0u};
    if (leaf == 7 && subleaf == 1) return {.eax = ~0u};
    return {};
  };
  return decode_features(cpuid, [&] { return saved; });
}

constexpr uint64_t kEverything = 0x600E6;

TEST(CpuFeatures, NeedTheProcessorAndTheSystem) {
  EXPECT_EQ(feature_names(decode(kEverything)).size(), 14u);
  // Only what the system saves: AVX without AVX-512 and tiles; masks without the upper halves.
  for (const uint64_t saved : {0x6ull, 0x26ull, 0xA6ull, 0x20006ull}) {
    EXPECT_THAT(feature_names(decode(saved)), ElementsAre("avx2", "fma", "f16c", "avx_vnni"))
        << saved;
  }
  EXPECT_THAT(feature_names(decode(0x60006)),
              ElementsAre("avx2", "fma", "f16c", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"));
  for (const uint64_t saved : {0x0ull, 0x2ull, 0x4ull, 0x600E0ull}) {
    EXPECT_THAT(feature_names(decode(saved)), IsEmpty()) << saved;
  }
}

TEST(CpuFeatures, OneMissingBitIsOneMissingName) {
  const struct {
    uint32_t leaf, subleaf;
    CpuidAnswer answer;
    std::string_view missing;
    size_t left;
  } cases[] = {
      {1, 0, {.ecx = ~(1u << 12)}, "fma", 13},
      {1, 0, {.ecx = ~(1u << 29)}, "f16c", 13},
      {1, 0, {.ecx = ~(1u << 28)}, "avx2", 0},  // no AVX at all
      {1, 0, {.ecx = ~(1u << 27)}, "avx2", 0},  // no XGETBV: nobody can say what is saved
      {7, 0, {.eax = 1, .ebx = ~(1u << 5), .ecx = ~0u, .edx = ~0u}, "avx2", 13},
      {7, 0, {.eax = 1, .ebx = ~(1u << 16), .ecx = ~0u, .edx = ~0u}, "avx512f", 7},
      {7, 0, {.eax = 1, .ebx = ~(1u << 17), .ecx = ~0u, .edx = ~0u}, "avx512dq", 13},
      {7, 0, {.eax = 1, .ebx = ~(1u << 30), .ecx = ~0u, .edx = ~0u}, "avx512bw", 13},
      {7, 0, {.eax = 1, .ebx = ~(1u << 31), .ecx = ~0u, .edx = ~0u}, "avx512vl", 13},
      {7, 0, {.eax = 1, .ebx = ~0u, .ecx = ~(1u << 1), .edx = ~0u}, "avx512vbmi", 13},
      {7, 0, {.eax = 1, .ebx = ~0u, .ecx = ~(1u << 11), .edx = ~0u}, "avx512_vnni", 13},
      {7, 0, {.eax = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~(1u << 24)}, "amx_tile", 11},
      {7, 0, {.eax = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~(1u << 22)}, "amx_bf16", 13},
      {7, 0, {.eax = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~(1u << 25)}, "amx_int8", 13},
      {7, 1, {.eax = ~(1u << 5)}, "avx512_bf16", 13},
      {7, 1, {.eax = ~(1u << 4)}, "avx_vnni", 13},
  };
  for (const auto& c : cases) {
    const CpuFeatures features = decode(kEverything, {{{c.leaf, c.subleaf}, c.answer}});
    EXPECT_THAT(feature_names(features), testing::Not(testing::Contains(c.missing)));
    EXPECT_EQ(feature_names(features).size(), c.left) << c.missing;
  }
}

TEST(CpuFeatures, OldProcessorsAreNotAskedBeyondTheirLeaves) {
  EXPECT_THAT(feature_names(decode(kEverything, {{{0, 0}, {.eax = 0}}})), IsEmpty());
  EXPECT_THAT(feature_names(decode(kEverything, {{{0, 0}, {.eax = 6}}})),
              ElementsAre("fma", "f16c"));
  const CpuidAnswer no_subleaf{.eax = 0, .ebx = ~0u, .ecx = ~0u, .edx = ~0u};
  EXPECT_FALSE(decode(kEverything, {{{7, 0}, no_subleaf}}).avx512_bf16);
}

// The kernel decodes the same bits for /proc/cpuinfo.
TEST(CpuFeatures, AgreeWithTheKernel) {
  const std::string flags = pseudo::field("/proc/cpuinfo", "flags");
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  std::istringstream words(flags);
  const std::vector<std::string> listed{std::istream_iterator<std::string>(words), {}};
  for (const std::string_view name : feature_names(cpu_features())) {
    EXPECT_THAT(listed, testing::Contains(name));
  }
  const CpuFeatures features = cpu_features();
  EXPECT_EQ(features.avx2, testing::Value(listed, testing::Contains("avx2")));
  EXPECT_EQ(features.avx512f, testing::Value(listed, testing::Contains("avx512f")));
}

TEST(CpuInfo, ReadsModelAndCaches) {
  const FakeRoot root({
      {"proc/cpuinfo", "processor\t: 0\nmodel name\t: Invented 9000  \n\nmodel name\t: Other\n"},
      {"sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"},
      {"sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n"},
      {"sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n"},
      {"sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "0\n"},
      {"sys/devices/system/cpu/cpu0/cache/index1/level", "1\n"},
      {"sys/devices/system/cpu/cpu0/cache/index1/type", "Instruction\n"},
      {"sys/devices/system/cpu/cpu0/cache/index1/size", "99999M\n"},
      {"sys/devices/system/cpu/cpu0/cache/index2/level", "3\n"},
      {"sys/devices/system/cpu/cpu0/cache/index2/type", "Unified\n"},
      {"sys/devices/system/cpu/cpu0/cache/index2/size", "32768K\n"},
      {"sys/devices/system/cpu/cpu0/cache/index2/shared_cpu_list", "0-3,8,10-11\n"},
  });
  const CpuInfo info = cpu_info(root.path());
  EXPECT_EQ(info.model, "Invented 9000");
  EXPECT_EQ(info.cores, usable_cores());
  EXPECT_EQ(info.quota, 0);
  ASSERT_EQ(info.caches.size(), 3u);
  EXPECT_EQ(info.caches[0].bytes, 48u << 10);
  EXPECT_FALSE(info.caches[1].data);
  EXPECT_EQ(info.caches[2].level, 3);
  EXPECT_EQ(info.caches[2].shared_by, 7);
  EXPECT_EQ(info.largest_cache(), 32u << 20);  // the huge one holds instructions
}

TEST(CpuInfo, KnowsNothingOfAnEmptyMachine) {
  const CpuInfo info = cpu_info(FakeRoot({}).path());
  EXPECT_EQ(info.model, "");
  EXPECT_GE(info.cores, 1);
  EXPECT_EQ(info.largest_cache(), 0u);
  EXPECT_EQ(info.useful_threads(), info.cores);
}

TEST(CpuInfo, TakesTheLeastQuotaOfItsGroups) {
  using Files = std::map<std::string, std::string>;
  const struct {
    const char* what;
    Files files;
    double quota;
  } cases[] = {
      {"version 2, own group",
       {{"proc/self/cgroup", "0::/a/b\n"}, {"sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"}},
       1.5},
      {"version 2, a group above",
       {{"proc/self/cgroup", "0::/a/b\n"},
        {"sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
        {"sys/fs/cgroup/a/cpu.max", "50000 100000\n"},
        {"sys/fs/cgroup/cpu.max", "400000 100000\n"}},
       0.5},
      {"version 2, no limit",
       {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "max 100000\n"}},
       0},
      {"version 1",
       {{"proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/x\n"},
        {"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "300000\n"},
        {"sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"}},
       3},
      {"version 1, none",
       {{"proc/self/cgroup", "3:cpu:/\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"},
        {"sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"}},
       0},
      {"nonsense", {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "many 0\n"}}, 0},
      {"zero period", {{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", "5 0\n"}}, 0},
  };
  for (const auto& c : cases)
    EXPECT_EQ(cpu_info(FakeRoot(c.files).path()).quota, c.quota) << c.what;
}

TEST(CpuInfo, StartsAsManyThreadsAsTheQuotaFeeds) {
  const struct {
    int cores;
    double quota;
    int threads;
  } cases[] = {{8, 0, 8}, {8, 2.0, 2}, {8, 1.5, 2}, {8, 0.1, 1}, {2, 4.0, 2}, {0, 0, 1}};
  for (const auto& c : cases) {
    EXPECT_EQ(
        (CpuInfo{.model = "", .cores = c.cores, .quota = c.quota, .caches = {}}).useful_threads(),
        c.threads)
        << c.cores << " cores, quota " << c.quota;
  }
}

}  // namespace
}  // namespace hadal
