#include "hadal/api/batch_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "hadal/api/utf8.h"
#include "hadal/base/limits.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// Nothing when it is no JSON. A request of the endpoints may be nested as deep as ever, one level
// down.
std::optional<json::value> parse(std::string_view text, json::error_code* error) {
  json::parse_options options;
  options.max_depth = limits::kJsonDepthMax + 1;
  json::value value = json::parse(json::string_view(text.data(), text.size()), *error, {}, options);
  if (*error) return {};
  return value;
}

std::string_view text_of(const json::value& value) {
  const json::string& text = value.get_string();
  return {text.data(), text.size()};
}

class InputReader {
 public:
  InputReader(std::string_view endpoint, const BatchInputLimits& limits)
      : endpoint_(endpoint), limits_(limits) {}

  BatchInput read(std::string_view file) {
    size_t at = file.starts_with(kByteOrderMark) ? kByteOrderMark.size() : 0;
    while (at < file.size() && input_.faults.size() < kBatchFaultsMax) {
      ++number_;
      const size_t end = std::min(file.find('\n', at), file.size());
      std::string_view line = file.substr(at, end - at);
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.find_first_not_of(" \t") != line.npos) {
        if (input_.lines.size() >= limits_.lines) {
          number_ = 0;
          fault("too_many_lines", fmt::format("the file has more than {} requests", limits_.lines));
          break;
        }
        take(line, at);
      }
      at = end + 1;
    }
    number_ = 0;
    if (input_.lines.empty() && input_.faults.empty()) {
      fault("empty_file", "the file has no request");
    }
    return std::move(input_);
  }

 private:
  void fault(std::string code, std::string message, std::string param = {}) {
    input_.faults.push_back({std::move(code), std::move(message), std::move(param), number_});
  }

  void take(std::string_view line, size_t at) {
    if (line.size() > limits_.line_bytes) {
      return fault("line_too_long", fmt::format("the line has {} bytes, at most {} are allowed",
                                                line.size(), limits_.line_bytes));
    }
    json::error_code error;
    const auto value = parse(line, &error);
    if (!value || !value->is_object()) {
      return fault("invalid_json_line",
                   value ? "the line is not a JSON object"
                         : "the line cannot be parsed as JSON: " + error.message());
    }
    const json::object& object = value->get_object();
    const json::value* id = known(object, "custom_id");
    if (id == nullptr) return;
    if (!id->is_string() || id->get_string().empty() ||
        id->get_string().size() > kCustomIdBytesMax) {
      return fault("invalid_custom_id",
                   fmt::format("custom_id: expected a string of 1 to {} bytes", kCustomIdBytesMax),
                   "custom_id");
    }
    if (!check_target(object)) return;
    std::string custom_id(text_of(*id));
    const auto [known, fresh] = seen_.try_emplace(custom_id, number_);
    if (!fresh) {
      return fault("duplicate_custom_id",
                   fmt::format("custom_id: line {} has the same", known->second), "custom_id");
    }
    input_.lines.push_back({std::move(custom_id), at, line.size()});
  }

  const json::value* known(const json::object& object, std::string_view name) {
    const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
    if (value != nullptr && !value->is_null()) return value;
    fault("missing_required_parameter", fmt::format("{} is missing", name), std::string(name));
    return nullptr;
  }

  bool check_target(const json::object& object) {
    const json::value* method = known(object, "method");
    if (method == nullptr) return false;
    if (!method->is_string() || text_of(*method) != "POST") {
      fault("invalid_method", "method: expected \"POST\"", "method");
      return false;
    }
    const json::value* url = known(object, "url");
    if (url == nullptr) return false;
    if (!url->is_string() || text_of(*url) != endpoint_) {
      fault("mismatched_url", fmt::format("url: expected \"{}\", the batch's endpoint", endpoint_),
            "url");
      return false;
    }
    const json::value* body = known(object, "body");
    if (body == nullptr) return false;
    if (!body->is_object()) {
      fault("invalid_body", "body: expected a JSON object", "body");
      return false;
    }
    const json::value* stream = body->get_object().if_contains("stream");
    if (stream != nullptr && !stream->is_null() && *stream != false) {
      fault("invalid_body", "body.stream: a batch has no streams", "body.stream");
      return false;
    }
    return true;
  }

  const std::string_view endpoint_;
  const BatchInputLimits limits_;
  int64_t number_ = 0;
  std::unordered_map<std::string, int64_t> seen_;
  BatchInput input_;
};

std::string quoted(std::string_view text) {
  return json::serialize(json::value(json::string(valid_utf8(text))));
}

// As it is, where that is one line of JSON already.
std::string one_line(const std::string& body) {
  json::error_code error;
  const auto value = parse(body, &error);
  if (!value) return quoted(body);
  if (body.find_first_of("\r\n") == body.npos) return body;
  return json::serialize(*value);
}

}  // namespace

BatchInput read_batch_input(std::string_view file, std::string_view endpoint,
                            const BatchInputLimits& limits) {
  return InputReader(endpoint, limits).read(file);
}

Result<std::string> batch_line_body(std::string_view line) {
  json::error_code error;
  const auto value = parse(line, &error);
  const json::object* object = value ? value->if_object() : nullptr;
  const json::value* body = object != nullptr ? object->if_contains("body") : nullptr;
  if (body == nullptr) return fail(Code::kCorrupt, "a batch's file is not what it was");
  return json::serialize(*body);
}

std::string batch_result(std::string_view id, std::string_view custom_id,
                         const LineAnswer& answer) {
  return fmt::format(
      R"({{"id":{},"custom_id":{},"response":{{"status_code":{},"request_id":{},"body":{}}},)"
      R"("error":null}})",
      quoted(id), quoted(custom_id), answer.status, quoted(answer.request_id),
      one_line(answer.body));
}

std::string batch_error(std::string_view id, std::string_view custom_id, std::string_view code,
                        std::string_view message) {
  return fmt::format(
      R"({{"id":{},"custom_id":{},"response":null,"error":{{"code":{},"message":{}}}}})",
      quoted(id), quoted(custom_id), quoted(code), quoted(message));
}

std::string batch_faults(const std::vector<LineFault>& faults) {
  json::array data;
  for (const LineFault& fault : faults) {
    json::object one;
    one["code"] = fault.code;
    one["message"] = fault.message;
    one["param"] = nullptr;
    if (!fault.param.empty()) one["param"] = fault.param;
    one["line"] = nullptr;
    if (fault.line > 0) one["line"] = fault.line;
    data.push_back(std::move(one));
  }
  json::object root = {{"object", "list"}};
  root["data"] = std::move(data);
  return json::serialize(root);
}

}  // namespace hadal::api
