#include "hadal/kv/pool.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>

#include "hadal/base/rng.h"

namespace hadal::kv {
namespace {

using Tokens = std::vector<int32_t>;

Tokens iota(int32_t count, int32_t from = 0) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), from);
  return tokens;
}

TEST(Pool, ReservesWholeBlocksAllOrNothing) {
  Pool pool({.blocks = 4, .block_tokens = 8});
  Sequence sequence = pool.open("", {}, 0);
  EXPECT_TRUE(sequence.reserve(1));
  EXPECT_EQ(sequence.blocks().size(), 1u);
  EXPECT_TRUE(sequence.reserve(8));
  EXPECT_EQ(sequence.blocks().size(), 1u);
  EXPECT_FALSE(sequence.reserve(33));
  EXPECT_EQ(sequence.blocks().size(), 1u);
  EXPECT_EQ(pool.free_blocks(), 3);
  EXPECT_TRUE(sequence.reserve(32));
  EXPECT_EQ(pool.available_blocks(), 0);
  sequence.release();
  EXPECT_EQ(pool.free_blocks(), 4);
}

TEST(Pool, SharesFullBlocksOfEqualPrefixesOnly) {
  Pool pool({.blocks = 16, .block_tokens = 4});
  const Tokens tokens = iota(10);
  Sequence first = pool.open("", tokens, 9);
  EXPECT_EQ(first.positions_in_tree(), 0);
  ASSERT_TRUE(first.reserve(10));
  first.commit(tokens, 10);

  Sequence second = pool.open("", tokens, 9);  // while the first still runs
  EXPECT_EQ(second.positions_in_tree(), 8);
  EXPECT_THAT(second.blocks(), testing::ElementsAre(first.blocks()[0], first.blocks()[1]));
  EXPECT_EQ(pool.referenced_blocks(), 3);

  Tokens other = tokens;
  other[5] = 99;
  EXPECT_EQ(pool.open("", other, 9).positions_in_tree(), 4);
  other[0] = 99;
  EXPECT_EQ(pool.open("", other, 9).positions_in_tree(), 0);
  EXPECT_EQ(pool.open("another tenant", tokens, 9).positions_in_tree(), 0);
  // Equal tokens behind another parent are another block.
  EXPECT_EQ(pool.open("", iota(4, 4), 4).positions_in_tree(), 0);
}

TEST(Pool, LeavesTheLastTokenToBeComputed) {
  Pool pool({.blocks = 16, .block_tokens = 4});
  const Tokens tokens = iota(8);
  {
    Sequence first = pool.open("", tokens, 7);
    ASSERT_TRUE(first.reserve(8));
    first.commit(tokens, 8);
  }
  EXPECT_EQ(pool.cached_blocks(), 2);
  EXPECT_EQ(pool.open("", tokens, 7).positions_in_tree(), 4);
  EXPECT_EQ(pool.open("", tokens, 8).positions_in_tree(), 8);
}

TEST(Pool, ExchangesABlockThatAnotherComputedMeanwhile) {
  Pool pool({.blocks = 8, .block_tokens = 4});
  const Tokens tokens = iota(9);
  Sequence a = pool.open("", tokens, 8);
  Sequence b = pool.open("", tokens, 8);
  ASSERT_TRUE(a.reserve(9));
  ASSERT_TRUE(b.reserve(9));
  EXPECT_EQ(pool.referenced_blocks(), 6);
  a.commit(tokens, 9);
  b.commit(tokens, 9);
  EXPECT_EQ(pool.referenced_blocks(), 4);
  EXPECT_EQ(a.blocks()[1], b.blocks()[1]);
  EXPECT_NE(a.blocks()[2], b.blocks()[2]);
  a.release();
  const Sequence* all[] = {&a, &b};
  EXPECT_EQ(pool.audit(all), "");
}

TEST(Pool, FollowsWhatAnotherComputesMeanwhile) {
  Pool pool({.blocks = 8, .block_tokens = 4});
  const Tokens tokens = iota(13);
  Sequence a = pool.open("", tokens, 12);
  Sequence b = pool.open("", tokens, 12);
  ASSERT_TRUE(a.reserve(13));
  ASSERT_TRUE(b.reserve(13));
  EXPECT_EQ(b.follow(tokens, 12), 0);
  a.commit(tokens, 9);
  EXPECT_EQ(b.follow(tokens, 12), 8);
  EXPECT_EQ(b.blocks()[1], a.blocks()[1]);
  EXPECT_NE(b.blocks()[2], a.blocks()[2]);
  EXPECT_EQ(b.blocks().size(), 4u);
  EXPECT_EQ(pool.referenced_blocks(), 6);
  const Sequence* all[] = {&a, &b};
  EXPECT_EQ(pool.audit(all), "");
}

TEST(Pool, EvictsTheOldestLeafFirst) {
  Pool pool({.blocks = 4, .block_tokens = 2});
  const Tokens old_tokens = iota(4), new_tokens = iota(4, 100);
  for (const Tokens& tokens : {old_tokens, new_tokens}) {
    Sequence sequence = pool.open("", tokens, 4);
    ASSERT_TRUE(sequence.reserve(4));
    sequence.commit(tokens, 4);
  }
  EXPECT_EQ(pool.cached_blocks(), 4);
  Sequence taker = pool.open("", {}, 0);
  ASSERT_TRUE(taker.reserve(2));
  EXPECT_EQ(pool.open("", old_tokens, 4).positions_in_tree(), 2);
  EXPECT_EQ(pool.open("", new_tokens, 4).positions_in_tree(), 4);
  ASSERT_TRUE(taker.reserve(4));
  EXPECT_EQ(pool.open("", old_tokens, 4).positions_in_tree(), 0);
  EXPECT_EQ(pool.open("", new_tokens, 4).positions_in_tree(), 4);
}

TEST(Pool, WithoutPrefixCacheNothingIsFound) {
  Pool pool({.blocks = 4, .block_tokens = 2, .prefix_cache = false});
  const Tokens tokens = iota(4);
  Sequence first = pool.open("", tokens, 4);
  ASSERT_TRUE(first.reserve(4));
  first.commit(tokens, 4);
  EXPECT_EQ(pool.open("", tokens, 4).positions_in_tree(), 0);
  first.release();
  EXPECT_EQ(pool.free_blocks(), 4);
}

// The same promises kept in the plainest way: a map from (scope, whole prefix) to a counted entry,
// and a search over all of it for the oldest leaf.
class Oracle {
 public:
  using Key = std::pair<std::string, Tokens>;
  struct Table {
    std::string scope;
    std::vector<std::optional<Key>> blocks;  // nullopt: private
    size_t in_tree = 0;
  };

  Oracle(int32_t blocks, int32_t block_tokens) : free_(blocks), block_tokens_(block_tokens) {}

  Table open(const std::string& scope, const Tokens& tokens, int32_t positions_max) {
    Table table{scope, {}, 0};
    follow(table, tokens, positions_max);
    return table;
  }
  void follow(Table& table, const Tokens& tokens, int32_t positions_max) {
    for (; (table.in_tree + 1) * block_tokens_ <= static_cast<size_t>(positions_max);
         ++table.in_tree) {
      Key key{table.scope,
              Tokens(tokens.begin(), tokens.begin() + (table.in_tree + 1) * block_tokens_)};
      const auto found = tree_.find(key);
      if (found == tree_.end()) break;
      ++found->second.references;
      if (table.in_tree < table.blocks.size()) {
        table.blocks[table.in_tree] = std::move(key);
        ++free_;
      } else {
        table.blocks.emplace_back(std::move(key));
      }
    }
  }
  bool reserve(Table& table, int32_t positions) {
    const size_t wanted = (positions + block_tokens_ - 1) / block_tokens_;
    const size_t have = table.blocks.size();
    if (wanted > have && static_cast<int32_t>(wanted - have) > free_ + cached()) return false;
    while (table.blocks.size() < wanted) {
      if (free_ == 0) evict();
      --free_;
      table.blocks.emplace_back(std::nullopt);
    }
    return true;
  }
  void commit(Table& table, const Tokens& tokens, int32_t positions) {
    for (; (table.in_tree + 1) * block_tokens_ <= static_cast<size_t>(positions); ++table.in_tree) {
      const auto end = tokens.begin() + (table.in_tree + 1) * block_tokens_;
      Key key{table.scope, Tokens(tokens.begin(), end)};
      const auto [entry, is_new] = tree_.try_emplace(key);
      if (!is_new) ++free_;
      ++entry->second.references;
      table.blocks[table.in_tree] = std::move(key);
    }
  }
  void release(Table& table) {
    for (; !table.blocks.empty(); table.blocks.pop_back()) {
      if (!table.blocks.back()) {
        ++free_;
      } else if (Entry& entry = tree_.at(*table.blocks.back()); --entry.references == 0) {
        entry.released = ++clock_;
      }
    }
    table.in_tree = 0;
  }
  int32_t free() const { return free_; }
  int32_t cached() const {
    return static_cast<int32_t>(
        std::ranges::count_if(tree_, [](const auto& e) { return e.second.references == 0; }));
  }

 private:
  struct Entry {
    int32_t references = 0;
    uint64_t released = 0;
  };
  bool is_leaf(const Key& key) const {
    return std::ranges::none_of(tree_, [&](const auto& other) {
      return other.first.first == key.first && other.first.second.size() > key.second.size() &&
             std::equal(key.second.begin(), key.second.end(), other.first.second.begin());
    });
  }
  void evict() {
    auto best = tree_.end();
    for (auto it = tree_.begin(); it != tree_.end(); ++it) {
      if (it->second.references > 0 || !is_leaf(it->first)) continue;
      if (best == tree_.end() || it->second.released < best->second.released) best = it;
    }
    ASSERT_NE(best, tree_.end());
    tree_.erase(best);
    ++free_;
  }

  std::map<Key, Entry> tree_;
  int32_t free_;
  int32_t block_tokens_;
  uint64_t clock_ = 0;
};

// Drives pool and oracle with the same random operations. `memory` stands for the arena: what a
// block's slot would hold, so that a block given to two owners shows as a wrong value.
class Simulation {
 public:
  explicit Simulation(uint64_t seed)
      : rng_(seed),
        block_tokens_(1 + below(4)),
        blocks_(1 + below(24)),
        alphabet_(1 + below(3)),
        pool_({.blocks = blocks_,
               .block_tokens = block_tokens_,
               .hash_mask = seed % 3 == 0 ? 1 : ~uint64_t{0}}),
        oracle_(blocks_, block_tokens_),
        memory_(static_cast<size_t>(blocks_ * block_tokens_)) {}

  void run(int steps) {
    for (int step = 0; step < steps && !testing::Test::HasFailure(); ++step) {
      const int what = below(10);
      if (live_.empty() || what < 2) {
        open();
      } else if (what < 8) {
        grow(live_[static_cast<size_t>(below(static_cast<int32_t>(live_.size())))]);
      } else {
        release(static_cast<size_t>(below(static_cast<int32_t>(live_.size()))));
      }
      check();
    }
    while (!live_.empty()) release(0);
    EXPECT_EQ(pool_.available_blocks(), blocks_);
  }

 private:
  struct Live {
    Sequence sequence;
    Oracle::Table table;
    std::string scope;
    Tokens tokens;
    int32_t computed = 0;
  };

  int32_t below(int32_t bound) { return static_cast<int32_t>(rng_.next() % bound); }
  Tokens random_tokens(int32_t count) {
    Tokens tokens;
    while (count-- > 0) tokens.push_back(below(alphabet_));
    return tokens;
  }

  void open() {
    Live live;
    live.scope = below(4) == 0 ? "b" : "";
    live.tokens = random_tokens(1 + below(block_tokens_ * 6));
    if (below(3) == 0) std::ranges::fill(live.tokens, 0);  // deep common prefixes
    const int32_t limit = static_cast<int32_t>(live.tokens.size()) - below(2);
    live.sequence = pool_.open(live.scope, live.tokens, limit);
    live.table = oracle_.open(live.scope, live.tokens, limit);
    live.computed = live.sequence.positions_in_tree();
    ASSERT_EQ(live.sequence.blocks().size(), live.table.blocks.size());
    live_.push_back(std::move(live));
  }
  void grow(Live& live) {
    const Tokens more = random_tokens(below(block_tokens_ * 2));
    live.tokens.insert(live.tokens.end(), more.begin(), more.end());
    const int32_t target = std::min(static_cast<int32_t>(live.tokens.size()),
                                    live.computed + below(block_tokens_ * 3));
    const bool done = live.sequence.reserve(target);
    ASSERT_EQ(done, oracle_.reserve(live.table, target));
    if (!done) return;
    if (live.computed == live.sequence.positions_in_tree() && below(2) == 0) {
      live.computed = live.sequence.follow(live.tokens, target);
      oracle_.follow(live.table, live.tokens, target);
    }
    for (; live.computed < target; ++live.computed)
      slot(live, live.computed) = content(live, live.computed);
    live.sequence.commit(live.tokens, live.computed);
    oracle_.commit(live.table, live.tokens, live.computed);
  }
  void release(size_t index) {
    live_[index].sequence.release();
    oracle_.release(live_[index].table);
    live_.erase(live_.begin() + static_cast<ptrdiff_t>(index));
  }

  std::string& slot(const Live& live, int32_t position) {
    const BlockId block = live.sequence.blocks()[static_cast<size_t>(position / block_tokens_)];
    return memory_[static_cast<size_t>(block * block_tokens_ + position % block_tokens_)];
  }
  // What a model would keep for a position: it depends on every token up to there.
  static std::string content(const Live& live, int32_t position) {
    std::string content = live.scope + ":";
    for (int32_t i = 0; i <= position; ++i) content += fmt::format("{},", live.tokens[i]);
    return content;
  }

  void check() {
    std::vector<const Sequence*> sequences;
    for (const Live& live : live_) {
      sequences.push_back(&live.sequence);
      for (int32_t p = 0; p < live.computed; ++p) {
        ASSERT_EQ(slot(live, p), content(live, p)) << "position " << p;
      }
    }
    ASSERT_EQ(pool_.audit(sequences), "");
    ASSERT_EQ(pool_.free_blocks(), oracle_.free());
    ASSERT_EQ(pool_.cached_blocks(), oracle_.cached());
  }

  Rng rng_;
  int32_t block_tokens_, blocks_, alphabet_;
  Pool pool_;
  Oracle oracle_;
  std::vector<std::string> memory_;
  std::vector<Live> live_;
};

TEST(Pool, AgreesWithTheOracleUnderRandomUse) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation(seed).run(120);
    if (HasFailure()) break;
  }
}

// The audit must be able to fail.
TEST(Pool, AuditSeesAMissingTable) {
  Pool pool({.blocks = 4, .block_tokens = 2});
  const Tokens tokens = iota(4);
  Sequence sequence = pool.open("", tokens, 4);
  ASSERT_TRUE(sequence.reserve(4));
  EXPECT_THAT(pool.audit({}), testing::HasSubstr("references"));
}

TEST(Pool, TheMostSimilarNextBlock) {
  Pool pool({.blocks = 16, .block_tokens = 4});
  const auto add = [&](std::string_view scope, std::vector<int32_t> tokens) {
    const auto positions = static_cast<int32_t>(tokens.size());
    Sequence sequence = pool.open(scope, tokens, positions);
    ASSERT_TRUE(sequence.reserve(positions));
    sequence.commit(tokens, positions);
  };
  add("", {1, 2, 3, 4, 5, 6, 7, 8});
  add("", {1, 2, 3, 4, 5, 6, 9, 9});
  add("", {2, 2, 3, 4});
  add("b", {1, 2, 3, 9});
  const auto similar = [&](std::string_view scope, std::vector<int32_t> tokens, int32_t most) {
    return pool.open(scope, tokens, most).similar(tokens, most).positions;
  };
  EXPECT_EQ(similar("", {1, 2, 3, 4, 5, 6, 7, 0}, 8), 3);
  EXPECT_EQ(similar("", {1, 2, 3, 4, 5, 6, 7, 8}, 7), 3) << "no further than asked";
  EXPECT_EQ(similar("", {1, 2, 3, 4, 5, 6, 7, 8}, 8), 0) << "all of it is in the tree";
  EXPECT_EQ(similar("", {1, 2, 3, 4, 6, 6, 7, 8}, 8), 0);
  EXPECT_EQ(similar("", {1, 2, 9}, 2), 2) << "among first blocks";
  EXPECT_EQ(similar("b", {1, 2, 3, 4}, 4), 3);
  EXPECT_EQ(similar("c", {1, 2, 3, 4}, 4), 0) << "another tenant's";
}

}  // namespace
}  // namespace hadal::kv
