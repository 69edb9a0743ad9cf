#include "hadal/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "hadal/base/testing/temporary_folder.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  const hadal::testing::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

std::string_view text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST_F(FileTest, MapsWhatIsThere) {
  std::string content(10'000, 'x');
  content[0] = '\0';
  content[9'999] = 'e';
  const auto file = MappedFile::open(write("a", content));
  ASSERT_TRUE(file);
  EXPECT_EQ(text(*file), content);
  EXPECT_EQ(file->path(), path("a"));
}

TEST_F(FileTest, AnEmptyFileIsAnEmptyMapping) {
  const auto file = MappedFile::open(write("empty", ""));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->bytes().empty());
  file->release(0, 0);
  file->prefetch(0, 0);
}

TEST_F(FileTest, MovingKeepsTheMappingOnce) {
  auto opened = MappedFile::open(write("a", "first"));
  auto other = MappedFile::open(write("b", "second"));
  ASSERT_TRUE(opened && other);
  MappedFile moved(std::move(*opened));
  EXPECT_EQ(text(moved), "first");
  EXPECT_TRUE(opened->bytes().empty());
  moved = std::move(*other);
  EXPECT_EQ(text(moved), "second");
}

TEST_F(FileTest, ReleaseAndPrefetchKeepTheContent) {
  const std::string content(5 * 4096 + 17, 'y');
  const auto file = MappedFile::open(write("a", content));
  ASSERT_TRUE(file);
  const std::pair<size_t, size_t> ranges[] = {
      {0, content.size()}, {1, 4095}, {4095, 4098}, {100, 0}, {content.size(), 0}};
  for (const auto& [offset, size] : ranges) {
    file->prefetch(offset, size);
    file->release(offset, size);
    EXPECT_EQ(text(*file), content) << offset;
  }
}

using FileDeathTest = FileTest;

TEST_F(FileDeathTest, ARangeOutsideTheFileIsABug) {
  const auto file = MappedFile::open(write("a", "abc"));
  ASSERT_TRUE(file);
  EXPECT_DEATH(file->release(2, 2), "check failed");
  EXPECT_DEATH(file->prefetch(4, SIZE_MAX), "check failed");
}

TEST_F(FileTest, ErrorsNameThePathAndTheReason) {
  const struct {
    std::string path;
    Code code;
    std::string reason;
  } cases[] = {
      {path("absent"), Code::kNotFound, "No such file"},
      {folder_.string(), Code::kInvalidInput, "not a regular file"},
      {"/dev/null", Code::kInvalidInput, "not a regular file"},
      {write("plain", "x") + "/below", Code::kUnavailable, "Not a directory"},
  };
  for (const auto& c : cases) {
    const auto mapped = MappedFile::open(c.path);
    const auto read = read_file(c.path, 100);
    ASSERT_FALSE(mapped) << c.path;
    ASSERT_FALSE(read) << c.path;
    for (const Error& error : {mapped.error(), read.error()}) {
      EXPECT_EQ(error.code, c.code) << error.what;
      EXPECT_NE(error.what.find(c.path), std::string::npos) << error.what;
      EXPECT_NE(error.what.find(c.reason), std::string::npos) << error.what;
    }
  }
}

TEST_F(FileTest, ReadsUpToTheLimitAndSaysBothNumbersBeyond) {
  const std::string file = write("a", std::string(100'000, 'z'));
  EXPECT_EQ(read_file(file, 100'000).value().size(), 100'000u);
  const auto refused = read_file(file, 99'999);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kTooLarge);
  EXPECT_NE(refused.error().what.find("100000 bytes, at most 99999"), std::string::npos);
}

TEST_F(FileTest, ReadsFilesOfTheKernelThatClaimToBeEmpty) {
  EXPECT_FALSE(read_file("/proc/self/status", 1 << 20).value().empty());
  EXPECT_EQ(read_file("/proc/self/status", 10).error().code, Code::kTooLarge);
}

TEST_F(FileTest, WritesAndReplacesWithoutLeftovers) {
  ASSERT_TRUE(write_file_atomic(path("a"), "one"));
  EXPECT_EQ(read_file(path("a"), 10).value(), "one");
  ASSERT_TRUE(write_file_atomic(path("a"), std::string("t\0wo", 4)));
  EXPECT_EQ(read_file(path("a"), 10).value(), std::string("t\0wo", 4));
  ASSERT_TRUE(write_file_atomic(path("a"), ""));
  EXPECT_EQ(read_file(path("a"), 10).value(), "");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(FileTest, AWrittenFileHasTheModeThatAnyFileGets) {
  const mode_t before = ::umask(022);
  ASSERT_TRUE(write_file_atomic(path("a"), "one"));
  ::umask(before);
  struct stat info {};
  ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0644u);
}

TEST_F(FileTest, AFailedWriteLeavesNothing) {
  fs::create_directory(path("taken"));
  const auto replaced = write_file_atomic(path("taken"), "x");
  ASSERT_FALSE(replaced);
  EXPECT_NE(replaced.error().what.find("taken: cannot replace"), std::string::npos);
  EXPECT_EQ(entries(), 1u);
  const auto absent = write_file_atomic(path("no/such/folder"), "x");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, Code::kNotFound);
}

TEST_F(FileTest, AReaderSeesTheOldOrTheNewContentNeverAMixture) {
  const std::string contents[] = {std::string(50'000, 'a'), std::string(80'000, 'b')};
  ASSERT_TRUE(write_file_atomic(path("a"), contents[0]));
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(write_file_atomic(path("a"), contents[i % 2]));
    done = true;
  });
  int reads = 0;
  while (!done || reads == 0) {
    const auto seen = read_file(path("a"), 1 << 20);
    ++reads;
    EXPECT_TRUE(seen && (*seen == contents[0] || *seen == contents[1]));
  }
  writer.join();
}

}  // namespace
}  // namespace hadal
