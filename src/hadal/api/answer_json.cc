#include "hadal/api/answer_json.h"

#include <boost/json.hpp>
#include <cmath>
#include <utility>

#include "hadal/api/utf8.h"

namespace hadal::api {
namespace {

namespace json = boost::json;

json::object chat_score(const TokenScore& score) {
  json::object root;
  root["token"] = valid_utf8(score.bytes);
  root["logprob"] = finite(score.logprob);
  json::array bytes;
  bytes.reserve(score.bytes.size());
  for (const char c : score.bytes) bytes.push_back(static_cast<uint8_t>(c));
  root["bytes"] = std::move(bytes);
  return root;
}

}  // namespace

// JSON has no infinity; vLLM and OpenAI both show this for a token that cannot be.
double finite(float logprob) { return std::isfinite(logprob) ? logprob : -9999.0; }

json::array scores_array(std::span<const TokenScores> scores) {
  json::array list;
  for (const TokenScores& one : scores) {
    json::object entry = chat_score(one.chosen);
    json::array top;
    for (const TokenScore& other : one.top) top.push_back(chat_score(other));
    entry["top_logprobs"] = std::move(top);
    list.push_back(std::move(entry));
  }
  return list;
}

}  // namespace hadal::api
