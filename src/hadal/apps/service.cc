#include "hadal/apps/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <utility>

#include "hadal/api/anthropic.h"
#include "hadal/api/openai_answer.h"
#include "hadal/apps/generation.h"
#include "hadal/apps/prompt.h"

namespace hadal::apps {
namespace {

// Takes the same time whatever the guess shares with the key; only the lengths show.
bool equal_in_constant_time(std::string_view guess, std::string_view key) {
  unsigned difference = guess.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < key.size(); ++i) {
    const char other = guess.empty() ? '\0' : guess[i % guess.size()];
    difference |= static_cast<unsigned char>(key[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

uint64_t random_salt() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

api::Parsed<std::string> known_name(const ServedModel& model, const std::string& asked) {
  if (asked.empty()) return model.names.front();
  if (model.is_named(asked)) return asked;
  return fail(api::ApiError(Code::kNotFound,
                            fmt::format("the model '{}' is not served here; served: {}",
                                        asked.substr(0, 128), fmt::join(model.names, ", ")),
                            "model", "model_not_found"));
}

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

}  // namespace

struct Service::Route {
  std::string_view method;
  std::string_view path;  // ending in '/': everything below it
  void (Service::*handle)(Call&);
  bool open = false;         // needs no key
  bool needs_model = false;  // 503 while loading
  bool works = false;        // starts work: 503 while draining
};

const std::vector<Service::Route>& Service::routes() {
  static const std::vector<Route> kRoutes = {
      {"GET", "/", &Service::home},
      {"GET", "/health", &Service::health, true},
      {"GET", "/version", &Service::version},
      {"GET", "/metrics", &Service::metrics},
      {"GET", "/v1/models", &Service::models, false, true},
      {"GET", "/v1/models/", &Service::model_card, false, true},
      {"POST", "/v1/chat/completions", &Service::chat, false, true, true},
      {"POST", "/v1/completions", &Service::completion, false, true, true},
      {"POST", "/v1/messages", &Service::messages, false, true, true},
      {"POST", "/v1/messages/count_tokens", &Service::count_tokens, false, true},
      // Where DeepSeek's cloud has them, its beta and its Anthropic base among them.
      {"GET", "/models", &Service::models, false, true},
      {"GET", "/user/balance", &Service::balance},
      {"POST", "/chat/completions", &Service::chat, false, true, true},
      {"POST", "/completions", &Service::completion, false, true, true},
      {"POST", "/beta/chat/completions", &Service::chat, false, true, true},
      {"POST", "/beta/completions", &Service::completion, false, true, true},
      {"POST", "/beta/v1/chat/completions", &Service::chat, false, true, true},
      {"POST", "/beta/v1/completions", &Service::completion, false, true, true},
      {"POST", "/anthropic/v1/messages", &Service::messages, false, true, true},
      {"POST", "/anthropic/v1/messages/count_tokens", &Service::count_tokens, false, true},
      {"POST", "/tokenize", &Service::tokenize, false, true, true},
      {"POST", "/detokenize", &Service::detokenize, false, true, true},
  };
  return kRoutes;
}

Service::Service(ServiceOptions options, std::shared_ptr<obs::Registry> registry,
                 const Clock& clock)
    : options_(std::move(options)),
      registry_(std::move(registry)),
      clock_(clock),
      http_metrics_(registry_),
      id_salt_(random_salt()) {}

void Service::loading(uint64_t done, uint64_t total) {
  loaded_ = done;
  load_total_ = total;
}

void Service::publish(std::shared_ptr<const ServedModel> model) {
  std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

std::shared_ptr<const ServedModel> Service::model() const {
  std::lock_guard lock(mutex_);
  return model_;
}

bool Service::authorized(const net::HttpRequest& request) const {
  if (options_.api_keys.empty()) return true;
  std::string_view given = request.header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  const bool bearer = given.size() >= kBearer.size() &&
                      std::equal(kBearer.begin(), kBearer.end(), given.begin(), [](char a, char b) {
                        return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
                      });
  // Anthropic's clients have a header of their own.
  given = bearer ? given.substr(kBearer.size()) : request.header("x-api-key");
  bool known = false;
  for (const std::string& key : options_.api_keys) known |= equal_in_constant_time(given, key);
  return known;
}

void Service::handle(net::HttpRequest request, net::ResponseWriter writer) {
  std::string_view method = request.method;
  if (method == "HEAD") method = "GET";
  const Route* found = nullptr;
  std::string allowed;
  for (const Route& route : routes()) {
    const bool below = route.path.size() > 1 && route.path.ends_with('/');
    const bool matches =
        below ? request.path.starts_with(route.path) && request.path.size() > route.path.size()
              : request.path == route.path;
    if (!matches) continue;
    if (route.method == method) found = &route;
    allowed = route.method;
  }
  Call call{request, writer, found != nullptr ? found->path : "other", nullptr};
  if (!(found != nullptr && found->open) && !authorized(request)) {
    return refuse(call, {Code::kUnauthorized,
                         "a valid key is needed: send the header 'Authorization: Bearer KEY'"});
  }
  if (found != nullptr) return dispatch(*found, call);
  const std::string where = fmt::format("{} {}", request.method, request.path.substr(0, 128));
  if (allowed.empty()) {
    return refuse(call, {Code::kNotFound, "there is nothing at " + where, {}, "unknown_url"});
  }
  reply(call, 405, "application/json",
        api::error_json({Code::kInvalidInput,
                         fmt::format("{} is not possible, use {}", where, allowed),
                         {},
                         "method_not_allowed"}),
        {{"Allow", allowed}});
}

void Service::dispatch(const Route& route, Call& call) {
  if (route.works && draining_) {
    return refuse(call, {Code::kUnavailable, "the server is shutting down, ask another one"});
  }
  call.model = model();
  if (route.needs_model && call.model == nullptr) {
    return refuse(call, {Code::kUnavailable, "the model is still loading, try again later"});
  }
  (this->*route.handle)(call);
}

void Service::reply(Call& call, int status, std::string_view type, std::string body,
                    std::vector<net::Header> more) {
  http_metrics_.answered(call.route, status);
  std::vector<net::Header> headers = {{"Content-Type", std::string(type)}};
  for (net::Header& header : more) headers.push_back(std::move(header));
  call.writer.respond(status, std::move(headers), std::move(body));
}

void Service::refuse(Call& call, const api::ApiError& error) {
  const int status = api::http_status(error.code);
  std::vector<net::Header> more;
  if (status == 429 || status == 503) more.push_back({"Retry-After", draining_ ? "5" : "1"});
  if (status == 401) more.push_back({"WWW-Authenticate", "Bearer"});
  const bool messages = call.route.find("/messages") != std::string_view::npos;
  reply(call, status, "application/json",
        messages ? api::messages_error(error) : api::error_json(error), std::move(more));
}

void Service::home(Call& call) {
  std::string name = "loading";
  if (call.model != nullptr) name = call.model->names.front();
  reply(call, 200, "text/plain; charset=utf-8",
        fmt::format("Hadal {}\nmodel: {}\n\n"
                    "POST /v1/chat/completions  POST /v1/completions  POST /v1/messages\n"
                    "GET /v1/models  GET /user/balance\n"
                    "POST /tokenize  POST /detokenize  GET /health  GET /metrics  GET /version\n",
                    options_.version, name));
}

void Service::health(Call& call) {
  if (draining_) {
    return reply(call, 503, "application/json", R"({"status":"draining"})", {{"Retry-After", "5"}});
  }
  if (call.model != nullptr) return reply_json(call, R"({"status":"ok"})");
  const uint64_t total = load_total_;
  const double share = total > 0 ? static_cast<double>(loaded_) / static_cast<double>(total) : 0.0;
  reply(call, 503, "application/json",
        fmt::format(R"({{"status":"loading","progress":{:.3f}}})", share), {{"Retry-After", "1"}});
}

void Service::version(Call& call) {
  reply_json(call, fmt::format(R"({{"version":"{}"}})", options_.version));
}

void Service::metrics(Call& call) {
  reply(call, 200, obs::kExpositionType, exposition(*registry_));
}

namespace {

api::ModelCard card_of(const ServedModel& model, const std::string& name) {
  return {name, model.created, model.engine->context(), model.root};
}

}  // namespace

void Service::models(Call& call) {
  std::vector<api::ModelCard> cards;
  for (const std::string& name : call.model->names) cards.push_back(card_of(*call.model, name));
  reply_json(call, api::models_answer(cards));
}

void Service::model_card(Call& call) {
  const std::string asked = call.request.path.substr(call.route.size());
  auto name = known_name(*call.model, asked);
  if (!name) return refuse(call, name.error());
  reply_json(call, api::model_answer(card_of(*call.model, *name)));
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
  auto name = known_name(*call.model, request->model);
  if (!name) return refuse(call, name.error());
  api::AnswerInfo info = answer_info(call, *name, "chatcmpl");
  info.service_tier = request->service_tier;
  start_chat(call, std::move(*request), std::move(info), false);
}

void Service::messages(Call& call) {
  auto request = api::parse_messages_request(call.request.body, false);
  if (!request) return refuse(call, request.error());
  auto name = known_name(*call.model, request->model);
  if (!name) return refuse(call, name.error());
  api::AnswerInfo info = answer_info(call, *name, "msg");
  std::replace(info.id.begin(), info.id.end(), '-', '_');
  start_chat(call, std::move(*request), std::move(info), true);
}

void Service::count_tokens(Call& call) {
  auto request = api::parse_messages_request(call.request.body, true);
  if (!request) return refuse(call, request.error());
  auto name = known_name(*call.model, request->model);
  if (!name) return refuse(call, name.error());
  auto prompt = chat_prompt(*call.model, *request, clock_.unix_seconds());
  if (!prompt) return refuse(call, prompt.error());
  reply_json(call, api::count_answer(static_cast<int64_t>(prompt->tokens.size())));
}

// Nothing is paid for here, so there is always enough.
void Service::balance(Call& call) {
  reply_json(call, R"({"is_available":true,"balance_infos":[]})");
}

void Service::start_chat(Call& call, api::ChatRequest request, api::AnswerInfo info,
                         bool anthropic) {
  auto prompt = chat_prompt(*call.model, request, clock_.unix_seconds());
  if (!prompt) return refuse(call, prompt.error());
  info.prompt_tokens = static_cast<int64_t>(prompt->tokens.size());
  const std::string id = info.id;
  GenerationPlan plan;
  plan.chat = true;
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
  plan.form = anthropic ? api::messages_form(std::move(info))
                        : api::chat_form(std::move(info), request.include_usage);
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
  auto name = known_name(*call.model, request->model);
  if (!name) return refuse(call, name.error());
  GenerationPlan plan;
  plan.route = call.route;
  plan.echo = request->echo;
  plan.heartbeat = options_.heartbeat;
  for (api::Prompt& prompt : request->prompts) {
    auto tokens = completion_prompt(*call.model, *request, std::move(prompt));
    if (!tokens) return refuse(call, tokens.error());
    plan.prompts.push_back(std::move(*tokens));
  }
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
  if (auto name = known_name(model, request->model); !name) return refuse(call, name.error());
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
    auto prompt = chat_prompt(model, chat, clock_.unix_seconds());
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
  if (auto name = known_name(model, request->model); !name) return refuse(call, name.error());
  if (auto status = check_tokens(model, request->tokens, "tokens"); !status) {
    return refuse(call, status.error());
  }
  reply_json(call, api::detokenize_answer(model.tokenizer->decode(request->tokens)));
}

}  // namespace hadal::apps
