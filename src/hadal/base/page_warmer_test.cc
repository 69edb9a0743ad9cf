#include "hadal/base/page_warmer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "hadal/base/file.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = size_t{64} << 10;
constexpr size_t kSize = 5 * kPiece + 123;  // the last piece is short and ends within a page
constexpr PageWarmer::Options kOptions{kPiece, std::chrono::milliseconds(1),
                                       std::chrono::seconds(0)};

// "Rss" and the like of the mapping that begins at `data`, in bytes.
size_t smaps(const void* data, const std::string& field) {
  std::ostringstream start;
  start << std::hex << reinterpret_cast<uintptr_t>(data) << "-";
  std::ifstream file("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(start.str(), 0) == 0) here = true;
    if (here && line.rfind(field + ":", 0) == 0) {
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) * 1024;
    }
  }
  return SIZE_MAX;
}

class PageWarmerTest : public testing::Test {
 protected:
  PageWarmerTest() {
    // Not in /tmp where that is memory: its pages cannot leave.
    path_ = fs::current_path() / ("page_warmer_test." + std::to_string(getpid()));
    std::ofstream(path_) << std::string(kSize, 'w');
  }
  ~PageWarmerTest() override { fs::remove(path_); }

  // False where the file system does not let go.
  bool evict() {
    const int fd = ::open(path_.c_str(), O_RDONLY);
    ::fsync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
    return !MappedFile::open(path_)->resident(0, kSize);
  }

  fs::path path_;
  SystemClock clock_;
};

TEST_F(PageWarmerTest, MapsEveryPage) {
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->resident(0, kSize));
  PageWarmer warmer(
      *file, [] { return true; }, clock_, {}, kOptions);
  warmer.wait();
  EXPECT_GE(smaps(file->bytes().data(), "Rss"), kSize);
}

TEST_F(PageWarmerTest, ReadsOnlyWhileIdle) {
  if (!evict()) GTEST_SKIP() << "this file system keeps pages";
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  std::atomic<int> asked{0};
  std::atomic<bool> idle{false};
  PageWarmer warmer(
      *file, [&] { return ++asked, idle.load(); }, clock_, {}, kOptions);
  while (asked < 20) std::this_thread::yield();
  EXPECT_FALSE(file->resident(0, kSize));
  idle = true;
  warmer.wait();
  EXPECT_TRUE(file->resident(0, kSize));
  EXPECT_GE(smaps(file->bytes().data(), "Rss"), kSize);
}

TEST_F(PageWarmerTest, StopsWhileItWaits) {
  if (!evict()) GTEST_SKIP() << "this file system keeps pages";
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  auto slow = kOptions;
  slow.poll = std::chrono::hours(1);
  std::atomic<bool> asked{false};
  PageWarmer warmer(
      *file, [&] { return asked = true, false; }, clock_, {}, slow);
  while (!asked) std::this_thread::yield();
}

TEST_F(PageWarmerTest, SaysHowFarItIs) {
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  std::vector<std::string> lines;
  PageWarmer warmer(
      *file, [] { return true; }, clock_,
      [&](LogLevel, std::string_view line) { lines.emplace_back(line); }, kOptions);
  warmer.wait();
  ASSERT_GE(lines.size(), 2u);
  EXPECT_NE(lines.back().find("0.0 GB of 0.0 GB after "), std::string::npos) << lines.back();
}

TEST_F(PageWarmerTest, AnEmptyFileIsWarm) {
  std::ofstream(path_, std::ios::trunc);
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->resident(0, 0));
  EXPECT_TRUE(file->lock());
  PageWarmer(
      *file, [] { return true; }, clock_, {}, kOptions)
      .wait();
}

TEST_F(PageWarmerTest, LockedPagesStay) {
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  const Status locked = file->lock();
  if (!locked) {
    EXPECT_NE(locked.error().what.find("RLIMIT_MEMLOCK"), std::string::npos);
    GTEST_SKIP() << locked.error().what;
  }
  file->populate(0, kSize);
  EXPECT_GE(smaps(file->bytes().data(), "Locked"), kSize);
  evict();
  EXPECT_TRUE(file->resident(0, kSize));
}

// In a child without the right to lock more than a limit of nothing.
TEST_F(PageWarmerTest, AForbiddenLockNamesTheLimit) {
  const auto file = MappedFile::open(path_);
  ASSERT_TRUE(file);
  const pid_t child = ::fork();
  if (child == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    ::syscall(SYS_capset, &header, none);
    const rlimit limit{0, 0};
    ::setrlimit(RLIMIT_MEMLOCK, &limit);
    const Status locked = file->lock();
    const bool named =
        !locked && locked.error().code == Code::kExhausted &&
        locked.error().what.find("RLIMIT_MEMLOCK allows 0 bytes") != std::string::npos;
    ::_exit(named ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace hadal
