// The interpreter beside Python's jinja2 in transformers' environment: the shared models' templates
// over generated conversations, and single constructs. Errors must agree too.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "hadal/text/jinja/template.h"
#include "hadal/text/testing/python_jinja.h"

namespace hadal::jinja {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr int64_t kNow = 1'795'334'709;  // render_chat.py's 2026-11-22 08:05:09

Result<Str> render_ours(const json::object& one) {
  const bool is_file = one.contains("template");
  const std::string text(one.at(is_file ? "template" : "source").as_string());
  HADAL_TRY(const Template parsed, Template::parse(is_file ? testing::file_text(text) : text));
  Dict variables;
  for (const auto& [key, value] : one) {
    if (key != "template" && key != "source") {
      variables.set(std::string(key), testing::jinja_value(value));
    }
  }
  return parsed.render(variables, {.local_seconds = kNow});
}

// Errors that a template's author meant or could meet: their words must be Python's.
bool is_worded(std::string_view error) {
  return error == "TemplateError" || error == "UndefinedError" || error == "SecurityError" ||
         error == "TemplateRuntimeError";
}

// Counts what agrees; reports what does not.
struct Tally {
  int rendered = 0;
  int failed = 0;
};
void compare(const json::array& cases, Tally* tally) {
  const auto theirs = testing::python_renders(cases);
  ASSERT_TRUE(theirs) << "render_chat.py failed";
  ASSERT_EQ(theirs->size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto ours = render_ours(cases[i].as_object());
    const json::value& wanted = (*theirs)[i];
    if (wanted.is_string()) {
      ++tally->rendered;
      ASSERT_TRUE(ours) << ours.error().what << "\nof " << json::serialize(cases[i]);
      ASSERT_EQ(ours->text, wanted.as_string()) << "of " << json::serialize(cases[i]);
      continue;
    }
    ++tally->failed;
    ASSERT_FALSE(ours) << "Python: " << json::serialize(wanted) << "\nours: " << ours->text
                       << "\nof " << json::serialize(cases[i]);
    if (!is_worded(wanted.at("error").as_string())) continue;
    EXPECT_THAT(ours.error().what,
                ::testing::EndsWith(": " + std::string(wanted.at("message").as_string())))
        << json::serialize(cases[i]);
  }
}

// Conversations with everything that templates look at, and much that they do not expect.
class Conversations {
 public:
  explicit Conversations(uint32_t seed) : random_(seed) {}

  json::object next(const std::string& path) {
    json::object one{{"template", path},
                     {"messages", messages()},
                     {"add_generation_prompt", chance(2)},
                     {"documents", nullptr},
                     {"tools", nullptr}};
    if (chance(2)) one["tools"] = json::array{tool()};
    if (one["tools"].is_array() && chance(2)) one["tools"].as_array().push_back(tool());
    if (!chance(5)) one["bos_token"] = chance(2) ? "<s>" : "<｜begin▁of▁sentence｜>";
    if (!chance(5)) one["eos_token"] = "</s>";
    for (const char* name : {"enable_thinking", "thinking", "drop_thinking"}) {
      if (chance(3)) one[name] = chance(2);
    }
    if (chance(4)) one["reasoning_effort"] = chance(2) ? "high" : "max";
    if (chance(8)) one["builtin_tools"] = json::array{"code_interpreter", "f"};
    if (chance(8)) one["tools_in_user_message"] = chance(2);
    if (chance(8)) one["date_string"] = "22 Nov 2026";
    if (chance(10)) one["custom_tools"] = json::array{tool()};
    if (chance(10)) one.erase("tools");
    return one;
  }

 private:
  size_t pick(size_t n) { return static_cast<size_t>(random_() % n); }
  bool chance(size_t one_in) { return pick(one_in) == 0; }
  template <size_t n>
  std::string any(const char* const (&texts)[n]) {
    return texts[pick(n)];
  }

  std::string text() {
    static constexpr const char* kBits[] = {"Hello",
                                            " ",
                                            "\n",
                                            "</think>",
                                            "<think>",
                                            "\n\n",
                                            "你好，世界",
                                            "\t",
                                            "\u3000",
                                            "\u00a0",
                                            "{{ x }}",
                                            "<tool_response>",
                                            "</tool_response>",
                                            "<｜User｜>",
                                            "a\nb",
                                            "\x1c",
                                            "'\"\\",
                                            "<|im_end|>",
                                            "é",
                                            "🦙",
                                            "👨‍👩‍👧",
                                            "שלום",
                                            "مرحبا",
                                            "e\u0301",
                                            "/nothink",
                                            "{\"a\": 1}",
                                            "ß",
                                            "<a&b>",
                                            "\u2028",
                                            "\x7f",
                                            "\x01"};
    std::string out;
    for (size_t n = pick(6); n > 0; --n) out += any(kBits);
    return out;
  }

  json::value value(int depth = 0) {
    switch (pick(depth < 3 ? 10 : 7)) {
      case 0:
        return nullptr;
      case 1:
        return chance(2);
      case 2:
        return static_cast<int64_t>(pick(3)) * 1234567890123 - 5;
      case 3:
        return json::value(std::vector<double>{0.5, 1.0, -2.25, 1e20, 1e-7, 3.14}[pick(6)]);
      case 7: {
        json::array items;
        for (size_t n = pick(4); n > 0; --n) items.push_back(value(depth + 1));
        return items;
      }
      case 8:
      case 9: {
        json::object fields;
        for (size_t n = pick(4); n > 0; --n) fields[key()] = value(depth + 1);
        return fields;
      }
      default:
        return json::value(text());
    }
  }

  std::string key() {
    static constexpr const char* kKeys[] = {"a",    "b",   "name", "type", "items",
                                            "keys", "x y", "城市", ""};
    return any(kKeys);
  }

  json::value arguments() {
    json::object fields;
    for (size_t n = pick(4); n > 0; --n) fields[key()] = value();
    const size_t kind = pick(10);
    if (kind < 6) return fields;
    if (kind < 9) return json::value(json::serialize(fields));
    return chance(2) ? json::value(nullptr) : json::value("nope");
  }

  json::object call() {
    static constexpr const char* kNames[] = {"get_weather", "f", "搜索"};
    static constexpr const char* kIds[] = {"call00001", "abcdefghi", "x"};
    json::object function{{"name", any(kNames)}, {"arguments", arguments()}};
    if (chance(20)) function.erase(chance(2) ? "name" : "arguments");
    if (chance(12)) return function;
    json::object out{{"type", "function"}, {"function", function}};
    if (!chance(3)) out["id"] = any(kIds);
    return out;
  }

  json::object parameter() {
    static constexpr const char* kTypes[] = {"string", "integer", "array",
                                             "object", "boolean", "number"};
    json::object out;
    if (!chance(8)) out["type"] = any(kTypes);
    if (chance(9)) out["type"] = json::array{"string", "null"};
    if (!chance(3)) out["description"] = text();
    if (chance(4)) out["enum"] = json::array{"a", "b"};
    if (chance(5)) out["additionalProperties"] = json::object{{"type", "string"}};
    return out;
  }

  json::object tool() {
    json::object parameters;
    for (size_t n = pick(4); n > 0; --n) parameters[key()] = parameter();
    json::object function{
        {"name", chance(2) ? "get_weather" : "搜索"},
        {"description", text()},
        {"parameters", json::object{{"type", "object"}, {"properties", parameters}}}};
    if (chance(6)) function["return"] = json::object{{"type", "string"}, {"description", "r"}};
    if (chance(15)) function.erase("description");
    if (chance(10)) return function;
    return {{"type", "function"}, {"function", function}};
  }

  json::value content() {
    const size_t kind = pick(30);
    if (kind == 0) return nullptr;
    if (kind == 1) return json::array{json::object{{"type", "text"}, {"text", text()}}, text()};
    if (kind == 2) return json::object{{"content", text()}};
    if (kind == 3) return json::value(2.5);
    return json::value(text());
  }

  std::string role_after(const std::string& role, bool has_calls, bool orderly) {
    static constexpr const char* kRoles[] = {"user",      "assistant",   "tool",      "user",
                                             "assistant", "system",      "developer", "ipython",
                                             "wizard",    "tool_results"};
    if (!orderly) return any(kRoles);
    if (role == "user" || role == "tool") return "assistant";
    return has_calls ? "tool" : "user";
  }

  json::array messages() {
    json::array out;
    const bool orderly = chance(2);
    if (chance(2)) out.push_back(json::object{{"role", "system"}, {"content", content()}});
    std::string role = "user";
    for (size_t n = chance(40) ? 0 : 1 + pick(7); n > 0; --n) {
      json::object message{{"role", role}, {"content", content()}};
      if (role == "assistant") answer(&message);
      if (role.starts_with("tool") && !chance(3))
        message["tool_call_id"] = chance(2) ? "call00001" : "x";
      if (chance(25)) message.erase("content");
      role = role_after(role, message.contains("tool_calls"), orderly);
      out.push_back(std::move(message));
    }
    return out;
  }

  void answer(json::object* message) {
    if (chance(3))
      (*message)["reasoning_content"] = chance(4) ? json::value(nullptr) : json::value(text());
    if (chance(3)) {
      json::array calls{call()};
      if (chance(2)) calls.push_back(call());
      (*message)["tool_calls"] = std::move(calls);
      if (chance(2)) (*message)["content"] = chance(2) ? json::value(nullptr) : json::value("");
    }
    if (chance(20)) (*message)["tool_calls"] = nullptr;
    if (chance(10)) (*message)["prefix"] = true;
  }

  std::mt19937 random_;
};

TEST(JinjaAgainstPython, SharedTemplatesOverGeneratedConversations) {
  if (!testing::have_python_jinja()) GTEST_SKIP() << "python3-jinja2 is not installed";
  const std::string folder = HADAL_SOURCE_DIR "/../shared/templates";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  std::set<std::string> paths;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".jinja") paths.insert(entry.path().string());
  }
  ASSERT_GE(paths.size(), 16u);
  Conversations conversations(20261122);
  json::array cases;
  for (const std::string& path : paths) {
    for (int i = 0; i < 250; ++i) cases.push_back(conversations.next(path));
  }
  Tally tally;
  compare(cases, &tally);
  EXPECT_GT(tally.rendered, 1500);  // the generator still makes mostly sensible conversations
  EXPECT_GT(tally.failed, 300);     // ... and some that templates refuse
}

json::object constructs_variables() {
  return json::parse(R"json({
    "s": "Hello 世界", "u": "  x y\n", "l": [3, 1, 2], "n": 5, "f": 2.5, "none": null, "e": "",
    "d": {"b": 1, "a": [1, 2.5, null, true], "items": 7}, "mixed": ["b", "A", "c"],
    "people": [{"name": "Bob", "age": 3}, {"name": "al", "age": 30}],
    "sp": "<a href='x'>&\"</a>",
    "long": "the quick brown fox the quick brown fox the quick brown fox the quick brown fox"
  })json")
      .as_object();
}

TEST(JinjaAgainstPython, Constructs) {
  if (!testing::have_python_jinja()) GTEST_SKIP() << "python3-jinja2 is not installed";
  // One template a line, "\n" written as ⏎.
  std::ifstream file(HADAL_SOURCE_DIR "/src/hadal/text/jinja/testing/constructs.txt");
  json::array cases;
  for (std::string line; std::getline(file, line);) {
    for (size_t at = line.find("⏎"); at != std::string::npos; at = line.find("⏎", at)) {
      line.replace(at, 3, "\n");
    }
    json::object one = constructs_variables();
    one["source"] = line;
    cases.push_back(std::move(one));
  }
  ASSERT_GT(cases.size(), 200u);
  Tally tally;
  compare(cases, &tally);
  EXPECT_GT(tally.rendered, 100);
  EXPECT_GT(tally.failed, 50);
}

}  // namespace
}  // namespace hadal::jinja
