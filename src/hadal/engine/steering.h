// Which token must come next, where a request's Steering says so.
//
// Threads: the engine's alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "hadal/engine/engine.h"

namespace hadal {

class Steer {
 public:
  explicit Steer(Steering plan) : plan_(std::move(plan)), thinking_(plan_.thinking_end >= 0) {}

  // The token to put in; empty: whatever is drawn.
  std::optional<TokenId> next() {
    if (pending_.empty() && thinking_ && plan_.thinking_budget >= 0 &&
        thought_ >= plan_.thinking_budget) {
      put(plan_.close);
    }
    if (at_ == pending_.size()) return std::nullopt;
    return pending_[at_++];
  }
  // Every token of the answer, put in or drawn.
  void took(TokenId token) {
    if (!thinking_) return;
    ++thought_;
    if (token != plan_.thinking_end) return;
    thinking_ = false;
    pending_.insert(pending_.end(), plan_.then.begin(), plan_.then.end());
  }

 private:
  void put(const std::vector<TokenId>& tokens) {
    pending_.insert(pending_.end(), tokens.begin(), tokens.end());
  }

  Steering plan_;
  bool thinking_;
  int32_t thought_ = 0;
  std::vector<TokenId> pending_;
  size_t at_ = 0;  // of pending_ already put in
};

}  // namespace hadal
