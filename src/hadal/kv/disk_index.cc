#include "hadal/kv/disk_index.h"

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"

namespace hadal::kv {

// A first page's scope is hashed as well, so that tenants with equal prompts do not share a bucket.
uint64_t DiskIndex::hash_of(PageRef parent, std::string_view scope,
                            std::span<const int32_t> tokens) const {
  uint64_t hash = hash64(std::as_bytes(tokens), static_cast<uint64_t>(parent) + 2);
  if (parent == kNoPage) hash = hash64(std::as_bytes(std::span(scope)), hash);
  return hash & hash_mask_;
}

PageRef DiskIndex::find(PageRef parent, std::string_view scope,
                        std::span<const int32_t> tokens) const {
  HADAL_CHECK(tokens.size() == block_tokens_);
  const auto bucket = buckets_.find(hash_of(parent, scope, tokens));
  if (bucket == buckets_.end()) return kNoPage;
  for (PageRef page = bucket->second; page != kNoPage; page = at(page).bucket_next) {
    if (at(page).parent == parent && (parent != kNoPage || at(page).scope == scope) &&
        std::ranges::equal(this->tokens(page), tokens)) {
      return page;
    }
  }
  return kNoPage;
}

void DiskIndex::find_path(std::string_view scope, std::span<const int32_t> tokens,
                          std::vector<PageRef>* path) const {
  path->clear();
  PageRef parent = kNoPage;
  for (; tokens.size() >= block_tokens_; tokens = tokens.subspan(block_tokens_)) {
    parent = find(parent, scope, tokens.first(block_tokens_));
    if (parent == kNoPage) return;
    path->push_back(parent);
  }
}

PageRef DiskIndex::insert(PageRef parent, std::string_view scope, std::span<const int32_t> tokens,
                          PageId id) {
  HADAL_CHECK(tokens.size() == block_tokens_ && id != PageId{});
  PageRef page = static_cast<PageRef>(pages_.size());
  if (free_.empty()) {
    pages_.emplace_back();
    tokens_.resize(tokens_.size() + block_tokens_);
  } else {
    page = free_.back();
    free_.pop_back();
  }
  std::ranges::copy(tokens, tokens_.begin() + static_cast<size_t>(page) * block_tokens_);
  Page& entry = at(page);
  entry = {};
  entry.id = id;
  entry.parent = parent;
  entry.hash = hash_of(parent, scope, tokens);
  if (parent == kNoPage) {
    entry.scope = scope;
  } else {
    HADAL_CHECK(at(parent).id != PageId{});
    entry.next_sibling = std::exchange(at(parent).first_child, page);
    if (entry.next_sibling != kNoPage) at(entry.next_sibling).previous_sibling = page;
  }
  const auto bucket = buckets_.try_emplace(entry.hash, kNoPage).first;
  entry.bucket_next = std::exchange(bucket->second, page);
  ++count_;
  list_append(page);
  use(page);
  return page;
}

void DiskIndex::use(PageRef page) {
  for (; page != kNoPage; page = at(page).parent) {
    list_remove(page);
    list_append(page);
  }
}

void DiskIndex::erase(PageRef page, std::vector<DiskSlot>* freed) {
  // Down to a leaf, take it, go on from what it stood on; no recursion, a path may be long.
  PageRef next = page;
  while (true) {
    while (at(next).first_child != kNoPage) next = at(next).first_child;
    const PageRef above = at(next).parent;
    const bool last = next == page;
    erase_leaf(next, freed);
    if (last) return;
    next = above;
  }
}

void DiskIndex::erase_leaf(PageRef page, std::vector<DiskSlot>* freed) {
  Page& entry = at(page);
  HADAL_CHECK(entry.id != PageId{} && entry.first_child == kNoPage);
  if (entry.next_sibling != kNoPage) {
    at(entry.next_sibling).previous_sibling = entry.previous_sibling;
  }
  if (entry.previous_sibling != kNoPage) {
    at(entry.previous_sibling).next_sibling = entry.next_sibling;
  } else if (entry.parent != kNoPage) {
    at(entry.parent).first_child = entry.next_sibling;
  }
  const auto bucket = buckets_.find(entry.hash);
  PageRef* link = &bucket->second;
  while (*link != page) link = &at(*link).bucket_next;
  *link = entry.bucket_next;
  if (bucket->second == kNoPage) buckets_.erase(bucket);
  list_remove(page);
  if (entry.slot.segment >= 0) freed->push_back(entry.slot);
  entry = {};
  free_.push_back(page);
  --count_;
}

PageRef DiskIndex::oldest() const {
  PageRef page = oldest_;
  while (page != kNoPage && (at(page).pins > 0 || at(page).first_child != kNoPage)) {
    page = at(page).younger;
  }
  return page;
}

std::vector<PageRef> DiskIndex::all() const {
  std::vector<PageRef> pages;
  for (PageRef page = oldest_; page != kNoPage; page = at(page).younger) pages.push_back(page);
  return pages;
}

void DiskIndex::list_append(PageRef page) {
  Page& entry = at(page);
  entry.older = youngest_;
  entry.younger = kNoPage;
  (youngest_ == kNoPage ? oldest_ : at(youngest_).younger) = page;
  youngest_ = page;
}

void DiskIndex::list_remove(PageRef page) {
  Page& entry = at(page);
  (entry.older == kNoPage ? oldest_ : at(entry.older).younger) = entry.younger;
  (entry.younger == kNoPage ? youngest_ : at(entry.younger).older) = entry.older;
  entry.older = entry.younger = kNoPage;
}

std::string DiskIndex::audit() const {
  int32_t listed = 0;
  std::vector<int32_t> place(pages_.size(), -1);
  for (PageRef page = oldest_; page != kNoPage; page = at(page).younger) {
    place[static_cast<size_t>(page)] = listed++;
    if (listed > count_) return "the list has more pages than there are";
    if (at(page).id == PageId{}) return "a free page is listed";
  }
  if (listed != count_) return "the list lacks pages";
  int32_t children = 0;
  int32_t first_pages = 0;
  for (PageRef page = oldest_; page != kNoPage; page = at(page).younger) {
    const Page& entry = at(page);
    first_pages += entry.parent == kNoPage ? 1 : 0;
    if (entry.parent != kNoPage && !entry.scope.empty()) return "a later page has a scope";
    if (find(entry.parent, entry.scope, tokens(page)) != page) return "a page is not found";
    for (PageRef child = entry.first_child; child != kNoPage; child = at(child).next_sibling) {
      ++children;
      if (children > count_) return "children in a circle";
      if (at(child).parent != page) return "another one's child";
      if (place[static_cast<size_t>(child)] > place[static_cast<size_t>(page)]) {
        return "a page is older than one that stands on it";
      }
    }
  }
  return children + first_pages == count_ ? "" : "a page is nobody's child";
}

}  // namespace hadal::kv
