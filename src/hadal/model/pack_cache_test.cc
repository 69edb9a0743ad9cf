// Packed weights kept in a folder: the same bits as without, and never those of another model,
// whatever happens to the folder, the file, or the process that writes it.
#include "hadal/model/pack_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "hadal/base/checksum.h"
#include "hadal/format/testing/files.h"
#include "hadal/model/testing/small_model.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::small_gguf;
using testing::SmallGguf;
using testing::TempFolder;

const std::vector<int32_t> kTokens = {7, 1, 30, 30, 2, 47, 0, 19};

class PackCaching : public ::testing::Test {
 protected:
  void SetUp() override {
    if (backend_->weight_layout().empty()) GTEST_SKIP() << "this machine packs nothing";
    small_gguf(Architecture::kDeepseek2).write(model_);
    options_.pack_cache.folder = cache_;
    options_.pack_cache.bytes_min = 0;
    options_.pack_cache.settled_ns = 0;
    options_.log = [this](LogLevel level, std::string_view text) {
      (level == LogLevel::kWarning ? warnings_ : news_).emplace_back(text);
    };
  }

  struct Loaded {
    std::vector<float> logits;
    bool mapped = false;
    bool operator==(const Loaded&) const = default;
  };
  Loaded load(const std::string& path, const LoadOptions& options) {
    auto files = open_model(path);
    EXPECT_TRUE(files) << files.error().what;
    auto model = load_model(*files, *backend_, options);
    EXPECT_TRUE(model) << model.error().what;
    if (!model) return {};
    return {testing::all_logits(**model, *backend_, kTokens), (*model)->mapped_bytes() > 0};
  }
  Loaded load() { return load(model_, options_); }
  std::vector<float> plain() {
    LoadOptions options = options_;
    options.pack_cache = {};
    return load(model_, options).logits;
  }
  std::vector<std::string> kept() const {
    std::vector<std::string> names;
    if (!fs::exists(cache_)) return names;
    for (const auto& entry : fs::directory_iterator(cache_)) names.push_back(entry.path().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string only() const {
    const std::vector<std::string> names = kept();
    EXPECT_EQ(names.size(), 1u);
    return names.empty() ? "" : names[0];
  }

  TempFolder folder_;
  std::string model_ = folder_ / "small.gguf", cache_ = folder_ / "deep/cache";
  ThreadPool pool_{1};
  std::unique_ptr<kernels::Backend> backend_ =
      std::move(*kernels::make_cpu_backend("", cpu_features(), pool_));
  LoadOptions options_;
  std::vector<std::string> warnings_, news_;
};

TEST_F(PackCaching, GivesTheSameBits) {
  for (const Architecture architecture :
       {Architecture::kDeepseek2, Architecture::kQwen2, Architecture::kLlama}) {
    const std::string path = folder_ / (std::string(architecture_name(architecture)) + ".gguf");
    small_gguf(architecture).write(path);
    for (const std::optional<DType> quantize :
         {std::optional<DType>(), std::optional(DType::kQ8_0), std::optional(DType::kQ4_K)}) {
      LoadOptions options = options_;
      options.quantize = quantize;
      LoadOptions off = options;
      off.pack_cache = {};
      const std::vector<float> expected = load(path, off).logits;
      EXPECT_EQ(load(path, options), (Loaded{expected, true}));
      int calls = 0;
      options.progress = [&](uint64_t, uint64_t) { ++calls; };
      options.pack_cache.verify = true;
      EXPECT_EQ(load(path, options), (Loaded{expected, true}));
      EXPECT_EQ(calls, 1);  // done at once
    }
  }
  EXPECT_EQ(kept().size(), 9u);
  EXPECT_THAT(warnings_, ElementsAre());
}

TEST_F(PackCaching, FoldersAndFp8AndTheReference) {
  testing::SmallFolder folder = small_folder(small_gguf(Architecture::kDeepseek2));
  fs::create_directory(folder_ / "hf");
  folder.write(folder_ / "hf");
  const std::vector<float> expected = plain();
  EXPECT_EQ(load(folder_ / "hf", options_), (Loaded{expected, true}));
  EXPECT_EQ(load(folder_ / "hf/", options_), (Loaded{expected, true}));
  EXPECT_EQ(kept().size(), 1u);
  backend_ = kernels::make_reference_backend();
  EXPECT_FALSE(load(folder_ / "hf", options_).mapped);
}

TEST_F(PackCaching, AChangedModelIsPackedAgain) {
  EXPECT_EQ(load(), (Loaded{plain(), true}));
  const std::string before = only();
  const auto time = fs::last_write_time(model_);
  ::usleep(20'000);
  // The same size, the same name, and the time of modification set back: in place, and as another
  // file.
  small_gguf(Architecture::kDeepseek2, 2).write(model_);
  fs::last_write_time(model_, time);
  EXPECT_EQ(load(), (Loaded{plain(), true}));
  EXPECT_NE(only(), before);
  small_gguf(Architecture::kDeepseek2, 3).write(folder_ / "new.gguf");
  fs::last_write_time(folder_ / "new.gguf", time);
  fs::rename(folder_ / "new.gguf", model_);
  EXPECT_EQ(load(), (Loaded{plain(), true}));
  // One weight, far from every sample's page.
  std::fstream file(model_, std::ios::in | std::ios::out);
  file.seekp(static_cast<int64_t>(fs::file_size(model_)) / 3);
  file.put('\x11');
  file.close();
  EXPECT_EQ(load(), (Loaded{plain(), true}));
  EXPECT_EQ(kept().size(), 1u);  // of older content nothing is left
  EXPECT_THAT(warnings_, ElementsAre());
}

TEST_F(PackCaching, ABoundKeepsWhatWasUsedLast) {
  const auto path = [&](const char* name) { return folder_ / (std::string(name) + ".gguf"); };
  for (const char* name : {"a", "b", "c"}) small_gguf(Architecture::kQwen2).write(path(name));
  const auto has = [&](const char* name) {
    const std::string begin = cache_ + "/" + name + "-";
    return std::ranges::any_of(kept(), [&](const auto& file) { return file.starts_with(begin); });
  };
  const auto aged = [&](int hours) {  // all files so far
    for (const std::string& file : kept()) {
      fs::last_write_time(file, fs::last_write_time(file) - std::chrono::hours(hours));
    }
  };
  EXPECT_TRUE(load(path("a"), options_).mapped);
  const uint64_t size = fs::file_size(only());
  const std::string stranger = cache_ + "/stranger.hadalpack";
  std::ofstream(stranger) << std::string(2 * size, 'x');
  aged(2);
  EXPECT_TRUE(load(path("b"), options_).mapped);
  aged(1);
  EXPECT_TRUE(load(path("a"), options_).mapped);  // b is now the older one

  options_.pack_cache.bytes_max = size / 2;
  EXPECT_FALSE(load(path("c"), options_).mapped);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("the folder may have")));
  EXPECT_TRUE(has("a") && has("b"));

  options_.pack_cache.bytes_max = 2 * size;
  EXPECT_TRUE(load(path("c"), options_).mapped);
  EXPECT_TRUE(has("a") && !has("b") && has("c"));
  // A lower bound holds from the next start on; what is not of this cache stays.
  options_.pack_cache.bytes_max = size;
  EXPECT_TRUE(load(path("a"), options_).mapped);
  EXPECT_TRUE(has("a") && !has("c"));
  EXPECT_TRUE(fs::exists(stranger));
}

TEST_F(PackCaching, WhatIsSmallOrNewOrUnwantedIsNotKept) {
  LoadOptions options = options_;
  options.pack_cache.bytes_min = 1 << 30;
  EXPECT_EQ(load(model_, options), (Loaded{plain(), false}));
  options = options_;
  options.pack_cache.settled_ns = 3600'000'000'000;
  EXPECT_EQ(load(model_, options), (Loaded{plain(), false}));
  EXPECT_THAT(news_, Contains(HasSubstr("changed just now")));
  EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(PackCaching, WhatIsWrongIsSaidBeforeAnythingIsPacked) {
  SmallGguf gguf = small_gguf(Architecture::kDeepseek2);
  gguf.tensors["blk.0.attn_q.bias"] = {DType::kF32, {4}, {1, 2, 3, 4}};
  gguf.write(model_);
  options_.progress = [](uint64_t, uint64_t) { ADD_FAILURE() << "packing began"; };
  const auto files = open_model(model_);
  const auto model = load_model(*files, *backend_, options_);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().what, HasSubstr("blk.0.attn_q.bias"));
  EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(PackCaching, EveryDamageIsSeenAndRepaired) {
  const Loaded expected = load();
  const std::string path = only();
  std::string good = *read_file(path, 1 << 30);
  const auto header = parse_pack_header(*MappedFile::open(path));
  ASSERT_TRUE(header) << header.error().what;
  std::vector<uint64_t> sizes;
  for (const PackExtent& extent : header->extents) sizes.push_back(extent.bytes);
  const auto refused = [&](std::string_view content, bool verify) {
    folder_.write("damaged", content);
    const auto reader = PackReader::open(folder_ / "damaged", header->key, sizes, verify, nullptr);
    return !reader && reader.error().code == Code::kCorrupt;
  };
  EXPECT_FALSE(refused(good, true));
  const auto flipped_is_refused = [&](uint64_t at, bool verify) {
    std::string bad = good;
    bad[at] ^= 4;
    return refused(bad, verify);
  };
  uint64_t header_end = 56 + 32 * sizes.size();
  for (const std::string* text :
       {&header->key.source, &header->key.identity, &header->key.family, &header->key.recipe}) {
    header_end += text->size();
  }
  for (uint64_t at = 0; at < header_end; at += at < 56 ? 1 : 7) {
    EXPECT_TRUE(flipped_is_refused(at, false)) << at;
  }
  for (const PackExtent& extent : header->extents) {
    EXPECT_TRUE(flipped_is_refused(extent.offset, false));
    EXPECT_TRUE(flipped_is_refused(extent.offset + extent.bytes - 1, false));
    EXPECT_TRUE(flipped_is_refused(extent.offset + extent.bytes / 2, true));
  }
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{55}, header_end - 1, header_end,
                              uint64_t{good.size()} / 2, uint64_t{good.size()} - 1}) {
    EXPECT_TRUE(refused(std::string_view(good).substr(0, size), false)) << size;
  }
  EXPECT_TRUE(refused(good + "x", false));

  // In the folder: a warning, and a whole file again.
  for (const uint64_t at : {uint64_t{9}, header->extents[3].offset}) {
    warnings_.clear();
    std::string bad = good;
    bad[at] ^= 4;
    std::ofstream(path, std::ios::binary) << bad;
    EXPECT_EQ(load(), expected);
    EXPECT_THAT(warnings_, Contains(HasSubstr("packed again")));
    EXPECT_EQ(*read_file(path, 1 << 30), good);
  }
}

// A header whose checksum is right.
TEST_F(PackCaching, LiesAreRefused) {
  load();
  const std::string path = only(), good = *read_file(path, 1 << 30);
  const auto header = parse_pack_header(*MappedFile::open(path));
  std::vector<uint64_t> sizes;
  for (const PackExtent& extent : header->extents) sizes.push_back(extent.bytes);
  uint32_t bytes = 0;
  std::memcpy(&bytes, good.data() + 12, 4);
  const size_t table = bytes - 32 * sizes.size();
  struct Lie {
    size_t at;
    uint64_t value;
    size_t size;
  };
  for (const Lie& lie :
       {Lie{table, 1ull << 60, 8}, Lie{table, 0, 8}, Lie{table + 8, ~0ull, 8}, Lie{table + 8, 0, 8},
        Lie{24, ~0ull, 8}, Lie{24, 0, 8}, Lie{32, 0xFFFFFFFF, 4}, Lie{32, 0, 4},
        Lie{36, 0xFFFFFFF0, 4}, Lie{12, 0xFFFFFFFF, 4}, Lie{8, 2, 4}}) {
    std::string bad = good;
    std::memcpy(bad.data() + lie.at, &lie.value, lie.size);
    std::string signed_part = bad.substr(0, bytes);
    std::memset(signed_part.data() + 16, 0, 8);
    const uint64_t sum = checksum64(signed_part);
    std::memcpy(bad.data() + 16, &sum, 8);
    folder_.write("lie", bad);
    const auto reader = PackReader::open(folder_ / "lie", header->key, sizes, true, nullptr);
    ASSERT_FALSE(reader) << lie.at << " " << lie.value;
    EXPECT_EQ(reader.error().code, Code::kCorrupt);
  }
  // Another model's file under this one's name, and this one's for another order of sizes.
  for (const auto text :
       {&PackKey::source, &PackKey::identity, &PackKey::family, &PackKey::recipe}) {
    PackKey key = header->key;
    (key.*text) += "x";
    EXPECT_FALSE(PackReader::open(path, key, sizes, false, nullptr));
  }
  std::vector<uint64_t> others = sizes;
  others[1] += 64;
  EXPECT_FALSE(PackReader::open(path, header->key, others, false, nullptr));
  others = sizes;
  others.pop_back();
  EXPECT_FALSE(PackReader::open(path, header->key, others, false, nullptr));
}

TEST_F(PackCaching, WhereNothingCanBeWrittenWeightsArePackedInMemory) {
  const std::vector<float> expected = plain();
  folder_.write("flat", "");
  for (const std::string& folder : {folder_ / "flat/cache", std::string("/proc/hadal-cache")}) {
    warnings_.clear();
    options_.pack_cache.folder = folder;
    EXPECT_EQ(load(), (Loaded{expected, false}));
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("packed weights are not kept")));
  }
  // A disk without room.
  warnings_.clear();
  options_.pack_cache.folder = cache_;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 16, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Loaded found = load();
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(found, (Loaded{expected, false}));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("packed weights are not kept")));
  EXPECT_THAT(kept(), ElementsAre());
}

TEST_F(PackCaching, ManyProcessesWriteOneFile) {
  const std::vector<float> expected = plain();
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(load() == Loaded{expected, true} && warnings_.empty() ? 0 : 1);
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_THAT(only(), HasSubstr(".hadalpack"));
}

TEST_F(PackCaching, AKillHalfWayLeavesNothingBehind) {
  const std::vector<float> expected = plain();
  for (int step = 0;; ++step) {
    const pid_t child = fork();
    if (child == 0) {
      int calls = 0;
      options_.progress = [&](uint64_t, uint64_t) {
        if (calls++ == step) kill(getpid(), SIGKILL);
      };
      load();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status)) break;  // no such step any more
    ASSERT_TRUE(WIFSIGNALED(status));
    if (!only().ends_with(".part")) break;  // the last step: the file was whole
    // Of another model's writer nothing is left either.
    if (step == 2) {
      small_gguf(Architecture::kQwen2).write(folder_ / "other.gguf");
      EXPECT_TRUE(load(folder_ / "other.gguf", options_).mapped);
      EXPECT_FALSE(only().ends_with(".part"));
      fs::remove(only());
      continue;
    }
    EXPECT_EQ(load(), (Loaded{expected, true}));
    EXPECT_FALSE(only().ends_with(".part"));
    fs::remove(only());
    ASSERT_LT(step, 1000);
  }
  EXPECT_EQ(load(), (Loaded{expected, true}));
}

}  // namespace
}  // namespace hadal
