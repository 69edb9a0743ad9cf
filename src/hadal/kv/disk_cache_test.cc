// The cache on real files: what was saved is found and read, within its bound and after a restart.
#include "hadal/kv/disk_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "hadal/kv/testing/disk_store.h"

namespace hadal::kv {
namespace {

using namespace testing;
using Disk = DiskTest;

TEST_F(Disk, BringsBackWhatWasSaved) {
  ASSERT_TRUE(store_.open());
  const Tokens tokens = prompt(9);
  EXPECT_EQ(store_->find("", tokens), 0);
  EXPECT_EQ(store_.save(tokens), 9);
  EXPECT_EQ(store_.read(tokens), 9);
  EXPECT_EQ(store_.read(tokens, "", 5), 9);
  EXPECT_EQ(store_.metric("hadal_kv_disk_hits_total"), 13);
  EXPECT_EQ(store_.metric("hadal_kv_disk_read_bytes_total"), 13 * 5'000);
  EXPECT_EQ(store_.metric("hadal_kv_disk_written_bytes_total"), 9 * 5'000);
  EXPECT_EQ(store_.metric("hadal_kv_disk_pages"), 9);
  // Saved again: nothing is written.
  EXPECT_EQ(store_.save(tokens), 9);
  EXPECT_EQ(store_.metric("hadal_kv_disk_written_bytes_total"), 9 * 5'000);
  // Whole blocks only, and the longest common prefix.
  Tokens other = prompt(9);
  other[5 * kBlock + 2] = 999;
  EXPECT_EQ(store_->find("", other), 5);
  other.resize(3 * kBlock + 3);
  EXPECT_EQ(store_->find("", other), 3);
  EXPECT_EQ(store_->find("", Tokens(kBlock - 1)), 0);
  EXPECT_EQ(store_->audit(), "");
}

TEST_F(Disk, SurvivesARestart) {
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.save(prompt(6)), 6);
  Tokens branch = prompt(6);
  branch[4 * kBlock] = 999;
  EXPECT_EQ(store_.save(branch), 6);
  EXPECT_EQ(store_.save(prompt(3), "tenant"), 3);
  for (int restart = 0; restart < 3; ++restart) {
    ASSERT_TRUE(store_.open());
    EXPECT_EQ(store_.metric("hadal_kv_disk_pages"), 6 + 2 + 3);
    EXPECT_EQ(store_.read(prompt(6)), 6);
    EXPECT_EQ(store_.read(branch), 6);
    EXPECT_EQ(store_.read(prompt(3), "tenant"), 3);
    EXPECT_EQ(store_->audit(), "");
  }
  // What is written now stands on what was found.
  EXPECT_EQ(store_.save(prompt(8)), 8);
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.read(prompt(8)), 8);
  EXPECT_EQ(store_.damaged(), 0);
}

TEST_F(Disk, TenantsModelsAndLayoutsAreApart) {
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.save(prompt(4), "a"), 4);
  for (const char* scope : {"", "b", "aa", "A"}) EXPECT_EQ(store_->find(scope, prompt(4)), 0);

  const auto with = [&](auto change) {
    Store other(store_.options().path);
    change(other.options());
    store_.close();
    EXPECT_TRUE(other.open());
    const int32_t found = other->find("a", prompt(4));
    other.close();
    return found;
  };
  EXPECT_EQ(with([](DiskCacheOptions&) {}), 4);
  EXPECT_EQ(with([](DiskCacheOptions& o) { o.space = "another model"; }), 0);
  EXPECT_EQ(with([](DiskCacheOptions& o) { o.space = ""; }), 0);
  EXPECT_EQ(with([](DiskCacheOptions& o) { o.block_tokens = 2; }), 0);
  EXPECT_EQ(with([](DiskCacheOptions& o) { o.page_bytes = 4'999; }), 0);
  EXPECT_EQ(with([](DiskCacheOptions&) {}), 4);
}

TEST_F(Disk, ScopesOfAnyBytesAndLength) {
  ASSERT_TRUE(store_.open());
  const std::string odd("\0\xff\n tenant", 10);
  EXPECT_EQ(store_.save(prompt(2), odd), 2);
  EXPECT_EQ(store_.save(prompt(2), std::string(kDiskScopeBytesMax, 'x')), 2);
  // Longer ones are not kept, and nobody waits for them.
  const std::string longer(kDiskScopeBytesMax + 1, 'x');
  EXPECT_EQ(store_.offer(prompt(2), longer), 2);
  EXPECT_EQ(store_->find(longer, prompt(2)), 0);
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.read(prompt(2), odd), 2);
  EXPECT_EQ(store_.read(prompt(2), std::string(kDiskScopeBytesMax, 'x')), 2);
}

TEST_F(Disk, AnswersRightWhenEveryHashCollides) {
  store_.options().hash_mask = 0;
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 8; ++i) EXPECT_EQ(store_.save(prompt(3, i * 100)), 3);
  Tokens equal_tail = prompt(3, 100);  // its last block equals another prompt's, behind others
  std::ranges::copy(prompt(3, 200), equal_tail.begin());
  equal_tail[0] = 7;
  EXPECT_EQ(store_->find("", equal_tail), 0);
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 8; ++i) EXPECT_EQ(store_.read(prompt(3, i * 100)), 3);
  EXPECT_EQ(store_->audit(), "");
}

TEST_F(Disk, StaysWithinItsBoundAndKeepsWhatIsUsed) {
  store_.options().bytes_max = 200'000;  // about 12 pages
  ASSERT_TRUE(store_.open());
  const Tokens favourite = prompt(3);
  ASSERT_EQ(store_.save(favourite), 3);
  for (int32_t i = 1; i < 60; ++i) {
    ASSERT_EQ(store_.save(prompt(2, 1'000 * i)), 2) << i;
    ASSERT_EQ(store_.save(favourite), 3) << i;  // a use, wherever the rows came from
    ASSERT_LE(folder_bytes(store_.options().path), 200'000u);
    ASSERT_EQ(store_->audit(), "");
  }
  EXPECT_GT(store_.metric("hadal_kv_disk_evictions_total"), 80);
  EXPECT_EQ(store_.read(favourite), 3);
  EXPECT_EQ(store_.read(prompt(2, 59'000)), 2);
  EXPECT_EQ(store_->find("", prompt(2, 1'000)), 0);
  const double pages = store_.metric("hadal_kv_disk_pages");
  EXPECT_GE(pages, 10);
  ASSERT_TRUE(store_.open());
  EXPECT_EQ(store_.metric("hadal_kv_disk_pages"), pages);
  EXPECT_EQ(store_.read(favourite), 3);
  EXPECT_EQ(store_.read(prompt(2, 59'000)), 2);
}

TEST_F(Disk, ALongPromptLosesItsEndFirst) {
  store_.options().bytes_max = 150'000;
  ASSERT_TRUE(store_.open());
  const Tokens tokens = prompt(8);
  ASSERT_EQ(store_.save(tokens), 8);
  for (int restart = 0; restart < 2; ++restart) {
    int32_t before = store_->find("", tokens);
    for (int32_t i = 1; i < 12; ++i) {
      ASSERT_EQ(store_.save(prompt(1, 1'000 * (i + 20 * restart))), 1);
      const int32_t found = store_->find("", tokens);
      ASSERT_GE(found, before - 1);
      before = found;
    }
    ASSERT_TRUE(store_.open());
  }
  EXPECT_LT(store_->find("", tokens), 8);
  EXPECT_EQ(store_.damaged(), 0);
}

TEST_F(Disk, ALowerBoundIsKeptFromTheStart) {
  store_.options().bytes_max = 400'000;
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 12; ++i) ASSERT_EQ(store_.save(prompt(3, 1'000 * i)), 3);
  store_.options().bytes_max = 120'000;
  ASSERT_TRUE(store_.open());
  EXPECT_LE(folder_bytes(store_.options().path), 120'000u);
  EXPECT_GT(store_.metric("hadal_kv_disk_pages"), 0);
  EXPECT_EQ(store_.read(prompt(3, 11'000)), 3);  // the youngest files stay
  for (int32_t i = 20; i < 30; ++i) ASSERT_EQ(store_.save(prompt(3, 1'000 * i)), 3);
  EXPECT_LE(folder_bytes(store_.options().path), 120'000u);

  store_.options().bytes_max = 10'000;
  const Status refused = store_.open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidInput);
}

TEST_F(Disk, AnotherModelsFilesMakeRoom) {
  store_.options().bytes_max = 400'000;
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 10; ++i) ASSERT_EQ(store_.save(prompt(2, 1'000 * i)), 2);
  store_.options().space = "another model";
  ASSERT_TRUE(store_.open());
  for (int32_t i = 0; i < 10; ++i) {
    ASSERT_EQ(store_.save(prompt(2, 1'000 * i)), 2);
    ASSERT_LE(folder_bytes(store_.options().path), 400'000u);
  }
  for (int32_t i = 0; i < 10; ++i) EXPECT_EQ(store_.read(prompt(2, 1'000 * i)), 2);
  EXPECT_EQ(store_.metric("hadal_kv_disk_evictions_total"), 0);
}

TEST_F(Disk, NothingIsPlacedAfterTheStopOrBelowTheSkip) {
  ASSERT_TRUE(store_.open());
  const Tokens tokens = prompt(40);
  ASSERT_EQ(store_.save(tokens), 40);
  for (int32_t round = 0; round < 50; ++round) {
    std::atomic<int32_t> allowed{0};
    std::atomic<bool> wrong{false};
    store_->start_read("", tokens, 0, 40, [&](int32_t block, std::span<const std::byte>) {
      if (block < allowed) wrong = true;
    });
    if (round % 2 == 0) {
      while (store_->progress().blocks < round % 7) std::this_thread::yield();
      store_->skip_to(20 + round % 10);
      allowed = 20 + round % 10;
      EXPECT_EQ(store_.wait_read().blocks, 40);
    } else {
      store_->stop_read();
      allowed = 100;
      EXPECT_TRUE(store_->progress().ended);
      EXPECT_EQ(store_.read(prompt(2)), 2);  // the next reading is not disturbed
    }
    store_->stop_read();
    EXPECT_FALSE(wrong);
  }
}

TEST_F(Disk, WhatIsBeingReadIsNotGivenAway) {
  store_.options().bytes_max = 150'000;
  ASSERT_TRUE(store_.open());
  const Tokens tokens = prompt(6);
  ASSERT_EQ(store_.save(tokens), 6);
  std::atomic<bool> open{false};
  std::map<int32_t, Bytes> pages;
  store_->start_read("", tokens, 0, 6, [&](int32_t block, std::span<const std::byte> page) {
    while (!open) std::this_thread::yield();
    pages[block] = {page.begin(), page.end()};
  });
  for (int32_t i = 1; i < 30; ++i) (void)store_.save(prompt(1, 1'000 * i));
  EXPECT_EQ(store_->find("", tokens), 6);
  open = true;
  EXPECT_EQ(store_.wait_read().blocks, 6);
  store_->stop_read();
  for (const auto& [block, page] : pages) EXPECT_EQ(page, page_of("", tokens, block, 5'000));
  for (int32_t i = 30; i < 60; ++i) (void)store_.save(prompt(1, 1'000 * i));
  EXPECT_EQ(store_->find("", tokens), 0);
  EXPECT_EQ(store_.damaged(), 0);
}

TEST_F(Disk, ASlowDiskIsOfferedTheRestLater) {
  store_.options().staging_bytes = 0;  // four pages
  ASSERT_TRUE(store_.open());
  const Tokens tokens = prompt(30);
  const int32_t first = store_.offer(tokens);
  EXPECT_GE(first, 4);
  EXPECT_EQ(store_.save(tokens), 30);
  EXPECT_EQ(store_.read(tokens), 30);
  EXPECT_EQ(store_.metric("hadal_kv_disk_skipped_total"), 0);
}

}  // namespace
}  // namespace hadal::kv
