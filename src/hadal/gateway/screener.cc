#include "hadal/gateway/screener.h"

#include <algorithm>
#include <array>

#include "hadal/base/ascii.h"
#include "hadal/gateway/detect_parts.h"
#include "hadal/gateway/json_text.h"
#include "hadal/text/json_scan.h"
#include "hadal/text/unicode.h"

namespace hadal::gateway {
namespace {

constexpr size_t kOpaqueMin = 512;  // bytes of base64 that are no word

bool is_base64(char c) {
  return is_word(c) || c == '+' || c == '/' || c == '-' || c == '_' || c == '=';
}

// A long run of base64: some file's bytes.
bool has_blob(std::string_view raw) {
  if (raw.size() < kOpaqueMin) return false;
  size_t run = 0;
  for (const char c : raw) {
    run = is_base64(c) ? run + 1 : 0;
    if (run >= kOpaqueMin) return true;
  }
  return false;
}

// Parts of a message that are no text, in the words of the three protocols.
bool is_opaque_type(std::string_view type) {
  constexpr std::array<std::string_view, 12> kTypes = {
      "image", "image_url",   "input_image", "file",      "input_file",        "document",
      "audio", "input_audio", "video",       "video_url", "redacted_thinking", "item_reference"};
  return std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
}

// False: a broken escape.
bool percent_decode(std::string_view query, std::string* text) {
  for (size_t i = 0; i < query.size(); ++i) {
    if (query[i] == '+') {
      *text += ' ';
    } else if (query[i] != '%') {
      *text += query[i];
    } else {
      if (i + 2 >= query.size()) return false;
      const int high = hex_digit(query[i + 1]), low = hex_digit(query[i + 2]);
      if (high < 0 || low < 0) return false;
      *text += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return true;
}

}  // namespace

// One request.
class Screener::Pass {
 public:
  Pass(const Screener& screener, std::string_view body)
      : screener_(screener),
        body_(body),
        seen_(screener.labels_.size()),
        slow_(screener.patterns_.size()) {}

  void body() {
    if (!is_json_object(body_) || !is_valid_utf8(body_)) {
      return note(screener_.unreadable_, "the body is not JSON");
    }
    JsonTokens tokens(body_);
    JsonToken token;
    while (tokens.next(&token)) take(token);
    joined();
  }

  void plain(std::string_view text, const char* where) {
    for (const FoldedText& reading : reader_.read_plain(text, 0)) look(reading, where, false);
  }

  void note(uint32_t label, const char* where) {
    seen_[label] = true;
    const bool allowed = screener_.policies_[label] == Policy::kAllowed;
    if (allowed || result_.stays) return;
    result_.stays = true;
    result_.reason = screener_.labels_[label];
    if (where != nullptr) result_.reason += std::string(" (") + where + ")";
  }
  uint32_t unreadable() const { return screener_.unreadable_; }

  Screening finish() {
    for (size_t i = 0; i < seen_.size(); ++i) {
      if (seen_[i]) result_.labels.push_back(screener_.labels_[i]);
    }
    // Overlapping ones become one, with the label of what begins first and is longest.
    std::sort(spans_.begin(), spans_.end(), [](const MaskSpan& a, const MaskSpan& b) {
      return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
    });
    for (const MaskSpan& span : spans_) {
      if (!result_.spans.empty() && span.begin < result_.spans.back().end) {
        result_.spans.back().end = std::max(result_.spans.back().end, span.end);
      } else {
        result_.spans.push_back(span);
      }
    }
    return std::move(result_);
  }

 private:
  struct Level {
    bool is_object;
    bool is_ids;  // an array in which numbers would be token ids
  };

  void take(const JsonToken& token) {
    using Kind = JsonToken::Kind;
    const std::string_view raw = body_.substr(token.begin, token.end - token.begin);
    switch (token.kind) {
      case Kind::kOpen:
        levels_.push_back({token.is_object, !token.is_object && may_be_ids()});
        break;
      case Kind::kClose:
        if (!levels_.empty()) levels_.pop_back();
        break;
      case Kind::kKey:
        key_ = raw;
        if (levels_.size() == 1) top_key_ = raw;
        for (const FoldedText& reading : reader_.read_json(raw, token.begin)) {
          look(reading, "a key", false);
        }
        break;
      case Kind::kString:
        string(raw, token.begin);
        break;
      case Kind::kNumber:
        if (!levels_.empty() && levels_.back().is_ids) note(screener_.opaque_, "token ids");
        if (raw.size() >= 8) plain(raw, "a number");
        break;
      case Kind::kWord:
        break;
    }
  }

  bool may_be_ids() const {
    if (levels_.size() == 1) return top_key_ == "prompt" || top_key_ == "input";
    return !levels_.empty() && levels_.back().is_ids;
  }

  void string(std::string_view raw, size_t begin) {
    const bool in_object = !levels_.empty() && levels_.back().is_object;
    if (in_object && key_ == "type" && is_opaque_type(raw)) note(screener_.opaque_, nullptr);
    if (has_blob(raw)) note(screener_.opaque_, nullptr);
    const bool nested = in_object && (key_ == "arguments" || key_ == "partial_json");
    for (const FoldedText& reading : reader_.read_json(raw, begin)) {
      look(reading, nullptr, nested);
    }
    if (in_object && key_ == "text") {
      joins_.push_back(joined_.size());
      joined_ += raw;
    }
  }

  // Pieces of text that a template puts together: a number may be cut by them.
  void joined() {
    if (joins_.size() < 2) return;
    for (const FoldedText& reading : reader_.read_json(joined_, 0)) {
      search(reading);
      for (const KeywordIndex::Hit& hit : hits_) {
        const size_t begin = reading.begin_of(hit.begin), end = reading.end_of(hit.end);
        const auto cut = std::upper_bound(joins_.begin(), joins_.end(), begin);
        if (cut != joins_.end() && *cut < end) note(hit.tag, "over several parts");
      }
    }
  }

  // Fills hits_, the tag being the label.
  void search(const FoldedText& reading) {
    const std::string_view text = reading.text();
    found_.clear();
    hits_.clear();
    screener_.detector_.find(text, &found_);
    for (const Found& one : found_) {
      hits_.push_back({static_cast<uint32_t>(one.finding), one.begin, one.end});
    }
    if (!screener_.keywords_.empty()) screener_.keywords_.find(text, &hits_);
    for (size_t i = 0; i < screener_.patterns_.size(); ++i) {
      if (!slow_[i]) slow_[i] = !search(screener_.patterns_[i], text);
    }
  }

  // False: it took too long, once for a request.
  bool search(const PatternOf& one, std::string_view text) {
    Pattern::Match match;
    for (size_t from = 0; from <= text.size();) {
      const Pattern::Search search = one.pattern.find(text, from, &match);
      if (search == Pattern::Search::kNo) return true;
      if (search == Pattern::Search::kGaveUp) {
        note(one.label, "a search that took too long");
        return false;
      }
      if (match.end > match.begin) hits_.push_back({one.label, match.begin, match.end});
      from = std::max(match.end, match.begin + 1);
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
    }
    return true;
  }

  // `where`: null where the text can be replaced.
  void look(const FoldedText& reading, const char* where, bool nested) {
    search(reading);
    for (const KeywordIndex::Hit& hit : hits_) {
      if (screener_.policies_[hit.tag] != Policy::kMasked || where != nullptr) {
        note(hit.tag, where);
        continue;
      }
      seen_[hit.tag] = true;
      spans_.push_back({reading.begin_of(hit.begin), reading.end_of(hit.end), hit.tag, nested});
    }
  }

  const Screener& screener_;
  const std::string_view body_;
  TextReader reader_;
  std::vector<Found> found_;
  std::vector<KeywordIndex::Hit> hits_;
  std::vector<bool> seen_;
  std::vector<bool> slow_;  // by pattern
  std::vector<MaskSpan> spans_;
  std::vector<Level> levels_;
  std::string_view key_, top_key_;
  std::string joined_;
  std::vector<size_t> joins_;
  Screening result_;
};

uint32_t Screener::label(std::string_view name) {
  const auto known = std::find(labels_.begin(), labels_.end(), name);
  if (known != labels_.end()) return static_cast<uint32_t>(known - labels_.begin());
  labels_.emplace_back(name);
  return static_cast<uint32_t>(labels_.size() - 1);
}

Result<std::shared_ptr<const Screener>> Screener::make(const SensitivityConfig& config) {
  Findings findings = 0;
  for (const std::string& name : detectors_of(config)) {
    if (const auto finding = finding_from_name(name)) findings |= only(*finding);
  }
  std::shared_ptr<Screener> made(new Screener(findings));
  for (size_t i = 0; i < kFindings; ++i) made->label(finding_name(static_cast<Finding>(i)));
  made->opaque_ = made->label(kOpaque);
  made->unreadable_ = made->label(kUnreadable);
  for (const SensitiveClass& one : config.classes) {
    const uint32_t label = made->label(one.name);
    for (const std::string& word : one.keywords) made->keywords_.add(word, label);
    for (const std::string& expression : one.patterns) {
      HADAL_TRY(Pattern pattern, Pattern::make(expression, true));
      made->patterns_.push_back({std::move(pattern), label});
    }
    for (const auto& [name, value] : one.headers) made->headers_.push_back({name, value, label});
  }
  made->policies_.resize(made->labels_.size(), Policy::kStays);
  for (const std::string& name : config.mask) made->policies_[made->label(name)] = Policy::kMasked;
  for (const std::string& name : config.allow) {
    made->policies_[made->label(name)] = Policy::kAllowed;
  }
  return std::shared_ptr<const Screener>(std::move(made));
}

Screening Screener::screen(const net::HttpRequest& request) const {
  Pass pass(*this, request.body);
  for (const HeaderOf& header : headers_) {
    const bool said =
        std::any_of(request.headers.begin(), request.headers.end(), [&](const net::Header& given) {
          return equal_in_any_case(given.name, header.name) &&
                 (header.value == "*" || equal_in_any_case(given.value, header.value));
        });
    if (said) pass.note(header.label, "header");
  }
  for (const net::Header& header : request.headers) {
    if (passes(header.name)) pass.plain(header.value, "a header");
  }
  std::string query;
  if (percent_decode(request.query, &query)) {
    pass.plain(query, "the query");
  } else {
    pass.note(pass.unreadable(), "the query");
  }
  pass.body();
  return pass.finish();
}

bool Screener::passes(std::string_view header) {
  constexpr std::array<std::string_view, 5> kPassed = {
      "content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta"};
  return std::any_of(kPassed.begin(), kPassed.end(),
                     [&](std::string_view known) { return equal_in_any_case(known, header); });
}

}  // namespace hadal::gateway
