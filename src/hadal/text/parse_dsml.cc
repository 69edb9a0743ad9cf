// DeepSeek V3.2 and V4: calls as tags with full-width bars. Parameters become one JSON object,
// written here: a string parameter passes as it comes, another one when it is complete, as JSON if
// it is JSON and as a string if not.
#include <array>
#include <optional>

#include "hadal/text/json_scan.h"
#include "hadal/text/parse_calls.h"

namespace hadal {
namespace {

constexpr std::string_view kInvoke = "<｜DSML｜invoke";
constexpr std::string_view kInvokeEnd = "</｜DSML｜invoke>";
constexpr std::string_view kParameter = "<｜DSML｜parameter";
constexpr std::string_view kParameterEnd = "</｜DSML｜parameter>";
constexpr auto kOpeners =
    std::to_array<std::string_view>({"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>"});
constexpr auto kClosers =
    std::to_array<std::string_view>({"</｜DSML｜function_calls>", "</｜DSML｜tool_calls>"});
constexpr auto kInList = std::to_array<std::string_view>({kInvoke, kClosers[0], kClosers[1]});
constexpr auto kInBody = std::to_array<std::string_view>(
    {kParameter, kInvokeEnd, kInvoke, kClosers[0], kClosers[1], kOpeners[0], kOpeners[1]});
// A value that is not closed ends with what is around it.
constexpr auto kInValue =
    std::to_array<std::string_view>({kParameterEnd, kInvokeEnd, kClosers[0], kClosers[1]});

// The value of `name="..."`; nullopt if it is not there.
std::optional<std::string_view> attribute(std::string_view tag, std::string_view name) {
  const std::string begin = " " + std::string(name) + "=\"";
  const size_t at = tag.find(begin);
  if (at == std::string_view::npos) return std::nullopt;
  tag.remove_prefix(at + begin.size());
  const size_t end = tag.find('"');
  if (end == std::string_view::npos) return std::nullopt;
  return tag.substr(0, end);
}

class DsmlReader final : public CallReader {
 public:
  DsmlReader() : CallReader({kOpeners, kClosers, 2}) {}

 private:
  enum class State : uint8_t { kList, kInvoke, kBody, kParameter, kString, kJson };

  bool open(size_t) override {
    state_ = State::kList;
    return true;
  }

  void step(std::string_view* text) override {
    switch (state_) {
      case State::kList:
        return step_list(text);
      case State::kInvoke:
      case State::kParameter:
        return step_tag(text);
      case State::kBody:
        return step_body(text);
      case State::kString:
      case State::kJson:
        return step_value(text);
    }
  }

  void step_list(std::string_view* text) {
    const size_t marker = scan(text, kInList);
    if (!json_trimmed(plain_).empty() || plain_.size() > kCallHeadMax) return give_up();
    if (marker == MarkerScan::kNone) return;
    if (marker > 0) return in_list() ? leave(false) : give_up();
    marker_ends_here();
    enter(State::kInvoke);
  }

  // Attributes, up to the '>' that is outside of quotes.
  void step_tag(std::string_view* text) {
    while (!text->empty()) {
      const char c = text->front();
      text->remove_prefix(1);
      if (c == '>' && !quoted_) return end_tag();
      if (c == '"') quoted_ = !quoted_;
      plain_.push_back(c);
      if (plain_.size() > kCallHeadMax) return bad_tag();
    }
  }

  void end_tag() {
    const auto name = attribute(plain_, "name");
    if (!name) return bad_tag();
    if (state_ == State::kInvoke) {
      name_ = *name;
      first_ = true;
      return enter(State::kBody);
    }
    if (!counts() && !begin_call(name_)) return give_up();
    const auto is_string = attribute(plain_, "string");
    std::string key(first_ ? "{\"" : ", \"");
    append_json_escaped(*name, &key);
    key += "\": ";
    first_ = false;
    const bool text = is_string && *is_string == "true";
    if (text) key += '"';
    arguments(key);
    enter(text ? State::kString : State::kJson);
  }

  void bad_tag() {
    if (!counts()) return give_up();
    content(std::string(kParameter) + plain_);
    enter(State::kBody);
  }

  void step_body(std::string_view* text) {
    const size_t marker = scan(text, kInBody);
    if (!counts() && plain_.size() > kCallHeldMax) return give_up();
    if (marker == MarkerScan::kNone) {
      if (counts()) drop_space();
      return;
    }
    end_body(kInBody[marker]);
  }

  // Between parameters of a call that counts: white space means nothing, text there is content.
  void drop_space() {
    if (!junk_ && json_trimmed(plain_).empty() && plain_.size() <= kCallHeadMax) return;
    junk_ = true;
    content(plain_);
    plain_.clear();
  }

  void end_body(std::string_view marker) {
    if (counts()) drop_space();
    if (marker == kParameter) {
      if (!counts() && !json_trimmed(plain_).empty()) return give_up();
      return enter(State::kParameter);
    }
    const bool closes = marker.starts_with("</");
    if (!counts() && !(closes && begin_bare_call())) return give_up();
    if (!first_) arguments("}");
    end_call();
    enter(State::kList);
    if (marker != kInvokeEnd) look_again(std::string(marker));
  }

  // A call without parameters, or with one JSON object in their place.
  bool begin_bare_call() {
    const std::string_view body = json_trimmed(plain_);
    if (!body.empty() && !is_json_object(body)) return false;
    if (!begin_call(name_)) return false;
    arguments(body.empty() ? "{}" : body);
    return true;
  }

  void step_value(std::string_view* text) {
    const size_t marker = scan(text, kInValue);
    if (state_ == State::kJson && plain_.size() > kCallHeldMax) begin_string();
    if (state_ == State::kString) take_string();
    if (marker == MarkerScan::kNone) return;
    end_value();
    if (kInValue[marker] == kParameterEnd) return enter(State::kBody);
    plain_.clear();
    end_body(kInValue[marker]);
  }

  void begin_string() {
    arguments("\"");
    state_ = State::kString;
  }
  void take_string() {
    std::string escaped;
    append_json_escaped(plain_, &escaped);
    arguments(escaped);
    plain_.clear();
  }
  void end_value() {
    if (state_ == State::kJson) {
      const std::string_view value = json_trimmed(plain_);
      if (is_json(value)) return arguments(value);
      begin_string();
      take_string();
    }
    arguments("\"");
  }

  void finish_call(bool cut, std::string held) override {
    plain_ += held;
    if (state_ == State::kString) take_string();
    if (state_ == State::kParameter) bad_tag();
    if (state_ == State::kBody) drop_space();
    if (!cut && (state_ == State::kString || state_ == State::kJson)) end_value();
    if (cut && state_ == State::kJson) arguments(plain_);
    if (!cut) arguments("}");
  }

  void enter(State state) {
    state_ = state;
    plain_.clear();
    quoted_ = junk_ = false;
  }

  State state_ = State::kList;
  bool quoted_ = false;
  bool junk_ = false;  // text between parameters
  bool first_ = true;  // no parameter yet
  std::string name_;
};

}  // namespace

std::unique_ptr<CallReader> dsml_reader() { return std::make_unique<DsmlReader>(); }

}  // namespace hadal
