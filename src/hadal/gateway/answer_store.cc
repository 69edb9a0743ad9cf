#include "hadal/gateway/answer_store.h"

#include <algorithm>
#include <utility>

#include "hadal/base/rng.h"

namespace hadal::gateway {

std::vector<std::pair<size_t, size_t>> find_ids(std::string_view body) {
  constexpr std::string_view kId = "\"id\":";
  constexpr size_t kPartMin = 8, kPartMax = 128;
  std::vector<std::pair<size_t, size_t>> places;
  size_t at = body.find(kId);
  if (at == std::string_view::npos) return places;
  at += kId.size();
  while (at < body.size() && body[at] == ' ') ++at;
  if (at >= body.size() || body[at] != '"') return places;
  const size_t end = body.find('"', at + 1);
  if (end == std::string_view::npos) return places;
  std::string_view part = body.substr(at + 1, end - at - 1);
  if (const size_t sign = part.find_last_of("-_"); sign != std::string_view::npos) {
    part.remove_prefix(sign + 1);
  }
  const auto is_plain = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  if (part.size() < kPartMin || part.size() > kPartMax ||
      !std::all_of(part.begin(), part.end(), is_plain)) {
    return places;
  }
  for (size_t place = body.find(part); place != std::string_view::npos;
       place = body.find(part, place + part.size())) {
    places.emplace_back(place, part.size());
  }
  return places;
}

std::string with_fresh_ids(const StoredAnswer& answer, uint64_t salt) {
  std::string body = answer.body;
  if (answer.ids.empty()) return body;
  constexpr std::string_view kDigits = "0123456789abcdef";
  Rng rng(salt);
  std::string fresh;
  for (size_t i = 0; i < answer.ids[0].second; ++i) fresh.push_back(kDigits[rng.next() % 16]);
  for (const auto& [begin, size] : answer.ids) body.replace(begin, size, fresh);
  return body;
}

AnswerPtr AnswerMemory::find(std::string_view key, int64_t now) {
  std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return nullptr;
  if ((*found->second)->expires <= now) {
    erase_locked(found->second);
    return nullptr;
  }
  order_.splice(order_.begin(), order_, found->second);
  return order_.front();
}

void AnswerMemory::put(AnswerPtr answer) {
  std::lock_guard lock(mutex_);
  if (const auto old = entries_.find(answer->key); old != entries_.end()) {
    erase_locked(old->second);
  }
  bytes_ += answer->bytes();
  order_.push_front(std::move(answer));
  entries_.emplace(order_.front()->key, order_.begin());
  trim_locked();
}

void AnswerMemory::resize(uint64_t bytes_max) {
  std::lock_guard lock(mutex_);
  bytes_max_ = bytes_max;
  trim_locked();
}

uint64_t AnswerMemory::erase_if(const std::function<bool(std::string_view)>& goes) {
  std::lock_guard lock(mutex_);
  uint64_t gone = 0;
  for (auto at = order_.begin(); at != order_.end();) {
    const auto one = at++;
    if (!goes((*one)->key)) continue;
    erase_locked(one);
    ++gone;
  }
  return gone;
}

uint64_t AnswerMemory::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

size_t AnswerMemory::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

void AnswerMemory::trim_locked() {
  while (bytes_ > bytes_max_ && !order_.empty()) erase_locked(std::prev(order_.end()));
}

void AnswerMemory::erase_locked(std::list<AnswerPtr>::iterator at) {
  bytes_ -= (*at)->bytes();
  entries_.erase((*at)->key);
  order_.erase(at);
}

}  // namespace hadal::gateway
