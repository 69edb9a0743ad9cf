// Forms with files in them: multipart/form-data (RFC 7578, RFC 2046 section 5.1), read in pieces of
// any size, so that where a piece ends changes nothing.
//
// Strict where readers could disagree: lines end with CRLF, a delimiter's line holds nothing else,
// a form without its closing delimiter is not whole. What is in front of the first delimiter and
// behind the last is thrown away.
//
// Pure; one thread at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::net {

struct FormPart {
  std::string name;
  std::optional<std::string> filename;  // as sent: never a path to be opened
  std::string content_type;             // empty: not said
  std::string body;
};

struct MultipartLimits {
  size_t parts = 32;
  size_t head_bytes = 8u << 10;  // headers of one part
  size_t body_bytes = 1u << 20;  // of one part
};

// The boundary that a Content-Type names. kInvalidInput: not a form's type, or no boundary of 1 to
// 70 characters that RFC 2046 allows.
Result<std::string> multipart_boundary(std::string_view content_type);

class MultipartReader {
 public:
  // `boundary`: as multipart_boundary() gives it.
  MultipartReader(std::string_view boundary, MultipartLimits limits);

  // kInvalidInput, kTooLarge: the form is wrong, and nothing more may be fed.
  Status feed(std::string_view bytes);
  // All parts, in the order of the form. kInvalidInput: it is not whole.
  Result<std::vector<FormPart>> finish();

 private:
  enum class State { kPreamble, kDelimiter, kHead, kBody, kEpilogue };
  // True: something was consumed and there may be more. False: more bytes are needed.
  Result<bool> step();
  Result<bool> read_body();
  Result<bool> read_delimiter();
  Result<bool> read_head();
  Status take_head(std::string_view head);
  Status append(std::string_view bytes);
  std::string_view rest() const { return std::string_view(buffer_).substr(at_); }

  const MultipartLimits limits_;
  const std::string delimiter_;  // CRLF, "--", boundary
  State state_ = State::kPreamble;
  std::string buffer_;
  size_t at_ = 0;    // of buffer_: what is before has been consumed
  size_t drop_ = 0;  // bytes in front of the body that still belong to its head
  std::vector<FormPart> parts_;
};

}  // namespace hadal::net
