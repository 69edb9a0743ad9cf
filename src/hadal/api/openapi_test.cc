#include "hadal/api/openapi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "hadal/api/anthropic.h"
#include "hadal/api/batches.h"
#include "hadal/api/openai.h"
#include "hadal/api/responses.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

const json::value& document() {
  static const json::value kDocument = json::parse(openapi_document("1.2.3"));
  return kDocument;
}

void walk(const json::value& value, const std::function<void(const json::object&)>& visit) {
  if (value.is_object()) {
    visit(value.get_object());
    for (const auto& member : value.get_object()) walk(member.value(), visit);
  } else if (value.is_array()) {
    for (const json::value& element : value.get_array()) walk(element, visit);
  }
}

TEST(OpenApi, ReferencesLeadSomewhereAndEverythingIsUsed) {
  std::set<std::string> used;
  walk(document(), [&](const json::object& object) {
    const json::value* to = object.if_contains("$ref");
    if (to == nullptr) return;
    const std::string path(to->as_string());
    ASSERT_TRUE(path.starts_with("#/"));
    EXPECT_NO_THROW(document().at_pointer(path.substr(1))) << path;
    used.insert(path);
  });
  for (const char* kind : {"schemas", "responses"}) {
    for (const auto& member : document().at("components").at(kind).as_object()) {
      const std::string path =
          std::string("#/components/") + kind + "/" + std::string(member.key());
      EXPECT_TRUE(used.contains(path)) << path << " is of no use";
    }
  }
}

TEST(OpenApi, SchemasAreSound) {
  walk(document(), [&](const json::object& object) {
    const json::value* properties = object.if_contains("properties");
    const json::value* required = object.if_contains("required");
    if (properties == nullptr || required == nullptr || !required->is_array()) return;
    for (const json::value& name : required->get_array()) {
      EXPECT_TRUE(properties->as_object().contains(name.as_string())) << name;
    }
  });
  std::set<std::string> ids;
  for (const auto& path : document().at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      EXPECT_TRUE(ids.insert(std::string(operation.value().at("operationId").as_string())).second);
      EXPECT_TRUE(operation.value().at("responses").as_object().contains("200"));
    }
  }
}

void collect(const FieldTable& table, std::map<std::string_view, const FieldTable*>* tables) {
  const auto [known, added] = tables->try_emplace(table.name, &table);
  EXPECT_EQ(known->second, &table) << "two tables of the name " << table.name;
  if (!added) return;
  for (const FieldRule& rule : table.rules) {
    if (rule.shape.inner != nullptr) collect(*rule.shape.inner, tables);
  }
}

std::map<std::string_view, const FieldTable*> all_tables() {
  std::map<std::string_view, const FieldTable*> tables;
  for (const Endpoint& endpoint : endpoints()) {
    if (endpoint.request != nullptr) collect(*endpoint.request, &tables);
  }
  return tables;
}

TEST(OpenApi, HasEveryFieldOfEveryTable) {
  for (const auto& [name, table] : all_tables()) {
    const json::object& schema = document().at("components").at("schemas").at(name).as_object();
    const json::object& properties = schema.at("properties").as_object();
    EXPECT_EQ(properties.size(), table->rules.size()) << name << ": a field twice";
    EXPECT_EQ(schema.contains("additionalProperties"), !table->open) << name;
    for (const FieldRule& rule : table->rules) {
      ASSERT_TRUE(properties.contains(rule.name)) << name << "." << rule.name;
      const bool shaped = rule.shape.kind != FieldShape::Kind::kAny;
      EXPECT_EQ(shaped, rule.use == FieldUse::kHonoured) << name << "." << rule.name;
      EXPECT_TRUE(rule.use == FieldUse::kHonoured || !rule.note.empty()) << rule.name;
    }
  }
}

struct Parser {
  std::string_view path;
  std::string body;  // the least that is accepted, without its last brace
  std::function<std::optional<ApiError>(const std::string&)> refusal;
};

template <class Parse>
std::function<std::optional<ApiError>(const std::string&)> refusal_of(Parse parse) {
  return [parse](const std::string& body) {
    const auto request = parse(body);
    return request ? std::optional<ApiError>() : request.error();
  };
}

std::vector<Parser> parsers() {
  const std::string messages = R"({"messages": [{"role": "user", "content": "x"}])";
  return {
      {"/v1/chat/completions", messages, refusal_of(parse_chat)},
      {"/v1/completions", R"({"prompt": "x")", refusal_of(parse_completion)},
      {"/v1/responses", R"({"input": "x")", refusal_of(parse_responses)},
      {"/v1/messages", messages + R"(, "max_tokens": 1)",
       refusal_of([](const std::string& body) { return parse_messages_request(body, false); })},
      {"/v1/messages/count_tokens", messages,
       refusal_of([](const std::string& body) { return parse_messages_request(body, true); })},
      {"/tokenize", R"({"prompt": "x")", refusal_of(parse_tokenize)},
      {"/detokenize", R"({"tokens": [])", refusal_of(parse_detokenize)},
      {"/v1/batches",
       R"({"input_file_id": "f", "endpoint": "/v1/responses", "completion_window": "24h")",
       refusal_of(parse_batch)},
  };
}

// What a table calls honoured its parser reads: no value of some other kind gets past it. What it
// calls ignored passes as anything, what it calls refused never with a wish.
TEST(OpenApi, ParsersReadWhatTheirTablesHold) {
  size_t seen = 0;
  for (const Endpoint& endpoint : endpoints()) {
    if (endpoint.request == nullptr || !endpoint.same_as.empty()) continue;
    const std::vector<Parser> all = parsers();
    const auto parser = std::find_if(all.begin(), all.end(),
                                     [&](const Parser& p) { return p.path == endpoint.path; });
    ASSERT_NE(parser, all.end()) << endpoint.path;
    ++seen;
    EXPECT_FALSE(parser->refusal(parser->body + "}")) << parser->body;
    for (const FieldRule& rule : endpoint.request->rules) {
      const auto with = [&](const char* value) {
        // Of a name given twice the last counts.
        return parser->refusal(parser->body + ", \"" + std::string(rule.name) + "\": " + value +
                               "}");
      };
      const auto error = with(R"([{"no such field": [[{}]]}, 1e300])");
      const std::string where = std::string(endpoint.path) + " " + std::string(rule.name);
      if (rule.use == FieldUse::kIgnored) {
        EXPECT_FALSE(error) << where;
        continue;
      }
      ASSERT_TRUE(error) << where << " is not read";
      EXPECT_TRUE(error->param.starts_with(rule.name)) << where << ": " << error->message;
      if (rule.use == FieldUse::kRefused) {
        for (const char* nothing : {"null", "false", "[]", "{}", "\"\"", "\"none\""}) {
          EXPECT_FALSE(with(nothing)) << where << " " << nothing;
        }
      }
    }
  }
  EXPECT_EQ(seen, parsers().size());
}

}  // namespace
}  // namespace hadal::api
