#include "hadal/gateway/body_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "hadal/base/ascii.h"
#include "hadal/base/hash.h"
#include "hadal/base/limits.h"

namespace hadal::gateway {
namespace {

constexpr size_t kPromptPrefix = 512;  // bytes of a prompt that say where it belongs

// Walks JSON text. Checks the form, that is strings, brackets and separators; not what a scalar
// says, since the backend parses it anyway.
class Walker {
 public:
  explicit Walker(std::string_view text, size_t at = 0) : text_(text), at_(at) {}

  size_t at() const { return at_; }
  bool is_end() {
    skip_space();
    return at_ == text_.size();
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  // A string with its quotes.
  bool string(std::string_view* raw) {
    skip_space();
    const size_t begin = at_;
    if (at_ == text_.size() || text_[at_] != '"') return false;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '\\') {
        ++at_;
      } else if (c == '"') {
        *raw = text_.substr(begin, ++at_ - begin);
        return true;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        return false;
      }
    }
    return false;
  }
  bool value(std::string_view* raw) {
    skip_space();
    const size_t begin = at_;
    std::string closers;  // of the brackets that are open
    do {
      if (!piece(&closers)) return false;
    } while (!closers.empty());
    *raw = text_.substr(begin, at_ - begin);
    return true;
  }

 private:
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) {
      ++at_;
    }
  }
  // A scalar, a bracket or a separator inside of one.
  bool piece(std::string* closers) {
    skip_space();
    if (at_ == text_.size()) return false;
    const char c = text_[at_];
    std::string_view unused;
    if (c == '"') return string(&unused);
    if (c == '{' || c == '[') {
      closers->push_back(c == '{' ? '}' : ']');
      ++at_;
      return closers->size() <= limits::kJsonDepthMax;
    }
    if (!closers->empty() && (c == ',' || c == ':')) {
      ++at_;
      return true;
    }
    if (c == '}' || c == ']') {
      if (closers->empty() || closers->back() != c) return false;
      closers->pop_back();
      ++at_;
      return true;
    }
    const size_t begin = at_;
    while (at_ < text_.size() && is_scalar(text_[at_])) ++at_;
    return at_ > begin;
  }
  static bool is_scalar(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' || c == '.' ||
           c == 'E';
  }

  std::string_view text_;
  size_t at_;
};

// What a string in quotes says. Names of fields and models are short and mostly plain; \u escapes
// beyond ASCII are left as they are, which makes them no name that anybody knows.
std::string unquoted(std::string_view raw) {
  raw = raw.substr(1, raw.size() - 2);
  if (raw.find('\\') == std::string_view::npos) return std::string(raw);
  std::string text;
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\' || i + 1 == raw.size()) {
      text += raw[i];
      continue;
    }
    const char c = raw[++i];
    constexpr std::string_view kFrom = "nrtbf", kTo = "\n\r\t\b\f";
    if (const size_t known = kFrom.find(c); known != std::string_view::npos) {
      text += kTo[known];
    } else if (c == 'u' && i + 4 < raw.size() && hex_digit(raw[i + 1]) == 0 &&
               hex_digit(raw[i + 2]) == 0 && hex_digit(raw[i + 3]) >= 0 &&
               hex_digit(raw[i + 3]) < 8 && hex_digit(raw[i + 4]) >= 0) {
      text += static_cast<char>(hex_digit(raw[i + 3]) * 16 + hex_digit(raw[i + 4]));
      i += 4;
    } else if (c == 'u') {
      text += "\\u";
    } else {
      text += c;
    }
  }
  return text;
}

// Calls `take(key, value, value's begin)` for each member. False: not an object.
template <class Take>
bool each_member(Walker& walker, std::string_view text, Take take) {
  if (!walker.take('{')) return false;
  if (walker.take('}')) return true;
  do {
    std::string_view key, value;
    if (!walker.string(&key) || !walker.take(':') || !walker.value(&value)) return false;
    take(unquoted(key), value, static_cast<size_t>(value.data() - text.data()));
  } while (walker.take(','));
  return walker.take('}');
}

bool is_of_user(std::string_view message) {
  bool user = false;
  Walker walker(message);
  each_member(walker, message, [&](const std::string& key, std::string_view value, size_t) {
    if (key == "role") user = value == "\"user\"";
  });
  return user;
}

// The messages up to the first of a user, so that every later turn has the same.
std::string_view beginning(std::string_view messages) {
  Walker walker(messages);
  if (!walker.take('[')) return messages.substr(0, kPromptPrefix);
  std::string_view message;
  while (walker.value(&message)) {
    if (is_of_user(message) || !walker.take(',')) break;
  }
  return messages.substr(0, walker.at());
}

// `metadata`: an object, maybe with Anthropic's "user_id".
std::string user_in(std::string_view metadata) {
  std::string user;
  Walker walker(metadata);
  each_member(walker, metadata, [&](const std::string& key, std::string_view value, size_t) {
    if (key == "user_id" && value.starts_with('"')) user = unquoted(value);
  });
  return user;
}

void take_member(const std::string& key, std::string_view value, size_t begin, BodyScan* scan,
                 Hasher* prefix) {
  if (key == "model") {
    if (value.starts_with('"')) scan->model = unquoted(value);
    scan->model_begin = begin;
    scan->model_end = begin + value.size();
  } else if (key == "stream") {
    scan->stream = value == "true";
  } else if (key == "thinking") {
    scan->has_thinking = value != "null";
  } else if (key == "reasoning_effort") {
    scan->has_effort = value != "null";
  } else if (key == "max_tokens" || key == "max_completion_tokens" || key == "max_output_tokens") {
    int64_t count = 0;
    std::from_chars(value.data(), value.data() + value.size(), count);
    scan->max_tokens = std::max<int64_t>(count, 0);
  } else if (key == "messages" || key == "input") {
    prefix->update(beginning(value));
  } else if (key == "user" || key == "user_id") {
    if (value.starts_with('"')) scan->user = unquoted(value);
  } else if (key == "metadata") {
    if (scan->user.empty()) scan->user = user_in(value);
  } else if (key == "prompt" || key == "system") {
    prefix->update(value.substr(0, kPromptPrefix));
  }
}

}  // namespace

Result<BodyScan> scan_body(std::string_view body) {
  BodyScan scan;
  Walker walker(body);
  Hasher prefix;
  int models = 0;
  const bool is_object =
      each_member(walker, body, [&](const std::string& key, std::string_view value, size_t begin) {
        if (key == "model") ++models;
        take_member(key, value, begin, &scan, &prefix);
      });
  if (!is_object || !walker.is_end()) {
    return fail(Code::kInvalidInput, "the request body must be one JSON object");
  }
  if (models > 1) return fail(Code::kInvalidInput, "model: given twice");
  if (models == 1 && body[scan.model_begin] != '"' && body.substr(scan.model_begin, 4) != "null") {
    return fail(Code::kInvalidInput, "model: expected a string");
  }
  Walker begin(body);
  begin.take('{');
  scan.inside = begin.at();
  scan.is_empty = begin.peek() == '}';
  scan.prefix_hash = prefix.finish().low;
  return scan;
}

std::string rewrite_body(std::string_view body, const BodyScan& scan, const BodyChanges& changes) {
  std::string quoted = "\"";
  for (const char c : changes.model) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  quoted += '"';
  std::string added;
  if (scan.model_end == 0) added += "\"model\":" + quoted + ",";
  const bool says_nothing = !scan.has_thinking && !scan.has_effort;
  if (changes.thinking && says_nothing) {
    added +=
        fmt::format(R"("thinking":{{"type":"{}"}},)", *changes.thinking ? "enabled" : "disabled");
  }
  if (!changes.effort.empty() && says_nothing && changes.thinking.value_or(true)) {
    added += fmt::format(R"("reasoning_effort":"{}",)", changes.effort);
  }
  if (scan.is_empty && !added.empty()) added.pop_back();
  std::string out;
  out.reserve(body.size() + added.size() + quoted.size());
  out += body.substr(0, scan.inside);
  out += added;
  if (scan.model_end == 0) return out.append(body.substr(scan.inside));
  out += body.substr(scan.inside, scan.model_begin - scan.inside);
  out += quoted;
  return out.append(body.substr(scan.model_end));
}

}  // namespace hadal::gateway
