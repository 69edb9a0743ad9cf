// Private to format: a Hugging Face tokenizer from the texts of its files.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/text/vocab.h"

namespace hadal {

struct HfTokenizerTexts {
  std::string_view tokenizer;                     // tokenizer.json
  std::optional<std::string_view> config;         // tokenizer_config.json
  std::optional<std::string_view> generation;     // generation_config.json
  std::optional<std::string_view> chat_template;  // chat_template.jinja; goes before the config's
};

// `folder` is for messages.
Result<VocabData> parse_hf_vocab(const HfTokenizerTexts& texts, const std::string& folder);

}  // namespace hadal
