// One API request that generates: one or several engine requests, and the answer made of their
// events, whole or streamed. Both forms are made by the same steps, so they carry the same message.
//
// Threads: start() on a handler's thread, events on the engine's, the client's going on a
// connection's. None waits for another: what comes before the answer has begun is kept and played
// back.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hadal/api/openai.h"
#include "hadal/api/openai_answer.h"
#include "hadal/apps/served_model.h"
#include "hadal/net/exchange.h"
#include "hadal/obs/http_metrics.h"
#include "hadal/text/reasoning.h"

namespace hadal::apps {

struct GenerationPlan {
  bool chat = false;
  std::string_view route;  // for metrics
  std::vector<std::vector<TokenId>> prompts;
  bool opens_thinking = false;  // the prompt ends inside <think>
  bool include_reasoning = true;
  bool echo = false;
  std::chrono::milliseconds heartbeat{5'000};
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // `metrics` must outlive the last event.
  Generation(std::shared_ptr<const ServedModel> model, HttpMetrics& metrics, api::AnswerInfo info,
             api::GenerationBase request, GenerationPlan plan, net::ResponseWriter writer);

  // Submits everything. On an error nothing runs, and the error has been answered.
  void start();

 private:
  struct Choice {
    api::AnswerChoice answer;  // all so far; of a stream only what the next chunk needs
    ReasoningSplitter splitter;
    Usage usage;
    int64_t reasoning_tokens = 0;
    size_t characters = 0;  // of the tokens' text so far
    bool finished = false;
  };
  struct Kept {
    size_t choice;
    GenerationEvent event;
  };

  GenerationRequest engine_request(size_t choice) const;
  api::Parsed<void> submit_all();
  void begin();
  void on_event(size_t choice, const GenerationEvent& event);
  void client_gone();
  // Outside the lock, as an engine may hold its own while it calls back.
  void cancel(const std::vector<RequestId>& ids);

  // With the lock held. What apply() and break_off() return is to be cancelled after the lock is
  // gone.
  std::vector<RequestId> apply(size_t choice, const GenerationEvent& event);
  std::vector<RequestId> break_off(const api::ApiError& error);
  void take_text(Choice* choice, const GenerationEvent& event);
  void add_scores(Choice* choice, const std::vector<TokenLogprob>& scores);
  void send_delta(Choice* choice);
  void send_chunk(Choice* choice);
  void send_data(std::string_view json);
  void complete();
  api::AnswerUsage total_usage() const;

  const std::shared_ptr<const ServedModel> served_;
  const ServedModel& model_;
  HttpMetrics& metrics_;
  const api::AnswerInfo info_;
  const api::GenerationBase request_;
  GenerationPlan plan_;
  bool scoring_ = false;  // max_tokens 0: the engine's one token is not part of the answer

  std::mutex mutex_;  // everything below
  net::ResponseWriter writer_;
  std::vector<Choice> choices_;
  std::vector<RequestId> ids_;
  std::vector<Kept> kept_;
  size_t unfinished_ = 0;
  bool begun_ = false;
  bool over_ = false;  // answered, broken off, or the client has gone: events are dropped
};

}  // namespace hadal::apps
