#include "hadal/engine/ngram_index.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/base/rng.h"

namespace hadal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Tokens = std::vector<int32_t>;

struct Found {
  int32_t length = 0;
  Tokens guesses;
};

Found guess(const Tokens& text, int32_t most) {
  NgramIndex index;
  index.append(text);
  Found found;
  found.length = index.guess(most, &found.guesses);
  return found;
}

TEST(NgramIndex, WhatFollowedTheLongestMatchAndThenTheLatest) {
  struct Case {
    const char* name;
    Tokens text;
    int32_t length;
    Tokens guesses;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"nothing", {}, 0, {}},
           {"too short", {1, 2, 3}, 0, {}},
           {"two are not enough", {1, 2, 9, 8, 1, 2}, 0, {}},
           {"three are", {1, 2, 3, 4, 5, 1, 2, 3}, 3, {4, 5, 1, 2}},
           {"the longer", {7, 1, 2, 3, 4, 9, 8, 1, 2, 3, 5, 6, 7, 1, 2, 3}, 4, {4, 9, 8, 1}},
           {"the later of equals", {1, 2, 3, 4, 9, 1, 2, 3, 5, 8, 7, 1, 2, 3}, 3, {5, 8, 7, 1}},
           {"a loop goes round", {5, 1, 2, 1, 2, 1, 2}, 4, {1, 2, 1, 2}},
           {"one token for ever", {6, 6, 6, 6}, 3, {6, 6, 6, 6}}}) {
    SCOPED_TRACE(c.name);
    const Found found = guess(c.text, 4);
    EXPECT_EQ(found.length, c.length);
    EXPECT_EQ(found.guesses, c.guesses);
  }
  EXPECT_THAT(guess({1, 2, 3, 4, 1, 2, 3}, 0).guesses, IsEmpty());
  EXPECT_THAT(guess({1, 2, 3, 4, 1, 2, 3}, 1).guesses, ElementsAre(4));
}

// All earlier positions, the slow way.
Found by_search(const Tokens& text, int32_t most) {
  Found found;
  const auto size = static_cast<int32_t>(text.size());
  int32_t from = -1;
  for (int32_t end = 0; end + 1 < size; ++end) {
    int32_t length = 0;
    while (length < std::min(NgramIndex::kLongest, end + 1) &&
           text[end - length] == text[size - 1 - length]) {
      ++length;
    }
    if (length < NgramIndex::kShortest || length < found.length) continue;
    found.length = length;
    from = end + 1;
  }
  if (from < 0) return found;
  for (int32_t i = 0; i < most; ++i) {
    found.guesses.push_back(from + i < size ? text[from + i] : found.guesses[from + i - size]);
  }
  return found;
}

TEST(NgramIndex, FindsWhatASearchFinds) {
  int matches = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed);
    Tokens text;
    NgramIndex index;
    // Small texts over few tokens: fewer candidates than the index is willing to look at.
    for (int i = 0; i < 60; ++i) {
      text.push_back(static_cast<int32_t>(rng.next() % (3 + seed % 5)) * 30'000);
      index.append(std::span(text).last(1));
      int32_t occurrences = 0;
      for (size_t j = 3; j < text.size(); ++j) {
        occurrences += std::equal(text.end() - 3, text.end(), text.begin() + j - 3) ? 1 : 0;
      }
      if (occurrences > 16) continue;
      SCOPED_TRACE(fmt::format("seed {} at {}", seed, i));
      Tokens guesses;
      const int32_t length = index.guess(5, &guesses);
      const Found expected = by_search(text, 5);
      ASSERT_EQ(length, expected.length);
      ASSERT_EQ(guesses, expected.guesses);
      matches += length > 0 ? 1 : 0;
    }
  }
  EXPECT_GT(matches, 1'000);
}

}  // namespace
}  // namespace hadal
