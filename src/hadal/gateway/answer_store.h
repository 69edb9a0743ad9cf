// Complete answers by the request that led to them: the least recently used go first, and none
// stays beyond its time.
//
// A key is the whole request in canonical form with all that it depends on, not a hash of it, so
// that two requests can never be taken for one.
//
// Threads: every member from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::gateway {

struct StoredAnswer {
  std::string key;
  int64_t stored = 0;  // seconds since 1970
  int64_t expires = 0;
  bool streamed = false;
  std::string type;  // Content-Type
  std::string body;
  int64_t tokens = 0;  // that were generated for it
  std::string group;   // of the semantic cache; empty: not part of it
  std::string question;
  uint64_t generation = 0;                     // of the cache when it was asked for
  std::vector<std::pair<size_t, size_t>> ids;  // where the body holds its own id: begin, size

  size_t bytes() const {
    return sizeof(*this) + key.size() + body.size() + group.size() + question.size();
  }
};
using AnswerPtr = std::shared_ptr<const StoredAnswer>;

// Finds the varying part of the answer's own id ("chatcmpl-" and what follows), wherever it stands,
// so that each replay can have an id of its own.
std::vector<std::pair<size_t, size_t>> find_ids(std::string_view body);
// The body with other characters there, drawn from `salt`.
std::string with_fresh_ids(const StoredAnswer& answer, uint64_t salt);

class AnswerMemory {
 public:
  explicit AnswerMemory(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Null: not here, or its time is over.
  AnswerPtr find(std::string_view key, int64_t now);
  void put(AnswerPtr answer);
  void resize(uint64_t bytes_max);
  // How many went.
  uint64_t erase_if(const std::function<bool(std::string_view key)>& goes);
  uint64_t bytes() const;
  size_t size() const;

 private:
  void trim_locked();
  void erase_locked(std::list<AnswerPtr>::iterator at);

  mutable std::mutex mutex_;
  uint64_t bytes_max_;
  uint64_t bytes_ = 0;
  std::list<AnswerPtr> order_;                                                    // used last first
  std::unordered_map<std::string_view, std::list<AnswerPtr>::iterator> entries_;  // of their keys
};

// The same on disk, in SQLite. A file that is damaged or of another version is made anew: it is a
// cache. Oldest answers go first.
class AnswerDisk {
 public:
  static Result<std::unique_ptr<AnswerDisk>> open(const std::string& path, uint64_t bytes_max);
  ~AnswerDisk();

  Result<AnswerPtr> find(std::string_view key, int64_t now);  // null: not here
  Status put(const StoredAnswer& answer, int64_t now);
  // How many went. Reads every key: for an operator, not for a request.
  Result<uint64_t> erase_if(const std::function<bool(std::string_view key)>& goes);
  // Those that are part of the semantic cache and whose time is not over, the oldest first.
  Status each_question(int64_t now, const std::function<void(const StoredAnswer&)>& take);

 private:
  struct State;
  explicit AnswerDisk(std::unique_ptr<State> state);
  Status trim_locked(int64_t now);

  std::mutex mutex_;
  std::unique_ptr<State> state_;
};

}  // namespace hadal::gateway
