#include "hadal/base/pending_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "hadal/base/file.h"
#include "hadal/base/testing/temporary_folder.h"

namespace hadal {
namespace {

class Pending : public ::testing::Test {
 protected:
  static std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
  }
  std::optional<PendingFile> create() {
    auto file = PendingFile::create(path_);
    EXPECT_TRUE(file) << file.error().what;
    return std::move(*file);
  }
  size_t files() const {
    const std::filesystem::directory_iterator all(folder_);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }
  // A process that holds the file until it is killed.
  pid_t holder() const {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto file = PendingFile::create(path_);
      const bool held = file && *file && (*file)->reserve(4096) && (*file)->write(0, bytes("old"));
      const char answer = held ? 'y' : 'n';
      if (::write(ready[1], &answer, 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    char answer = 0;
    EXPECT_EQ(::read(ready[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
    return child;
  }
  static void kill(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  const std::string path_ = folder_ + "/file.bin";
};

TEST_F(Pending, AppearsWhole) {
  std::ofstream(path_) << "before";
  {
    auto file = create();
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->reserve(10));
    ASSERT_TRUE(file->write(7, bytes("end")));
    EXPECT_EQ(*read_file(path_, 100), "before");
    ASSERT_TRUE(file->write(0, bytes("begin")));
    ASSERT_TRUE(file->commit());
  }
  EXPECT_EQ(*read_file(path_, 100), std::string("begin\0\0end", 10));
  EXPECT_EQ(files(), 1u);
}

TEST_F(Pending, NothingRemainsOfWhatWasNotCommitted) {
  {
    auto file = create();
    ASSERT_TRUE(file->reserve(1 << 20));
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(Pending, OneWriterAtATime) {
  auto first = create();
  ASSERT_TRUE(first);
  EXPECT_FALSE(create());
  ASSERT_TRUE(first->reserve(1));
  ASSERT_TRUE(first->commit());
  auto second = create();
  ASSERT_TRUE(second);
  EXPECT_EQ(std::filesystem::file_size(path_), 1u);  // the whole file was not emptied
}

TEST_F(Pending, AKilledWriterIsReplaced) {
  const pid_t child = holder();
  EXPECT_FALSE(create());
  remove_abandoned(folder_, PendingFile::kSuffix);
  EXPECT_EQ(files(), 1u);  // not abandoned
  kill(child);
  auto file = create();
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->reserve(5));
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(*read_file(path_, 100), std::string(5, '\0'));
}

TEST_F(Pending, WhatAKilledWriterLeftIsRemoved) {
  kill(holder());
  std::ofstream(folder_ + "/other.txt") << "x";
  EXPECT_EQ(files(), 2u);
  remove_abandoned(folder_, ".bin.part");
  EXPECT_EQ(files(), 1u);
  remove_abandoned(folder_ + "/absent", ".part");
}

TEST_F(Pending, SaysWhyItCannot) {
  auto file = create();
  const Status status = file->reserve(uint64_t{1} << 62);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kExhausted);
  std::ofstream(folder_ + "/flat") << "x";
  const auto under_a_file = PendingFile::create(folder_ + "/flat/file.bin");
  ASSERT_FALSE(under_a_file);
  EXPECT_EQ(under_a_file.error().code, Code::kUnavailable);
}

TEST_F(Pending, StampsTellWritesApart) {
  std::ofstream(path_) << "content";
  const auto mapped = MappedFile::open(path_);
  const auto huge = MappedFile::open_huge(path_);
  ASSERT_TRUE(mapped && huge);
  EXPECT_EQ(huge->bytes().size(), 7u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(huge->bytes().data()) % (2u << 20), 0u);
  EXPECT_EQ(mapped->stamp(), *file_stamp(path_));
  ::usleep(20'000);  // the clock of file systems ticks every few milliseconds
  const auto time = std::filesystem::last_write_time(path_);
  std::fstream(path_, std::ios::in | std::ios::out) << "Content";
  std::filesystem::last_write_time(path_, time);
  const FileStamp now = *file_stamp(path_);
  EXPECT_EQ(now.modified, mapped->stamp().modified);
  EXPECT_NE(now, mapped->stamp());
}

}  // namespace
}  // namespace hadal
