#include "hadal/apps/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "hadal/api/utf8.h"

namespace hadal::apps {
namespace {

std::vector<net::Header> json_headers() { return {{"Content-Type", "application/json"}}; }

// Clients look for words beside the code: "maximum context length" (OpenAI's, DeepSeek's agent) and
// "prompt is too long: N tokens > M maximum" (Anthropic's).
api::ApiError context_error(std::string_view field, size_t prompt, int32_t context) {
  return {Code::kInvalidInput,
          fmt::format("prompt is too long: {} tokens > {} maximum; this model's maximum context "
                      "length is {} tokens, and an answer needs room for at least one",
                      prompt, context - 1, context),
          std::string(field), "context_length_exceeded"};
}

}  // namespace

Generation::Generation(std::shared_ptr<const ServedModel> model, HttpMetrics& metrics,
                       std::string id, api::GenerationBase request, GenerationPlan plan,
                       net::ResponseWriter writer)
    : served_(std::move(model)),
      model_(*served_),
      metrics_(metrics),
      id_(std::move(id)),
      request_(std::move(request)),
      plan_(std::move(plan)),
      scoring_(request_.sampling.max_tokens == 0),
      writer_(std::move(writer)) {
  const size_t count = plan_.prompts.size() * candidates();
  choices_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Choice& choice = choices_.emplace_back(Choice{{}, AnswerParser(plan_.format)});
    api::AnswerChoice& answer = choice.answer;
    answer.index = static_cast<int32_t>(i);
    answer.has_logprobs = request_.logprobs >= 0;
    answer.has_reasoning =
        plan_.format.reasons && plan_.format.inside_reasoning && plan_.include_reasoning;
    take_events(&choice, choice.parser.push(plan_.primed));
    if (plan_.echo) {
      answer.content = api::valid_utf8(model_.tokenizer->decode(plan_.prompts[i / candidates()]));
    }
  }
  unfinished_ = count;
}

GenerationRequest Generation::engine_request(size_t choice) const {
  const api::Sampling& wanted = request_.sampling;
  const SamplingDefaults& defaults = model_.defaults;
  const size_t nth = choice % candidates();
  GenerationRequest request;
  request.prompt = plan_.prompts[choice / candidates()];
  SamplingParams& sampling = request.sampling;
  sampling.temperature = static_cast<float>(wanted.temperature.value_or(defaults.temperature));
  sampling.top_k = static_cast<int32_t>(wanted.top_k.value_or(defaults.top_k));
  sampling.top_p = static_cast<float>(wanted.top_p.value_or(defaults.top_p));
  sampling.min_p = static_cast<float>(wanted.min_p.value_or(defaults.min_p));
  sampling.repetition_penalty =
      static_cast<float>(wanted.repetition_penalty.value_or(defaults.repetition_penalty));
  sampling.presence_penalty = static_cast<float>(wanted.presence_penalty.value_or(0));
  sampling.frequency_penalty = static_cast<float>(wanted.frequency_penalty.value_or(0));
  sampling.logit_bias.assign(wanted.logit_bias.begin(), wanted.logit_bias.end());
  if (wanted.seed) sampling.seed = static_cast<uint64_t>(*wanted.seed) + nth;
  sampling.stop = wanted.stop;
  sampling.include_stop_str_in_output = wanted.include_stop;
  sampling.stop_token_ids = wanted.stop_token_ids;
  sampling.ignore_eos = wanted.ignore_eos;
  sampling.min_tokens = wanted.min_tokens;
  if (wanted.max_tokens) {
    const int64_t room = model_.engine->context() - static_cast<int64_t>(request.prompt.size());
    sampling.max_tokens = static_cast<int32_t>(
        std::clamp<int64_t>(*wanted.max_tokens, 1, std::max<int64_t>(room, 1)));
  }
  request.priority = request_.priority;
  request.logprobs = ranks() ? std::max(request_.logprobs, 0) : request_.logprobs;
  if (plan_.echo) request.prompt_logprobs = request_.logprobs;
  request.cache_scope = request_.cache_scope;
  request.show_special = !request_.skip_special_tokens;
  request.shown_tokens = plan_.shown_tokens;
  request.steering = plan_.steering;
  return request;
}

void Generation::start() {
  writer_.on_close([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->client_gone();
  });
  if (plan_.turn == nullptr) return submit();
  const auto sequences = static_cast<int64_t>(choices_.size());
  if (plan_.turn->enter(sequences, [self = shared_from_this()] { self->submit(); })) return;
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    if (!over_) ids = break_off({Code::kExhausted, "too many requests wait for the model"});
  }
  cancel(ids);
}

void Generation::submit() {
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
  }
  auto submitted = submit_all();
  if (submitted) return begin();
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    if (!over_) ids = break_off(submitted.error());
  }
  cancel(ids);
}

void Generation::end_turn() {
  if (plan_.turn == nullptr) return;
  const api::AnswerUsage usage = total_usage();
  plan_.turn->end(
      {usage.cached_tokens, usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens});
}

std::vector<net::Header> Generation::headers(std::vector<net::Header> own) const {
  if (plan_.turn == nullptr) return own;
  for (net::Header& header : plan_.turn->headers()) own.push_back(std::move(header));
  return own;
}

api::Parsed<void> Generation::submit_all() {
  for (const auto& prompt : plan_.prompts) {
    if (prompt.empty()) {
      return fail(api::ApiError(Code::kInvalidInput, "prompt: has no tokens, expected at least one",
                                "prompt"));
    }
    if (prompt.size() >= static_cast<size_t>(model_.engine->context())) {
      return fail(context_error(plan_.prompt_field, prompt.size(), model_.engine->context()));
    }
  }
  for (size_t i = 0; i < choices_.size(); ++i) {
    auto id = model_.engine->submit(
        engine_request(i),
        [self = shared_from_this(), i](const GenerationEvent& event) { self->on_event(i, event); });
    if (!id) {
      api::ApiError error(std::move(id.error()));
      if (error.code == Code::kTooLarge) {
        error.code = Code::kInvalidInput;
        error.name = "context_length_exceeded";
      }
      return fail(std::move(error));
    }
    bool over = false;
    {
      std::lock_guard lock(mutex_);
      ids_.push_back(*id);
      over = over_;
    }
    if (over) {  // the client left, and what was cancelled then did not hold this one
      cancel({*id});
      return {};
    }
  }
  return {};
}

void Generation::begin() {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    begun_ = true;
    if (request_.stream) {
      metrics_.answered(plan_.route, 200);
      writer_.start_stream(200,
                           headers({{"Content-Type", "text/event-stream; charset=utf-8"},
                                    {"Cache-Control", "no-cache"},
                                    {"X-Accel-Buffering", "no"}}),
                           {plan_.form->keep_alive(), plan_.heartbeat});
      std::vector<api::AnswerChoice> openings;
      for (const Choice& choice : choices_) {
        api::AnswerChoice& opening = openings.emplace_back();
        opening.index = choice.answer.index;
        opening.has_reasoning = choice.answer.has_reasoning;
      }
      writer_.write(plan_.form->stream_begin(openings));
    } else {
      writer_.promise(headers(json_headers()), {"\n", plan_.heartbeat});
    }
    for (const Kept& kept : std::exchange(kept_, {})) {
      if (over_) break;
      const auto more = apply(kept.choice, kept.event);
      ids.insert(ids.end(), more.begin(), more.end());
    }
  }
  cancel(ids);
}

void Generation::on_event(size_t choice, const GenerationEvent& event) {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    if (!begun_) {
      kept_.push_back({choice, event});
      return;
    }
    ids = apply(choice, event);
  }
  cancel(ids);
}

std::vector<RequestId> Generation::apply(size_t index, const GenerationEvent& event) {
  Choice& choice = choices_[index];
  if (choice.finished) return {};  // it ended by what it said, and what was on its way comes late
  if (event.finished && event.reason == FinishReason::kError) return break_off(event.error);
  if (event.finished && event.reason == FinishReason::kCancelled) {
    return break_off({Code::kUnavailable, "the server is stopping and ended this request"});
  }
  choice.usage = event.usage;
  if (!event.prompt_logprobs.empty()) add_scores(&choice, event.prompt_logprobs);
  if (!scoring_) take_text(&choice, event);
  std::vector<RequestId> ids;
  if (choice.ended && !event.finished) ids.push_back(ids_[index]);
  if (choice.ended || event.finished) {
    if (plan_.json_object && event.finished && event.reason == FinishReason::kStop &&
        !is_json_object(choice.json_text)) {
      return break_off({Code::kInternal,
                        "the model's answer is not a JSON object; ask again, or describe the form "
                        "in a message",
                        std::string(plan_.format_field), "json_validate_failed"});
    }
    choice.finished = true;
    --unfinished_;
    choice.answer.finish_reason = finish_reason(choice, event);
    choice.answer.stop_reason = event.stop_match;
  }
  if (request_.stream) send_delta(&choice);
  if (unfinished_ == 0) complete();
  return ids;
}

std::string Generation::finish_reason(const Choice& choice, const GenerationEvent& event) const {
  const bool stopped = choice.ended || (event.reason == FinishReason::kStop && !scoring_);
  if (!stopped) return "length";
  return choice.calls > 0 ? "tool_calls" : "stop";
}

void Generation::take_text(Choice* choice, const GenerationEvent& event) {
  const bool outside_text = choice->parser.inside_reasoning() || choice->calls > 0;
  if (choice->parser.inside_reasoning()) {
    choice->reasoning_tokens += static_cast<int64_t>(event.tokens.size());
  }
  take_events(choice, choice->parser.push(event.text));
  if (event.finished) {
    take_events(choice, choice->parser.finish(event.reason != FinishReason::kStop));
  }
  if (ranks()) {
    for (const TokenLogprob& entry : event.logprobs) choice->score += entry.logprob;
  }
  if (request_.logprobs < 0 || (plan_.text_scores && outside_text)) return;
  add_scores(choice, event.logprobs);
}

void Generation::note_run(Choice* choice, api::AnswerRun::Kind kind, size_t bytes) {
  std::vector<api::AnswerRun>& runs = choice->answer.runs;
  const bool goes_on = !runs.empty() && runs.back().kind == kind;
  if (goes_on && kind != api::AnswerRun::Kind::kCall) {
    runs.back().bytes += bytes;
  } else if (bytes > 0 || kind == api::AnswerRun::Kind::kCall) {
    runs.push_back({kind, bytes});
  }
}

void Generation::take_events(Choice* choice, std::vector<AnswerEvent> events) {
  for (AnswerEvent& event : events) {
    if (choice->ended) return;
    switch (event.kind) {
      case AnswerEvent::Kind::kReasoning:
        if (!plan_.include_reasoning) break;
        choice->answer.reasoning += event.text;
        note_run(choice, api::AnswerRun::Kind::kReasoning, event.text.size());
        choice->answer.has_reasoning = true;
        break;
      case AnswerEvent::Kind::kContent:
        // Text behind the only call that is wanted is not.
        choice->ended = plan_.one_call && choice->calls > 0 && choice->parser.calls_ended() > 0;
        if (!choice->ended) take_content(choice, event.text);
        break;
      case AnswerEvent::Kind::kCallBegin:
      case AnswerEvent::Kind::kArguments:
        take_call(choice, event);
        break;
    }
  }
  choice->ended |= plan_.one_call && choice->parser.calls_ended() > 0;
}

void Generation::take_content(Choice* choice, std::string_view text) {
  if (plan_.json_object) {
    for (size_t i = 0; i < text.size() && !choice->ended; ++i) {
      if (choice->json.push(text[i]) == JsonEnd::Step::kMore) continue;
      text = text.substr(0, i + 1);
      // One that has ended but is none is answered with an error at the end, as any other.
      choice->ended = is_json_object(choice->json_text + std::string(text));
      if (!choice->ended) break;
    }
    choice->json_text += text;
  }
  choice->answer.content += text;
  note_run(choice, api::AnswerRun::Kind::kContent, text.size());
}

void Generation::take_call(Choice* choice, const AnswerEvent& event) {
  std::vector<api::AnswerCall>& calls = choice->answer.calls;
  if (event.kind == AnswerEvent::Kind::kCallBegin) {
    if (plan_.one_call && choice->calls > 0) {
      choice->ended = true;
      return;
    }
    ++choice->calls;
    const std::string_view tail = std::string_view(id_).substr(id_.find_first_of("-_") + 1);
    calls.push_back({event.call,
                     fmt::format("call_{}_{}_{}", tail, choice->answer.index, event.call),
                     event.text, ""});
    note_run(choice, api::AnswerRun::Kind::kCall, 0);
    return;
  }
  if (calls.empty() || calls.back().index != event.call) {
    calls.push_back({event.call, "", "", ""});
    note_run(choice, api::AnswerRun::Kind::kCall, 0);
  }
  calls.back().arguments += event.text;
}

void Generation::add_scores(Choice* choice, const std::vector<TokenLogprob>& scores) {
  const auto score = [&](TokenId token, float logprob) {
    return api::TokenScore{std::string(model_.tokenizer->piece(token, true)), logprob};
  };
  for (const TokenLogprob& entry : scores) {
    api::TokenScores& added = choice->answer.logprobs.emplace_back();
    added.chosen = score(entry.token, entry.logprob);
    added.scored = !std::isnan(entry.logprob);
    for (const auto& [token, logprob] : entry.top) added.top.push_back(score(token, logprob));
    choice->characters += api::characters(added.chosen.bytes);
  }
}

// What is new goes out first, why it ended after it: a client that stops at finish_reason misses
// nothing.
void Generation::send_delta(Choice* choice) {
  api::AnswerChoice& answer = choice->answer;
  const std::string finish = std::exchange(answer.finish_reason, {});
  const std::string stop = std::exchange(answer.stop_reason, {});
  if (!answer.content.empty() || !answer.reasoning.empty() || !answer.calls.empty() ||
      !answer.logprobs.empty()) {
    send_chunk(choice);
    answer.content.clear();
    answer.reasoning.clear();
    answer.calls.clear();
    answer.runs.clear();
    answer.logprobs.clear();
    answer.text_offset = choice->characters;
  }
  if (finish.empty()) return;
  answer.finish_reason = finish;
  answer.stop_reason = stop;
  answer.has_logprobs = false;
  send_chunk(choice);
}

// A false return needs no reaction: the connection is being closed and client_gone() comes.
void Generation::send_chunk(Choice* choice) {
  writer_.write(plan_.form->stream_delta(choice->answer));
}

void Generation::complete() {
  over_ = true;
  end_turn();
  if (request_.stream) {
    writer_.write(plan_.form->stream_end(total_usage()));
    writer_.finish();
    return;
  }
  metrics_.answered(plan_.route, 200);
  writer_.respond(200, headers(json_headers()), plan_.form->whole(best_answers(), total_usage()));
}

// Of each prompt's candidates the most likely by the mean of their tokens, best first.
std::vector<api::AnswerChoice> Generation::best_answers() {
  std::vector<api::AnswerChoice> answers;
  const auto mean = [](const Choice& choice) {
    return choice.score / std::max(choice.usage.completion_tokens, 1);
  };
  for (size_t first = 0; first < choices_.size(); first += candidates()) {
    std::vector<Choice*> order;
    for (size_t i = 0; i < candidates(); ++i) order.push_back(&choices_[first + i]);
    if (ranks()) {
      std::stable_sort(order.begin(), order.end(),
                       [&](const Choice* a, const Choice* b) { return mean(*a) > mean(*b); });
    }
    for (size_t i = 0; i < static_cast<size_t>(request_.choices); ++i) {
      answers.push_back(std::move(order[i]->answer));
      answers.back().index = static_cast<int32_t>(answers.size()) - 1;
    }
  }
  return answers;
}

api::AnswerUsage Generation::total_usage() const {
  api::AnswerUsage total;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const Choice& choice = choices_[i];
    if (i % candidates() == 0) {  // a prompt counts once
      total.prompt_tokens += choice.usage.prompt_tokens;
      total.cached_tokens += choice.usage.cached_tokens;
    }
    total.completion_tokens += scoring_ ? 0 : choice.usage.completion_tokens;
    total.reasoning_tokens += choice.reasoning_tokens;
  }
  return total;
}

std::vector<RequestId> Generation::break_off(const api::ApiError& error) {
  over_ = true;
  end_turn();
  if (begun_ && request_.stream) {
    writer_.write(plan_.form->stream_error(error));
    writer_.finish();
  } else {
    const int status = api::http_status(error.code);
    auto headers = json_headers();
    if (status == 429 || status == 503) headers.push_back({"Retry-After", "1"});
    metrics_.answered(plan_.route, status);
    writer_.respond(status, std::move(headers), plan_.form->error(error));
  }
  return std::exchange(ids_, {});
}

void Generation::client_gone() {
  std::vector<RequestId> ids;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    over_ = true;
    end_turn();
    ids = std::exchange(ids_, {});
  }
  metrics_.client_gone();
  cancel(ids);
}

void Generation::cancel(const std::vector<RequestId>& ids) {
  for (const RequestId id : ids) model_.engine->cancel(id);
}

}  // namespace hadal::apps
