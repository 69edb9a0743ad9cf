#include "hadal/text/chat.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "hadal/text/chat_detect.h"
#include "hadal/text/chat_pieces.h"
#include "hadal/text/chat_v4.h"

namespace hadal {
namespace {

constexpr std::string_view kUser = "<｜User｜>";
constexpr std::string_view kAssistant = "<｜Assistant｜>";
constexpr std::string_view kEndOfSentence = "<｜end▁of▁sentence｜>";
constexpr std::string_view kThinkEnd = "</think>";
// Llama-3.1's template says this when nobody passes a date.
constexpr std::string_view kLlamaDate = "26 Jul 2024";

constexpr std::array<std::pair<ChatForm, std::string_view>, 10> kNames = {{
    {ChatForm::kDeepseekV2, "deepseek-v2"},
    {ChatForm::kDeepseekV3, "deepseek-v3"},
    {ChatForm::kDeepseekR1, "deepseek-r1"},
    {ChatForm::kDeepseekV31, "deepseek-v3.1"},
    {ChatForm::kQwen2, "qwen2"},
    {ChatForm::kQwen3, "qwen3"},
    {ChatForm::kLlama3, "llama3"},
    {ChatForm::kDeepseekV4, "deepseek-v4"},
    {ChatForm::kTemplate, "own template"},
    {ChatForm::kNone, "none"},
}};

// Python's str.strip("\n") and its halves.
std::string_view left_stripped_newlines(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
  return text;
}
std::string_view right_stripped_newlines(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

// Bytes of the white space that Python's str.strip() takes at the front of `text`; 0 for none.
size_t python_space_length(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (text.empty()) return 0;
  if (byte(0) == ' ' || (byte(0) >= 0x09 && byte(0) <= 0x0D) ||
      (byte(0) >= 0x1C && byte(0) <= 0x1F)) {
    return 1;
  }
  if (text.size() >= 2 && byte(0) == 0xC2 && (byte(1) == 0x85 || byte(1) == 0xA0)) return 2;
  if (text.size() < 3) return 0;
  const std::string_view three = text.substr(0, 3);
  if (byte(0) == 0xE2 && byte(1) == 0x80 && byte(2) >= 0x80 && byte(2) <= 0x8A) return 3;
  for (const std::string_view space :
       {"\u1680", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"}) {
    if (three == space) return 3;
  }
  return 0;
}

std::string_view python_stripped(std::string_view text) {
  while (const size_t n = python_space_length(text)) text.remove_prefix(n);
  while (!text.empty()) {
    size_t cut = 0;
    for (size_t n = 1; n <= 3 && n <= text.size() && cut == 0; ++n) {
      if (python_space_length(text.substr(text.size() - n)) == n) cut = n;
    }
    if (cut == 0) break;
    text.remove_suffix(cut);
  }
  return text;
}

std::string_view after_thinking(std::string_view content, ChatVariant::Strip strip) {
  size_t at = std::string_view::npos;
  if (strip == ChatVariant::Strip::kUpToFirst) at = content.find(kThinkEnd);
  if (strip == ChatVariant::Strip::kUpToLast) at = content.rfind(kThinkEnd);
  return at == std::string_view::npos ? content : content.substr(at + kThinkEnd.size());
}

void render_deepseek_v2(std::span<const ChatMessage> messages, const ChatVariant& variant,
                        const ChatOptions& options, Pieces* out) {
  out->literal(variant.bos);
  for (const ChatMessage& message : messages) {
    if (message.role == "user") out->literal("User: ");
    if (message.role == "assistant") out->literal("Assistant: ");
    out->content(message.content);
    out->literal(message.role == "assistant" ? std::string_view(variant.eos) : "\n\n");
  }
  if (options.add_generation_prompt) out->literal("Assistant:");
}

// V3, R1 and V3.1 move all system text to the front.
void render_deepseek_systems(std::span<const ChatMessage> messages, const ChatVariant& variant,
                             Pieces* out) {
  out->literal(variant.bos);
  const ChatMessage* last = nullptr;
  for (const ChatMessage& message : messages) {
    if (message.role != "system") continue;
    if (variant.join_systems) {
      if (last != nullptr) out->literal("\n\n");
      out->content(message.content);
    }
    last = &message;
  }
  if (!variant.join_systems && last != nullptr) out->content(last->content);
}

void render_deepseek_v3(std::span<const ChatMessage> messages, const ChatVariant& variant,
                        const ChatOptions& options, Pieces* out) {
  render_deepseek_systems(messages, variant, out);
  bool after_user = false;
  for (const ChatMessage& message : messages) {
    if (message.role == "user") {
      out->literal(kUser);
      out->content(message.content);
      if (variant.assistant_after_user) out->literal(kAssistant);
      after_user = true;
    } else if (message.role == "assistant") {
      if (!variant.assistant_after_user) out->literal(kAssistant);
      out->content(after_thinking(message.content, variant.strip));
      out->literal(kEndOfSentence);
      after_user = false;
    }
  }
  if (!options.add_generation_prompt || (variant.assistant_after_user && after_user)) return;
  out->literal(kAssistant);
  if (!variant.opens_thinking) return;
  out->literal("<think>\n");
  if (variant.closes_thinking && !options.thinking) out->literal(kThinkEnd);
}

void render_deepseek_v31(std::span<const ChatMessage> messages, const ChatVariant& variant,
                         const ChatOptions& options, Pieces* out) {
  const std::string_view no_thinking = variant.empty_thinking ? "<think></think>" : kThinkEnd;
  render_deepseek_systems(messages, variant, out);
  bool after_user = false;
  for (const ChatMessage& message : messages) {
    if (message.role == "user") {
      out->literal(kUser);
      out->content(message.content);
      after_user = true;
    } else if (message.role == "assistant") {
      if (after_user) {
        out->literal(kAssistant);
        out->literal(no_thinking);
      }
      out->content(after_thinking(message.content, variant.strip));
      out->literal(kEndOfSentence);
      after_user = false;
    }
  }
  if (!options.add_generation_prompt || !after_user) return;
  out->literal(kAssistant);
  out->literal(options.thinking ? "<think>" : no_thinking);
}

void chatml_turn(std::string_view role, std::string_view content, Pieces* out) {
  out->literal("<|im_start|>");
  out->literal(role);
  out->literal("\n");
  out->content(content);
  out->literal("<|im_end|>\n");
}

void render_qwen2(std::span<const ChatMessage> messages, const ChatVariant& variant,
                  const ChatOptions& options, Pieces* out) {
  if (messages[0].role != "system" && !variant.default_system.empty()) {
    chatml_turn("system", variant.default_system, out);
  }
  for (const ChatMessage& message : messages) chatml_turn(message.role, message.content, out);
  if (options.add_generation_prompt) out->literal("<|im_start|>assistant\n");
}

// The last message that a person wrote: answers after it keep their thinking.
size_t last_query(std::span<const ChatMessage> messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& content = messages[i].content;
    const bool is_tool_response =
        content.starts_with("<tool_response>") && content.ends_with("</tool_response>");
    if (messages[i].role == "user" && !is_tool_response) return i;
  }
  return messages.size() - 1;
}

void render_qwen3_answer(const ChatMessage& message, bool after_query, bool is_last, Pieces* out) {
  std::string_view content = message.content;
  std::string_view reasoning = message.reasoning;
  const size_t close = content.rfind(kThinkEnd);
  if (reasoning.empty() && close != std::string_view::npos) {
    reasoning = right_stripped_newlines(content.substr(0, content.find(kThinkEnd)));
    const size_t open = reasoning.rfind("<think>");
    if (open != std::string_view::npos) reasoning.remove_prefix(open + 7);
    reasoning = left_stripped_newlines(reasoning);
    content = left_stripped_newlines(content.substr(close + kThinkEnd.size()));
  }
  if (!after_query || (!is_last && reasoning.empty())) {
    chatml_turn("assistant", content, out);
    return;
  }
  out->literal("<|im_start|>assistant\n<think>\n");
  out->content(right_stripped_newlines(left_stripped_newlines(reasoning)));
  out->literal("\n</think>\n\n");
  out->content(left_stripped_newlines(content));
  out->literal("<|im_end|>\n");
}

void render_qwen3(std::span<const ChatMessage> messages, const ChatVariant& variant,
                  const ChatOptions& options, Pieces* out) {
  const size_t query = last_query(messages);
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role == "assistant") {
      render_qwen3_answer(messages[i], i > query, i + 1 == messages.size(), out);
    } else {
      chatml_turn(messages[i].role, messages[i].content, out);
    }
  }
  if (!options.add_generation_prompt) return;
  out->literal("<|im_start|>assistant\n");
  if (variant.opens_thinking) {
    out->literal("<think>\n");
  } else if (!options.thinking) {
    out->literal("<think>\n\n</think>\n\n");
  }
}

void llama3_header(std::string_view role, Pieces* out) {
  out->literal("<|start_header_id|>");
  out->literal(role);
  out->literal("<|end_header_id|>\n\n");
}

void render_llama3(std::span<const ChatMessage> messages, const ChatVariant& variant,
                   const ChatOptions& options, Pieces* out) {
  out->literal(variant.bos);
  if (variant.date_header) {
    llama3_header("system", out);
    out->literal("Cutting Knowledge Date: December 2023\nToday Date: ");
    out->content(options.date.empty() ? kLlamaDate : std::string_view(options.date));
    out->literal("\n\n");
    if (messages[0].role == "system") {
      out->content(python_stripped(messages[0].content));
      messages = messages.subspan(1);
    }
    out->literal("<|eot_id|>");
  }
  for (const ChatMessage& message : messages) {
    llama3_header(message.role, out);
    out->content(python_stripped(message.content));
    out->literal("<|eot_id|>");
  }
  if (options.add_generation_prompt) llama3_header("assistant", out);
}

Status check_messages(std::span<const ChatMessage> messages) {
  if (messages.empty()) return fail(Code::kInvalidInput, "messages: empty, needs at least one");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant") {
      return fail(Code::kInvalidInput,
                  fmt::format("messages[{}].role: \"{}\", not system, user or assistant", i, role));
    }
  }
  return {};
}

Result<Pieces> render_pieces(ChatForm form, const ChatVariant& variant,
                             std::span<const ChatMessage> messages, const ChatOptions& options) {
  HADAL_TRY_VOID(check_messages(messages));
  Pieces out;
  switch (form) {
    case ChatForm::kDeepseekV2:
      render_deepseek_v2(messages, variant, options, &out);
      break;
    case ChatForm::kDeepseekV3:
    case ChatForm::kDeepseekR1:
      render_deepseek_v3(messages, variant, options, &out);
      break;
    case ChatForm::kDeepseekV31:
      render_deepseek_v31(messages, variant, options, &out);
      break;
    case ChatForm::kQwen2:
      render_qwen2(messages, variant, options, &out);
      break;
    case ChatForm::kQwen3:
      render_qwen3(messages, variant, options, &out);
      break;
    case ChatForm::kLlama3:
      render_llama3(messages, variant, options, &out);
      break;
    case ChatForm::kDeepseekV4:
    case ChatForm::kTemplate:
    case ChatForm::kNone:
      return fail(Code::kUnsupported, "this model has no chat template; use plain completions");
  }
  return out;
}

bool has_all(const Tokenizer& tokenizer, std::initializer_list<std::string_view> tokens) {
  for (const std::string_view token : tokens) {
    if (!tokenizer.find(token)) return false;
  }
  return true;
}

// V3.1's vocabulary is R1's, so it needs its template to be told from R1.
ChatForm form_of_vocabulary(const Tokenizer& tokenizer) {
  const bool thinks = has_all(tokenizer, {"<think>", "</think>"});
  if (has_all(tokenizer, {kUser, kAssistant})) {
    if (tokenizer.find("｜DSML｜")) return ChatForm::kDeepseekV4;
    return thinks ? ChatForm::kDeepseekR1 : ChatForm::kDeepseekV3;
  }
  if (has_all(tokenizer, {"<|im_start|>", "<|im_end|>"})) {
    return thinks ? ChatForm::kQwen3 : ChatForm::kQwen2;
  }
  if (has_all(tokenizer, {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"})) {
    return ChatForm::kLlama3;
  }
  return ChatForm::kNone;
}

}  // namespace

ChatFormat::ChatFormat(ChatForm form) : ChatFormat(form, official_variant(form)) {}

ChatFormat::ChatFormat(ChatForm form, ChatVariant variant)
    : form_(form), variant_(std::move(variant)) {}

Result<ChatFormat> ChatFormat::detect(const Tokenizer& tokenizer) {
  const VocabData& data = tokenizer.data();
  const std::string bos = data.bos ? data.tokens[*data.bos] : "";
  const std::string eos = data.eos ? data.tokens[*data.eos] : "";
  if (data.chat_template.empty()) {
    ChatFormat format(form_of_vocabulary(tokenizer));
    if (format.form_ == ChatForm::kDeepseekV4) {
      HADAL_TRY(auto v4, ChatTemplate::make(deepseek_v4_template(), bos, eos));
      format.own_ = std::make_shared<const ChatTemplate>(std::move(v4));
    }
    format.take_markers(data);
    return format;
  }
  auto own = ChatTemplate::make(data.chat_template, bos, eos);
  auto detected = detect_template(data.chat_template);
  // A built-in form works without the interpreter; anything else needs it.
  if (!own && !detected) return fail(std::move(own.error()));
  ChatFormat format = detected ? ChatFormat(detected->form, std::move(detected->variant))
                               : ChatFormat(ChatForm::kTemplate);
  if (own) format.own_ = std::make_shared<const ChatTemplate>(std::move(*own));
  format.take_markers(data);
  return format;
}

ChatFormat ChatFormat::plain(const Tokenizer& tokenizer) {
  ChatFormat format(ChatForm::kDeepseekV2);
  format.take_markers(tokenizer.data());
  return format;
}

void ChatFormat::take_markers(const VocabData& data) {
  if (form_ != ChatForm::kQwen2 && form_ != ChatForm::kQwen3) {
    variant_.bos = data.bos ? data.tokens[*data.bos] : "";
  }
  if (data.eos) variant_.eos = data.tokens[*data.eos];
}

std::string_view ChatFormat::name() const {
  for (const auto& [form, name] : kNames) {
    if (form == form_) return name;
  }
  return "unknown";
}

bool ChatFormat::needs_own(std::span<const ChatMessage> messages,
                           const ChatOptions& options) const {
  if (form_ == ChatForm::kTemplate || form_ == ChatForm::kDeepseekV4) return own_ != nullptr;
  if (!options.tools.empty() && renders_tools()) return true;
  return renders_calls() && std::ranges::any_of(messages, [](const ChatMessage& message) {
           return message.role == "tool" || !message.tool_calls.empty();
         });
}

Result<Pieces> ChatFormat::pieces(std::span<const ChatMessage> messages,
                                  const ChatOptions& options) const {
  if (!needs_own(messages, options)) return render_pieces(form_, variant_, messages, options);
  if (messages.empty()) return fail(Code::kInvalidInput, "messages: empty, needs at least one");
  TemplateInput input;
  input.add_generation_prompt = options.add_generation_prompt;
  input.thinking = options.thinking;
  input.tools = options.tools;
  input.reasoning_effort = options.reasoning_effort;
  input.date = options.date;
  input.local_seconds = options.local_seconds;
  HADAL_TRY(const jinja::Str text, own_->render(messages, input));
  const std::string_view all = text.text;
  Pieces out;
  size_t at = 0;
  for (const jinja::Span& span : text.foreign) {
    out.literal(all.substr(at, span.begin - at));
    out.content(all.substr(span.begin, span.end - span.begin));
    at = span.end;
  }
  out.literal(all.substr(at));
  return out;
}

Result<std::string> ChatFormat::render(std::span<const ChatMessage> messages,
                                       const ChatOptions& options) const {
  HADAL_TRY(const auto rendered, pieces(messages, options));
  return rendered.joined();
}

Result<std::vector<TokenId>> ChatFormat::encode(const Tokenizer& tokenizer,
                                                std::span<const ChatMessage> messages,
                                                const ChatOptions& options) const {
  HADAL_TRY(auto chat, encode_chat(tokenizer, messages, options));
  return std::move(chat.tokens);
}

Result<EncodedChat> ChatFormat::encode_chat(const Tokenizer& tokenizer,
                                            std::span<const ChatMessage> messages,
                                            const ChatOptions& options) const {
  HADAL_TRY(const auto rendered, pieces(messages, options));
  return EncodedChat{
      tokenizer.encode_parts(rendered.parts(), false, options.cache, options.cache_scope),
      options.add_generation_prompt && rendered.inside_thinking(),
      options.add_generation_prompt && rendered.thinking_closed()};
}

bool ChatFormat::opens_thinking(const ChatOptions& options) const {
  if (!options.add_generation_prompt) return false;
  if (form_ == ChatForm::kTemplate || form_ == ChatForm::kDeepseekV4) {
    return own_ != nullptr && own_->opens_thinking(options.thinking);
  }
  if (form_ == ChatForm::kDeepseekV31) return options.thinking;
  return variant_.opens_thinking && (options.thinking || !variant_.closes_thinking);
}

}  // namespace hadal
