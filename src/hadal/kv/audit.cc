// Pool::audit: the invariants of pool.h, recounted from nothing.
#include <fmt/format.h>

#include <algorithm>

#include "hadal/kv/pool.h"

namespace hadal::kv {

std::string Pool::audit_block(BlockId block, int32_t references) const {
  const Node& node = nodes_[block];
  if (node.references != references) {
    return fmt::format("block {} counts {} references, tables hold {}", block, node.references,
                       references);
  }
  const auto times_free = std::ranges::count(free_, block);
  const bool is_free = !node.in_tree && references == 0;
  if (times_free != (is_free ? 1 : 0)) {
    return fmt::format("block {} is {} times in the free list, in tree {}, references {}", block,
                       times_free, node.in_tree, references);
  }
  const auto children = std::ranges::count_if(
      nodes_, [block](const Node& other) { return other.in_tree && other.parent == block; });
  if (node.children != children) {
    return fmt::format("block {} counts {} children, has {}", block, node.children, children);
  }
  if (!node.in_tree) return "";
  if (node.parent != kNone) {
    const Node& parent = nodes_[node.parent];
    if (!parent.in_tree) return fmt::format("block {} has a parent outside the tree", block);
    if (references > 0 && parent.references == 0) {
      return fmt::format("block {} is referenced, its parent {} is not", block, node.parent);
    }
  }
  const Key key = make_key(node.scope, node.parent, tokens_of(block));
  if (node.hash != key.hash) {
    return fmt::format("block {} lies in the wrong bucket", block);
  }
  if (find(key) != block) {
    return fmt::format("block {} is not found under its own key", block);
  }
  return "";
}

std::string Pool::audit(std::span<const Sequence* const> sequences) const {
  std::vector<int32_t> references(nodes_.size(), 0);
  for (const Sequence* sequence : sequences) {
    for (const BlockId block : sequence->blocks_) {
      if (block < 0 || block >= blocks()) return fmt::format("a table holds block {}", block);
      ++references[block];
    }
    for (int32_t i = 0; i < sequence->in_tree_; ++i) {
      const Node& node = nodes_[sequence->blocks_[i]];
      const BlockId parent = i == 0 ? kNone : sequence->blocks_[i - 1];
      if (!node.in_tree || node.parent != parent) {
        return fmt::format("a table's block {} is not a path of the tree", i);
      }
    }
  }
  for (BlockId block = 0; block < blocks(); ++block) {
    if (auto wrong = audit_block(block, references[block]); !wrong.empty()) return wrong;
  }
  int32_t listed = 0;
  std::vector<bool> seen(nodes_.size(), false);
  for (BlockId block = oldest_; block != kNone; block = nodes_[block].younger, ++listed) {
    const Node& node = nodes_[block];
    if (!node.in_tree || node.references > 0) {
      return fmt::format("block {} is listed as cached and is not", block);
    }
    if (node.parent != kNone && seen[node.parent]) {
      return fmt::format("block {} is younger than its parent", block);
    }
    if (seen[block]) return fmt::format("block {} is listed twice", block);
    seen[block] = true;
  }
  const auto unreferenced = std::ranges::count_if(
      nodes_, [](const Node& node) { return node.in_tree && node.references == 0; });
  if (listed != cached_ || unreferenced != cached_) {
    return fmt::format("{} cached blocks counted, {} listed, {} in the tree", cached_, listed,
                       unreferenced);
  }
  return "";
}

}  // namespace hadal::kv
