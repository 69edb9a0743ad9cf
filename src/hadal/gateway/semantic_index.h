// Questions that were answered, found again when they are asked in other words.
//
// A group is all that must be equal before similarity counts: who asks, the model, system prompt,
// history, tools and parameters. Groups are small, so each is searched whole, which is exact and
// needs no index to be kept.
//
// Threads: every member from any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/gateway/semantic_guard.h"

namespace hadal::gateway {

// Longer questions are left to the exact cache: their meaning is not in a few words.
inline constexpr size_t kQuestionBytesMax = 1'000;

struct SimilarQuestion {
  std::string key;  // of the answer
  float similarity = 0;
};

struct SimilarSearch {
  std::optional<SimilarQuestion> found;
  // Why the nearest one that is similar enough was not taken; kNone: there was none.
  Objection objection = Objection::kNone;
};

class SemanticIndex {
 public:
  explicit SemanticIndex(size_t entries_max) : entries_max_(entries_max) {}

  // A question that is there already gets the new key.
  void add(const std::string& group, const std::string& question, const std::string& key);
  SimilarSearch find(const std::string& group, std::string_view question, float threshold,
                     GuardLevel level) const;
  void remove(const std::string& group, const std::string& key);
  // Those whose answer's key `goes`.
  void erase_if(const std::function<bool(std::string_view key)>& goes);
  void resize(size_t entries_max);
  size_t size() const;

 private:
  struct Entry {
    uint64_t number;
    std::string question;
    std::string key;
    Meaning meaning;
    std::vector<float> vector;
  };
  void trim_locked();

  const Lexicon lexicon_;
  mutable std::mutex mutex_;
  size_t entries_max_;
  size_t size_ = 0;
  uint64_t next_ = 0;
  std::unordered_map<std::string, std::vector<Entry>> groups_;
  std::deque<std::pair<std::string, uint64_t>> order_;  // group and number, oldest first
};

}  // namespace hadal::gateway
