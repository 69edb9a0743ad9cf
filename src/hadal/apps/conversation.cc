#include "hadal/apps/conversation.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "hadal/apps/prompt.h"
#include "hadal/base/check.h"
#include "hadal/base/clock.h"
#include "hadal/base/local_time.h"

namespace hadal::apps {
namespace {

// From the engine's thread to this one, with a descriptor that poll() can watch beside signals.
class EventQueue {
 public:
  EventQueue() : descriptor_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    HADAL_CHECK(descriptor_ >= 0, "eventfd");
  }
  ~EventQueue() { close(descriptor_); }
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  void push(const GenerationEvent& event) {
    std::lock_guard lock(mutex_);
    events_.push_back(event);
    eventfd_write(descriptor_, 1);
  }
  std::deque<GenerationEvent> take() {
    std::lock_guard lock(mutex_);
    eventfd_t count = 0;
    eventfd_read(descriptor_, &count);
    return std::exchange(events_, {});
  }
  int descriptor() const { return descriptor_; }

 private:
  const int descriptor_;
  std::mutex mutex_;
  std::deque<GenerationEvent> events_;
};

}  // namespace

Result<LocalAnswer> answer_locally(Runtime& runtime, const LocalRequest& request, Signals& signals,
                                   const std::function<void(const AnswerEvent&)>& show) {
  const auto served = runtime.served();
  api::ChatRequest asked;
  for (const ChatMessage& message : request.messages) {
    asked.messages.push_back({message.role, message.content, message.reasoning});
  }
  asked.thinking = request.thinking;
  auto prompt = chat_prompt(*served, asked, local_seconds(SystemClock().unix_seconds()));
  if (!prompt) return fail(prompt.error().code, prompt.error().message);
  GenerationRequest generation;
  generation.prompt = std::move(prompt->tokens);
  const SamplingDefaults& defaults = served->defaults;
  generation.sampling.temperature = request.temperature.value_or(defaults.temperature);
  generation.sampling.top_p = defaults.top_p;
  generation.sampling.top_k = defaults.top_k;
  generation.sampling.min_p = defaults.min_p;
  generation.sampling.repetition_penalty = defaults.repetition_penalty;
  generation.sampling.seed = request.seed;
  generation.sampling.max_tokens = request.max_tokens;

  const auto started = std::chrono::steady_clock::now();
  auto queue = std::make_shared<EventQueue>();
  HADAL_TRY(const RequestId id,
            runtime.engine().submit(std::move(generation),
                                    [queue](const GenerationEvent& event) { queue->push(event); }));
  AnswerParser parser(std::move(prompt->format));
  LocalAnswer answer;
  const auto take = [&](const std::vector<AnswerEvent>& pieces) {
    for (const AnswerEvent& piece : pieces) {
      const bool thought = piece.kind == AnswerEvent::Kind::kReasoning;
      (thought ? answer.reasoning : answer.content) += piece.text;
      show(piece);
    }
  };
  for (;;) {
    pollfd waiting[2] = {{queue->descriptor(), POLLIN, 0}, {signals.descriptor(), POLLIN, 0}};
    poll(waiting, 2, -1);
    if (signals.wait(std::chrono::milliseconds(0))) {
      answer.interrupted = true;
      runtime.engine().cancel(id);
    }
    for (const GenerationEvent& event : queue->take()) {
      if (!answer.interrupted) take(parser.push(event.text));
      if (!event.finished) continue;
      if (event.reason == FinishReason::kError) return fail(event.error);
      take(parser.finish(event.reason != FinishReason::kStop));
      answer.usage = event.usage;
      answer.seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
      return answer;
    }
  }
}

}  // namespace hadal::apps
