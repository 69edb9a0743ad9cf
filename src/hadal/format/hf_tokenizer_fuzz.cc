// Any text as tokenizer.json, tokenizer_config.json and generation_config.json, with a NUL between:
// refused in one line, or a vocabulary that agrees with itself.
#include "hadal/base/check.h"
#include "hadal/format/hf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  hadal::HfTokenizerTexts texts;
  const auto next = [&rest] {
    const std::string_view part = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    return part;
  };
  texts.tokenizer = next();
  if (!rest.empty()) texts.config = next();
  if (!rest.empty()) texts.generation = next();
  const auto vocab = hadal::parse_hf_vocab(texts, "fuzz");
  if (!vocab) {
    HADAL_CHECK(!vocab.error().what.empty());
    HADAL_CHECK(vocab.error().what.find('\n') == std::string::npos, vocab.error().what);
    return 0;
  }
  const auto count = static_cast<hadal::TokenId>(vocab->tokens.size());
  HADAL_CHECK(vocab->types.size() == vocab->tokens.size());
  for (const hadal::TokenId id : vocab->end_of_generation) HADAL_CHECK(id >= 0 && id < count);
  for (const auto& id : {vocab->bos, vocab->eos, vocab->unknown, vocab->padding}) {
    HADAL_CHECK(!id || (*id >= 0 && *id < count));
  }
  return 0;
}
