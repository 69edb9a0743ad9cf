#include "hadal/text/token_cache.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/tokenizer.h"

namespace hadal {
namespace {

std::string text_of(char c, size_t size = 100) { return std::string(size, c); }

TEST(TokenCache, FindsWhatItWasGivenAndNothingElse) {
  TokenCache cache(1 << 20);
  const std::vector<TokenId> tokens = {1, 2, 3};
  cache.put("tenant", "some text", true, tokens);
  ASSERT_NE(cache.find("tenant", "some text", true), nullptr);
  EXPECT_EQ(*cache.find("tenant", "some text", true), tokens);
  EXPECT_EQ(cache.find("another", "some text", true), nullptr);
  EXPECT_EQ(cache.find("", "some text", true), nullptr);
  EXPECT_EQ(cache.find("tenant", "some tex", true), nullptr);
  EXPECT_EQ(cache.find("tenant", "some text", false), nullptr);
  EXPECT_EQ(cache.find("tenantsome ", "text", true), nullptr);
}

TEST(TokenCache, StaysWithinItsBytesAndDropsTheLongestUnused) {
  const std::vector<TokenId> tokens(10);
  TokenCache one(1 << 20);
  one.put("", text_of('a'), true, tokens);
  TokenCache cache(5 * one.bytes());
  for (char c = 'a'; c <= 'e'; ++c) cache.put("", text_of(c), true, tokens);
  EXPECT_EQ(cache.bytes(), 5 * one.bytes());
  ASSERT_NE(cache.find("", text_of('a'), true), nullptr);  // used again: 'b' is the oldest now
  cache.put("", text_of('f'), true, tokens);
  EXPECT_EQ(cache.bytes(), 5 * one.bytes());
  EXPECT_EQ(cache.find("", text_of('b'), true), nullptr);
  for (const char c : {'a', 'c', 'd', 'e', 'f'}) {
    EXPECT_NE(cache.find("", text_of(c), true), nullptr) << c;
  }
}

TEST(TokenCache, ATextTwiceCountsOnceAndAGiantNotAtAll) {
  TokenCache cache(4'000);
  cache.put("", text_of('a'), true, {});
  const size_t once = cache.bytes();
  cache.put("", text_of('a'), true, {});
  EXPECT_EQ(cache.bytes(), once);
  cache.put("", text_of('b', 1'500), true, {});
  EXPECT_EQ(cache.bytes(), once);
  EXPECT_NE(cache.find("", text_of('a'), true), nullptr);
}

TEST(TokenCache, TheTokensAreTheSameWithACacheAndWithout) {
  const auto tokenizer = Tokenizer::make(testing::small_vocab({"<s>"}));
  ASSERT_TRUE(tokenizer) << tokenizer.error().what;
  TokenCache cache(1 << 20);
  std::string words;
  for (int i = 0; i < 100; ++i) words += "hello world " + std::to_string(i);
  std::vector<std::string> turns;
  for (int turn = 0; turn < 6; ++turn) {
    turns.push_back(words.substr(static_cast<size_t>(turn) * 50));
    std::vector<TextPart> parts;
    for (const std::string& text : turns) {
      parts.push_back({"<s>", true});
      parts.push_back({text, false});
    }
    const auto plain = tokenizer->encode_parts(parts, true);
    EXPECT_EQ(tokenizer->encode_parts(parts, true, &cache, "t"), plain);
    EXPECT_EQ(tokenizer->encode_parts(parts, true, &cache, "t"), plain);
    EXPECT_EQ(tokenizer->encode_parts(parts, true, &cache, "u"), plain);
  }
  EXPECT_GT(cache.bytes(), words.size());
}

TEST(TokenCache, ManyThreadsAtOnce) {
  TokenCache cache(20'000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&cache, t] {
      for (int i = 0; i < 2'000; ++i) {
        const auto id = static_cast<TokenId>(i * (t + 1) % 50);
        const std::string text = text_of('x', 100 + static_cast<size_t>(id));
        if (const auto found = cache.find("", text, true)) {
          EXPECT_EQ(found->at(0), id);
        } else {
          cache.put("", text, true, std::vector<TokenId>{id});
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(cache.bytes(), 20'000U);
}

}  // namespace
}  // namespace hadal
