// This server's API as an OpenAPI 3.1 document, made of the tables that the parsers read by.
//
// Pure: no I/O, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "hadal/api/fields.h"

namespace hadal::api {

enum class Protocol : uint8_t { kOpenAi, kAnthropic };  // the form of errors

struct Endpoint {
  std::string_view method;
  std::string_view path;  // with "{id}" for what a client fills in
  std::string_view summary;
  const FieldTable* request = nullptr;  // null: no body
  std::string_view answer;              // a schema's name; empty: plain text
  std::string_view event = {};          // schema of a stream's data; empty: does not stream
  Protocol protocol = Protocol::kOpenAi;
  bool open = false;              // needs no key
  std::string_view same_as = {};  // the path of which this is another address
  std::string_view form = {};     // schema of a multipart/form-data body, in place of `request`
  std::string_view content = {};  // type of an answer that is no JSON; empty: plain text
  // Parameters of the query, "name|name", those of whole numbers ending in '#'.
  std::string_view query = {};
};
// All that the server answers.
std::span<const Endpoint> endpoints();
std::span<const Endpoint> batch_endpoints();  // of these, files and batches

struct AnswerSchema {
  std::string_view name;
  std::string_view schema;  // JSON
};
std::span<const AnswerSchema> answer_schemas();

std::string openapi_document(std::string_view version);

}  // namespace hadal::api
