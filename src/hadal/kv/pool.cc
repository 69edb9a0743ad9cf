#include "hadal/kv/pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::kv {

Sequence::Sequence(Sequence&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      scope_(std::move(other.scope_)),
      blocks_(std::exchange(other.blocks_, {})),
      in_tree_(std::exchange(other.in_tree_, 0)) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = std::exchange(other.pool_, nullptr);
  scope_ = std::move(other.scope_);
  blocks_ = std::exchange(other.blocks_, {});
  in_tree_ = std::exchange(other.in_tree_, 0);
  return *this;
}

bool Sequence::reserve(int32_t positions) {
  HADAL_CHECK(pool_ != nullptr && positions >= 0);
  const int32_t wanted = pool_->blocks_for(positions);
  const int32_t have = static_cast<int32_t>(blocks_.size());
  if (wanted - have > pool_->available_blocks()) return false;
  for (int32_t i = have; i < wanted; ++i) blocks_.push_back(pool_->take());
  return true;
}

void Sequence::commit(std::span<const int32_t> tokens, int32_t positions) {
  HADAL_CHECK(pool_ != nullptr && positions >= 0);
  HADAL_CHECK(static_cast<size_t>(positions) <= tokens.size());
  Pool& pool = *pool_;
  if (!pool.prefix_cache_) return;
  const int32_t full = positions / pool.block_tokens_;
  HADAL_CHECK(full <= static_cast<int32_t>(blocks_.size()));
  for (; in_tree_ < full; ++in_tree_) {
    const Pool::Key key = pool.next_key(*this, tokens);
    const BlockId equal = pool.find(key);
    if (equal == Pool::kNone) {
      pool.insert(blocks_[in_tree_], key);
    } else {
      pool.reference(equal);
      pool.unreference(std::exchange(blocks_[in_tree_], equal));
    }
  }
}

int32_t Sequence::follow(std::span<const int32_t> tokens, int32_t positions_max) {
  HADAL_CHECK(pool_ != nullptr && positions_max >= 0);
  HADAL_CHECK(static_cast<size_t>(positions_max) <= tokens.size());
  Pool& pool = *pool_;
  const int32_t full = pool.prefix_cache_ ? positions_max / pool.block_tokens_ : 0;
  for (; in_tree_ < full; ++in_tree_) {
    const BlockId block = pool.find(pool.next_key(*this, tokens));
    if (block == Pool::kNone) break;
    pool.reference(block);
    if (in_tree_ < static_cast<int32_t>(blocks_.size())) {
      pool.unreference(std::exchange(blocks_[in_tree_], block));
    } else {
      blocks_.push_back(block);
    }
  }
  return in_tree_ * pool.block_tokens_;
}

Sequence::Similar Sequence::similar(std::span<const int32_t> tokens, int32_t positions_max) const {
  HADAL_CHECK(pool_ != nullptr && static_cast<size_t>(positions_max) <= tokens.size());
  const Pool& pool = *pool_;
  Similar best;
  const int32_t begin = positions_in_tree();
  if (!pool.prefix_cache_ || begin >= positions_max) return best;
  const auto wanted =
      tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(positions_max - begin));
  const BlockId parent = in_tree_ == 0 ? Pool::kNone : blocks_[in_tree_ - 1];
  for (BlockId block = 0; block < pool.blocks(); ++block) {
    const Pool::Node& node = pool.nodes_[block];
    if (!node.in_tree || node.parent != parent) continue;
    if (parent == Pool::kNone && node.scope != scope_) continue;
    const auto other = pool.tokens_of(block);
    const auto common = std::ranges::mismatch(wanted, other).in1 - wanted.begin();
    if (common > best.positions) best = {block, static_cast<int32_t>(common)};
  }
  return best;
}

void Sequence::release() {
  for (; !blocks_.empty(); blocks_.pop_back()) pool_->unreference(blocks_.back());
  in_tree_ = 0;
}

Pool::Pool(const PoolOptions& options)
    : block_tokens_(options.block_tokens),
      prefix_cache_(options.prefix_cache),
      hash_mask_(options.hash_mask) {
  HADAL_CHECK(options.blocks >= 1 && options.block_tokens >= 1);
  const size_t blocks = static_cast<size_t>(options.blocks);
  nodes_.resize(blocks);
  if (prefix_cache_) {
    tokens_.resize(blocks * block_tokens_);
    buckets_.assign(std::bit_ceil(blocks), kNone);
  }
  free_.resize(blocks);
  // Lowest ids first: an idle pool touches the same memory again and again.
  for (size_t i = 0; i < blocks; ++i) free_[i] = static_cast<BlockId>(blocks - 1 - i);
}

Sequence Pool::open(std::string_view scope, std::span<const int32_t> tokens,
                    int32_t positions_max) {
  Sequence sequence(*this, scope);
  sequence.follow(tokens, positions_max);
  return sequence;
}

// Multiply and rotate over every token; quality matters for speed only, since find() compares the
// tokens.
Pool::Key Pool::make_key(std::string_view scope, BlockId parent,
                         std::span<const int32_t> tokens) const {
  uint64_t hash = 0x9E3779B97F4A7C15ull * static_cast<uint64_t>(parent + 2);
  const auto mix = [&hash](uint64_t value) {
    hash = std::rotl((hash ^ value) * 0xD6E8FEB86659FD93ull, 29);
  };
  if (parent == kNone) {
    for (const char c : scope) mix(static_cast<unsigned char>(c));
  }
  for (const int32_t token : tokens) mix(static_cast<uint32_t>(token));
  return {scope, parent, tokens, (hash ^ (hash >> 32)) & hash_mask_};
}

Pool::Key Pool::next_key(const Sequence& sequence, std::span<const int32_t> tokens) const {
  const int32_t index = sequence.in_tree_;
  const BlockId parent = index == 0 ? kNone : sequence.blocks_[index - 1];
  return make_key(sequence.scope_, parent,
                  tokens.subspan(static_cast<size_t>(index) * block_tokens_,
                                 static_cast<size_t>(block_tokens_)));
}

BlockId Pool::find(const Key& key) const {
  for (BlockId block = buckets_[key.hash & (buckets_.size() - 1)]; block != kNone;
       block = nodes_[block].bucket_next) {
    const Node& node = nodes_[block];
    if (node.hash == key.hash && node.parent == key.parent &&
        (key.parent != kNone || node.scope == key.scope) &&
        std::ranges::equal(tokens_of(block), key.tokens)) {
      return block;
    }
  }
  return kNone;
}

void Pool::insert(BlockId block, const Key& key) {
  Node& node = nodes_[block];
  HADAL_CHECK(!node.in_tree && node.references > 0 && node.children == 0);
  node.in_tree = true;
  node.hash = key.hash;
  node.parent = key.parent;
  if (key.parent == kNone) {
    node.scope = key.scope;
  } else {
    ++nodes_[key.parent].children;
  }
  std::ranges::copy(key.tokens, tokens_.begin() + static_cast<size_t>(block) * block_tokens_);
  BlockId& bucket = buckets_[key.hash & (buckets_.size() - 1)];
  node.bucket_next = std::exchange(bucket, block);
}

void Pool::erase(BlockId block) {
  Node& node = nodes_[block];
  HADAL_CHECK(node.in_tree && node.references == 0 && node.children == 0,
              "block " + std::to_string(block) + " leaves the prefix tree before its children");
  BlockId* link = &buckets_[node.hash & (buckets_.size() - 1)];
  while (*link != block) link = &nodes_[*link].bucket_next;
  *link = node.bucket_next;
  if (node.parent != kNone) --nodes_[node.parent].children;
  node.in_tree = false;
  node.parent = kNone;
  node.bucket_next = kNone;
  node.scope.clear();
}

BlockId Pool::take() {
  if (free_.empty()) {
    const BlockId oldest = oldest_;
    HADAL_CHECK(oldest != kNone);
    list_remove(oldest);
    erase(oldest);
    free_.push_back(oldest);
  }
  const BlockId block = free_.back();
  free_.pop_back();
  nodes_[block].references = 1;
  return block;
}

void Pool::reference(BlockId block) {
  Node& node = nodes_[block];
  if (node.references++ == 0) list_remove(block);
}

void Pool::unreference(BlockId block) {
  Node& node = nodes_[block];
  HADAL_CHECK(node.references > 0);
  if (--node.references > 0) return;
  if (node.in_tree) {
    list_append(block);
  } else {
    free_.push_back(block);
  }
}

void Pool::list_append(BlockId block) {
  Node& node = nodes_[block];
  node.older = youngest_;
  node.younger = kNone;
  (youngest_ == kNone ? oldest_ : nodes_[youngest_].younger) = block;
  youngest_ = block;
  ++cached_;
}

void Pool::list_remove(BlockId block) {
  Node& node = nodes_[block];
  (node.older == kNone ? oldest_ : nodes_[node.older].younger) = node.younger;
  (node.younger == kNone ? youngest_ : nodes_[node.younger].older) = node.older;
  node.older = node.younger = kNone;
  --cached_;
}

}  // namespace hadal::kv
