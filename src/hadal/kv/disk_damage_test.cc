// The cache on real files after every kind of damage: what is read is what was written, and the
// rest is a miss.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "hadal/base/file.h"
#include "hadal/kv/disk_cache.h"
#include "hadal/kv/testing/disk_store.h"

namespace hadal::kv {
namespace {

using namespace testing;
using ::testing::HasSubstr;
using DiskDamage = DiskTest;

// Some 64 bytes of the files at a time, all over them, are changed: every page is right or gone,
// and those whose bytes were not touched, and that stand on nothing that was, are there.
TEST_F(DiskDamage, DamageAnywhereIsNeverRead) {
  store_.options().page_bytes = 1'000;
  store_.options().bytes_max = 4 << 20;  // ten pages a file
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 3; ++i) ASSERT_EQ(store_.save(prompt(4, 100 * i)), 4);
  store_.close();
  int64_t lost = 0;
  for (const fs::path& path : segments(store_.options().path)) {
    const auto content = read_file(path.string(), 1 << 20);
    ASSERT_TRUE(content);
    for (size_t at = 0; at < content->size(); at += at < kSegmentHeaderBytes ? 509 : 251) {
      std::string damaged = *content;
      bool touched = false;
      for (size_t i = at; i < std::min(at + 64, damaged.size()); ++i) {
        damaged[i] = static_cast<char>(damaged[i] ^ (1 + (i + at) % 255));
        touched = true;
      }
      ASSERT_TRUE(touched);
      std::ofstream(path, std::ios::binary) << damaged;
      ASSERT_TRUE(store_.open());
      int32_t read = 0;
      for (int32_t i = 0; i < 3; ++i) read += store_.read(prompt(4, 100 * i));
      ASSERT_EQ(store_->audit(), "");
      if (at < kSegmentHeaderBytes) {
        ASSERT_LT(read, 12);  // the whole file is gone
      } else {
        ASSERT_GE(read, 12 - 4);  // at most one prompt's rest
      }
      lost += 12 - read;
      store_.close();
      std::ofstream(path, std::ios::binary) << *content;
    }
  }
  EXPECT_GT(lost, 0);
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 3; ++i) EXPECT_EQ(store_.read(prompt(4, 100 * i)), 4);
}

TEST_F(DiskDamage, ADamagedPageIsDroppedOnceWithWhatStandsOnIt) {
  store_.options().bytes_max = 8 << 20;  // so that all are in one file
  ASSERT_TRUE(store_.open());
  ASSERT_EQ(store_.save(prompt(5)), 5);
  store_.close();
  SegmentHeader shape{.space = "a model", .block_tokens = kBlock, .page_bytes = 5'000, .slots = 1};
  const fs::path path = segments(store_.options().path)[0];
  const auto content = read_file(path.string(), 1 << 20);
  shape.slots = decode_segment(std::as_bytes(std::span(*content)))->slots;
  std::string damaged = *content;
  damaged[shape.page_at(2) + 4'999] ^= 1;
  std::ofstream(path, std::ios::binary) << damaged;

  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_->find("", prompt(5)), 5);
  EXPECT_EQ(store_.read(prompt(5)), 2);
  EXPECT_EQ(store_.damaged(), 1);
  EXPECT_THAT(store_.warnings(), HasSubstr("damaged"));
  EXPECT_EQ(store_->find("", prompt(5)), 2);
  EXPECT_EQ(store_.metric("hadal_kv_disk_pages"), 2);
  // Forgotten on disk as well; computed anew, it is kept anew.
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_->find("", prompt(5)), 2);
  EXPECT_EQ(store_.damaged(), 1);
  EXPECT_EQ(store_.save(prompt(5)), 5);
  EXPECT_EQ(store_.read(prompt(5)), 5);
}

TEST_F(DiskDamage, TruncatedFilesLoseTheirTails) {
  store_.options().page_bytes = 1'000;
  store_.options().bytes_max = 4 << 20;  // ten pages a file
  ASSERT_TRUE(store_.open());
  ASSERT_EQ(store_.save(prompt(8)), 8);
  store_.close();
  const std::vector<fs::path> files = segments(store_.options().path);
  const fs::path last = files.back();
  const auto content = read_file(last.string(), 1 << 20);
  int32_t fewest = 8;
  for (size_t size = 0; size < content->size(); size += 500) {
    std::ofstream(last, std::ios::binary) << content->substr(0, size);
    ASSERT_TRUE(store_.open());
    const int32_t read = store_.read(prompt(8));
    fewest = std::min(fewest, read);
    ASSERT_LE(read, 8);
    // What is missing is written again, and whole.
    ASSERT_EQ(store_.save(prompt(8)), 8);
    ASSERT_EQ(store_.read(prompt(8)), 8);
    store_.close();
    for (const fs::path& path : segments(store_.options().path)) {
      if (std::ranges::find(files, path) == files.end()) fs::remove(path);
    }
    std::ofstream(last, std::ios::binary) << *content;
  }
  EXPECT_LT(fewest, 8);
}

TEST_F(DiskDamage, TouchesNothingButItsOwnFiles) {
  ASSERT_TRUE(store_.open());
  ASSERT_EQ(store_.save(prompt(2)), 2);
  store_.close();
  const std::string path = store_.options().path;
  for (const char* name : {"notes.txt", "segment-.kv", "segment-0000000g.kv", "segment-1.kv"}) {
    std::ofstream(path + "/" + name) << "mine";
  }
  // These have a name of ours, and are rubbish.
  std::ofstream(path + "/segment-000000ff.kv") << "torn";
  std::ofstream(path + "/segment-000000fe.kv");
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.read(prompt(2)), 2);
  EXPECT_FALSE(fs::exists(path + "/segment-000000ff.kv"));
  EXPECT_FALSE(fs::exists(path + "/segment-000000fe.kv"));
  for (const char* name : {"notes.txt", "segment-.kv", "segment-0000000g.kv", "segment-1.kv"}) {
    EXPECT_EQ(read_file(path + "/" + name, 10).value_or(""), "mine") << name;
  }
  const auto mode = fs::status(path + "/segment-00000000.kv").permissions();
  EXPECT_EQ(mode & (fs::perms::group_all | fs::perms::others_all), fs::perms::none);
}

TEST_F(DiskDamage, AFolderIsForOneProcess) {
  ASSERT_TRUE(store_.open());
  Store second(store_.options().path);
  const Status refused = second.open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_THAT(refused.error().what, HasSubstr("another process"));
  store_.close();
  EXPECT_TRUE(second.open());
}

TEST_F(DiskDamage, RefusesAFolderThatCannotBe) {
  std::ofstream(folder_.path() + "/file") << "x";
  for (const char* name : {"/file", "/file/below"}) {
    Store store(folder_.path() + name);
    const Status refused = store.open();
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
  }
}

// The file system refuses larger files: the cache goes on with what it has, and recovers.
TEST_F(DiskDamage, AFullDiskCostsPagesOnly) {
  store_.options().bytes_max = 1 << 20;
  ASSERT_TRUE(store_.open());
  ASSERT_EQ(store_.save(prompt(2)), 2);
  store_.close();
  for (const fs::path& path : segments(store_.options().path)) fs::remove(path);
  ASSERT_TRUE(store_.open());
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 4'096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_EQ(store_.offer(prompt(3)), 3);
  store_->flush();
  EXPECT_EQ(store_->find("", prompt(3)), 0);
  EXPECT_GE(store_.errors("write"), 1);
  EXPECT_THAT(store_.warnings(), HasSubstr("cannot"));
  // Paused: offers are skipped, not queued.
  EXPECT_EQ(store_.offer(prompt(4)), 4);
  EXPECT_GE(store_.metric("hadal_kv_disk_skipped_total"), 4);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  store_.clock_.advance(std::chrono::seconds(11));
  EXPECT_EQ(store_.save(prompt(4)), 4);
  EXPECT_EQ(store_.read(prompt(4)), 4);
  EXPECT_EQ(store_->audit(), "");
}

TEST_F(DiskDamage, FilesThatVanishAreMisses) {
  ASSERT_TRUE(store_.open());
  ASSERT_EQ(store_.save(prompt(4)), 4);
  for (const fs::path& path : segments(store_.options().path)) fs::remove(path);
  EXPECT_EQ(store_.read(prompt(4)), 0);
  EXPECT_EQ(store_.errors("read"), 1);
  EXPECT_EQ(store_->find("", prompt(4)), 0);
  EXPECT_EQ(store_.offer(prompt(4)), 4);
  store_->flush();
  EXPECT_EQ(store_->audit(), "");
}

// Killed over and over while it writes: whatever is found is right, and it goes on.
TEST_F(DiskDamage, KilledAtAnyMoment) {
  store_.options().bytes_max = 300'000;
  Rng rng(5);
  int32_t survived = 0;
  for (int round = 0; round < 12; ++round) {
    int started[2];
    ASSERT_EQ(::pipe(started), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Store store(store_.options().path);
      store.options() = store_.options();
      if (!store.open()) ::_exit(1);
      for (int32_t i = 0;; ++i) {
        (void)store.save(prompt(3 + i % 5, 1'000 * ((i + round) % 50)));
        if (i == 3 && ::write(started[1], "!", 1) != 1) ::_exit(1);
      }
    }
    char mark = 0;
    ASSERT_EQ(::read(started[0], &mark, 1), 1);
    ::close(started[0]);
    ::close(started[1]);
    ::usleep(static_cast<useconds_t>(rng.next() % 5'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_TRUE(store_.open());
    ASSERT_LE(folder_bytes(store_.options().path), 300'000u);
    for (int32_t i = 0; i < 50; ++i) survived += store_.read(prompt(7, 1'000 * i));
    ASSERT_EQ(store_->audit(), "");
    store_.close();
  }
  EXPECT_GT(survived, 40);
}

}  // namespace
}  // namespace hadal::kv
