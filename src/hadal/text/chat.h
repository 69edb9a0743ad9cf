// A conversation to the token ids that a model was trained on. The built-in forms are exact,
// whitespace and full-width bars included; they are equal to each model's own Jinja template for
// conversations without tools. Every other conversation, and every other template, is rendered by
// the model's own template through the interpreter (jinja/template.h).
//
// Content never becomes a special token: forms are rendered as alternating literal (may hold
// special tokens) and content (may not) pieces.
//
// Threads: immutable; any number of threads may use one format at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/chat_message.h"
#include "hadal/text/chat_template.h"
#include "hadal/text/tokenizer.h"

namespace hadal {

enum class ChatForm : uint8_t {
  kDeepseekV2,   // "User: ...\n\nAssistant: ...", also DeepSeek-LLM chat
  kDeepseekV3,   // V3, V3-0324: <|User|>...<|Assistant|>...
  kDeepseekR1,   // R1, R1-0528, distills: drops earlier thinking, most open <think>\n
  kDeepseekV31,  // V3.1: thinking on request, </think> when off
  kQwen2,        // ChatML with Qwen2's default system prompt
  kQwen3,        // ChatML, optional thinking
  kLlama3,
  kDeepseekV4,  // DSML; its files have no template, so vocabularies that can write it get this
  kTemplate,    // the model's own template, which is none of the above
  kNone,        // no template: plain completion only
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool thinking = true;   // where the form can switch; ignored elsewhere
  std::string date = {};  // "22 Nov 2026" for Llama-3's header; empty: the template's fixed default
  // Only where the model's own template is rendered:
  std::span<const ChatTool> tools = {};  // listed if renders_tools()
  std::string reasoning_effort = {};     // "high", "max"; empty: not set
  int64_t local_seconds = 0;             // now, since 1970 in local time, for templates that ask
  TokenCache* cache = nullptr;           // of tokens, see Tokenizer::encode_parts
  std::string_view cache_scope = {};
};

struct EncodedChat {
  std::vector<TokenId> tokens;
  bool inside_thinking = false;  // the generation prompt opened <think>: the answer begins in it
  bool thinking_closed = false;  // ... or ends with its </think>
};

// What differs between templates of one form, read from the template.
struct ChatVariant {
  enum class Strip : uint8_t { kNone, kUpToFirst, kUpToLast };

  std::string bos;  // text of the begin token, empty when the vocabulary has none
  std::string eos;
  // DeepSeek V3 and later
  bool join_systems = true;           // all system messages, else only the last
  bool assistant_after_user = false;  // the user's turn ends with <|Assistant|> (V3-0324, R1-0528)
  Strip strip = Strip::kNone;         // of an earlier answer, up to which </think>
  bool opens_thinking = false;        // the generation prompt ends with "<think>\n"
  bool closes_thinking = false;       // ... followed by </think> when thinking is off
  bool empty_thinking = false;  // V3.1 without thinking: "<think></think>" instead of "</think>"
  // ChatML
  std::string default_system;  // when the conversation does not begin with one; empty: none
  // Llama-3
  bool date_header = false;  // 3.1 and later: always a system turn, with two lines about dates

  bool operator==(const ChatVariant&) const = default;
};

class Pieces;  // the text by origin

class ChatFormat {
 public:
  // Chooses the form by the model's own template (by what it contains, not by its hash), else by
  // the special tokens of the vocabulary. kInvalidInput, kTooLarge: a template that is in no form
  // and that the interpreter cannot read; the message has its line.
  static Result<ChatFormat> detect(const Tokenizer& tokenizer);
  // For a model that says nothing (detect() gave kNone): "User: ...\n\nAssistant: ...", with the
  // vocabulary's own begin and end tokens.
  static ChatFormat plain(const Tokenizer& tokenizer);
  // The form as its first official template has it.
  explicit ChatFormat(ChatForm form);

  ChatForm form() const { return form_; }
  const ChatVariant& variant() const { return variant_; }
  std::string_view name() const;

  // The conversation as the model's template renders it, begin token included as text. For people.
  // kInvalidInput: unknown role, no messages. kUnsupported: form kNone.
  Result<std::string> render(std::span<const ChatMessage> messages,
                             const ChatOptions& options) const;
  // The same as tokens.
  Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer,
                                      std::span<const ChatMessage> messages,
                                      const ChatOptions& options) const;
  Result<EncodedChat> encode_chat(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                  const ChatOptions& options) const;
  // True when the generation prompt already opened <think>, so that the answer begins inside it:
  // after a user's turn. encode_chat() knows it of any conversation.
  bool opens_thinking(const ChatOptions& options) const;
  // Whether its models learned to answer without thinking too. R1 and its like did not: where a
  // template can close their <think> for them, they answer badly behind it.
  bool answers_without_thinking() const { return form_ != ChatForm::kDeepseekR1; }
  // The model's own template writes earlier calls and their results; the list of tools.
  bool renders_calls() const { return own_ != nullptr && own_->renders_calls(); }
  bool renders_tools() const { return own_ != nullptr && own_->renders_tools(); }

 private:
  void take_markers(const VocabData& data);
  ChatFormat(ChatForm form, ChatVariant variant);
  Result<Pieces> pieces(std::span<const ChatMessage> messages, const ChatOptions& options) const;
  bool needs_own(std::span<const ChatMessage> messages, const ChatOptions& options) const;
  ChatForm form_;
  ChatVariant variant_;
  std::shared_ptr<const ChatTemplate> own_;  // null: the model has none that can be read
};

}  // namespace hadal
