// For tests: a disk cache of small pages whose bytes are a function of their key, so that any page
// that is read can be judged.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include "hadal/base/hash.h"
#include "hadal/base/rng.h"
#include "hadal/base/testing/temporary_folder.h"
#include "hadal/kv/disk_cache.h"
#include "hadal/obs/registry.h"

namespace hadal::kv::testing {

namespace fs = std::filesystem;
using Tokens = std::vector<int32_t>;
using Bytes = std::vector<std::byte>;

inline constexpr int32_t kBlock = 4;

inline Tokens prompt(int32_t blocks, int32_t from = 0) {
  Tokens tokens(static_cast<size_t>(blocks * kBlock));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

// What a page must hold: a function of all that its key says.
inline Bytes page_of(std::string_view scope, std::span<const int32_t> tokens, int32_t block,
                     uint64_t page_bytes, uint64_t salt = 0) {
  Hasher hasher(salt);
  hasher.update(scope);
  hasher.update(std::as_bytes(tokens.first(static_cast<size_t>((block + 1) * kBlock))));
  Rng rng(hasher.finish().low);
  Bytes page(page_bytes);
  for (std::byte& byte : page) byte = static_cast<std::byte>(rng.next());
  return page;
}

class Store {
 public:
  explicit Store(const std::string& folder) {
    options_ = {.path = folder,
                .bytes_max = 1 << 20,
                .space = "a model",
                .block_tokens = kBlock,
                .page_bytes = 5'000,
                .epoch = next_epoch()};
  }
  DiskCacheOptions& options() { return options_; }

  Status open() {
    cache_.reset();
    options_.epoch = next_epoch();
    auto cache = DiskCache::open(
        options_, *metrics_, clock_,
        [this](LogLevel level, std::string_view line) {
          const std::lock_guard lock(mutex_);
          if (level >= LogLevel::kWarning) warnings_ += std::string(line) + "\n";
        },
        [this] {
          const std::lock_guard lock(mutex_);
          ++wakes_;
          woken_.notify_all();
        });
    if (!cache) return fail(std::move(cache.error()));
    cache_ = std::move(*cache);
    return {};
  }
  void close() { cache_.reset(); }
  DiskCache* operator->() { return cache_.get(); }

  // Through the queue and into the files.
  int32_t save(const Tokens& tokens, std::string_view scope = "") {
    int32_t held = 0;
    const auto blocks = static_cast<int32_t>(tokens.size()) / kBlock;
    while (held < blocks) {
      held = offer(tokens, scope);
      cache_->flush();
    }
    return cache_->find(scope, tokens);
  }
  int32_t offer(const Tokens& tokens, std::string_view scope = "", bool last = false) {
    return cache_->save(
        scope, tokens,
        [&](int32_t block, std::span<std::byte> page) {
          std::ranges::copy(page_of(scope, tokens, block, options_.page_bytes, salt), page.begin());
        },
        last);
  }
  // Blocks [from, ...) as far as they come; every one of them must be right.
  int32_t read(const Tokens& tokens, std::string_view scope = "", int32_t from = 0) {
    std::map<int32_t, Bytes> pages;
    cache_->start_read(scope, tokens, from, static_cast<int32_t>(tokens.size()) / kBlock,
                       [&](int32_t block, std::span<const std::byte> page) {
                         pages[block] = {page.begin(), page.end()};
                       });
    const int32_t blocks = wait_read().blocks;
    cache_->stop_read();
    EXPECT_EQ(static_cast<int32_t>(pages.size()), blocks - from);
    for (const auto& [block, page] : pages) {
      EXPECT_EQ(page, page_of(scope, tokens, block, options_.page_bytes, salt)) << block;
    }
    return blocks;
  }
  DiskCache::Progress wait_read() {
    std::unique_lock lock(mutex_);
    while (!cache_->progress().ended) {
      const int wakes = wakes_;
      lock.unlock();
      const bool ended = cache_->progress().ended;
      lock.lock();
      if (!ended) woken_.wait(lock, [&] { return wakes_ != wakes; });
    }
    return cache_->progress();
  }
  double metric(const std::string& name) const {
    const std::string text = exposition(*registry_);
    const size_t at = text.find("\n" + name + "{");
    EXPECT_NE(at, std::string::npos) << name;
    return at == std::string::npos ? -1 : std::stod(text.substr(text.find("} ", at) + 2));
  }
  double errors(const std::string& kind) const {
    const std::string text = exposition(*registry_);
    const size_t at = text.find("errors_total{kind=\"" + kind + "\"");
    EXPECT_NE(at, std::string::npos) << kind;
    return at == std::string::npos ? -1 : std::stod(text.substr(text.find("} ", at) + 2));
  }
  double damaged() const { return errors("damaged"); }
  std::string warnings() {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }

  FakeClock clock_;
  uint64_t salt = 0;

 private:
  static uint64_t next_epoch() {
    static std::atomic<uint64_t> epoch{1};
    return epoch++;
  }
  std::shared_ptr<obs::Registry> registry_ = std::make_shared<obs::Registry>();
  std::unique_ptr<KvDiskMetrics> metrics_ = std::make_unique<KvDiskMetrics>("m", registry_);
  std::mutex mutex_;
  std::condition_variable woken_;
  int wakes_ = 0;
  std::string warnings_;
  DiskCacheOptions options_;
  std::unique_ptr<DiskCache> cache_;
};

inline uint64_t folder_bytes(const std::string& folder) {
  uint64_t sum = 0;
  for (const auto& entry : fs::directory_iterator(folder)) sum += entry.file_size();
  return sum;
}

inline std::vector<fs::path> segments(const std::string& folder) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".kv") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

class DiskTest : public ::testing::Test {
 protected:
  hadal::testing::TemporaryFolder folder_;
  Store store_{folder_.path() + "/cache"};
};

}  // namespace hadal::kv::testing
