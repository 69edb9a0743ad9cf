#include "hadal/gateway/masker.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "hadal/gateway/detect_parts.h"
#include "hadal/gateway/json_text.h"
#include "hadal/text/json_scan.h"
#include "hadal/text/unicode.h"

namespace hadal::gateway {
namespace {

constexpr char32_t kOpen = 0x27e6, kClose = 0x27e7;  // ⟦ and ⟧
constexpr std::u32string_view kEscapedOpen = U"\\u27e6", kEscapedClose = U"\\u27e7";
constexpr size_t kNameMax = 48;      // a class's name, '_' and a number
constexpr char32_t kOther = 0xfffd;  // for bytes that are no character

bool is_name(char32_t c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }
char32_t small(char32_t c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

std::string placeholder_name(std::string_view label, int number) {
  std::string name;
  for (const char c : label) name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return fmt::format("{}_{}", name, number);
}

enum class Reading : uint8_t {
  kNo,
  kBegun,    // more may come
  kWhole,    // ⟦NAME⟧
  kEscaped,  // the same with escapes that a JSON string inside of the string has
};

// What characters are; `name`: of a whole one.
template <class At>
Reading read_placeholder(size_t size, At at, std::string* name) {
  size_t i = 0;
  const bool escaped = at(0) == '\\';
  const auto take = [&](std::u32string_view wanted) {
    for (size_t k = 0; k < wanted.size(); ++k, ++i) {
      if (i == size) return Reading::kBegun;
      if (small(at(i)) != wanted[k]) return Reading::kNo;
    }
    return Reading::kWhole;
  };
  const std::u32string_view open = escaped ? kEscapedOpen : std::u32string_view(&kOpen, 1);
  if (const Reading begun = take(open); begun != Reading::kWhole) return begun;
  const size_t begin = i;
  for (; i < size && is_name(at(i)); ++i) *name += static_cast<char>(at(i));
  if (i - begin > kNameMax) return Reading::kNo;
  if (i == size) return Reading::kBegun;
  if (i == begin) return Reading::kNo;
  const std::u32string_view close = escaped ? kEscapedClose : std::u32string_view(&kClose, 1);
  const Reading closed = take(close);
  if (closed != Reading::kWhole) return closed;
  if (i != size) return Reading::kNo;
  return escaped ? Reading::kEscaped : Reading::kWhole;
}

// Names of placeholders that a text has already.
std::set<std::string, std::less<>> names_in(std::string_view text) {
  std::set<std::string, std::less<>> names;
  for (size_t at = text.find_first_of("\\\xe2"); at != std::string_view::npos;
       at = text.find_first_of("\\\xe2", at + 1)) {
    const JsonChar one = json_char(text, at);
    if (one.c != kOpen) continue;
    std::string name;
    for (size_t i = at + one.length; i < text.size() && name.size() < kNameMax;) {
      const JsonChar next = json_char(text, i);
      if (!is_name(next.c)) break;
      name += static_cast<char>(next.c);
      i += next.length;
    }
    names.insert(std::move(name));
  }
  return names;
}

std::string escaped(std::string_view text, int depth) {
  std::string out(text);
  for (; depth > 0; --depth) {
    std::string next;
    append_json_escaped(out, &next);
    out = std::move(next);
  }
  return out;
}

}  // namespace

Masked mask_body(std::string_view body, const std::vector<MaskSpan>& spans,
                 const std::vector<std::string>& labels) {
  Masked masked;
  std::unordered_map<std::string, std::string> names;  // of texts
  std::map<uint32_t, int> numbers;                     // used of a label
  // One that somebody wrote himself must not be changed in the answer.
  const std::set<std::string, std::less<>> taken =
      spans.empty() ? std::set<std::string, std::less<>>() : names_in(body);
  size_t done = 0;
  for (const MaskSpan& span : spans) {
    std::string text = json_unescaped(body.substr(span.begin, span.end - span.begin));
    if (span.nested) text = json_unescaped(text);
    const std::string& label = labels[span.label];
    std::string& name = names[label + ":" + text];
    while (name.empty()) {
      name = placeholder_name(label, ++numbers[span.label]);
      if (taken.count(name) > 0) name.clear();
    }
    masked.texts.try_emplace(name, std::move(text));
    masked.body += body.substr(done, span.begin - done);
    append_utf8(kOpen, &masked.body);
    masked.body += name;
    append_utf8(kClose, &masked.body);
    done = span.end;
  }
  masked.body += body.substr(done);
  return masked;
}

// Finds the strings of one event's JSON, each with the channel that it continues: its path, and
// the indices of the objects around it.
class LineRestorer {
 public:
  LineRestorer(Restorer& restorer, std::string_view line) : restorer_(restorer), line_(line) {}

  void json(size_t begin, size_t end) {
    tokens_.clear();
    JsonTokens tokens(line_.substr(0, end), begin);
    JsonToken token;
    while (tokens.next(&token)) tokens_.push_back(token);
    at_ = 0;
    if (!tokens_.empty()) value("", false);
  }

 private:
  using Kind = JsonToken::Kind;
  std::string_view text(const JsonToken& token) const {
    return line_.substr(token.begin, token.end - token.begin);
  }

  // Behind the value that begins at token `at`.
  size_t behind(size_t at) const {
    size_t depth = 0;
    do {
      if (tokens_[at].kind == Kind::kOpen) ++depth;
      if (tokens_[at].kind == Kind::kClose) --depth;
      ++at;
    } while (depth > 0 && at < tokens_.size());
    return at;
  }

  void value(const std::string& channel, bool nested) {
    const JsonToken token = tokens_[at_];
    if (token.kind == Kind::kString) {
      ++at_;
      return restorer_.take_string(channel, text(token), token.begin, nested);
    }
    if (token.kind != Kind::kOpen) {
      ++at_;
      return;
    }
    if (token.is_object) return object(channel);
    for (++at_; at_ < tokens_.size() && tokens_[at_].kind != Kind::kClose;) value(channel, nested);
    ++at_;
  }

  void object(const std::string& channel) {
    std::string here = channel;
    bool arguments = false;  // what a "delta" of it is
    for (size_t at = at_ + 1; at + 1 < tokens_.size() && tokens_[at].kind == Kind::kKey;) {
      const std::string_view key = text(tokens_[at]);
      const JsonToken& member = tokens_[at + 1];
      if (key == "index" || key.ends_with("_index")) {
        here += fmt::format("[{}={}]", key, text(member));
      }
      if (key == "type") arguments = text(member).find("arguments") != std::string_view::npos;
      at = behind(at + 1);
    }
    for (++at_; at_ + 1 < tokens_.size() && tokens_[at_].kind == Kind::kKey;) {
      const std::string_view key = text(tokens_[at_]);
      restorer_.take_key(key, tokens_[at_].begin);
      ++at_;
      const bool nested =
          key == "arguments" || key == "partial_json" || (arguments && key == "delta");
      value(fmt::format("{}.{}", here, key), nested);
    }
    ++at_;
  }

  Restorer& restorer_;
  const std::string_view line_;
  std::vector<JsonToken> tokens_;
  size_t at_ = 0;
};

// The channel's held characters, with another one at their end: gives up what cannot be a
// placeholder any more, and puts in the text of what is one.
void Restorer::settle(std::vector<Held>* held, bool nested) {
  while (!held->empty()) {
    std::string name;
    const Reading reading = read_placeholder(
        held->size(), [&](size_t i) { return (*held)[i].c; }, &name);
    if (reading == Reading::kBegun) return;
    const auto text = reading == Reading::kNo ? masked_->texts.end() : masked_->texts.find(name);
    if (text != masked_->texts.end()) {
      replace(*held, escaped(text->second, nested || reading == Reading::kEscaped ? 2 : 1));
      held->clear();
    } else {
      held->erase(held->begin());
    }
  }
}

void Restorer::replace(const std::vector<Held>& held, const std::string& text) {
  for (size_t i = 0; i < held.size();) {
    size_t last = i;
    while (last + 1 < held.size() && held[last + 1].line == held[i].line &&
           held[last + 1].begin == held[last].end) {
      ++last;
    }
    std::vector<Edit>& edits = lines_[held[i].line - first_].edits;
    Edit edit{held[i].begin, held[last].end, i == 0 ? text : std::string()};
    const auto place = std::find_if(edits.begin(), edits.end(),
                                    [&](const Edit& other) { return other.begin > edit.begin; });
    edits.insert(place, std::move(edit));
    i = last + 1;
  }
}

void Restorer::take_string(const std::string& channel, std::string_view raw, size_t begin,
                           bool nested) {
  const auto known = held_.find(channel);
  std::vector<Held> held;
  if (known != held_.end()) {
    held = std::move(known->second);
    held_.erase(known);
  }
  const uint64_t line = first_ + lines_.size() - 1;
  for (size_t at = 0; at < raw.size();) {
    if (held.empty()) {
      // Only these bytes can begin one.
      at = raw.find_first_of("\\\xe2", at);
      if (at == std::string_view::npos) break;
    }
    const JsonChar one = json_char(raw, at);
    if (!held.empty() || one.c == kOpen || one.c == '\\') {
      held.push_back({line, begin + at, begin + at + one.length, one.c});
      settle(&held, nested);
    }
    at += one.length;
  }
  if (!held.empty()) held_[channel] = std::move(held);
}

void Restorer::take_key(std::string_view raw, size_t begin) {
  static constexpr std::string_view kChannel = "key";  // paths begin with a dot
  take_string(std::string(kChannel), raw, begin, false);
  held_.erase(std::string(kChannel));
}

void Restorer::take_line(std::string line) {
  bytes_ += line.size();
  lines_.push_back({std::move(line), {}});
  const std::string& bytes = lines_.back().bytes;
  size_t begin = 0, end = bytes.size();
  while (end > 0 && (bytes[end - 1] == '\n' || bytes[end - 1] == '\r')) --end;
  if (bytes.starts_with("data:")) begin = bytes.starts_with("data: ") ? 6 : 5;
  if (end <= begin) return;
  const std::string_view payload = std::string_view(bytes).substr(begin, end - begin);
  if (is_json(payload)) {
    LineRestorer(*this, bytes).json(begin, end);
    return;
  }
  if (payload == "[DONE]") held_.clear();
  // No JSON: what stands there whole.
  std::vector<Held> held;
  for (size_t at = begin; at < end;) {
    const Utf8Step step = utf8_step(std::string_view(bytes).substr(at, end - at));
    const size_t length = std::max<size_t>(step.length, 1);
    const std::string_view one = std::string_view(bytes).substr(at, length);
    const char32_t c = one == "⟦"        ? kOpen
                       : one == "⟧"      ? kClose
                       : one.size() == 1 ? static_cast<unsigned char>(one[0])
                                         : kOther;
    if (!held.empty() || c == kOpen) {
      held.push_back({first_ + lines_.size() - 1, at, at + length, c});
      std::string name;
      const Reading reading = read_placeholder(
          held.size(), [&](size_t i) { return held[i].c; }, &name);
      if (reading == Reading::kWhole && masked_->texts.count(name) > 0) {
        replace(held, masked_->texts.at(name));
      }
      if (reading != Reading::kBegun) held.clear();
    }
    at += length;
  }
}

std::string Restorer::release(bool all) {
  if (all || bytes_ > kHeldMax) held_.clear();
  uint64_t until = first_ + lines_.size();
  for (const auto& [channel, held] : held_) until = std::min(until, held.front().line);
  std::string out;
  for (; first_ < until; ++first_) {
    const Line& line = lines_.front();
    size_t done = 0;
    for (const Edit& edit : line.edits) {
      out.append(line.bytes, done, edit.begin - done);
      out += edit.text;
      done = edit.end;
    }
    out.append(line.bytes, done);
    bytes_ -= line.bytes.size();
    lines_.pop_front();
  }
  return out;
}

std::string Restorer::push(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const size_t newline = bytes.find('\n');
    const size_t length = newline == std::string_view::npos ? bytes.size() : newline + 1;
    rest_ += bytes.substr(0, length);
    bytes.remove_prefix(length);
    const bool ended = newline != std::string_view::npos;
    if (passing_ || rest_.size() > kLineMax) {
      out += release(true);
      out += std::exchange(rest_, {});
      passing_ = !ended;
    } else if (ended) {
      take_line(std::exchange(rest_, {}));
      out += release(false);
    }
  }
  return out;
}

std::string Restorer::finish() {
  if (!rest_.empty()) take_line(std::exchange(rest_, {}));
  return release(true);
}

std::string Restorer::whole(std::string_view answer) {
  take_line(std::string(answer));
  return release(true);
}

}  // namespace hadal::gateway
