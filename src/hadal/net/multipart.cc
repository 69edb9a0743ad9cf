#include "hadal/net/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/base/ascii.h"

namespace hadal::net {
namespace {

constexpr size_t kBoundaryMax = 70;
constexpr size_t kPaddingMax = 64;
constexpr std::string_view kBlank = " \t";

tl::unexpected<Error> wrong(std::string what) {
  return fail(Code::kInvalidInput, "the form " + std::move(what));
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

struct Value {
  std::string main;  // what is before the first ';'
  std::vector<std::pair<std::string, std::string>> parameters;

  const std::string* find(std::string_view name) const {
    for (const auto& [key, value] : parameters) {
      if (equal_in_any_case(key, name)) return &value;
    }
    return nullptr;
  }
};

// "text" from behind its first quote; moves `at` behind the last. Of a backslash only \" and \\ are
// escapes: file names of old clients hold single ones.
std::optional<std::string> quoted(std::string_view text, size_t* at) {
  std::string out;
  for (; *at < text.size(); ++*at) {
    const char c = text[*at];
    if (c == '"') {
      ++*at;
      return out;
    }
    const bool escape =
        c == '\\' && *at + 1 < text.size() && (text[*at + 1] == '"' || text[*at + 1] == '\\');
    if (escape) ++*at;
    out.push_back(text[*at]);
  }
  return {};
}

// `main; name=value; name="value"`. Nothing when it is not of that form, or has a name twice.
std::optional<Value> parse_value(std::string_view text) {
  Value value;
  size_t at = std::min(text.find(';'), text.size());
  value.main = trimmed(text.substr(0, at));
  while (at < text.size()) {
    ++at;  // the ';'
    const size_t equals = text.find_first_of("=;", at);
    if (equals == text.npos || text[equals] == ';') {
      const size_t end = std::min(equals, text.size());
      if (!trimmed(text.substr(at, end - at)).empty()) return {};
      at = end;
      continue;
    }
    const std::string name(trimmed(text.substr(at, equals - at)));
    at = std::min(text.find_first_not_of(kBlank, equals + 1), text.size());
    std::string content;
    if (at < text.size() && text[at] == '"') {
      auto inside = quoted(text, &++at);
      if (!inside) return {};
      content = std::move(*inside);
      const size_t end = std::min(text.find(';', at), text.size());
      if (!trimmed(text.substr(at, end - at)).empty()) return {};
      at = end;
    } else {
      const size_t end = std::min(text.find(';', at), text.size());
      content = trimmed(text.substr(at, end - at));
      at = end;
    }
    if (name.empty() || value.find(name) != nullptr) return {};
    value.parameters.emplace_back(name, std::move(content));
  }
  return value;
}

bool is_boundary(std::string_view text) {
  constexpr std::string_view kMarks = "'()+_,-./:=? ";
  return !text.empty() && text.size() <= kBoundaryMax && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return is_letter(c) || is_digit(c) || kMarks.find(c) != kMarks.npos;
         });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
  });
}

}  // namespace

Result<std::string> multipart_boundary(std::string_view content_type) {
  const auto value = parse_value(content_type);
  if (!value || !equal_in_any_case(value->main, "multipart/form-data")) {
    return fail(Code::kInvalidInput,
                fmt::format("the Content-Type is '{}', expected multipart/form-data; boundary=...",
                            content_type.substr(0, 64)));
  }
  const std::string* boundary = value->find("boundary");
  if (boundary == nullptr || !is_boundary(*boundary)) {
    return fail(Code::kInvalidInput,
                "the Content-Type has no boundary of 1 to 70 letters, digits or '()+_,-./:=?");
  }
  return *boundary;
}

// The first delimiter may be the body's first bytes: with a line's end in front it looks like the
// others.
MultipartReader::MultipartReader(std::string_view boundary, MultipartLimits limits)
    : limits_(limits), delimiter_("\r\n--" + std::string(boundary)), buffer_("\r\n") {}

Status MultipartReader::feed(std::string_view bytes) {
  if (state_ == State::kEpilogue) return {};
  buffer_.erase(0, std::exchange(at_, 0));
  buffer_.append(bytes);
  for (;;) {
    HADAL_TRY(const bool more, step());
    if (!more) return {};
  }
}

Result<bool> MultipartReader::step() {
  switch (state_) {
    case State::kPreamble:
    case State::kBody:
      return read_body();
    case State::kDelimiter:
      return read_delimiter();
    case State::kHead:
      return read_head();
    case State::kEpilogue:
      break;
  }
  buffer_.clear();
  at_ = 0;
  return false;
}

Result<bool> MultipartReader::read_body() {
  const std::string_view bytes = rest();
  const size_t found = bytes.find(delimiter_);
  if (found != bytes.npos) {
    HADAL_TRY_VOID(append(bytes.substr(0, found)));
    at_ += found + delimiter_.size();
    state_ = State::kDelimiter;
    return true;
  }
  // The last bytes may be a delimiter's first.
  const size_t sure = bytes.size() - std::min(bytes.size(), delimiter_.size() - 1);
  HADAL_TRY_VOID(append(bytes.substr(0, sure)));
  at_ += sure;
  return false;
}

Status MultipartReader::append(std::string_view bytes) {
  if (state_ == State::kPreamble) return {};
  const size_t dropped = std::min(drop_, bytes.size());
  bytes.remove_prefix(dropped);
  drop_ -= dropped;
  FormPart& part = parts_.back();
  if (part.body.size() + bytes.size() > limits_.body_bytes) {
    return fail(Code::kTooLarge, fmt::format("the form's part '{}' has more than {} bytes",
                                             part.name.substr(0, 64), limits_.body_bytes));
  }
  part.body.append(bytes);
  return {};
}

// What follows a delimiter on its line: "--" ends the form, else there may be blanks.
Result<bool> MultipartReader::read_delimiter() {
  const std::string_view bytes = rest();
  if (bytes.size() < 2) return false;
  if (bytes.starts_with("--")) {
    state_ = State::kEpilogue;
    return true;
  }
  const size_t end = bytes.find_first_not_of(kBlank);
  if (std::min(end, bytes.size()) > kPaddingMax) return wrong("has a delimiter with blanks behind");
  if (end == bytes.npos || bytes.size() < end + 2) return false;
  if (bytes.substr(end, 2) != "\r\n") {
    return wrong("has its boundary in the middle of a line, or lines that do not end with CRLF");
  }
  // The line's end stays: headers that are missing end with it.
  at_ += end;
  state_ = State::kHead;
  return true;
}

Result<bool> MultipartReader::read_head() {
  const std::string_view bytes = rest();
  const size_t end = bytes.find("\r\n\r\n");
  // Of an end that has not come yet three bytes may be here.
  const size_t least = end != bytes.npos ? end : bytes.size() - std::min<size_t>(bytes.size(), 3);
  if (least > limits_.head_bytes) {
    return fail(Code::kTooLarge, fmt::format("a part of the form has more than {} bytes of headers",
                                             limits_.head_bytes));
  }
  if (end == bytes.npos) return false;
  if (parts_.size() >= limits_.parts) {
    return fail(Code::kTooLarge, fmt::format("the form has more than {} parts", limits_.parts));
  }
  HADAL_TRY_VOID(take_head(bytes.substr(0, end)));
  // ... and so does the blank line's, since a part without a body may have its delimiter there.
  at_ += end + 2;
  drop_ = 2;
  state_ = State::kBody;
  return true;
}

Status MultipartReader::take_head(std::string_view head) {
  FormPart part;
  bool disposed = false;
  while (!head.empty()) {
    head.remove_prefix(2);  // CRLF
    const size_t end = std::min(head.find("\r\n"), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end);
    const size_t colon = line.find(':');
    if (colon == line.npos || colon == 0 || has_control(line)) {
      return wrong("has a part with a malformed header");
    }
    const std::string_view name = trimmed(line.substr(0, colon));
    const std::string_view text = trimmed(line.substr(colon + 1));
    if (equal_in_any_case(name, "content-type")) part.content_type = text;
    if (equal_in_any_case(name, "content-transfer-encoding") &&
        !equal_in_any_case(text, "binary") && !equal_in_any_case(text, "8bit") &&
        !equal_in_any_case(text, "7bit")) {
      return wrong("has a part with a Content-Transfer-Encoding; send it as it is");
    }
    if (!equal_in_any_case(name, "content-disposition")) continue;
    const auto value = parse_value(text);
    const std::string* field = value ? value->find("name") : nullptr;
    if (field == nullptr || disposed || !equal_in_any_case(value->main, "form-data")) {
      return wrong("has a part whose Content-Disposition is not form-data with one name");
    }
    disposed = true;
    part.name = *field;
    if (const std::string* filename = value->find("filename")) part.filename = *filename;
  }
  if (!disposed) return wrong("has a part without a Content-Disposition");
  parts_.push_back(std::move(part));
  return {};
}

Result<std::vector<FormPart>> MultipartReader::finish() {
  if (state_ != State::kEpilogue) {
    return wrong("ends before its closing delimiter, '--' and the boundary and '--'");
  }
  return std::move(parts_);
}

}  // namespace hadal::net
