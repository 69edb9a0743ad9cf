// One model as the HTTP side sees it: names, text, and an engine to ask.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hadal/engine/engine.h"
#include "hadal/text/chat.h"
#include "hadal/text/chat_tools.h"
#include "hadal/text/tokenizer.h"

namespace hadal::apps {

// What a request gets that does not say: generation_config.json's values, or those that change
// nothing.
struct SamplingDefaults {
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;
};

// Immutable. What it points to must outlive every request.
struct ServedModel {
  std::vector<std::string> names;  // the first is the one shown; all are accepted
  std::string root;                // what is behind the names
  std::string fingerprint;
  int64_t created = 0;
  const Tokenizer* tokenizer = nullptr;
  std::shared_ptr<TokenCache> token_cache;  // of this tokenizer; may be null
  std::optional<ChatFormat> chat;           // empty: plain completion only
  ToolForm tools = ToolForm::kHermes;       // how it writes calls
  bool own_calls = false;  // ... and its template too; else they are put into words
  Engine* engine = nullptr;
  SamplingDefaults defaults;
  bool reasons = false;  // <think> in an answer is a marker, not text

  bool is_named(std::string_view name) const {
    for (const std::string& known : names) {
      if (known == name) return true;
    }
    return false;
  }
};

}  // namespace hadal::apps
