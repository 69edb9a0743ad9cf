#include "hadal/api/canonical.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "hadal/api/fields.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

constexpr double kWholeMax = 9007199254740992.0;  // 2^53

// Changes nothing of an answer. `user` and its like stay: they keep users apart.
bool is_idle(std::string_view name) {
  return name == "metadata" || name == "store" || name == "priority" || name == "service_tier";
}

void write(const json::value& value, std::string* out);

void write_number(double number, std::string* out) {
  if (std::floor(number) == number && std::abs(number) < kWholeMax) {
    out->append(std::to_string(static_cast<int64_t>(number)));
  } else {
    out->append(fmt::format("{}", number));
  }
}

void write_object(const json::object& object, bool outermost, std::string* out) {
  std::vector<const json::key_value_pair*> members;
  for (const auto& member : object) {
    if (member.value().is_null() || (outermost && is_idle(member.key()))) continue;
    members.push_back(&member);
  }
  std::sort(members.begin(), members.end(),
            [](const auto* a, const auto* b) { return a->key() < b->key(); });
  out->push_back('{');
  for (const auto* member : members) {
    if (out->back() != '{') out->push_back(',');
    out->append(json::serialize(member->key()));
    out->push_back(':');
    write(member->value(), out);
  }
  out->push_back('}');
}

void write(const json::value& value, std::string* out) {
  switch (value.kind()) {
    case json::kind::object:
      return write_object(value.get_object(), false, out);
    case json::kind::array:
      out->push_back('[');
      for (const auto& element : value.get_array()) {
        if (out->back() != '[') out->push_back(',');
        write(element, out);
      }
      out->push_back(']');
      return;
    case json::kind::double_:
      return write_number(value.get_double(), out);
    default:
      out->append(json::serialize(value));
  }
}

std::string_view text_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

// A message's content: text, or one part of text.
json::string* only_text(json::object& message) {
  json::value* content = message.if_contains("content");
  if (content == nullptr) return nullptr;
  if (content->is_string()) return &content->get_string();
  if (!content->is_array() || content->get_array().size() != 1) return nullptr;
  json::object* part = content->get_array()[0].if_object();
  if (part == nullptr || (text_at(*part, "type") != "text")) return nullptr;
  json::value* text = part->if_contains("text");
  return text != nullptr && text->is_string() ? &text->get_string() : nullptr;
}

void take_question(json::object& root, CanonicalRequest* request) {
  json::value* messages = root.if_contains("messages");
  if (messages == nullptr || !messages->is_array() || messages->get_array().empty()) return;
  json::array& list = messages->get_array();
  request->single_turn = true;
  for (size_t i = 0; i < list.size(); ++i) {
    const json::object* message = list[i].if_object();
    if (message == nullptr) return;
    const std::string_view role = text_at(*message, "role");
    const bool last = i + 1 == list.size();
    request->single_turn &= last ? role == "user" : role == "system" || role == "developer";
    if (last && role != "user") return;
  }
  json::string* text = only_text(list.back().get_object());
  if (text == nullptr || text->empty()) return;
  request->question.assign(text->data(), text->size());
  text->clear();
  write_object(root, true, &request->frame);
}

}  // namespace

Parsed<CanonicalRequest> canonical_request(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  const json::object& root = document.root();
  CanonicalRequest request;
  request.text.reserve(body.size());
  write_object(root, true, &request.text);
  request.model = text_at(root, "model");
  const json::value* stream = root.if_contains("stream");
  request.stream = stream != nullptr && stream->is_bool() && stream->get_bool();
  if (const json::value* value = root.if_contains("temperature"); value && value->is_number()) {
    request.temperature = value->to_number<double>();
  }
  const json::value* seed = root.if_contains("seed");
  request.seeded = seed != nullptr && seed->is_number();
  const auto says = [&](std::string_view name) {
    const json::value* value = root.if_contains(name);
    return value != nullptr && !value->is_null();
  };
  request.stateful = says("previous_response_id") || says("conversation") ||
                     (says("background") && root.at("background") != false);
  if (const json::value* messages = root.if_contains("messages"); messages != nullptr) {
    json::object copy = root;
    take_question(copy, &request);
  }
  return request;
}

int64_t answered_tokens(std::string_view answer) {
  int64_t tokens = 0;
  for (const std::string_view name : {"\"completion_tokens\":", "\"output_tokens\":"}) {
    const size_t at = answer.rfind(name);  // the last of a stream counts
    if (at == std::string_view::npos) continue;
    const char* begin = answer.data() + at + name.size();
    const char* end = answer.data() + answer.size();
    while (begin < end && *begin == ' ') ++begin;
    int64_t value = 0;
    if (std::from_chars(begin, end, value).ec == std::errc()) tokens = std::max(tokens, value);
  }
  return tokens;
}

bool is_whole_stream(std::string_view events) {
  // A line begins so only where it is one: inside JSON text a line feed is written "\n".
  const auto has_line = [&](std::string_view line) {
    size_t at = events.find(line);
    while (at != std::string_view::npos && at != 0 && events[at - 1] != '\n') {
      at = events.find(line, at + 1);
    }
    return at != std::string_view::npos;
  };
  for (const std::string_view fault : {"data: {\"error\"", "data:{\"error\"", "event: error",
                                       "event: response.failed", "event: response.incomplete"}) {
    if (has_line(fault)) return false;
  }
  return has_line("data: [DONE]") || has_line("event: message_stop") ||
         has_line("event: response.completed");
}

}  // namespace hadal::api
