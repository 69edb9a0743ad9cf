// Which fields OpenAI's endpoints have, and what this server does with each.
#include "hadal/api/openai.h"
#include "hadal/api/openai_tables.h"

namespace hadal::api {
namespace table {
namespace {

constexpr FieldShape kChoices = shape::integer(1, limits::kChoicesMax).otherwise("1");

constexpr auto kChatRules = std::to_array<FieldRule>({
    {"messages", kHonoured, "", shape::objects(kMessage, 1, limits::kMessagesMax)},
    HADAL_GENERATION_FIELDS,
    {"max_tokens", kHonoured, "clamped to the context", shape::integer(1, kTokensMax)},
    {"max_completion_tokens", kHonoured, "goes before max_tokens", shape::integer(1, kTokensMax)},
    {"n", kHonoured, "", kChoices},
    {"logprobs", kHonoured, "", shape::boolean().otherwise("false")},
    {"top_logprobs", kHonoured, "with logprobs: true",
     shape::integer(0, limits::kTopLogprobsMax).otherwise("0")},
    {"metadata", kIgnored, "a label"},
    {"chat_template_kwargs", kHonoured, "", shape::object(kTemplateArguments)},
    {"thinking", kHonoured, "", shape::object(kThinking)},
    {"reasoning_effort", kHonoured, "none: no thinking; the others: thinking, low, high or max",
     kEffort},
    {"thinking_token_budget", kHonoured, "thinking is closed after so many tokens",
     shape::integer(0, kTokensMax)},
    {"include_reasoning", kHonoured, "false: reasoning_content is left out",
     shape::boolean().otherwise("true")},
    {"add_generation_prompt", kHonoured, "", shape::boolean().otherwise("true")},
    {"continue_final_message", kHonoured, "goes on with the last message, an assistant's",
     shape::boolean().otherwise("false")},
    {"response_format", kHonoured, "json_object: an answer that is not JSON is an error",
     shape::object(kResponseFormat)},
    {"tools", kHonoured, "functions", shape::objects(kTool, 0, kToolsMax)},
    {"tool_choice", kHonoured, "", shape::word_or_object(kToolChoiceWords, kToolChoice)},
    {"parallel_tool_calls", kHonoured, "false: the answer ends with its first call",
     shape::boolean().otherwise("true")},
    {"modalities", kHonoured, "", shape::texts(8, 32, "text")},
    {"verbosity", kIgnored, "models here have no such setting"},
    {"functions", kRefused, "use tools"},
    {"function_call", kRefused, "use tool_choice"},
    {"audio", kRefused, "this server answers with text"},
    {"prediction", kRefused, "remove it"},
    {"web_search_options", kRefused, "this server does not search"},
    {"chat_template", kRefused, "the model's own template is used"},
    {"echo", kRefused, "use /v1/completions"},
    {"use_beam_search", kRefused, "use n with a temperature"},
    {"guided_json", kRefused, "constrained output is not available"},
});

constexpr FieldShape kPrompt = shape::other(
    R"({"oneOf": [{"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
        {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 2147483647}},
        {"type": "array", "minItems": 1,
         "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2147483647}}}]})",
    "string, array of strings, array of token ids, or array of arrays of token ids");

constexpr auto kCompletionRules = std::to_array<FieldRule>({
    {"prompt", kHonoured, "", kPrompt},
    HADAL_GENERATION_FIELDS,
    {"max_tokens", kHonoured, "clamped to the context; 0 with echo: only the prompt is scored",
     shape::integer(0, kTokensMax)},
    {"n", kHonoured, "", kChoices},
    {"best_of", kHonoured, "the most likely n of so many; not in streams",
     shape::integer(1, limits::kChoicesMax)},
    {"logprobs", kHonoured, "", shape::integer(0, limits::kTopLogprobsMax)},
    {"echo", kHonoured, "", shape::boolean().otherwise("false")},
    {"suffix", kHonoured, "where the model has tokens for it", shape::text(kTextBytesMax)},
    {"add_special_tokens", kHonoured, "", shape::boolean().otherwise("true")},
    {"response_format", kHonoured, "{\"type\": \"text\"}", shape::object(kResponseFormat)},
    {"metadata", kIgnored, "a label"},
    {"use_beam_search", kRefused, "use n with a temperature"},
    {"guided_json", kRefused, "constrained output is not available"},
});

constexpr auto kTokenizeRules = std::to_array<FieldRule>({
    {"model", kHonoured, "a served name; absent: the first", shape::text(kLabelBytesMax)},
    {"prompt", kHonoured, "this or messages", shape::text(kTextBytesMax)},
    {"messages", kHonoured, "", shape::objects(kMessage, 1, limits::kMessagesMax)},
    {"tools", kHonoured, "", shape::objects(kTool, 0, kToolsMax)},
    {"add_special_tokens", kHonoured, "of a prompt", shape::boolean().otherwise("true")},
    {"add_generation_prompt", kHonoured, "of messages", shape::boolean().otherwise("true")},
    {"return_token_strs", kHonoured, "", shape::boolean().otherwise("false")},
    {"chat_template_kwargs", kHonoured, "", shape::object(kTemplateArguments)},
    {"thinking", kHonoured, "", shape::object(kThinking)},
    {"reasoning_effort", kHonoured, "", kEffort},
    {"chat_template", kRefused, "the model's own template is used"},
    {"continue_final_message", kRefused, "end with a user message"},
});

constexpr auto kDetokenizeRules = std::to_array<FieldRule>({
    {"model", kHonoured, "a served name; absent: the first", shape::text(kLabelBytesMax)},
    {"tokens", kHonoured, "", shape::tokens(limits::kBodyBytesMax)},
});

constexpr FieldTable kChat = {"ChatRequest", kChatRules, "messages"};
constexpr FieldTable kCompletion = {"CompletionRequest", kCompletionRules, "prompt"};
constexpr FieldTable kTokenize = {"TokenizeRequest", kTokenizeRules};
constexpr FieldTable kDetokenize = {"DetokenizeRequest", kDetokenizeRules, "tokens"};

}  // namespace
}  // namespace table

const FieldTable& chat_fields() { return table::kChat; }
const FieldTable& completion_fields() { return table::kCompletion; }
const FieldTable& tokenize_fields() { return table::kTokenize; }
const FieldTable& detokenize_fields() { return table::kDetokenize; }

}  // namespace hadal::api
