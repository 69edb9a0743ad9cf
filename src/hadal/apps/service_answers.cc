// The endpoints that read a body: every protocol's, and the tokenizer's.
#include <fmt/format.h>

#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai_answer.h"
#include "hadal/api/responses.h"
#include "hadal/apps/generation.h"
#include "hadal/apps/prompt.h"
#include "hadal/apps/service.h"
#include "hadal/base/local_time.h"

namespace hadal::apps {
namespace {

// Ids must name tokens of this vocabulary before anything looks them up.
api::Parsed<void> check_tokens(const ServedModel& model, const std::vector<TokenId>& tokens,
                               std::string_view field) {
  const int32_t size = model.tokenizer->vocabulary_size();
  for (const TokenId id : tokens) {
    if (id >= size) {
      return fail(api::ApiError(
          Code::kInvalidInput,
          fmt::format("{}: found token id {}, the vocabulary ends at {}", field, id, size - 1),
          std::string(field)));
    }
  }
  return {};
}

// What an alias says counts where the request says nothing.
void take_defaults(std::optional<bool> thinking, const std::string& effort,
                   api::ChatRequest* request) {
  if (!request->thinking) request->thinking = thinking;
  if (request->effort.empty() && request->thinking.value_or(true)) request->effort = effort;
}

}  // namespace

api::Parsed<std::string> Service::known_name(Call& call, const std::string& asked) const {
  const auto names = directory();
  auto* journey = gateway::Journey::of(call.request);
  const gateway::Choice choice = journey != nullptr ? journey->choice() : gateway::Choice();
  const gateway::ModelTarget* target = names->find(choice.model.empty() ? asked : choice.model);
  if (target == nullptr) {
    return fail(api::ApiError(Code::kNotFound,
                              fmt::format("the model '{}' is not served here; served: {}",
                                          asked.substr(0, 128), fmt::join(names->listed(), ", ")),
                              "model", "model_not_found"));
  }
  const std::string& meant = asked.empty() ? target->model : asked;
  if (!call.caller->may_ask(meant)) return fail(not_allowed(meant));
  // Another backend's, at an address that only a model in this process can answer.
  if (!target->local) {
    return fail(
        api::ApiError(Code::kUnsupported,
                      fmt::format("the model '{}' is not run in this process, and {} is not "
                                  "passed on",
                                  asked.substr(0, 128), call.route),
                      "model"));
  }
  if (journey != nullptr) {
    journey->note_model(meant, target->model, access()->tenants->price_of(target->model));
  }
  call.target = target->model;
  call.thinking = target->thinking;
  call.effort = target->effort;
  return meant;
}

gateway::MeterAsk Service::meter_ask(const Call& call, const Access& ours) {
  gateway::MeterAsk ask;
  ask.caller = call.caller;
  ask.model = call.target;
  ask.price = ours.tenants->price_of(call.target);
  return ask;
}

tl::expected<std::shared_ptr<Turn>, gateway::MeterRefusal> Service::take_turn(
    const Call& call, const api::GenerationBase& request, int64_t prompt_tokens,
    int64_t answers) const {
  const auto ours = access();
  const auto journey = std::dynamic_pointer_cast<gateway::Journey>(call.request.notes);
  if (ours->metering == nullptr) {
    return journey == nullptr ? nullptr : std::make_shared<Turn>(nullptr, nullptr, journey);
  }
  gateway::MeterAsk ask = meter_ask(call, *ours);
  ask.prompt_tokens = prompt_tokens;
  if (request.sampling.max_tokens) {
    const int64_t room = std::max<int64_t>(call.model->engine->context(), 1);
    ask.answer_tokens = std::clamp<int64_t>(*request.sampling.max_tokens, 0, room) * answers;
  }
  auto permit = ours->metering->admit(std::move(ask));
  if (!permit) return tl::unexpected<gateway::MeterRefusal>(std::move(permit.error()));
  return std::make_shared<Turn>(std::move(*permit), ours->gate, journey);
}

std::string Service::next_id(std::string_view prefix) {
  return fmt::format("{}-{:016x}{:08x}", prefix, id_salt_, ++requests_);
}

api::AnswerInfo Service::answer_info(const Call& call, const std::string& name,
                                     std::string_view prefix) {
  return {next_id(prefix), clock_.unix_seconds(), name, call.model->fingerprint};
}

void Service::chat(Call& call) {
  auto request = api::parse_chat(call.request.body);
  if (!request) return refuse(call, request.error());
  auto name = known_name(call, request->model);
  if (!name) return refuse(call, name.error());
  api::AnswerInfo info = answer_info(call, *name, "chatcmpl");
  info.service_tier = request->service_tier;
  const bool include_usage = request->include_usage;
  start_chat(
      call, std::move(*request), std::move(info),
      [&](api::AnswerInfo answer) { return api::chat_form(std::move(answer), include_usage); },
      {.prompt_field = "messages"});
}

void Service::responses(Call& call) {
  auto request = api::parse_responses(call.request.body);
  if (!request) return refuse(call, request.error());
  auto name = known_name(call, request->model);
  if (!name) return refuse(call, name.error());
  api::AnswerInfo info = answer_info(call, *name, "resp");
  info.id[info.id.find('-')] = '_';
  info.service_tier = request->service_tier;
  api::ResponsesEcho echo = std::move(request->echo);
  start_chat(call, std::move(*request), std::move(info),
             [&](api::AnswerInfo answer) {
               return api::responses_form(std::move(answer), std::move(echo));
             },
             {.text_scores = true, .prompt_field = "input", .format_field = "text.format"});
}

void Service::messages(Call& call) {
  auto request = api::parse_messages_request(call.request.body, false);
  if (!request) return refuse(call, request.error());
  auto name = known_name(call, request->model);
  if (!name) return refuse(call, name.error());
  api::AnswerInfo info = answer_info(call, *name, "msg");
  info.id[info.id.find('-')] = '_';
  start_chat(call, std::move(*request), std::move(info),
             [](api::AnswerInfo answer) { return api::messages_form(std::move(answer)); },
             {.prompt_field = "messages"});
}

void Service::count_tokens(Call& call) {
  auto request = api::parse_messages_request(call.request.body, true);
  if (!request) return refuse(call, request.error());
  auto name = known_name(call, request->model);
  if (!name) return refuse(call, name.error());
  take_defaults(call.thinking, call.effort, &*request);
  auto prompt = chat_prompt(*call.model, *request, local_seconds(clock_.unix_seconds()));
  if (!prompt) return refuse(call, prompt.error());
  reply_json(call, api::count_answer(static_cast<int64_t>(prompt->tokens.size())));
}

// Nothing is paid for here, so there is always enough.
void Service::balance(Call& call) {
  reply_json(call, R"({"is_available":true,"balance_infos":[]})");
}

void Service::start_chat(Call& call, api::ChatRequest request, api::AnswerInfo info,
                         const MakeForm& form, GenerationPlan plan) {
  take_defaults(call.thinking, call.effort, &request);
  if (call.caller->background) request.priority = gateway::kBackgroundPriority;
  request.cache_scope = call.caller->cache_scope(request.cache_scope);
  auto prompt = chat_prompt(*call.model, request, local_seconds(clock_.unix_seconds()));
  if (!prompt) return refuse(call, prompt.error());
  info.prompt_tokens = static_cast<int64_t>(prompt->tokens.size());
  auto turn = take_turn(call, request, info.prompt_tokens, request.candidates);
  if (!turn) return refuse_over(call, turn.error());
  plan.turn = std::move(*turn);
  const std::string id = info.id;
  plan.route = call.route;
  plan.prompts.push_back(std::move(prompt->tokens));
  plan.format = std::move(prompt->format);
  plan.primed = std::move(prompt->primed);
  plan.steering = std::move(prompt->steering);
  plan.shown_tokens = std::move(prompt->shown_tokens);
  plan.include_reasoning = request.include_reasoning;
  plan.one_call = !request.parallel_tool_calls;
  plan.json_object = request.json_object;
  plan.heartbeat = options_.heartbeat;
  plan.form = form(std::move(info));
  std::make_shared<Generation>(call.model, http_metrics_, id, std::move(request), std::move(plan),
                               std::move(call.writer))
      ->start();
}

api::Parsed<std::vector<TokenId>> Service::completion_prompt(const ServedModel& model,
                                                             const api::CompletionRequest& request,
                                                             api::Prompt prompt) {
  std::vector<TokenId> tokens;
  if (auto* text = std::get_if<std::string>(&prompt)) {
    if (request.suffix) return infill_prompt(model, *text, *request.suffix);
    EncodeOptions options;
    options.add_bos = request.add_special_tokens && model.tokenizer->data().add_bos;
    tokens = model.tokenizer->encode(*text, options);
  } else {
    tokens = std::move(std::get<std::vector<int32_t>>(prompt));
  }
  HADAL_TRY_VOID(check_tokens(model, tokens, "prompt"));
  return tokens;
}

void Service::completion(Call& call) {
  auto request = api::parse_completion(call.request.body);
  if (!request) return refuse(call, request.error());
  auto name = known_name(call, request->model);
  if (!name) return refuse(call, name.error());
  request->cache_scope = call.caller->cache_scope(request->cache_scope);
  if (call.caller->background) request->priority = gateway::kBackgroundPriority;
  GenerationPlan plan;
  plan.route = call.route;
  plan.echo = request->echo;
  plan.heartbeat = options_.heartbeat;
  for (api::Prompt& prompt : request->prompts) {
    auto tokens = completion_prompt(*call.model, *request, std::move(prompt));
    if (!tokens) return refuse(call, tokens.error());
    plan.prompts.push_back(std::move(*tokens));
  }
  int64_t prompt_tokens = 0;
  for (const auto& prompt : plan.prompts) prompt_tokens += static_cast<int64_t>(prompt.size());
  auto turn = take_turn(call, *request, prompt_tokens,
                        request->candidates * static_cast<int64_t>(plan.prompts.size()));
  if (!turn) return refuse_over(call, turn.error());
  plan.turn = std::move(*turn);
  api::AnswerInfo info = answer_info(call, *name, "cmpl");
  info.service_tier = request->service_tier;
  const std::string id = info.id;
  plan.form = api::completion_form(std::move(info), request->include_usage);
  std::make_shared<Generation>(call.model, http_metrics_, id, std::move(*request), std::move(plan),
                               std::move(call.writer))
      ->start();
}

void Service::tokenize(Call& call) {
  auto request = api::parse_tokenize(call.request.body);
  if (!request) return refuse(call, request.error());
  const ServedModel& model = *call.model;
  if (auto name = known_name(call, request->model); !name) return refuse(call, name.error());
  std::vector<TokenId> tokens;
  if (request->prompt) {
    EncodeOptions options;
    options.add_bos = request->add_special_tokens && model.tokenizer->data().add_bos;
    tokens = model.tokenizer->encode(*request->prompt, options);
  } else {
    api::ChatRequest chat;
    chat.messages = std::move(request->messages);
    chat.tools = std::move(request->tools);
    chat.thinking = request->thinking;
    chat.add_generation_prompt = request->add_generation_prompt;
    take_defaults(call.thinking, call.effort, &chat);
    auto prompt = chat_prompt(model, chat, local_seconds(clock_.unix_seconds()));
    if (!prompt) return refuse(call, prompt.error());
    tokens = std::move(prompt->tokens);
  }
  std::vector<std::string> strings;
  if (request->return_token_strings) {
    for (const TokenId id : tokens) strings.emplace_back(model.tokenizer->piece(id, true));
  }
  reply_json(call, api::tokenize_answer(tokens, model.engine->context(),
                                        request->return_token_strings ? &strings : nullptr));
}

void Service::detokenize(Call& call) {
  auto request = api::parse_detokenize(call.request.body);
  if (!request) return refuse(call, request.error());
  const ServedModel& model = *call.model;
  if (auto name = known_name(call, request->model); !name) return refuse(call, name.error());
  if (auto status = check_tokens(model, request->tokens, "tokens"); !status) {
    return refuse(call, status.error());
  }
  reply_json(call, api::detokenize_answer(model.tokenizer->decode(request->tokens)));
}

}  // namespace hadal::apps
