#include "hadal/gateway/semantic_index.h"

#include <algorithm>
#include <utility>

#include "hadal/gateway/semantic_embedder.h"

namespace hadal::gateway {

void SemanticIndex::add(const std::string& group, const std::string& question,
                        const std::string& key) {
  if (question.size() > kQuestionBytesMax) return;
  Entry entry{0, question, key, lexicon_.read(question), {}};
  entry.vector = embed(entry.meaning);
  std::lock_guard lock(mutex_);
  std::vector<Entry>& entries = groups_[group];
  for (Entry& old : entries) {
    if (old.question != question) continue;
    old.key = key;
    return;
  }
  entry.number = next_++;
  order_.emplace_back(group, entry.number);
  entries.push_back(std::move(entry));
  ++size_;
  trim_locked();
}

SimilarSearch SemanticIndex::find(const std::string& group, std::string_view question,
                                  float threshold, GuardLevel level) const {
  SimilarSearch search;
  if (question.size() > kQuestionBytesMax) return search;
  const Meaning meaning = lexicon_.read(question);
  const std::vector<float> vector = embed(meaning);
  std::lock_guard lock(mutex_);
  const auto entries = groups_.find(group);
  if (entries == groups_.end()) return search;
  std::vector<std::pair<float, const Entry*>> near;
  for (const Entry& entry : entries->second) {
    const float similar = similarity(vector, entry.vector);
    if (similar >= threshold) near.emplace_back(similar, &entry);
  }
  constexpr size_t kTried = 16;
  const size_t tried = std::min(near.size(), kTried);
  std::partial_sort(near.begin(), near.begin() + static_cast<ptrdiff_t>(tried), near.end(),
                    [](const auto& a, const auto& b) {
                      return a.first != b.first ? a.first > b.first
                                                : a.second->number > b.second->number;
                    });
  for (size_t i = 0; i < tried; ++i) {
    const Objection against = objection(meaning, near[i].second->meaning, level);
    if (against == Objection::kNone) {
      search.found = {near[i].second->key, near[i].first};
      search.objection = Objection::kNone;
      return search;
    }
    if (i == 0) search.objection = against;
  }
  return search;
}

void SemanticIndex::remove(const std::string& group, const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  if (found == groups_.end()) return;
  size_ -= std::erase_if(found->second, [&](const Entry& entry) { return entry.key == key; });
  if (found->second.empty()) groups_.erase(found);
}

void SemanticIndex::erase_if(const std::function<bool(std::string_view)>& goes) {
  std::lock_guard lock(mutex_);
  for (auto group = groups_.begin(); group != groups_.end();) {
    size_ -= std::erase_if(group->second, [&](const Entry& entry) { return goes(entry.key); });
    group = group->second.empty() ? groups_.erase(group) : std::next(group);
  }
}

void SemanticIndex::resize(size_t entries_max) {
  std::lock_guard lock(mutex_);
  entries_max_ = entries_max;
  trim_locked();
}

size_t SemanticIndex::size() const {
  std::lock_guard lock(mutex_);
  return size_;
}

// `order_` may name entries that remove() took; it is bounded by what was ever added since.
void SemanticIndex::trim_locked() {
  while (!order_.empty() && (size_ > entries_max_ || order_.size() > 2 * entries_max_)) {
    const auto [group, number] = std::move(order_.front());
    order_.pop_front();
    const auto found = groups_.find(group);
    if (found == groups_.end()) continue;
    size_ -=
        std::erase_if(found->second, [&](const Entry& entry) { return entry.number == number; });
    if (found->second.empty()) groups_.erase(found);
  }
}

}  // namespace hadal::gateway
