// Calls that are one JSON object with a name and arguments: Hermes (Qwen2.5, Qwen3) within
// <tool_call>, Llama-3 bare or behind <|python_tag|>.
#include <algorithm>
#include <array>
#include <utility>

#include "hadal/text/json_scan.h"
#include "hadal/text/parse_calls.h"

namespace hadal {
namespace {

constexpr auto kHermesOpeners = std::to_array<std::string_view>({"<tool_call>"});
constexpr auto kHermesClosers = std::to_array<std::string_view>({"</tool_call>"});
constexpr auto kLlamaOpeners = std::to_array<std::string_view>({"<|python_tag|>", "{"});
constexpr size_t kBare = 1;  // index of the brace
// A line break cannot stand in a JSON string, so behind one the marker ends the call even where a
// string was left open.
constexpr auto kHermesEnds = std::to_array<std::string_view>({"\n</tool_call>", "</tool_call>"});

class JsonCallReader final : public CallReader {
 public:
  JsonCallReader(CallFrame frame, std::span<const std::string_view> ends,
                 std::vector<std::string> names)
      : CallReader(frame), ends_(ends), names_(std::move(names)) {}

 private:
  enum class Part : uint8_t {
    kOpen,
    kFirstKey,
    kKey,
    kInKey,
    kColon,
    kValue,
    kInValue,
    kArguments,
    kNext,
  };

  bool open(size_t opener) override {
    bare_ = opener == kBare;
    if (bare_ && !at_start()) return false;
    part_ = bare_ ? Part::kFirstKey : Part::kOpen;
    named_ = has_arguments_ = false;
    head_ = 0;
    arguments_ = "{}";
    return true;
  }

  void step(std::string_view* text) override {
    if (part_ == Part::kArguments) return step_arguments(text);
    while (!text->empty()) {
      const char c = text->front();
      text->remove_prefix(1);
      if (counts()) plain_.push_back(c);  // of the tail, should it be none
      if (!take(c) || ++head_ > (in_text_value() ? kCallHeldMax : kCallHeadMax)) return reject();
      if (done_ || part_ == Part::kArguments) break;
    }
    if (std::exchange(done_, false)) leave(true);
  }

  bool in_text_value() const { return part_ == Part::kInValue && value_.starts_with('"'); }

  // No call, or the end of one that counts, with content behind its arguments.
  void reject() {
    if (!counts()) return give_up();
    end_call();
    leave(true);
    look_again(std::exchange(plain_, {}));
  }

  bool take(char c) {
    const bool space = is_json_space(c);
    switch (part_) {
      case Part::kOpen:
        if (c == '{') part_ = Part::kFirstKey;
        return space || c == '{';
      case Part::kFirstKey:
        if (c == '}') return end_object();
        [[fallthrough]];
      case Part::kKey:
        if (c == '"') part_ = Part::kInKey;
        key_.clear();
        return space || c == '"';
      case Part::kInKey:
        if (c == '"') {
          part_ = Part::kColon;
        } else {
          key_.push_back(c);
        }
        return true;
      case Part::kColon:
        if (c == ':') part_ = Part::kValue;
        return space || c == ':';
      case Part::kValue:
        return space || begin_value(c);
      case Part::kInValue:
        return take_value(c);
      case Part::kNext:
        if (c == '}') return end_object();
        if (c == ',') part_ = Part::kKey;
        return space || c == ',';
      case Part::kArguments:
        break;
    }
    return false;
  }

  bool is_arguments() const { return key_ == "arguments" || key_ == "parameters"; }

  bool begin_value(char c) {
    if (c == ',' || c == '}' || c == ']' || c == ':') return false;
    if (key_ == "name" && c != '"') return false;
    json_ = JsonEnd();
    if (is_arguments() && c == '{' && named_ && !counts()) {
      if (!begin()) return false;
      json_.push(c);
      arguments("{");
      part_ = Part::kArguments;
      return true;
    }
    part_ = Part::kInValue;
    value_.clear();
    return take_value(c);
  }

  bool take_value(char c) {
    const JsonEnd::Step step = json_.push(c);
    if (step != JsonEnd::Step::kAfter) value_.push_back(c);
    if (step == JsonEnd::Step::kMore) return true;
    part_ = Part::kNext;
    if (!end_value()) return false;
    return step == JsonEnd::Step::kLast || take(c);
  }

  bool end_value() {
    if (counts()) return true;
    const std::string text =
        value_.starts_with('"')
            ? json_unescaped(std::string_view(value_).substr(1, value_.size() - 2))
            : std::string();
    if (key_ == "name") {
      name_ = text;
      named_ = true;
    } else if (is_arguments()) {
      has_arguments_ = true;
      if (value_ != "null" && value_ != "\"\"") arguments_ = text.empty() ? value_ : text;
      return arguments_.starts_with('{') && (text.empty() || is_json_object(text));
    }
    return true;
  }

  bool end_object() {
    if (!counts()) {
      // A bare object without arguments is more likely an answer in JSON.
      if (!named_ || (bare_ && !has_arguments_) || !begin()) return false;
      arguments(arguments_);
    }
    end_call();
    done_ = true;
    return true;
  }

  bool begin() {
    const bool known = std::find(names_.begin(), names_.end(), name_) != names_.end();
    return (known || !bare_) && begin_call(name_);
  }

  void step_arguments(std::string_view* text) {
    plain_.clear();
    const size_t marker = scan(text, ends_);
    for (size_t i = 0; i < plain_.size(); ++i) {
      if (json_.push(plain_[i]) == JsonEnd::Step::kMore) continue;
      arguments(std::string_view(plain_).substr(0, i + 1));
      std::string rest = plain_.substr(i + 1) + take_scanned();
      if (marker != MarkerScan::kNone) rest += ends_[marker];
      plain_.clear();
      head_ = 0;
      part_ = Part::kNext;
      return look_again(std::move(rest));
    }
    arguments(plain_);
    plain_.clear();
    if (marker == MarkerScan::kNone) return;
    if (marker == 1 && json_.in_string()) {
      for (const char c : ends_[1]) json_.push(c);
      return arguments(ends_[1]);
    }
    end_call();
    leave(false);
  }

  void finish_call(bool, std::string held) override {
    if (part_ == Part::kArguments) return arguments(held);
    const std::string_view tail = json_trimmed(plain_);
    if (!tail.empty()) content(plain_);
  }

  const std::span<const std::string_view> ends_;
  const std::vector<std::string> names_;
  Part part_ = Part::kOpen;
  JsonEnd json_;
  std::string key_, value_, name_, arguments_;
  size_t head_ = 0;  // bytes around the arguments
  bool bare_ = false;
  bool named_ = false;
  bool has_arguments_ = false;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<CallReader> hermes_reader() {
  return std::make_unique<JsonCallReader>(CallFrame{kHermesOpeners, kHermesClosers, 1, " \t\r\n}"},
                                          kHermesEnds, std::vector<std::string>());
}

std::unique_ptr<CallReader> llama_reader(std::vector<std::string> names) {
  return std::make_unique<JsonCallReader>(CallFrame{kLlamaOpeners, {}, 0, " \t\r\n;,"},
                                          std::span<const std::string_view>(), std::move(names));
}

}  // namespace hadal
