#include "hadal/hw/memory.h"

#include <gtest/gtest.h>

#include "hadal/hw/testing/fake_root.h"

namespace hadal {
namespace {

constexpr uint64_t kGiB = 1ull << 30;

using Files = std::map<std::string, std::string>;

struct Case {
  const char* what;
  Files files;
  MemoryInfo wanted;
};

// Files on top of a machine that has 16 GiB and 8 of them available.
const Case kCases[] = {
    {"no groups", {}, {16 * kGiB, 8 * kGiB, false}},
    {"version 2, no limit",
     {{"proc/self/cgroup", "0::/a\n"},
      {"sys/fs/cgroup/a/memory.max", "max\n"},
      {"sys/fs/cgroup/a/memory.current", "5\n"}},
     {16 * kGiB, 8 * kGiB, false}},
    {"version 2, own group",
     {{"proc/self/cgroup", "0::/a\n"},
      {"sys/fs/cgroup/a/memory.max", "4294967296\n"},
      {"sys/fs/cgroup/a/memory.current", "1073741824\n"}},
     {4 * kGiB, 3 * kGiB, true}},
    {"caches can be given back",
     {{"proc/self/cgroup", "0::/a\n"},
      {"sys/fs/cgroup/a/memory.max", "4294967296\n"},
      {"sys/fs/cgroup/a/memory.current", "3221225472\n"},
      {"sys/fs/cgroup/a/memory.stat", "anon 1073741824\nfile 2\ninactive_file 2147483648\n"}},
     {4 * kGiB, 3 * kGiB, true}},
    {"the group above is tighter",
     {{"proc/self/cgroup", "0::/a/b\n"},
      {"sys/fs/cgroup/a/b/memory.max", "4294967296\n"},
      {"sys/fs/cgroup/a/b/memory.current", "0\n"},
      {"sys/fs/cgroup/a/memory.max", "2147483648\n"},
      {"sys/fs/cgroup/a/memory.current", "1073741824\n"}},
     {2 * kGiB, 1 * kGiB, true}},
    {"over its limit",
     {{"proc/self/cgroup", "0::/\n"},
      {"sys/fs/cgroup/memory.max", "1073741824\n"},
      {"sys/fs/cgroup/memory.current", "2147483648\n"}},
     {1 * kGiB, 0, true}},
    {"a limit above the machine",
     {{"proc/self/cgroup", "0::/\n"},
      {"sys/fs/cgroup/memory.max", "99999999999999\n"},
      {"sys/fs/cgroup/memory.current", "0\n"}},
     {16 * kGiB, 8 * kGiB, false}},
    {"the machine has less left",
     {{"proc/self/cgroup", "0::/\n"},
      {"sys/fs/cgroup/memory.max", "12884901888\n"},
      {"sys/fs/cgroup/memory.current", "0\n"}},
     {12 * kGiB, 8 * kGiB, true}},
    {"version 1",
     {{"proc/self/cgroup", "9:name=systemd:/\n4:memory:/x\n0::/\n"},
      {"sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2147483648\n"},
      {"sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1610612736\n"},
      {"sys/fs/cgroup/memory/x/memory.stat",
       "inactive_file 1\ntotal_inactive_file "
       "536870912\n"}},
     {2 * kGiB, 1 * kGiB, true}},
    {"version 1 without limit",
     {{"proc/self/cgroup", "4:memory:/\n"},
      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
      {"sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n"}},
     {16 * kGiB, 8 * kGiB, false}},
    {"a container that sees its group as the root",
     {{"proc/self/cgroup", "0::/not/visible\n"},
      {"sys/fs/cgroup/memory.max", "1073741824\n"},
      {"sys/fs/cgroup/memory.current", "0\n"}},
     {1 * kGiB, 1 * kGiB, true}},
};

TEST(MemoryInfo, IsTheLeastOfMachineAndGroups) {
  const Files machine = {{"proc/meminfo",
                          "MemTotal:       16777216 kB\nMemFree: 1 kB\n"
                          "MemAvailable:    8388608 kB\n"}};
  for (const Case& c : kCases) {
    Files files = machine;
    files.insert(c.files.begin(), c.files.end());
    const MemoryInfo info = memory_info(FakeRoot(files).path());
    EXPECT_EQ(info.total, c.wanted.total) << c.what;
    EXPECT_EQ(info.available, c.wanted.available) << c.what;
    EXPECT_EQ(info.limited, c.wanted.limited) << c.what;
  }
}

TEST(MemoryInfo, NothingKnownIsZero) {
  EXPECT_EQ(memory_info(FakeRoot({}).path()).total, 0u);
  const std::map<std::string, std::string> files = {
      {"proc/meminfo", "MemTotal: lots\nMemAvailable:\n"}};
  const FakeRoot odd(files);
  EXPECT_EQ(memory_info(odd.path()).total, 0u);
  EXPECT_EQ(memory_info(odd.path()).available, 0u);
}

TEST(MemoryInfo, ThisMachineHasSome) {
  const MemoryInfo info = memory_info();
  EXPECT_GT(info.total, 64ull << 20);
  EXPECT_GT(info.available, 0u);
  EXPECT_LE(info.available, info.total);
}

}  // namespace
}  // namespace hadal
