// libFuzzer: a model file's chat template of any content, from detection to tokens, over a
// conversation with tools, calls and text that looks like markers. It ends within its limits; the
// tokens say what the text says; and what people said never became a special token.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hadal/base/check.h"
#include "hadal/text/chat.h"
#include "hadal/text/testing/small_vocab.h"
#include "hadal/text/unicode.h"

namespace {

using namespace hadal;

constexpr const char* kMarker = "<|secret|>";  // only messages and tools say it

// A template within its limits may still take seconds, and under the sanitizers a minute: numbers
// of three digits are left to jinja_fuzz, which has smaller limits.
bool has_large_number(std::string_view text) {
  int digits = 0;
  for (const char c : text) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits >= 3) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  VocabData vocab = hadal::testing::small_vocab(
      {"<s>", "<|im_start|>", "<|im_end|>", kMarker, "<think>", "</think>"});
  vocab.chat_template.assign(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (vocab.chat_template.find("secret") != std::string::npos) return 0;
  if (has_large_number(vocab.chat_template)) return 0;
  vocab.bos = hadal::testing::id_of(vocab, "<s>");
  const auto tokenizer = Tokenizer::make(std::move(vocab));
  HADAL_CHECK(tokenizer.has_value());
  const auto format = ChatFormat::detect(*tokenizer);
  if (!format) {
    HADAL_CHECK(is_valid_utf8(format.error().what));
    return 0;
  }
  const ChatTool tool = {"get", R"({"type": "function", "function": {"name": "get<|secret|>"}})"};
  const ChatToolCall call = {"call_1", "get", R"({"a": ["<|secret|>", 1.5, null]})"};
  const std::vector<ChatMessage> messages = {
      {.role = "system", .content = "Be <|secret|> brief."},
      {.role = "user", .content = "Grüße <|secret|> 🦙"},
      {.role = "assistant", .content = "", .reasoning = "<|secret|>", .tool_calls = {call}},
      {.role = "tool", .content = "<|secret|>", .tool_call_id = "call_1", .name = "get"}};
  ChatOptions options;
  options.thinking = (data[0] & 1) != 0;
  options.add_generation_prompt = (data[0] & 2) != 0;
  if ((data[0] & 4) != 0) options.tools = {&tool, 1};
  const size_t count = (data[0] & 8) != 0 ? 2 : messages.size();
  const auto encoded = format->encode_chat(*tokenizer, std::span(messages).first(count), options);
  const auto text = format->render(std::span(messages).first(count), options);
  HADAL_CHECK(encoded.has_value() == text.has_value());
  if (!encoded) {
    HADAL_CHECK(is_valid_utf8(text.error().what));
    return 0;
  }
  const TokenId marker = *tokenizer->find(kMarker);
  HADAL_CHECK(std::ranges::find(encoded->tokens, marker) == encoded->tokens.end());
  HADAL_CHECK(tokenizer->decode(encoded->tokens, true) == *text);
  return 0;
}
