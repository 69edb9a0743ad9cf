#include "hadal/kv/disk_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>

#include "hadal/base/rng.h"

namespace hadal::kv {
namespace {

using Tokens = std::vector<int32_t>;

// The same by brute force: prefixes as whole texts in a list, least recently used first.
class Model {
 public:
  struct Prefix {
    std::string scope;
    Tokens tokens;
    bool starts(const Prefix& other) const {
      return scope == other.scope && tokens.size() <= other.tokens.size() &&
             std::equal(tokens.begin(), tokens.end(), other.tokens.begin());
    }
    bool operator==(const Prefix&) const = default;
  };
  bool has(const Prefix& prefix) const { return std::ranges::find(list_, prefix) != list_.end(); }
  void use(const Prefix& prefix) {
    for (size_t size = prefix.tokens.size(); size > 0; size -= 2) {
      Prefix part{prefix.scope, {prefix.tokens.begin(), prefix.tokens.begin() + size}};
      list_.remove(part);
      list_.push_back(part);
    }
  }
  void erase(const Prefix& prefix) {
    list_.remove_if([&](const Prefix& other) { return prefix.starts(other); });
  }
  const Prefix& oldest() const { return list_.front(); }
  size_t size() const { return list_.size(); }

 private:
  std::list<Prefix> list_;
};

TEST(DiskIndex, AgreesWithAListOfWholePrefixes) {
  for (const uint64_t mask : {~uint64_t{0}, uint64_t{3}}) {
    DiskIndex index(2, mask);
    Model model;
    Rng rng(11);
    const auto below = [&rng](uint64_t bound) { return static_cast<int32_t>(rng.next() % bound); };
    uint64_t ids = 0;
    std::vector<PageRef> path;
    for (int step = 0; step < 6'000; ++step) {
      Model::Prefix prefix{below(3) == 0 ? "b" : "", {}};
      const int32_t blocks = 1 + below(5);
      for (int32_t i = 0; i < blocks * 2; ++i) prefix.tokens.push_back(below(2));
      index.find_path(prefix.scope, prefix.tokens, &path);
      Model::Prefix known{prefix.scope, {}};
      while (known.tokens.size() < prefix.tokens.size()) {
        Model::Prefix next = known;
        next.tokens.assign(prefix.tokens.begin(), prefix.tokens.begin() + known.tokens.size() + 2);
        if (!model.has(next)) break;
        known = next;
      }
      ASSERT_EQ(path.size() * 2, known.tokens.size());
      const int32_t action = below(10);
      if (action < 5) {
        PageRef page = path.empty() ? kNoPage : path.back();
        for (size_t at = known.tokens.size(); at < prefix.tokens.size(); at += 2) {
          page =
              index.insert(page, prefix.scope, std::span(prefix.tokens).subspan(at, 2), {1, ++ids});
          index.at(page).slot = {0, static_cast<uint32_t>(ids)};
        }
        index.use(page);
        model.use(prefix);
      } else if (action < 8 && !path.empty()) {
        index.use(path.back());
        model.use(known);
      } else if (action == 8 && !path.empty()) {
        std::vector<DiskSlot> freed;
        const size_t before = model.size();
        index.erase(path.back(), &freed);
        model.erase(known);
        ASSERT_EQ(freed.size(), before - model.size());
      } else if (model.size() > 20) {
        // The oldest is what the list says, so it has nothing on it.
        const PageRef oldest = index.oldest();
        const Model::Prefix expected = model.oldest();
        const Tokens last(expected.tokens.end() - 2, expected.tokens.end());
        ASSERT_TRUE(std::ranges::equal(index.tokens(oldest), last));
        std::vector<DiskSlot> freed;
        index.erase(oldest, &freed);
        ASSERT_EQ(freed.size(), 1u);
        model.erase(expected);
      }
      ASSERT_EQ(static_cast<size_t>(index.pages()), model.size());
      if (step % 50 == 0) {
        ASSERT_EQ(index.audit(), "") << step;
      }
    }
    EXPECT_EQ(index.audit(), "");
  }
}

TEST(DiskIndex, PinnedPagesStayAndSoDoTheirParents) {
  DiskIndex index(1);
  const Tokens tokens = {1, 2, 3};
  PageRef page = kNoPage;
  std::vector<PageRef> pages;
  for (size_t i = 0; i < 3; ++i) {
    page = index.insert(page, "", std::span(tokens).subspan(i, 1), {1, i + 1});
    pages.push_back(page);
  }
  EXPECT_EQ(index.oldest(), pages[2]);
  index.at(pages[2]).pins = 1;
  EXPECT_EQ(index.oldest(), kNoPage);
  const PageRef other = index.insert(kNoPage, "x", std::span(tokens).first(1), {1, 9});
  EXPECT_EQ(index.oldest(), other);
  index.at(pages[2]).pins = 0;
  EXPECT_EQ(index.oldest(), pages[2]);
}

TEST(DiskIndex, ALongPathIsErasedWithoutRecursion) {
  DiskIndex index(1);
  PageRef first = kNoPage;
  PageRef page = kNoPage;
  const int32_t token = 7;
  for (uint64_t i = 1; i <= 40'000; ++i) {
    // Deep without the cost of use(), which walks to the root: every 2000 a new root.
    page = i % 2'000 == 1 ? kNoPage : page;
    const int32_t root = static_cast<int32_t>(i / 2'000);
    page = index.insert(page, "", std::span(page == kNoPage ? &root : &token, 1), {1, i});
    if (i == 1) first = page;
  }
  std::vector<DiskSlot> freed;
  index.erase(first, &freed);
  EXPECT_EQ(index.pages(), 38'000);
  EXPECT_TRUE(freed.empty());
  EXPECT_EQ(index.audit(), "");
}

}  // namespace
}  // namespace hadal::kv
