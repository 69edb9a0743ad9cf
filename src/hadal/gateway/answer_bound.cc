#include "hadal/gateway/answer_bound.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "hadal/gateway/json_text.h"
#include "hadal/gateway/passing.h"

namespace hadal::gateway {
namespace {

constexpr double kCountMax = 1e9;

struct Said {
  bool maximum = false;  // some field says one
  double tokens = 0, answers = 1, prompts = 0;
  bool odd = false;  // a value that is no count
};

// Members of the body itself; numbers and texts of a "prompt" are one deeper.
Said read(std::string_view body) {
  Said said;
  JsonTokens tokens(body);
  JsonToken token;
  std::string_view key;
  for (int depth = 0; tokens.next(&token);) {
    using Kind = JsonToken::Kind;
    const std::string_view text = body.substr(token.begin, token.end - token.begin);
    if (token.kind == Kind::kOpen) ++depth;
    if (token.kind == Kind::kClose) --depth;
    if (depth == 2 && key == "prompt" &&
        (token.kind == Kind::kString || token.kind == Kind::kOpen)) {
      ++said.prompts;
    }
    if (depth != 1) continue;
    if (token.kind == Kind::kKey) {
      key = text;
      continue;
    }
    const bool maximum =
        key == "max_tokens" || key == "max_completion_tokens" || key == "max_output_tokens";
    if (!maximum && key != "n" && key != "best_of") continue;
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (token.kind != Kind::kNumber || error != std::errc() || end != text.data() + text.size() ||
        !(value >= 0 && value <= kCountMax)) {
      // Without a word on it, one answer is meant.
      said.odd |= maximum || text != "null";
      continue;
    }
    if (maximum) {
      said.maximum = true;
      said.tokens = std::max(said.tokens, value);
    } else {
      said.answers = std::max(said.answers, value);
    }
  }
  return said;
}

std::string_view maximum_field(std::string_view path) {
  const std::string_view upstream = upstream_path(path);
  if (upstream == "/chat/completions" || upstream == "/completions" || upstream == "/messages") {
    return "max_tokens";
  }
  return upstream == "/responses" ? "max_output_tokens" : "";
}

}  // namespace

std::optional<AnswerBound> bound_answer(std::string_view path, std::string* body,
                                        int64_t answer_max) {
  const std::string_view field = maximum_field(path);
  AnswerBound bound;
  if (!field.empty()) {
    const Said said = read(*body);
    if (said.odd) return {};
    const double tokens = said.maximum ? said.tokens : static_cast<double>(answer_max);
    const double all = tokens * said.answers * std::max(said.prompts, 1.0);
    if (all > kCountMax) return {};
    bound.output = static_cast<int64_t>(std::ceil(all));
    const size_t open = body->find('{');
    if (!said.maximum && open != std::string::npos) {
      // The body has the model's name at least, so that something follows.
      body->insert(open + 1, fmt::format("\"{}\":{},", field, answer_max));
    }
  }
  bound.prompt = static_cast<int64_t>(body->size());
  return bound;
}

}  // namespace hadal::gateway
