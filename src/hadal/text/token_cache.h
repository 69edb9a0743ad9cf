// The tokens of texts that were encoded before, so that a conversation's next turn encodes only
// what is new: least recently used texts go first, and the whole is bounded in bytes.
//
// A text is found by all its bytes, and only within the scope (tenant) that put it there: how long
// an answer takes tells nobody what others wrote. One cache belongs to one tokenizer.
//
// Threads: every member may be called from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/text/vocab.h"

namespace hadal {

class TokenCache {
 public:
  using Tokens = std::shared_ptr<const std::vector<TokenId>>;

  // Shorter texts are encoded as fast as they are found.
  static constexpr size_t kTextBytesMin = 64;

  explicit TokenCache(size_t bytes_max) : bytes_max_(bytes_max) {}
  TokenCache(const TokenCache&) = delete;
  TokenCache& operator=(const TokenCache&) = delete;

  // nullptr: not here. `at_start`: whatever else decides what `text` becomes; put() takes the same.
  Tokens find(std::string_view scope, std::string_view text, bool at_start);
  // Texts over a quarter of the bound are not kept.
  void put(std::string_view scope, std::string_view text, bool at_start,
           std::span<const TokenId> tokens);

  size_t bytes() const;

 private:
  struct Entry {
    uint64_t hash;
    bool at_start;
    std::string scope;
    std::string text;
    Tokens tokens;
    size_t bytes() const;
  };
  using Order = std::list<std::shared_ptr<const Entry>>;  // most recently used first

  void drop(Order::iterator entry);  // with the lock held

  const size_t bytes_max_;
  mutable std::mutex mutex_;
  Order order_;
  std::unordered_map<uint64_t, Order::iterator> by_hash_;  // of equal hashes the later
  size_t bytes_ = 0;
};

}  // namespace hadal
