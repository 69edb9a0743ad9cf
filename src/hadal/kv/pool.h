// Bookkeeping of the paged cache: which block holds what for whom. No tensors here: a block is an
// opaque unit of `block_tokens` consecutive positions, and what its bytes are (streams, rows,
// dtypes) is the arena's business (model/kv_arena.h).
//
// A block is in exactly one of three states:
//   free         nobody's, its content is meaningless
//   referenced   in the table of at least one sequence; it may also be in the prefix tree
//   cached       in the prefix tree and in no table; given away when free ones run out, oldest
//   first
//
// The prefix tree has one node for each full block whose positions are computed. A node's key is
// (parent node, its tokens), and for the first block of a sequence (scope, tokens); tokens are
// compared, a hash only finds the bucket. So two sequences share a block exactly when scope and all
// tokens up to the block's end are equal. Only full blocks are shared, and a shared block is never
// written: sharing copies nothing.
//
// A sequence always holds whole paths from the root, and gives them back from the leaf upwards.
// Hence a child is never younger in the list of cached blocks than its parent, and taking the
// oldest takes leaves first, without looking for them.
//
// Memory is taken in the constructor (and the scope's name in each root node).
// Threads: one thread at a time for a pool and all of its sequences.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::kv {

using BlockId = int32_t;

struct PoolOptions {
  int32_t blocks = 0;         // >= 1
  int32_t block_tokens = 32;  // >= 1
  bool prefix_cache = true;
  uint64_t hash_mask = ~uint64_t{0};  // tests take bits away, so that unequal keys collide
};

class Pool;

// One sequence's block table: blocks()[i] holds positions [i * block_tokens, (i + 1) *
// block_tokens). Gives its blocks back when destroyed; the pool must outlive it.
class Sequence {
 public:
  Sequence() = default;
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;
  ~Sequence() { release(); }

  std::span<const BlockId> blocks() const { return blocks_; }
  // Leading positions whose blocks are in the prefix tree; a multiple of block_tokens.
  int32_t positions_in_tree() const;

  // Grows the table to cover [0, positions). All or nothing: false leaves it as it was.
  [[nodiscard]] bool reserve(int32_t positions);
  // Says that [0, positions) is computed and stands for tokens[0, positions). Full blocks enter the
  // prefix tree. A block whose equal is there already is exchanged for that one (the bytes are the
  // same: a row does not depend on its batch), so the table may change here, and memory is shared
  // from now on.
  void commit(std::span<const int32_t> tokens, int32_t positions);
  // Goes on along the prefix tree from positions_in_tree(), as far as it holds tokens[0,
  // positions_max): what others computed since open() replaces reserved blocks that were not
  // written yet. To be called only when exactly positions_in_tree() positions are computed. Returns
  // the new positions_in_tree().
  int32_t follow(std::span<const int32_t> tokens, int32_t positions_max);
  // Of the blocks of the prefix tree that could be next after those of this sequence that are in
  // it, the one with the most leading tokens in common with tokens[positions_in_tree(),
  // positions_max). Who copies its bytes need not compute so many positions. Looks at every block.
  struct Similar {
    BlockId block = -1;
    int32_t positions = 0;  // 0: there is none
  };
  Similar similar(std::span<const int32_t> tokens, int32_t positions_max) const;
  // Gives all blocks back; those in the prefix tree stay cached.
  void release();

 private:
  friend class Pool;
  Sequence(Pool& pool, std::string_view scope) : pool_(&pool), scope_(scope) {}

  Pool* pool_ = nullptr;
  std::string scope_;
  std::vector<BlockId> blocks_;
  int32_t in_tree_ = 0;  // blocks_[0, in_tree_) are nodes, each the parent of the next
};

class Pool {
 public:
  explicit Pool(const PoolOptions& options);
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // A sequence that begins with the longest cached prefix of tokens[0, positions_max). A caller
  // that needs the last token's logits asks for one position less than it has, since that row must
  // run. `scope` is whatever makes equal tokens unequal: a tenant, an adapter.
  Sequence open(std::string_view scope, std::span<const int32_t> tokens, int32_t positions_max);

  int32_t blocks() const { return static_cast<int32_t>(nodes_.size()); }
  int32_t block_tokens() const { return block_tokens_; }
  bool prefix_cache() const { return prefix_cache_; }
  int32_t free_blocks() const { return static_cast<int32_t>(free_.size()); }
  int32_t cached_blocks() const { return cached_; }
  int32_t referenced_blocks() const { return blocks() - free_blocks() - cached_blocks(); }
  // What reserve() can still hand out.
  int32_t available_blocks() const { return free_blocks() + cached_blocks(); }
  int32_t blocks_for(int32_t positions) const {
    return positions / block_tokens_ + (positions % block_tokens_ != 0);
  }

  // Recounts everything from the tables of all living sequences; "" or the first contradiction. For
  // tests.
  std::string audit(std::span<const Sequence* const> sequences) const;

 private:
  friend class Sequence;
  static constexpr BlockId kNone = -1;

  struct Node {
    int32_t references = 0;
    int32_t children = 0;
    BlockId parent = kNone;
    BlockId bucket_next = kNone;
    BlockId older = kNone;  // neighbours in the list of cached blocks
    BlockId younger = kNone;
    bool in_tree = false;
    uint64_t hash = 0;
    std::string scope;  // of a first block; else empty
  };

  struct Key {
    std::string_view scope;
    BlockId parent = kNone;
    std::span<const int32_t> tokens;  // [block_tokens]
    uint64_t hash = 0;
  };
  Key make_key(std::string_view scope, BlockId parent, std::span<const int32_t> tokens) const;
  // The key of a sequence's first block outside the tree, which must be full.
  Key next_key(const Sequence& sequence, std::span<const int32_t> tokens) const;
  BlockId find(const Key& key) const;
  void insert(BlockId block, const Key& key);
  void erase(BlockId block);
  BlockId take();
  void reference(BlockId block);
  void unreference(BlockId block);
  void list_append(BlockId block);
  void list_remove(BlockId block);
  std::string audit_block(BlockId block, int32_t references) const;

  std::span<const int32_t> tokens_of(BlockId block) const {
    return {tokens_.data() + static_cast<size_t>(block) * block_tokens_,
            static_cast<size_t>(block_tokens_)};
  }

  int32_t block_tokens_;
  bool prefix_cache_;
  uint64_t hash_mask_;
  std::vector<Node> nodes_;       // [blocks]
  std::vector<int32_t> tokens_;   // [blocks, block_tokens]; of nodes in the tree
  std::vector<BlockId> buckets_;  // [power of two >= blocks]
  std::vector<BlockId> free_;
  BlockId oldest_ = kNone;
  BlockId youngest_ = kNone;
  int32_t cached_ = 0;
};

inline int32_t Sequence::positions_in_tree() const {
  return pool_ == nullptr ? 0 : in_tree_ * pool_->block_tokens();
}

}  // namespace hadal::kv
