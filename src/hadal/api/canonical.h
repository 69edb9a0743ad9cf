// A request in a form that is equal for requests that ask the same: members in the order of their
// names, numbers in one notation, without white space and without what asks for nothing. What a
// cache of answers is keyed by. A field that nobody here knows is part of it, so nothing that may
// change an answer can be forgotten.
//
// Pure: no I/O, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hadal/api/error.h"

namespace hadal::api {

struct CanonicalRequest {
  std::string text;  // all of it
  std::string model;
  bool stream = false;
  std::optional<double> temperature;
  bool seeded = false;
  // Refers to what the server keeps, so that the answer depends on more than the request.
  bool stateful = false;
  // Of a chat that ends with a user's text: that text, and all the rest with a hole in its place.
  std::string question;  // empty: there is none
  std::string frame;
  bool single_turn = false;  // no assistant or tool has said anything before
};

// kInvalidInput: no JSON object within the limits.
Parsed<CanonicalRequest> canonical_request(std::string_view body);

// Of a complete answer in any of the protocols: tokens generated, as its usage says. 0: not said.
int64_t answered_tokens(std::string_view answer);
// Whether a stream of server-sent events came to its proper end, without an error in it.
bool is_whole_stream(std::string_view events);

}  // namespace hadal::api
