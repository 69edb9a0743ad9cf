// Which pages the disk holds, in memory: a tree like the pool's (kv/pool.h), in which a page is
// found by its parent and its tokens, first pages by scope and tokens. Tokens and scope are
// compared, a hash only finds the bucket; so a page is found exactly when the whole prefix is
// equal.
//
// Pages are listed from the least to the most recently used. Using a page uses what it stands on,
// so no page is older than one that stands on it, and giving up the oldest never strands another.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/kv/disk_format.h"

namespace hadal::kv {

struct DiskSlot {
  int32_t segment = -1;
  uint32_t slot = 0;
  bool operator==(const DiskSlot&) const = default;
};

using PageRef = int32_t;
inline constexpr PageRef kNoPage = -1;

class DiskIndex {
 public:
  struct Page {
    PageId id;
    uint64_t page_hash = 0;
    DiskSlot slot;        // segment -1: none yet
    bool stored = false;  // in the file; else on its way there
    int32_t pins = 0;     // not to be given up meanwhile
    PageRef parent = kNoPage;

   private:
    friend class DiskIndex;
    PageRef first_child = kNoPage;
    PageRef next_sibling = kNoPage;
    PageRef previous_sibling = kNoPage;
    PageRef older = kNoPage;
    PageRef younger = kNoPage;
    PageRef bucket_next = kNoPage;
    uint64_t hash = 0;
    std::string scope;
  };

  explicit DiskIndex(int32_t block_tokens, uint64_t hash_mask = ~uint64_t{0})
      : block_tokens_(static_cast<size_t>(block_tokens)), hash_mask_(hash_mask) {}

  int32_t pages() const { return count_; }
  Page& at(PageRef page) { return pages_[static_cast<size_t>(page)]; }
  const Page& at(PageRef page) const { return pages_[static_cast<size_t>(page)]; }
  bool holds(PageRef page, PageId id) const { return at(page).id == id; }
  const std::string& scope(PageRef page) const { return at(page).scope; }
  std::span<const int32_t> tokens(PageRef page) const {
    return std::span(tokens_).subspan(static_cast<size_t>(page) * block_tokens_, block_tokens_);
  }

  // `tokens`: of this block. `scope` matters for first pages (parent kNoPage) only.
  PageRef find(PageRef parent, std::string_view scope, std::span<const int32_t> tokens) const;
  // The pages of the longest prefix of `tokens` that is here, the first page first.
  void find_path(std::string_view scope, std::span<const int32_t> tokens,
                 std::vector<PageRef>* path) const;
  // A page that find() does not find, as the most recently used one. `id` is not {0, 0}.
  PageRef insert(PageRef parent, std::string_view scope, std::span<const int32_t> tokens,
                 PageId id);
  // Makes it and all that it stands on the most recently used.
  void use(PageRef page);
  // Takes it and all that stands on it out; appends their slots.
  void erase(PageRef page, std::vector<DiskSlot>* freed);
  // The least recently used page with nothing on it and no pin; kNoPage: there is none.
  PageRef oldest() const;
  // Every page, in no particular order.
  std::vector<PageRef> all() const;

  // "" or the first contradiction. For tests.
  std::string audit() const;

 private:
  uint64_t hash_of(PageRef parent, std::string_view scope, std::span<const int32_t> tokens) const;
  void erase_leaf(PageRef page, std::vector<DiskSlot>* freed);
  void list_append(PageRef page);
  void list_remove(PageRef page);

  size_t block_tokens_;
  uint64_t hash_mask_;
  std::vector<Page> pages_;  // id {0, 0}: free
  std::vector<int32_t> tokens_;
  std::vector<PageRef> free_;
  std::unordered_map<uint64_t, PageRef> buckets_;
  PageRef oldest_ = kNoPage;
  PageRef youngest_ = kNoPage;
  int32_t count_ = 0;
};

}  // namespace hadal::kv
