#include "hadal/text/token_cache.h"

#include <utility>

#include "hadal/base/hash.h"

namespace hadal {
namespace {

uint64_t hash_of(std::string_view scope, std::string_view text, bool at_start) {
  const uint64_t seed = hash64(std::as_bytes(std::span(scope)), at_start ? 1 : 0);
  return hash64(std::as_bytes(std::span(text)), seed);
}

}  // namespace

size_t TokenCache::Entry::bytes() const {
  constexpr size_t kOverhead = 256;  // nodes, strings, counts
  return kOverhead + scope.size() + text.size() + tokens->size() * sizeof(TokenId);
}

TokenCache::Tokens TokenCache::find(std::string_view scope, std::string_view text, bool at_start) {
  const uint64_t hash = hash_of(scope, text, at_start);
  std::shared_ptr<const Entry> entry;
  {
    std::lock_guard lock(mutex_);
    const auto found = by_hash_.find(hash);
    if (found == by_hash_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    entry = *found->second;
  }
  const bool same = entry->at_start == at_start && entry->scope == scope && entry->text == text;
  return same ? entry->tokens : nullptr;
}

void TokenCache::put(std::string_view scope, std::string_view text, bool at_start,
                     std::span<const TokenId> tokens) {
  auto entry = std::make_shared<const Entry>(
      Entry{hash_of(scope, text, at_start), at_start, std::string(scope), std::string(text),
            std::make_shared<const std::vector<TokenId>>(tokens.begin(), tokens.end())});
  const size_t size = entry->bytes();
  if (size > bytes_max_ / 4) return;
  std::lock_guard lock(mutex_);
  const auto old = by_hash_.find(entry->hash);
  if (old != by_hash_.end()) drop(old->second);
  while (bytes_ + size > bytes_max_) drop(std::prev(order_.end()));
  order_.push_front(std::move(entry));
  by_hash_.emplace(order_.front()->hash, order_.begin());
  bytes_ += size;
}

void TokenCache::drop(Order::iterator entry) {
  bytes_ -= (*entry)->bytes();
  by_hash_.erase((*entry)->hash);
  order_.erase(entry);
}

size_t TokenCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace hadal
