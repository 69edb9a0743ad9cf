#include "hadal/format/identity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "hadal/base/file.h"
#include "hadal/format/testing/files.h"

namespace hadal {
namespace {

using testing::bytes_of;
using testing::TempFolder;

std::string write_model(const std::string& path, float last) {
  std::vector<float> values(64, 1.0f);
  values.back() = last;
  const GgufTensorSource tensors[] = {
      {"weight", DType::kF32, {2, 32}, std::as_bytes(std::span(values))}};
  EXPECT_TRUE(write_gguf(path, {{"general.architecture", std::string("llama")}}, tensors));
  return path;
}

std::string identity_of(const std::string& path, const std::string& memo) {
  ThreadPool pool(2);
  const auto files = open_model(path);
  EXPECT_TRUE(files) << files.error().what;
  const auto identity = content_identity(*files, pool, memo);
  EXPECT_TRUE(identity) << identity.error().what;
  return identity.value_or("");
}

TEST(Identity, IsTheContentsAndNotTheNames) {
  const TempFolder folder;
  const std::string memo = folder / "cache/models";
  const std::string first = identity_of(write_model(folder / "a.gguf", 1.0f), memo);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(identity_of(write_model(folder / "b.gguf", 1.0f), memo), first);
  EXPECT_NE(identity_of(write_model(folder / "c.gguf", 2.0f), memo), first);
  // The same name, size and time of writing: a changed weight is another model.
  const auto time = std::filesystem::last_write_time(folder / "a.gguf");
  const std::string changed = write_model(folder / "a.gguf", 2.0f);
  std::filesystem::last_write_time(changed, time);
  EXPECT_NE(identity_of(changed, memo), first);
  EXPECT_EQ(identity_of(folder / "b.gguf", memo), first);
}

TEST(Identity, IsRememberedForFilesThatDidNotChange) {
  const TempFolder folder;
  const std::string memo = folder / "models";
  const std::string path = write_model(folder / "a.gguf", 1.0f);
  const std::string first = identity_of(path, memo);
  auto text = read_file(memo, 1'000);
  ASSERT_TRUE(text);
  // A memo that says otherwise is believed: so it was not read anew.
  const size_t digit = text->size() - 2;
  (*text)[digit] = (*text)[digit] == '0' ? '1' : '0';
  folder.write("models", *text);
  EXPECT_NE(identity_of(path, memo), first);
  for (const char* rubbish : {"", "\n", " \n \n", "1:2:3 short\n", "no line"}) {
    folder.write("models", rubbish);
    EXPECT_EQ(identity_of(path, memo), first);
  }
  EXPECT_EQ(identity_of(path, folder / "a.gguf/not/possible"), first);
}

TEST(Identity, TheMemoStaysSmall) {
  const TempFolder folder;
  const std::string memo = folder.write("models", std::string(60'000, 'x') + "\n");
  const std::string path = write_model(folder / "a.gguf", 1.0f);
  const std::string first = identity_of(path, memo);
  EXPECT_LT(std::filesystem::file_size(memo), 1'000u);
  EXPECT_EQ(identity_of(path, memo), first);
}

TEST(Identity, EveryByteOfMemoryCounts) {
  ThreadPool one(1);
  ThreadPool three(3);
  std::string text((33u << 20) + 5, 'a');
  std::set<std::string> seen;
  const std::string first = content_identity(bytes_of(text), one);
  seen.insert(first);
  EXPECT_EQ(content_identity(bytes_of(text), three), first);
  for (const size_t at : {size_t{0}, size_t{16u << 20}, text.size() - 1}) {
    text[at] = 'b';
    EXPECT_TRUE(seen.insert(content_identity(bytes_of(text), three)).second) << at;
    text[at] = 'a';
  }
  text.pop_back();
  EXPECT_TRUE(seen.insert(content_identity(bytes_of(text), three)).second);
  EXPECT_TRUE(seen.insert(content_identity({}, three)).second);
}

}  // namespace
}  // namespace hadal
