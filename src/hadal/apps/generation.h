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
#include "hadal/apps/turn.h"
#include "hadal/net/exchange.h"
#include "hadal/obs/http_metrics.h"
#include "hadal/text/json_scan.h"
#include "hadal/text/parse_answer.h"

namespace hadal::apps {

struct GenerationPlan {
  std::string_view route = {};  // for metrics
  std::vector<std::vector<TokenId>> prompts = {};
  AnswerFormat format = {};  // of a chat's answer
  std::string primed = {};   // what the prompt already holds of the answer
  Steering steering = {};
  std::vector<TokenId> shown_tokens = {};
  bool include_reasoning = true;
  bool one_call = false;     // the answer ends with its first tool call
  bool json_object = false;  // the content is one JSON object, and ends with it
  bool text_scores = false;  // log-probabilities of the content's tokens alone
  // What errors call the request's parts.
  std::string_view prompt_field = "prompt";
  std::string_view format_field = "response_format";
  bool echo = false;
  std::chrono::milliseconds heartbeat{5'000};
  std::unique_ptr<api::AnswerForm> form = {};
  std::shared_ptr<Turn> turn = {};  // null: nobody counts, and nobody waits
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // `metrics` must outlive the last event.
  // `id`: of the answer; its tool calls' ids begin with it.
  Generation(std::shared_ptr<const ServedModel> model, HttpMetrics& metrics, std::string id,
             api::GenerationBase request, GenerationPlan plan, net::ResponseWriter writer);

  // Submits everything when its turn comes. On an error nothing runs, and the error has been
  // answered.
  void start();

 private:
  struct Choice {
    api::AnswerChoice answer;  // all so far; of a stream only what the next chunk needs
    AnswerParser parser;
    Usage usage = {};
    int64_t reasoning_tokens = 0;
    size_t characters = 0;  // of the tokens' text so far
    double score = 0;       // sum of the tokens' log-probabilities, where answers are ranked
    int32_t calls = 0;
    JsonEnd json = {};
    std::string json_text = {};
    bool ended = false;  // by what it says: the rest is not wanted
    bool finished = false;
  };
  struct Kept {
    size_t choice;
    GenerationEvent event;
  };

  void submit();
  // Where the last event would be, or is not wanted any more. With the lock held.
  void end_turn();
  std::vector<net::Header> headers(std::vector<net::Header> own) const;
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
  void take_events(Choice* choice, std::vector<AnswerEvent> events);
  void take_content(Choice* choice, std::string_view text);
  void take_call(Choice* choice, const AnswerEvent& event);
  static void note_run(Choice* choice, api::AnswerRun::Kind kind, size_t bytes);
  std::string finish_reason(const Choice& choice, const GenerationEvent& event) const;
  std::vector<api::AnswerChoice> best_answers();
  size_t candidates() const { return static_cast<size_t>(request_.candidates); }
  bool ranks() const { return request_.candidates > request_.choices; }
  void add_scores(Choice* choice, const std::vector<TokenLogprob>& scores);
  void send_delta(Choice* choice);
  void send_chunk(Choice* choice);
  void complete();
  api::AnswerUsage total_usage() const;

  const std::shared_ptr<const ServedModel> served_;
  const ServedModel& model_;
  HttpMetrics& metrics_;
  const std::string id_;
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
