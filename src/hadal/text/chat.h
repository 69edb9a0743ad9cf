// A conversation to the token ids that a model was trained on. The built-in forms are exact,
// whitespace and full-width bars included; they are equal to each model's own Jinja template for
// conversations without tools. A template that matches no built-in form is refused by name until
// the interpreter exists.
//
// Content never becomes a special token: forms are rendered as alternating literal (may hold
// special tokens) and content (may not) pieces.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/tokenizer.h"

namespace hadal {

enum class ChatForm : uint8_t {
  kDeepseekV2,   // "User: ...\n\nAssistant: ...", also DeepSeek-LLM chat
  kDeepseekV3,   // V3, V3-0324: <|User|>...<|Assistant|>...
  kDeepseekR1,   // R1, R1-0528, distills: opens <think>\n
  kDeepseekV31,  // V3.1: thinking on request, </think> when off
  kQwen2,        // ChatML with Qwen2's default system prompt
  kQwen3,        // ChatML, optional thinking
  kLlama3,
  kNone,  // no template: plain completion only
};

struct ChatMessage {
  std::string role;  // system, user, assistant (developer is mapped to system by api)
  std::string content;
  std::string
      reasoning;  // assistant only: an earlier turn's thinking, dropped or kept by the form's rule
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool thinking = true;  // where the form can switch; ignored elsewhere
  std::string date;      // "22 Nov 2026" for Llama-3's header; empty: the template's fixed default
};

class ChatFormat {
 public:
  // Chooses the form by the model's own template (by what it contains, not by its hash), else by
  // the special tokens of the vocabulary. kUnsupported names what was not recognised.
  static Result<ChatFormat> detect(const Tokenizer& tokenizer);
  explicit ChatFormat(ChatForm form) : form_(form) {}

  ChatForm form() const { return form_; }
  std::string_view name() const;

  // The conversation as the model's template renders it, begin token included as text. For people.
  Result<std::string> render(std::span<const ChatMessage> messages,
                             const ChatOptions& options) const;
  // The same as tokens. kInvalidInput: unknown role, no messages.
  Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer,
                                      std::span<const ChatMessage> messages,
                                      const ChatOptions& options) const;
  // True when the generation prompt already opened <think>, so that the answer begins inside it.
  bool opens_thinking(const ChatOptions& options) const;

 private:
  ChatForm form_;
};

}  // namespace hadal
