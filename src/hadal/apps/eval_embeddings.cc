#include "hadal/apps/eval_embeddings.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>

#include "hadal/net/client.h"
#include "hadal/net/io.h"

namespace hadal::apps {
namespace {

constexpr size_t kBatch = 64;
constexpr size_t kAnswerBytesMax = 64u << 20;

// Gathers one answer and wakes who waits for it.
class WholeAnswer final : public net::ClientSink {
 public:
  void on_head(net::ClientHead head) override {
    std::lock_guard lock(mutex_);
    status_ = head.status;
  }
  bool on_bytes(std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    if (body_.size() + bytes.size() <= kAnswerBytesMax) body_.append(bytes);
    return true;
  }
  void on_end() override { finish({}); }
  void on_fault(net::ClientFault, std::string what) override { finish(std::move(what)); }

  Result<std::string> wait() {
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return fault_.has_value(); });
    if (!fault_->empty()) return fail(Code::kUnavailable, "the embeddings' server: " + *fault_);
    if (status_ != 200) {
      return fail(Code::kUnavailable, fmt::format("the embeddings' server answered {}: {}", status_,
                                                  body_.substr(0, 300)));
    }
    return body_;
  }

 private:
  void finish(std::string fault) {
    std::lock_guard lock(mutex_);
    fault_ = std::move(fault);
    over_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable over_;
  int status_ = 0;
  std::string body_;
  std::optional<std::string> fault_;  // empty: ended well
};

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
  net::ClientOptions client_options;
  HADAL_TRY(client_options.url, net::parse_url(options.url));
  net::IoThreads io;
  HADAL_TRY(const auto client, net::HttpClient::make(client_options, io.context()));
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
    const auto answer = std::make_shared<WholeAnswer>();
    const auto call = client->send(std::move(request), answer);
    HADAL_TRY(const std::string body, answer->wait());
    HADAL_TRY(auto batch, read_embeddings(body, count));
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
