#include "hadal/api/batches.h"

#include <array>
#include <boost/json.hpp>

#include "hadal/api/openai_tables.h"
#include "hadal/api/openapi.h"

namespace hadal::api {
namespace table {
namespace {

constexpr auto kExpiresAfterRules = std::to_array<FieldRule>({
    {"anchor", kHonoured, "", shape::word("created_at")},
    {"seconds", kHonoured, "", shape::integer(kKeepLeast, kKeepMost)},
});
constexpr FieldTable kExpiresAfter = {"ExpiresAfter", kExpiresAfterRules, "anchor|seconds"};

constexpr auto kBatchRules = std::to_array<FieldRule>({
    {"input_file_id", kHonoured, "an uploaded file with a request a line", shape::text(128)},
    {"endpoint", kHonoured, "where all of its requests go",
     shape::word("/v1/chat/completions|/v1/completions|/v1/responses|/v1/embeddings")},
    {"completion_window", kHonoured, "after which what has no answer yet has expired; `24h`",
     shape::other(R"({"type": "string", "pattern": "^[0-9]{1,9}[smhd]$"})",
                  "a time like \"24h\", \"30m\" or \"7d\"")},
    {"metadata", kHonoured, "comes back with the batch",
     shape::other(R"({"type": "object", "maxProperties": 16, "additionalProperties": )"
                  R"({"type": "string", "maxLength": 512}})",
                  "object of at most 16 strings")},
    {"output_expires_after", kHonoured, "absent: as long as the operator keeps files",
     shape::object(kExpiresAfter)},
});
constexpr FieldTable kBatch = {"BatchRequest", kBatchRules,
                               "input_file_id|endpoint|completion_window"};

}  // namespace
}  // namespace table

const FieldTable& batch_fields() { return table::kBatch; }

std::span<const Endpoint> batch_endpoints() {
  static constexpr auto kEndpoints = std::to_array<Endpoint>({
      {.method = "POST",
       .path = "/v1/files",
       .summary = "Keeps a file with requests for a batch",
       .answer = "File",
       .form = "FileUpload"},
      {.method = "GET",
       .path = "/v1/files",
       .summary = "The files that are kept",
       .answer = "FileList",
       .query = "after|limit#|order|purpose"},
      {.method = "GET", .path = "/v1/files/{id}", .summary = "One of them", .answer = "File"},
      {.method = "DELETE",
       .path = "/v1/files/{id}",
       .summary = "Removes a file",
       .answer = "FileRemoved"},
      {.method = "GET",
       .path = "/v1/files/{id}/content",
       .summary = "What is in a file",
       .answer = "",
       .content = "application/octet-stream"},
      {.method = "POST",
       .path = "/v1/batches",
       .summary = "Answers a file of requests when there is time for it",
       .request = &table::kBatch,
       .answer = "Batch"},
      {.method = "GET",
       .path = "/v1/batches",
       .summary = "The batches, the newest first",
       .answer = "BatchList",
       .query = "after|limit#"},
      {.method = "GET", .path = "/v1/batches/{id}", .summary = "One of them", .answer = "Batch"},
      {.method = "POST",
       .path = "/v1/batches/{id}/cancel",
       .summary = "Ends a batch before its time",
       .answer = "Batch"},
  });
  return kEndpoints;
}

std::optional<int64_t> parse_window(std::string_view text) {
  if (text.size() < 2 || text.size() > 10) return {};
  int64_t value = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return {};
    value = value * 10 + (c - '0');
  }
  switch (text.back()) {
    case 's':
      return value;
    case 'm':
      return value * 60;
    case 'h':
      return value * 3'600;
    case 'd':
      return value * 24 * 3'600;
    default:
      return {};
  }
}

Parsed<BatchRequest> parse_batch(std::string_view body) {
  HADAL_TRY(const Document document, Document::parse(body));
  Fields fields(document.root(), batch_fields());
  BatchRequest request;
  fields.text("input_file_id", &request.input_file);
  fields.word("endpoint", &request.endpoint);
  fields.text("completion_window", &request.window);
  if (fields.ok() && fields.has("completion_window")) {
    const auto seconds = parse_window(request.window);
    if (!seconds) fields.wrong("completion_window", *fields.find("completion_window"));
    request.window_seconds = seconds.value_or(0);
  }
  check_metadata(fields);
  fields.object("output_expires_after", [&](Fields& after) {
    std::string anchor;
    after.word("anchor", &anchor);
    after.integer("seconds", &request.keep_results);
  });
  HADAL_TRY_VOID(fields.status());
  if (const auto* metadata = fields.find("metadata")) {
    request.metadata = boost::json::serialize(*metadata);
  }
  return request;
}

}  // namespace hadal::api
