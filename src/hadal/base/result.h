// How a call that can fail says so. Three channels, never mixed:
//   a bug in Hadal                  HADAL_CHECK (check.h), aborts with context
//   bad input, files, network       Result<T>, carrying an Error with one line a user can act on
//   a request that ended            the same Code, mapped to a protocol's status at the edge (api)
// No exception crosses a room: a library that throws is wrapped where it is called.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace hadal {

// Closed: a new reason is a decision about every protocol, so it is added here and nowhere else.
enum class Code : uint8_t {
  kInvalidInput,  // the caller's request is wrong; the message says what to change
  kNotFound,      // a file, model or key that does not exist
  kUnsupported,   // well-formed, but not something this build or machine can do
  kTooLarge,      // over a limit; the message says both numbers
  kExhausted,     // a queue, a quota or memory is full; trying later can help
  kCancelled,     // the caller went away
  kDeadline,      // time ran out
  kUnavailable,   // loading, draining, or a backend that is down
  kUnauthorized,  // no key or a wrong one
  kForbidden,     // a good key that may not do this
  kCorrupt,       // data that contradicts itself: names file, field, found and expected
  kInternal,      // a fault of ours that did not warrant stopping the process
};

std::string_view code_name(Code code);

struct [[nodiscard]] Error {
  Code code = Code::kInternal;
  std::string what;  // one line, no trailing full stop; names the found and the wanted value
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> fail(Code code, std::string what) {
  return tl::unexpected<Error>(Error{code, std::move(what)});
}
// Hands an error on, as it is: `return fail(std::move(result.error()))`.
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace hadal

#define HADAL_CONCAT_INNER(a, b) a##b
#define HADAL_CONCAT(a, b) HADAL_CONCAT_INNER(a, b)

// HADAL_TRY(auto x, expr): x takes the value of expr, or this function returns its error.
#define HADAL_TRY(declaration, ...) \
  HADAL_TRY_INNER(HADAL_CONCAT(hadal_try_, __LINE__), declaration, __VA_ARGS__)
#define HADAL_TRY_INNER(temporary, declaration, ...)                  \
  auto temporary = (__VA_ARGS__);                                     \
  if (!temporary) return ::hadal::fail(std::move(temporary.error())); \
  declaration = std::move(*temporary)

// HADAL_TRY_VOID(expr): the same for a Status.
#define HADAL_TRY_VOID(...)                                                   \
  do {                                                                        \
    auto hadal_status = (__VA_ARGS__);                                        \
    if (!hadal_status) return ::hadal::fail(std::move(hadal_status.error())); \
  } while (false)
