#include "hadal/apps/prompt.h"

#include <array>
#include <utility>

#include "hadal/text/chat_tools.h"

namespace hadal::apps {
namespace {

using Kind = api::ToolChoice::Kind;

constexpr std::string_view kThinkEnd = "</think>";

std::vector<ChatMessage> text_messages(const std::vector<api::Message>& messages) {
  std::vector<ChatMessage> result;
  result.reserve(messages.size());
  for (const api::Message& message : messages) {
    ChatMessage& added = result.emplace_back();
    added.role = message.role;
    added.content = message.content;
    added.reasoning = message.reasoning;
    added.tool_call_id = message.tool_call_id;
    added.name = message.name;
    for (const api::ToolCall& call : message.tool_calls) {
      added.tool_calls.push_back({call.id, call.name, call.arguments});
    }
  }
  return result;
}

bool must_call(const api::ChatRequest& request) {
  return request.tool_choice.kind == Kind::kRequired || request.tool_choice.kind == Kind::kNamed;
}

std::vector<ChatTool> offered_tools(const api::ChatRequest& request) {
  std::vector<ChatTool> tools;
  if (request.tool_choice.kind == Kind::kNone) return tools;
  for (const api::Tool& tool : request.tools) tools.push_back({tool.name, tool.definition});
  return tools;
}

// The beginning of an answer that is not free; empty: it is.
std::string forced_text(const api::ChatRequest& request, ToolForm form) {
  if (request.json_object) return "{";
  if (!must_call(request)) return {};
  const bool only = request.tools.size() == 1;
  return forced_call(form, request.tool_choice.kind == Kind::kNamed ? request.tool_choice.name
                           : only                                   ? request.tools[0].name
                                                                    : std::string_view());
}

std::vector<TokenId> literal(const ServedModel& model, std::string_view text) {
  EncodeOptions options;
  options.add_bos = false;
  options.parse_special = true;
  return model.tokenizer->encode(text, options);
}
std::vector<TokenId> plain(const ServedModel& model, std::string_view text) {
  EncodeOptions options;
  options.add_bos = false;
  return model.tokenizer->encode(text, options);
}

void append(std::vector<TokenId>* tokens, const std::vector<TokenId>& more) {
  tokens->insert(tokens->end(), more.begin(), more.end());
}

// How models of the form write the end of their thinking.
std::string thinking_end(const ServedModel& model) {
  const bool bare = model.chat->form() == ChatForm::kDeepseekV31 ||
                    model.tools == ToolForm::kDsmlV32 || model.tools == ToolForm::kDsmlV4;
  return bare ? std::string(kThinkEnd) : "\n</think>\n\n";
}

// The last message goes on: what it holds so far stands behind the generation prompt.
void continue_last(const ServedModel& model, const api::Message& last, ChatPrompt* prompt) {
  if (prompt->format.inside_reasoning) {
    append(&prompt->tokens, plain(model, last.reasoning));
    // Reasoning alone goes on; with an answer, or with none at all, it is over.
    if (!last.content.empty() || last.reasoning.empty()) {
      append(&prompt->tokens, literal(model, thinking_end(model)));
      prompt->format.inside_reasoning = false;
      prompt->format.reasons = false;
    }
  }
  append(&prompt->tokens, plain(model, last.content));
}

api::Parsed<void> steer(const ServedModel& model, const api::ChatRequest& request,
                        const std::string& forced, ChatPrompt* prompt) {
  const bool inside = prompt->format.inside_reasoning;
  if (!forced.empty() && !inside) {
    append(&prompt->tokens, literal(model, forced));
    prompt->primed = forced;
    prompt->format.reasons = false;
    return {};
  }
  if (!inside || (forced.empty() && !request.thinking_budget)) return {};
  const auto end = model.tokenizer->find(kThinkEnd);
  if (!end) {
    return fail(api::ApiError(Code::kUnsupported,
                              "this model has no token that ends its thinking; turn thinking off",
                              "thinking"));
  }
  Steering& steering = prompt->steering;
  steering.thinking_end = *end;
  if (request.thinking_budget) {
    steering.thinking_budget = static_cast<int32_t>(*request.thinking_budget);
    // The newlines behind the marker are the model's own habit: it writes them itself.
    const std::string close = thinking_end(model);
    steering.close = literal(model, close.substr(0, close.find('>') + 1));
  }
  if (!forced.empty()) {
    const std::string_view gap = forced.front() == '\n' ? "" : "\n\n";
    steering.then = literal(model, std::string(gap) + forced);
  }
  return {};
}

std::vector<TokenId> marker_tokens(const ServedModel& model, ToolForm form) {
  std::vector<TokenId> tokens;
  for (const std::string_view marker : call_markers(form)) {
    if (const auto id = model.tokenizer->find(marker)) tokens.push_back(*id);
  }
  return tokens;
}

// Conversations with tools for a template that cannot take all of it.
std::vector<ChatMessage> in_words(const ServedModel& model, std::vector<ChatMessage> messages,
                                  std::span<const ChatTool> tools) {
  if (!model.own_calls) messages = calls_as_text(messages);
  const bool listed = model.own_calls && model.chat->renders_tools();
  if (tools.empty() || listed) return messages;
  return with_description(messages, tool_description(model.tools, tools));
}

}  // namespace

api::Parsed<ChatPrompt> chat_prompt(const ServedModel& model, const api::ChatRequest& request,
                                    int64_t local_seconds) {
  if (!model.chat || model.chat->form() == ChatForm::kNone) {
    return fail(api::ApiError(Code::kUnsupported,
                              "this model has no chat template; use /v1/completions", "messages"));
  }
  std::vector<ChatMessage> messages = text_messages(request.messages);
  const bool goes_on = request.messages.back().prefix;
  if (goes_on) messages.pop_back();
  const std::vector<ChatTool> tools = offered_tools(request);
  messages = in_words(model, std::move(messages), tools);

  ChatOptions options;
  options.add_generation_prompt = request.add_generation_prompt || goes_on;
  options.thinking =
      request.thinking.value_or(request.thinks_unasked || !model.chat->answers_without_thinking());
  options.reasoning_effort = request.effort;
  options.local_seconds = local_seconds;
  options.cache = model.token_cache.get();
  options.cache_scope = request.cache_scope;
  if (model.own_calls && model.chat->renders_tools()) options.tools = tools;
  HADAL_TRY(auto encoded, model.chat->encode_chat(*model.tokenizer, messages, options));

  ChatPrompt prompt;
  prompt.tokens = std::move(encoded.tokens);
  prompt.format.reasons = model.reasons;
  prompt.format.inside_reasoning = model.reasons && encoded.inside_thinking;
  prompt.format.thinking_closed = encoded.thinking_closed && !goes_on;
  if (!tools.empty()) prompt.format.tools = model.tools;
  for (const ChatTool& tool : tools) prompt.format.tool_names.push_back(tool.name);
  prompt.shown_tokens = marker_tokens(model, prompt.format.tools);
  if (goes_on) continue_last(model, request.messages.back(), &prompt);
  HADAL_TRY_VOID(steer(model, request, forced_text(request, prompt.format.tools), &prompt));
  return prompt;
}

api::Parsed<std::vector<TokenId>> infill_prompt(const ServedModel& model, std::string_view prompt,
                                                std::string_view suffix) {
  struct Markers {
    std::string_view begin, hole, end;
  };
  // DeepSeek's, Qwen's, CodeLlama's and StarCoder's names for the same three places.
  constexpr auto kMarkers = std::to_array<Markers>({
      {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
      {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
      {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
  });
  for (const Markers& markers : kMarkers) {
    const auto begin = model.tokenizer->find(markers.begin);
    const auto hole = model.tokenizer->find(markers.hole);
    const auto end = model.tokenizer->find(markers.end);
    if (!begin || !hole || !end) continue;
    std::vector<TokenId> tokens;
    const VocabData& data = model.tokenizer->data();
    if (data.add_bos && data.bos) tokens.push_back(*data.bos);
    tokens.push_back(*begin);
    append(&tokens, plain(model, prompt));
    tokens.push_back(*hole);
    append(&tokens, plain(model, suffix));
    tokens.push_back(*end);
    return tokens;
  }
  return fail(api::ApiError(
      Code::kUnsupported, "suffix: this model has no tokens for filling in; remove it", "suffix"));
}

}  // namespace hadal::apps
