#include "hadal/apps/eval_embeddings.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdlib>

#include "hadal/apps/http_call.h"

namespace hadal::apps {
namespace {

constexpr size_t kBatch = 64;

Result<std::vector<float>> read_vector(const boost::json::value& entry) {
  const auto* object = entry.if_object();
  const auto* numbers = object != nullptr ? object->if_contains("embedding") : nullptr;
  if (numbers == nullptr || !numbers->is_array() || numbers->get_array().empty()) {
    return fail(Code::kCorrupt, "the embeddings' answer has an entry without 'embedding'");
  }
  std::vector<float> vector;
  double sum = 0;
  for (const auto& number : numbers->get_array()) {
    boost::system::error_code error;
    const double value = number.to_number<double>(error);
    if (error) return fail(Code::kCorrupt, "the embeddings' answer has a vector with no number");
    vector.push_back(static_cast<float>(value));
    sum += value * value;
  }
  if (!(sum > 0) || !std::isfinite(sum)) {
    return fail(Code::kCorrupt, "the embeddings' answer has a vector without a direction");
  }
  for (float& value : vector) value /= static_cast<float>(std::sqrt(sum));
  return vector;
}

}  // namespace

Result<std::vector<std::vector<float>>> read_embeddings(const std::string& body, size_t count) {
  boost::system::error_code error;
  const boost::json::value root = boost::json::parse(body, error);
  const auto* object = error ? nullptr : root.if_object();
  const auto* data = object != nullptr ? object->if_contains("data") : nullptr;
  if (data == nullptr || !data->is_array()) {
    return fail(Code::kCorrupt, "the embeddings' answer is no JSON object with a list 'data'");
  }
  std::vector<std::vector<float>> vectors(count);
  size_t nth = 0;
  for (const auto& entry : data->get_array()) {
    size_t place = nth++;
    if (const auto* fields = entry.if_object()) {
      if (const auto* index = fields->if_contains("index"); index != nullptr && index->is_int64()) {
        place = static_cast<size_t>(index->get_int64());
      }
    }
    if (place >= count || !vectors[place].empty()) {
      return fail(Code::kCorrupt,
                  fmt::format("the embeddings' answer has a vector {} of {}", place, count));
    }
    HADAL_TRY(vectors[place], read_vector(entry));
  }
  if (nth != count) {
    return fail(Code::kCorrupt,
                fmt::format("the embeddings' answer has {} vectors for {} texts", nth, count));
  }
  return vectors;
}

Result<std::vector<std::vector<float>>> ask_embeddings(const EmbeddingsOptions& options,
                                                       const std::vector<std::string>& texts) {
  HADAL_TRY(const auto server, HttpCaller::make(options.url));
  std::vector<std::vector<float>> vectors;
  for (size_t first = 0; first < texts.size(); first += kBatch) {
    const size_t count = std::min(kBatch, texts.size() - first);
    boost::json::array input;
    for (size_t i = 0; i < count; ++i) input.emplace_back(texts[first + i]);
    net::ClientRequest request;
    request.method = "POST";
    request.target = "/embeddings";
    request.headers = {{"Content-Type", "application/json"}};
    if (!options.key_env.empty()) {
      const char* key = std::getenv(options.key_env.c_str());
      if (key == nullptr) {
        return fail(Code::kInvalidInput, "the environment has no variable " + options.key_env);
      }
      request.headers.push_back({"Authorization", std::string("Bearer ") + key});
    }
    request.body = boost::json::serialize(
        boost::json::object{{"model", options.model}, {"input", std::move(input)}});
    const auto answer = server->ask(std::move(request));
    if (!answer) return fail(Code::kUnavailable, "the embeddings' server: " + answer.error().what);
    if (answer->status != 200) {
      return fail(Code::kUnavailable, fmt::format("the embeddings' server answered {}: {}",
                                                  answer->status, answer->body.substr(0, 300)));
    }
    HADAL_TRY(auto batch, read_embeddings(answer->body, count));
    for (auto& vector : batch) {
      if (!vectors.empty() && vector.size() != vectors[0].size()) {
        return fail(Code::kCorrupt, "the embeddings' server sends vectors of several sizes");
      }
      vectors.push_back(std::move(vector));
    }
  }
  return vectors;
}

}  // namespace hadal::apps
