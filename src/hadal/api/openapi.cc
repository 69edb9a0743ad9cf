#include "hadal/api/openapi.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <set>
#include <vector>

#include "hadal/api/anthropic.h"
#include "hadal/api/batches.h"
#include "hadal/api/openai.h"
#include "hadal/api/responses.h"
#include "hadal/base/ascii.h"
#include "hadal/base/check.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

std::vector<Endpoint> make_endpoints() {
  std::vector<Endpoint> list = {
      {"GET", "/", "What this is, for people", nullptr, ""},
      {"GET", "/health", "Whether requests are answered", nullptr, "Health", "", {}, true},
      {"GET", "/version", "The server's version", nullptr, "Version"},
      {"GET", "/metrics", "Metrics in Prometheus' text form", nullptr, ""},
      {"GET", "/openapi.json", "This document", nullptr, "OpenApi"},
      {"GET", "/v1/models", "The names that are served", nullptr, "ModelList"},
      {"GET", "/v1/models/{id}", "One of them", nullptr, "Model"},
      {"POST", "/v1/chat/completions", "OpenAI's and DeepSeek's chat", &chat_fields(),
       "ChatCompletion", "ChatCompletionChunk"},
      {"POST", "/v1/completions", "Plain completion, filling in", &completion_fields(),
       "Completion", "Completion"},
      {"POST", "/v1/responses", "OpenAI's Responses, without a store", &responses_fields(),
       "Response", "ResponseEvent"},
      {"POST", "/v1/messages", "Anthropic's Messages", &messages_fields(), "MessagesAnswer",
       "MessagesEvent", Protocol::kAnthropic},
      {"POST", "/v1/messages/count_tokens", "The tokens of a Messages request",
       &count_tokens_fields(), "TokenCount", "", Protocol::kAnthropic},
      {"GET", "/user/balance", "DeepSeek's balance: there is always enough", nullptr, "Balance"},
      {"POST", "/tokenize", "Tokens of a text or of a conversation", &tokenize_fields(),
       "TokenizeAnswer"},
      {"POST", "/detokenize", "Text of tokens", &detokenize_fields(), "DetokenizeAnswer"},
  };
  for (const Endpoint& endpoint : batch_endpoints()) list.push_back(endpoint);
  constexpr std::pair<std::string_view, std::string_view> kAliases[] = {
      {"/models", "/v1/models"},
      {"/chat/completions", "/v1/chat/completions"},
      {"/completions", "/v1/completions"},
      {"/responses", "/v1/responses"},
      {"/beta/chat/completions", "/v1/chat/completions"},
      {"/beta/completions", "/v1/completions"},
      {"/beta/v1/chat/completions", "/v1/chat/completions"},
      {"/beta/v1/completions", "/v1/completions"},
      {"/anthropic/v1/messages", "/v1/messages"},
      {"/anthropic/v1/messages/count_tokens", "/v1/messages/count_tokens"},
  };
  for (const auto& [path, same_as] : kAliases) {
    const auto known = std::find_if(list.begin(), list.end(),
                                    [&](const Endpoint& one) { return one.path == same_as; });
    HADAL_CHECK(known != list.end());
    Endpoint alias = *known;
    alias.path = path;
    alias.same_as = same_as;
    list.push_back(alias);
  }
  return list;
}

json::object reference(std::string_view kind, std::string_view name) {
  return {{"$ref", fmt::format("#/components/{}/{}", kind, name)}};
}

json::array words_of(std::string_view words) {
  json::array list;
  for (size_t at = 0; at <= words.size();) {
    const size_t end = std::min(words.find('|', at), words.size());
    list.push_back(json::value(words.substr(at, end - at)));
    at = end + 1;
  }
  return list;
}

json::object list_schema(const FieldShape& shape, json::object element) {
  json::object list = {{"type", "array"}, {"items", std::move(element)}};
  if (shape.count_min > 0) list["minItems"] = shape.count_min;
  if (shape.count_max < limits::kBodyBytesMax) list["maxItems"] = shape.count_max;
  return list;
}

json::object either(json::object one, json::object other) {
  json::object root;
  root["oneOf"] = json::array{std::move(one), std::move(other)};
  return root;
}

json::object schema_of(const FieldShape& shape) {
  using Kind = FieldShape::Kind;
  switch (shape.kind) {
    case Kind::kBoolean:
      return {{"type", "boolean"}};
    case Kind::kInteger:
      return {{"type", "integer"}, {"minimum", shape.least}, {"maximum", shape.most}};
    case Kind::kNumber: {
      json::object root = {{"type", "number"}};
      root[shape.above ? "exclusiveMinimum" : "minimum"] = shape.minimum;
      root["maximum"] = shape.maximum;
      return root;
    }
    case Kind::kText: {
      json::object root = {{"type", "string"}};
      // Bytes, so a string of this many characters may still be too long.
      if (shape.bytes_max < limits::kBodyBytesMax) root["maxLength"] = shape.bytes_max;
      return root;
    }
    case Kind::kWord:
      return {{"type", "string"}, {"enum", words_of(shape.words)}};
    case Kind::kTexts: {
      json::object text = {{"type", "string"}, {"minLength", 1}, {"maxLength", shape.bytes_max}};
      if (!shape.words.empty()) text = {{"type", "string"}, {"enum", words_of(shape.words)}};
      return either(text, list_schema(shape, text));
    }
    case Kind::kTokens:
      return list_schema(
          shape,
          {{"type", "integer"}, {"minimum", 0}, {"maximum", std::numeric_limits<int32_t>::max()}});
    case Kind::kObject: {
      json::object inner = reference("schemas", shape.inner->name);
      if (!shape.or_word) return inner;
      return either({{"type", "string"}, {"enum", words_of(shape.words)}}, std::move(inner));
    }
    case Kind::kObjects: {
      json::object list = list_schema(shape, reference("schemas", shape.inner->name));
      if (!shape.or_text) return list;
      return either({{"type", "string"}}, std::move(list));
    }
    case Kind::kOther:
      return json::parse(json::string_view(shape.schema.data(), shape.schema.size())).as_object();
    case Kind::kAny:
      break;
  }
  return {};
}

// null counts as absent.
json::object or_null(json::object schema) {
  if (json::value* type = schema.if_contains("type")) {
    json::array types;
    if (type->is_array()) {
      types = type->get_array();
    } else {
      types.push_back(*type);
    }
    types.push_back("null");
    *type = std::move(types);
    if (json::value* words = schema.if_contains("enum")) words->as_array().push_back(nullptr);
  } else if (json::value* forms = schema.if_contains("oneOf")) {
    forms->as_array().push_back(json::object{{"type", "null"}});
  } else if (schema.contains("$ref")) {
    return either(std::move(schema), {{"type", "null"}});
  }
  return schema;
}

// "array of 1 to 4096 objects" with the objects' name.
std::string values_of(const FieldShape& shape) {
  std::string text = expected_of(shape);
  if (shape.inner == nullptr) return text;
  for (const std::string_view word : {"an object", "objects", "object"}) {
    const size_t at = text.rfind(word);
    if (at == text.npos) continue;
    return text.replace(at, word.size(), fmt::format("`{}`", shape.inner->name));
  }
  return text;
}

std::string_view word_of(FieldUse use) {
  switch (use) {
    case FieldUse::kHonoured:
      return "honoured";
    case FieldUse::kIgnored:
      return "ignored";
    case FieldUse::kRefused:
      break;
  }
  return "refused";
}

json::object property_of(const FieldRule& rule, bool required) {
  json::object schema;
  if (rule.use == FieldUse::kHonoured) schema = schema_of(rule.shape);
  // What asks for nothing; see Fields.
  if (rule.use == FieldUse::kRefused) {
    schema["enum"] = {nullptr, false, "", "none", json::array(), json::object()};
  }
  if (rule.use == FieldUse::kHonoured && !required) schema = or_null(std::move(schema));
  if (!rule.note.empty()) schema["description"] = rule.note;
  if (!rule.shape.fallback.empty()) {
    schema["default"] =
        json::parse(json::string_view(rule.shape.fallback.data(), rule.shape.fallback.size()));
  }
  json::object here = {{"use", word_of(rule.use)}};
  if (rule.use == FieldUse::kHonoured) here["values"] = values_of(rule.shape);
  schema["x-hadal"] = std::move(here);
  return schema;
}

json::object object_schema(const FieldTable& table) {
  json::array required;
  if (!table.required.empty()) required = words_of(table.required);
  json::object properties;
  for (const FieldRule& rule : table.rules) {
    const bool needed =
        std::find(required.begin(), required.end(), json::value(rule.name)) != required.end();
    properties[rule.name] = property_of(rule, needed);
  }
  json::object root = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) root["required"] = std::move(required);
  if (!table.open) root["additionalProperties"] = false;
  return root;
}

void add_tables(const FieldTable& table, json::object* schemas) {
  if (schemas->contains(table.name)) return;
  (*schemas)[table.name] = object_schema(table);
  for (const FieldRule& rule : table.rules) {
    if (rule.shape.inner != nullptr) add_tables(*rule.shape.inner, schemas);
  }
}

// {"content": {TYPE: {"schema": ...}}}
json::object media(std::string_view type, json::object schema) {
  json::object form, types, root;
  form["schema"] = std::move(schema);
  types[type] = std::move(form);
  root["content"] = std::move(types);
  return root;
}

struct Refusal {
  int status;
  std::string_view name;
  std::string_view text;
};
constexpr Refusal kRefusals[] = {
    {400, "Invalid", "A field is wrong, unknown or not supported; the message names it"},
    {401, "Unauthorized", "A valid key is needed"},
    {404, "NotFound", "There is no such model, file or batch"},
    {413, "TooLarge", "The request is over a limit of size"},
    {429, "Full", "The queue is full, or a limit is reached"},
    {500, "Fault", "The answer is not what was asked for, or a fault of the server's"},
    {503, "Unavailable", "The model is loading, or the server is stopping"},
};

std::string refusal_name(Protocol protocol, const Refusal& refusal) {
  return (protocol == Protocol::kAnthropic ? "Messages" : "") + std::string(refusal.name);
}

json::object refusals() {
  json::object all;
  for (const Protocol protocol : {Protocol::kOpenAi, Protocol::kAnthropic}) {
    const std::string_view form = protocol == Protocol::kAnthropic ? "MessagesError" : "Error";
    for (const Refusal& refusal : kRefusals) {
      json::object root = media("application/json", reference("schemas", form));
      root["description"] = refusal.text;
      if (refusal.status == 429 || refusal.status == 503) {
        json::object seconds = {{"description", "seconds"}};
        seconds["schema"] = json::object{{"type", "integer"}};
        root["headers"] = json::object{{"Retry-After", std::move(seconds)}};
      }
      all[refusal_name(protocol, refusal)] = std::move(root);
    }
  }
  return all;
}

json::object good_answer(const Endpoint& endpoint) {
  const bool text = endpoint.answer.empty();
  const std::string_view type = endpoint.content.empty() ? "text/plain" : endpoint.content;
  json::object root = text ? media(type, {{"type", "string"}})
                           : media("application/json", reference("schemas", endpoint.answer));
  root["description"] = "The answer";
  if (!endpoint.event.empty()) {
    root["description"] = "The answer; with stream: true server-sent events with such data each";
    json::object event = {{"schema", reference("schemas", endpoint.event)}};
    root["content"].as_object()["text/event-stream"] = std::move(event);
  }
  return root;
}

// "post_v1_chat_completions"
std::string operation_id(const Endpoint& endpoint) {
  std::string id(endpoint.method);
  id += endpoint.path;
  for (char& c : id) {
    c = lower(c);
    if (c < '0' || (c > '9' && c < 'a') || c > 'z') c = '_';
  }
  return id;
}

json::array parameters(const Endpoint& endpoint) {
  json::array list;
  if (endpoint.path.find("{id}") != endpoint.path.npos) {
    json::object id = {{"name", "id"}, {"in", "path"}, {"required", true}};
    id["schema"] = {{"type", "string"}};
    list.push_back(std::move(id));
  }
  if (endpoint.query.empty()) return list;
  for (const json::value& word : words_of(endpoint.query)) {
    std::string name(word.as_string());
    const bool whole = name.ends_with('#');
    if (whole) name.pop_back();
    json::object one = {{"name", name}, {"in", "query"}, {"required", false}};
    one["schema"] = {{"type", whole ? "integer" : "string"}};
    list.push_back(std::move(one));
  }
  return list;
}

json::object operation(const Endpoint& endpoint) {
  json::object root;
  root["operationId"] = operation_id(endpoint);
  root["summary"] = endpoint.summary;
  if (!endpoint.same_as.empty()) {
    root["description"] = fmt::format("The same as {}", endpoint.same_as);
    root["x-hadal"] = {{"same_as", endpoint.same_as}};
  }
  if (endpoint.open) root["security"] = json::array();
  if (json::array list = parameters(endpoint); !list.empty()) root["parameters"] = std::move(list);
  if (endpoint.request != nullptr) {
    json::object body = media("application/json", reference("schemas", endpoint.request->name));
    body["required"] = true;
    root["requestBody"] = std::move(body);
  }
  if (!endpoint.form.empty()) {
    json::object body = media("multipart/form-data", reference("schemas", endpoint.form));
    body["required"] = true;
    root["requestBody"] = std::move(body);
  }
  json::object answers;
  answers["200"] = good_answer(endpoint);
  const bool asks = endpoint.request != nullptr || !endpoint.form.empty();
  const bool one = endpoint.path.find("{id}") != endpoint.path.npos;
  for (const Refusal& refusal : kRefusals) {
    const bool possible = asks || (refusal.status == 401 && !endpoint.open) ||
                          ((refusal.status == 400 || refusal.status == 404) && one);
    if (!possible) continue;
    answers[std::to_string(refusal.status)] =
        reference("responses", refusal_name(endpoint.protocol, refusal));
  }
  if (endpoint.path == "/health") {
    answers["503"] = good_answer(endpoint);
    answers["503"].as_object()["description"] = "Not yet, or no longer";
  }
  root["responses"] = std::move(answers);
  return root;
}

}  // namespace

std::span<const Endpoint> endpoints() {
  static const std::vector<Endpoint> kEndpoints = make_endpoints();
  return kEndpoints;
}

std::string openapi_document(std::string_view version) {
  json::object paths, schemas;
  for (const Endpoint& endpoint : endpoints()) {
    json::value& path = paths[endpoint.path];
    if (!path.is_object()) path.emplace_object();
    path.get_object()[lower(endpoint.method)] = operation(endpoint);
    if (endpoint.request != nullptr) add_tables(*endpoint.request, &schemas);
  }
  for (const AnswerSchema& answer : answer_schemas()) {
    HADAL_CHECK(!schemas.contains(answer.name), std::string(answer.name));
    schemas[answer.name] =
        json::parse(json::string_view(answer.schema.data(), answer.schema.size()));
  }
  json::object root;
  root["openapi"] = "3.1.0";
  root["info"] = {
      {"title", "Hadal"},
      {"version", version},
      {"description",
       "x-hadal says of each field of a request what the server does with it: honoured, ignored "
       "(accepted, without effect on the answer), or refused unless it asks for nothing."}};
  root["servers"].emplace_array().push_back(json::object{{"url", "/"}});
  json::array keys;
  keys.push_back(json::object{{"bearer", json::array()}});
  keys.push_back(json::object{{"header", json::array()}});
  keys.push_back(json::object());  // where the operator set no keys
  root["security"] = std::move(keys);
  root["paths"] = std::move(paths);
  json::object& components = root["components"].emplace_object();
  components["securitySchemes"] = {
      {"bearer", {{"type", "http"}, {"scheme", "bearer"}}},
      {"header", {{"type", "apiKey"}, {"in", "header"}, {"name", "x-api-key"}}}};
  components["responses"] = refusals();
  components["schemas"] = std::move(schemas);
  return json::serialize(root);
}

}  // namespace hadal::api
