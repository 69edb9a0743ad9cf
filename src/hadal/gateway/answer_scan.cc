#include "hadal/gateway/answer_scan.h"

#include <algorithm>

#include "hadal/base/ascii.h"

namespace hadal::gateway {
namespace {

constexpr size_t kSmallMax = 40;  // longer than every key and word that matters
constexpr size_t kLineMax = 96;   // ... than every event's name

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

void append_utf8(uint32_t code, std::string* text) {
  const auto byte = [&](uint32_t value) { text->push_back(static_cast<char>(value)); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) {
    byte(0xC0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      byte(0xE0 | (code >> 12));
    } else {
      byte(0xF0 | (code >> 18));
      byte(0x80 | ((code >> 12) & 0x3F));
    }
    byte(0x80 | ((code >> 6) & 0x3F));
  }
  byte(0x80 | (code & 0x3F));
}

// Small letters, one kind of apostrophe, single spaces, nothing in front of the first letter.
std::string plain(std::string_view text) {
  constexpr std::string_view kCurly = "\xE2\x80\x99";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with(kCurly)) {
      out += '\'';
      i += kCurly.size() - 1;
      continue;
    }
    const char c = text[i];
    const bool gap = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    const bool mark = c == '*' || c == '#' || c == '"' || c == '>' || c == '_';
    if ((gap || mark) && out.empty()) continue;
    if (gap && out.back() == ' ') continue;
    out += gap ? ' ' : lower(c);
  }
  return out;
}

}  // namespace

void AnswerScan::push(std::string_view bytes) {
  for (const char c : bytes) {
    if (in_string_) {
      in_string(c);
    } else if (depth_ > 0) {
      inside(c);
    } else {
      outside(c);
    }
  }
}

void AnswerScan::outside(char c) {
  if (c == '{' || c == '[') {
    depth_ = 1;
    after_colon_ = false;
    key_.clear();
  } else if (c == '\n') {
    end_line();
  } else if (c != '\r' && line_.size() < kLineMax) {
    line_ += c;
  }
}

void AnswerScan::end_line() {
  constexpr std::string_view kEvent = "event:";
  if (line_.empty()) event_.clear();
  if (line_.starts_with(kEvent)) {
    event_ = line_.substr(std::min(line_.size(), line_.find_first_not_of(' ', kEvent.size())));
    if (event_ == "error" || event_ == "response.failed") failed_ = true;
    if (event_.starts_with("response.refusal")) refused_ = true;
  }
  line_.clear();
}

void AnswerScan::inside(char c) {
  switch (c) {
    case '"':
      return begin_string();
    case ':':
      after_colon_ = true;
      return;
    case ',':
      after_colon_ = false;
      return;
    case '{':
    case '[':
      if (after_colon_ && depth_ == 1 && key_ == "error") failed_ = true;
      after_colon_ = false;
      ++depth_;
      return;
    case '}':
    case ']':
      after_colon_ = false;
      --depth_;
      return;
    default:
      return;
  }
}

AnswerScan::Kind AnswerScan::kind_of_key() const {
  if (!event_.empty() && !event_.ends_with("delta")) return Kind::kNone;
  if (key_ == "content" || key_ == "text" || key_ == "refusal") return Kind::kText;
  if (key_ == "delta") {
    const bool text = event_.find("reasoning") == std::string::npos &&
                      event_.find("arguments") == std::string::npos;
    return text ? Kind::kText : Kind::kThought;
  }
  const bool thought = key_ == "reasoning_content" || key_ == "reasoning" || key_ == "thinking" ||
                       key_ == "arguments" || key_ == "partial_json";
  return thought ? Kind::kThought : Kind::kNone;
}

void AnswerScan::begin_string() {
  in_string_ = true;
  is_value_ = after_colon_;
  is_empty_ = true;
  small_.clear();
  kind_ = is_value_ ? kind_of_key() : Kind::kNone;
}

void AnswerScan::in_string(char c) {
  if (hex_left_ > 0) {
    hex_ = hex_ * 16 + static_cast<uint32_t>(std::max(hex_digit(c), 0));
    if (--hex_left_ == 0) take_unit(hex_);
  } else if (escaped_) {
    escaped_ = false;
    constexpr std::string_view kFrom = "nrtbf", kTo = "\n\r\t\b\f";
    const size_t known = kFrom.find(c);
    if (c == 'u') {
      hex_left_ = 4;
      hex_ = 0;
    } else {
      take_byte(known == std::string_view::npos ? c : kTo[known]);
    }
  } else if (c == '\\') {
    escaped_ = true;
  } else if (c == '"') {
    end_string();
  } else {
    take_byte(c);
  }
}

// A half of a pair waits for the other.
void AnswerScan::take_unit(uint32_t code) {
  if (code >= 0xD800 && code < 0xDC00) {
    high_surrogate_ = code;
    return;
  }
  if (code >= 0xDC00 && code < 0xE000 && high_surrogate_ != 0) {
    code = 0x10000 + ((high_surrogate_ - 0xD800) << 10) + (code - 0xDC00);
  }
  high_surrogate_ = 0;
  std::string bytes;
  append_utf8(code, &bytes);
  for (const char c : bytes) take_byte(c);
}

void AnswerScan::take_byte(char c) {
  is_empty_ = false;
  if (small_.size() < kSmallMax) small_ += c;
  if (kind_ == Kind::kNone) return;
  if (!is_continuation(c)) ++characters_;
  if (kind_ == Kind::kText && text_.size() < text_max_) text_ += c;
}

void AnswerScan::end_string() {
  in_string_ = false;
  if (!is_value_) {
    key_ = small_;
    return;
  }
  after_colon_ = false;
  if (kind_ != Kind::kNone && !is_empty_) ++pieces_;
  if (key_ == "finish_reason" && small_ == "content_filter") refused_ = true;
  if (key_ == "stop_reason" && small_ == "refusal") refused_ = true;
  if (key_ == "refusal" && !is_empty_) refused_ = true;
  if (key_ == "error" && depth_ == 1) failed_ = true;
}

bool opens_with(std::string_view text, const std::vector<std::string>& openings) {
  const std::string begins = plain(text);
  return std::any_of(openings.begin(), openings.end(), [&](const std::string& opening) {
    const std::string wanted = plain(opening);
    return !wanted.empty() && begins.starts_with(wanted);
  });
}

const std::vector<std::string>& usual_refusals() {
  static const std::vector<std::string> kUsual = {
      "I'm sorry, but I can't",
      "I'm sorry, but I cannot",
      "I'm sorry, I can't",
      "I'm sorry, I cannot",
      "I am sorry, but I cannot",
      "Sorry, but I can't",
      "Sorry, I can't",
      "I can't assist",
      "I can't help with",
      "I cannot assist",
      "I cannot help with",
      "I cannot provide",
      "I can't provide",
      "I'm unable to",
      "I am unable to",
      "I'm not able to",
      "I won't",
      "抱歉，我无法",
      "抱歉，我不能",
      "很抱歉，我无法",
      "很抱歉，我不能",
      "非常抱歉，我无法",
      "对不起，我无法",
      "对不起，我不能",
      "我无法提供",
      "我不能提供",
      "我无法协助",
      "你好，这个问题我暂时无法回答",
  };
  return kUsual;
}

}  // namespace hadal::gateway
