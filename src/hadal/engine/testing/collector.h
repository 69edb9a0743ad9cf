// For tests: what a request's sink was told, with a place to wait for the end.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hadal/engine/engine.h"

namespace hadal::testing {

struct Answer {
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs, prompt_logprobs;
  FinishReason reason = FinishReason::kError;
  std::string stop_match;
  Error error;
  Usage usage;
  int endings = 0;  // events with `finished`; 1 when all is well
  int events = 0;
};

class Collector {
 public:
  // `on_event` runs after the event is recorded, on the engine's thread.
  EventSink sink(std::function<void(const GenerationEvent&)> on_event = {}) {
    return [state = state_, on_event = std::move(on_event)](const GenerationEvent& event) {
      {
        const std::lock_guard lock(state->mutex);
        state->add(event);
      }
      state->changed.notify_all();
      if (on_event) on_event(event);
    };
  }
  Answer wait() {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this] { return state_->answer.endings > 0; });
    return state_->answer;
  }
  Answer wait_for_tokens(size_t count) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this, count] {
      return state_->answer.endings > 0 || state_->answer.tokens.size() >= count;
    });
    return state_->answer;
  }
  Answer now() const {
    const std::lock_guard lock(state_->mutex);
    return state_->answer;
  }

 private:
  struct State {
    void add(const GenerationEvent& event) {
      ++answer.events;
      answer.text += event.text;
      const auto append = [](auto& to, const auto& from) {
        to.insert(to.end(), from.begin(), from.end());
      };
      append(answer.tokens, event.tokens);
      append(answer.logprobs, event.logprobs);
      append(answer.prompt_logprobs, event.prompt_logprobs);
      answer.usage = event.usage;
      if (!event.finished) return;
      ++answer.endings;
      answer.reason = event.reason;
      answer.stop_match = event.stop_match;
      answer.error = event.error;
    }
    std::mutex mutex;
    std::condition_variable changed;
    Answer answer;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace hadal::testing
