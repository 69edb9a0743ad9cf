#include "hadal/text/chat_detect.h"

#include <fmt/core.h>

#include "hadal/text/unicode.h"

namespace hadal {
namespace {

// Qwen2.5's; a template brings its own.
constexpr std::string_view kQwenSystem =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Everything from the last mention of the generation prompt on.
std::string_view generation_part(std::string_view source) {
  const size_t at = source.rfind("add_generation_prompt");
  return at == std::string_view::npos ? std::string_view() : source.substr(at);
}

tl::unexpected<Error> unknown(std::string_view what, std::string_view source) {
  constexpr size_t kShown = 60;
  std::string begin = replace_ill_formed(source.substr(0, kShown));
  for (char& c : begin) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return fail(Code::kUnsupported,
              fmt::format("the model's chat template is no built-in form ({}); it begins: {}", what,
                          begin));
}

Result<DetectedChat> detect_deepseek(std::string_view source) {
  const std::string_view generation = generation_part(source);
  if (has(source, "DSML")) return unknown("DeepSeek with DSML tool calls", source);
  if (!has(source, "ns.system_prompt") || generation.empty()) {
    return unknown("<｜User｜> markers, but not DeepSeek's layout", source);
  }
  ChatVariant variant = official_variant(ChatForm::kDeepseekV3);
  variant.join_systems = has(source, "is_first_sp");
  const size_t user = source.find("'<｜User｜>' +");
  const size_t end = source.find("}}", user);
  if (user == std::string_view::npos || end == std::string_view::npos) {
    return unknown("<｜User｜> not followed by the content", source);
  }
  variant.assistant_after_user = has(source.substr(user, end - user), "'<｜Assistant｜>'");
  if (has(source, "split('</think>')[-1]")) variant.strip = ChatVariant::Strip::kUpToLast;
  if (has(source, "split('</think>', 1)[1]")) variant.strip = ChatVariant::Strip::kUpToFirst;
  if (has(generation, "not thinking")) {
    if (variant.assistant_after_user || variant.strip != ChatVariant::Strip::kUpToFirst) {
      return unknown("a thinking switch, but not as in DeepSeek-V3.1", source);
    }
    variant.empty_thinking = has(generation, "<think></think>");
    return DetectedChat{ChatForm::kDeepseekV31, variant};
  }
  variant.opens_thinking = has(generation, "<｜Assistant｜><think>\\n");
  variant.closes_thinking = has(generation, "not enable_thinking");
  if (!variant.opens_thinking && has(generation, "<think>")) {
    return unknown("an unknown opening of <think>", source);
  }
  const bool thinks = variant.opens_thinking || variant.strip != ChatVariant::Strip::kNone;
  return DetectedChat{thinks ? ChatForm::kDeepseekR1 : ChatForm::kDeepseekV3, variant};
}

// The text between "<|im_start|>system\n" and "<|im_end|>" where the template has it as one
// literal.
std::string default_system_of(std::string_view source) {
  constexpr std::string_view kOpen = "<|im_start|>system\\n";
  for (size_t at = source.find(kOpen); at != std::string_view::npos;
       at = source.find(kOpen, at + 1)) {
    const std::string_view rest = source.substr(at + kOpen.size());
    const size_t end = rest.find("<|im_end|>");
    if (end == std::string_view::npos || end == 0) continue;
    const std::string_view literal = rest.substr(0, end);
    if (literal.find_first_of("'\"{}\n") != std::string_view::npos && !has(literal, "\\boxed{}")) {
      continue;
    }
    std::string text;
    for (size_t i = 0; i < literal.size(); ++i) {
      if (literal[i] == '\\' && i + 1 < literal.size()) ++i;
      text.push_back(literal[i] == 'n' && literal[i - 1] == '\\' ? '\n' : literal[i]);
    }
    return text;
  }
  return "";
}

Result<DetectedChat> detect_chatml(std::string_view source) {
  const std::string_view generation = generation_part(source);
  if (has(source, "last_query_index") && has(source, "reasoning_content")) {
    ChatVariant variant = official_variant(ChatForm::kQwen3);
    variant.opens_thinking = has(generation, "assistant\\n<think>\\n'");
    if (!variant.opens_thinking && !has(generation, "enable_thinking is false")) {
      return unknown("Qwen3 with another thinking switch", source);
    }
    return DetectedChat{ChatForm::kQwen3, variant};
  }
  if (has(source, "think>")) return unknown("ChatML with thinking, but not Qwen3's", source);
  if (!has(generation, "<|im_start|>assistant\\n")) {
    return unknown("ChatML without Qwen's generation prompt", source);
  }
  ChatVariant variant = official_variant(ChatForm::kQwen2);
  variant.default_system = default_system_of(source);
  return DetectedChat{ChatForm::kQwen2, variant};
}

}  // namespace

ChatVariant official_variant(ChatForm form) {
  ChatVariant variant;
  if (form == ChatForm::kDeepseekV2 || form == ChatForm::kDeepseekV3 ||
      form == ChatForm::kDeepseekR1 || form == ChatForm::kDeepseekV31) {
    variant.bos = "<｜begin▁of▁sentence｜>";
    variant.eos = "<｜end▁of▁sentence｜>";
  }
  if (form == ChatForm::kDeepseekR1) {
    variant.strip = ChatVariant::Strip::kUpToLast;
    variant.opens_thinking = true;
  }
  if (form == ChatForm::kDeepseekV31) variant.strip = ChatVariant::Strip::kUpToFirst;
  if (form == ChatForm::kQwen2) variant.default_system = kQwenSystem;
  if (form == ChatForm::kLlama3) {
    variant.bos = "<|begin_of_text|>";
    variant.eos = "<|eot_id|>";
    variant.date_header = true;
  }
  return variant;
}

Result<DetectedChat> detect_template(std::string_view source) {
  if (has(source, "<｜User｜>") && has(source, "<｜Assistant｜>")) return detect_deepseek(source);
  if (has(source, "<|im_start|>")) return detect_chatml(source);
  if (has(source, "<|start_header_id|>") && has(source, "<|eot_id|>")) {
    ChatVariant variant = official_variant(ChatForm::kLlama3);
    variant.date_header = has(source, "Cutting Knowledge Date: December 2023");
    return DetectedChat{ChatForm::kLlama3, variant};
  }
  if (has(source, "'User: ' +") && has(source, "'Assistant: ' +") && has(source, "eos_token") &&
      has(generation_part(source), "'Assistant:'")) {
    return DetectedChat{ChatForm::kDeepseekV2, official_variant(ChatForm::kDeepseekV2)};
  }
  return unknown("no markers of a known form", source);
}

}  // namespace hadal
