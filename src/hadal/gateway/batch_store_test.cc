#include "hadal/gateway/batch_store.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "hadal/base/file.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

class BatchStoreTest : public ::testing::Test {
 protected:
  BatchStoreTest() : folder_(::testing::TempDir() + "hadal_batch_store") {
    std::filesystem::remove_all(folder_);
    reopen();
  }
  ~BatchStoreTest() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void reopen() {
    store_.reset();
    auto store = BatchStore::open(folder_, Sync::kProcess);
    ASSERT_TRUE(store) << store.error().what;
    store_ = std::move(*store);
  }
  Result<FileRecord> add(const std::string& owner, const std::string& text,
                         const FileLimits& limits = {}, int64_t expires = 0) {
    return store_->add_file({"", owner, "f", "batch", 0, 7, expires}, text, limits);
  }
  std::string batch(const std::string& owner, size_t lines) {
    BatchRecord record;
    record.owner = owner;
    record.input_file = add(owner, "x")->id;
    record.created = 7;
    const std::string id = store_->add_batch(record, 100)->id;
    std::vector<api::BatchLine> rows;
    for (size_t i = 0; i < lines; ++i) rows.push_back({fmt::format("c{}", i), i, 1});
    if (lines > 0) {
      EXPECT_TRUE(store_->begin_batch(id, rows, 8));
    }
    return id;
  }
  std::string text_of(const std::string& file) {
    return file.empty() ? "" : *read_file(store_->path_of(file), 1 << 20);
  }

  const std::string folder_;
  std::unique_ptr<BatchStore> store_;
};

TEST_F(BatchStoreTest, FilesAreListedByTheirOwnersPageByPage) {
  std::vector<std::string> made;
  for (int i = 0; i < 5; ++i) {
    made.push_back(add("a", std::to_string(i))->id);
    ASSERT_TRUE(add("b", "x"));
  }
  reopen();
  std::vector<std::string> seen;
  Page page{.limit = 2, .newest_first = false};
  for (;;) {
    const auto listed = store_->list_files("a", "batch", page);
    ASSERT_TRUE(listed);
    for (const FileRecord& file : listed->items) seen.push_back(file.id);
    if (!listed->more) break;
    page.after = seen.back();
  }
  EXPECT_EQ(seen, made);
  page = {.after = made[3], .limit = 2};
  const auto down = store_->list_files("a", "", page);
  EXPECT_EQ(down->items[0].id, made[2]);
  EXPECT_TRUE(down->more);
  EXPECT_TRUE(store_->list_files("a", "other", {})->items.empty());
  EXPECT_EQ(store_->list_files("b", "", {made[0]}).error().code, Code::kNotFound);
  EXPECT_EQ(text_of(made[3]), "3");
}

TEST_F(BatchStoreTest, AnOwnersLimitsHold) {
  EXPECT_TRUE(add("a", "12345", {2, 10}));
  EXPECT_THAT(add("a", "123456", {2, 10}).error().what, HasSubstr("11 bytes together"));
  EXPECT_TRUE(add("a", "12345", {2, 10}));
  const auto third = add("a", "", {2, 10});
  EXPECT_EQ(third.error().code, Code::kExhausted);
  EXPECT_THAT(third.error().what, HasSubstr("2 files already"));
  EXPECT_TRUE(add("b", "1234567890", {2, 10}));
  BatchRecord record;
  record.owner = "b";
  record.input_file = store_->list_files("b", "", {})->items[0].id;
  EXPECT_TRUE(store_->add_batch(record, 1));
  EXPECT_EQ(store_->add_batch(record, 1).error().code, Code::kExhausted);
  record.owner = "a";
  EXPECT_EQ(store_->add_batch(record, 9).error().code, Code::kNotFound);
}

TEST_F(BatchStoreTest, ALineHasOneResultAndTheFilesAreInOrder) {
  const std::string id = batch("a", 4);
  EXPECT_TRUE(*store_->commit_line(id, 2, true, "two"));
  EXPECT_FALSE(*store_->commit_line(id, 2, false, "again"));
  EXPECT_TRUE(*store_->commit_line(id, 0, true, "zero"));
  EXPECT_TRUE(*store_->commit_line(id, 1, false, "one"));
  reopen();
  EXPECT_EQ(*store_->done_lines(id), (std::vector<bool>{true, true, true, false}));
  ASSERT_TRUE(store_->end_batch(id, BatchStatus::kExpired, {"late", "too late"}, 99));
  ASSERT_TRUE(store_->end_batch(id, BatchStatus::kExpired, {"late", "too late"}, 100)) << "again";
  const auto ended = store_->find_batch("a", id);
  EXPECT_EQ(ended->status, BatchStatus::kExpired);
  EXPECT_EQ(ended->expired, 99);
  EXPECT_EQ(ended->completed, 0);
  EXPECT_EQ(ended->done, 4);
  EXPECT_EQ(ended->done_failed, 2);
  EXPECT_EQ(text_of(ended->output_file), "zero\ntwo\n");
  const std::string errors = text_of(ended->error_file);
  EXPECT_TRUE(errors.starts_with("one\n{")) << errors;
  EXPECT_THAT(errors, HasSubstr(R"("custom_id":"c3","response":null,"error":{"code":"late")"));
  EXPECT_EQ(store_->find_file("a", ended->output_file)->bytes, 9);
  EXPECT_TRUE(store_->done_lines(id)->empty()) << "the rows are gone";
}

TEST_F(BatchStoreTest, LargeResultsComeOutWhole) {
  const std::string id = batch("a", 40);
  std::string wanted;
  for (int i = 0; i < 40; ++i) {
    const std::string text(300'000, static_cast<char>('a' + i % 26));
    EXPECT_TRUE(*store_->commit_line(id, i, true, text));
    wanted += text + "\n";
  }
  ASSERT_TRUE(store_->end_batch(id, BatchStatus::kCompleted, {}, 9));
  const auto ended = store_->find_batch("a", id);
  EXPECT_EQ(ended->error_file, "");
  EXPECT_EQ(*read_file(store_->path_of(ended->output_file), 1 << 30), wanted);
}

TEST_F(BatchStoreTest, CancellingKnowsTheStatus) {
  const std::string id = batch("a", 1);
  EXPECT_EQ(store_->cancel_batch("b", id, 9).error().code, Code::kNotFound);
  EXPECT_EQ(store_->cancel_batch("a", id, 9)->status, BatchStatus::kCancelling);
  EXPECT_EQ(store_->cancel_batch("a", id, 10)->cancelling, 9);
  ASSERT_TRUE(store_->end_batch(id, BatchStatus::kCancelled, {"c", "d"}, 11));
  EXPECT_EQ(store_->cancel_batch("a", id, 12).error().code, Code::kInvalidInput);
  const std::string failed = batch("a", 0);
  ASSERT_TRUE(store_->fail_batch(failed, "why", 9));
  EXPECT_EQ(store_->find_batch("a", failed)->errors, "why");
  EXPECT_FALSE(store_->cancel_batch("a", failed, 12));
  EXPECT_TRUE(store_->unfinished()->empty());
}

TEST_F(BatchStoreTest, WhatIsReadStaysAndWhatIsOldGoes) {
  const std::string id = batch("a", 1);
  const std::string input = store_->find_batch("a", id)->input_file;
  EXPECT_THAT(store_->remove_file("a", input).error().what, HasSubstr(id));
  const std::string old = add("a", "x", {}, 50)->id;
  const std::string young = add("a", "x", {}, 51)->id;
  ASSERT_TRUE(store_->sweep(50, 8));
  EXPECT_FALSE(store_->find_file("a", old));
  EXPECT_FALSE(std::filesystem::exists(store_->path_of(old)));
  EXPECT_TRUE(store_->find_file("a", young));
  EXPECT_TRUE(store_->find_batch("a", id)) << "has not ended";
  ASSERT_TRUE(store_->end_batch(id, BatchStatus::kCancelled, {"c", "d"}, 9));
  ASSERT_TRUE(store_->sweep(50, 7));
  EXPECT_TRUE(store_->find_batch("a", id)) << "is not so old";
  ASSERT_TRUE(store_->sweep(50, 8));
  EXPECT_FALSE(store_->find_batch("a", id));
  EXPECT_TRUE(store_->remove_file("a", input));
}

TEST_F(BatchStoreTest, FilesWithoutARowAreGoneAtTheNextStart) {
  const std::string kept = add("a", "x")->id;
  for (const char* name : {"file-0", "file-1.part", "file-2.new1.0"}) {
    std::ofstream(store_->path_of(name)) << "x";
  }
  reopen();
  size_t left = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(folder_ + "/files")) {
    ++left;
  }
  EXPECT_EQ(left, 1u);
  EXPECT_EQ(text_of(kept), "x");
}

}  // namespace
}  // namespace hadal::gateway
