// Which fields exist, and what this server does with each.
#include <array>

#include "hadal/api/openai.h"

namespace hadal::api {
namespace {

using enum FieldUse;

#define HADAL_SHARED_FIELDS                                                               \
  {"model", kHonoured, "must be a served name"}, {"temperature", kHonoured, "0 to 2"},    \
      {"top_p", kHonoured, ""}, {"top_k", kHonoured, ""}, {"min_p", kHonoured, ""},       \
      {"repetition_penalty", kHonoured, ""}, {"presence_penalty", kHonoured, ""},         \
      {"frequency_penalty", kHonoured, ""}, {"logit_bias", kHonoured, ""},                \
      {"seed", kHonoured, "choice i of n uses seed + i"}, {"stop", kHonoured, ""},        \
      {"stop_token_ids", kHonoured, ""}, {"include_stop_str_in_output", kHonoured, ""},   \
      {"max_tokens", kHonoured, "clamped to the context"}, {"min_tokens", kHonoured, ""}, \
      {"ignore_eos", kHonoured, ""}, {"n", kHonoured, ""}, {"stream", kHonoured, ""},     \
      {"stream_options", kHonoured, "include_usage"}, {"logprobs", kHonoured, ""},        \
      {"priority", kHonoured, "lower runs first"},                                        \
      {"cache_salt", kHonoured, "prefixes are shared only within one salt"},              \
      {"user_id", kHonoured, "as cache_salt"}, {"skip_special_tokens", kHonoured, ""},    \
      {"user", kIgnored, "a label"}, {"metadata", kIgnored, "a label"},                   \
      {"request_id", kIgnored, "a label"}, {"safety_identifier", kIgnored, "a label"},    \
      {"prompt_cache_key", kIgnored, "every prefix is looked up"},                        \
      {"service_tier", kHonoured, "priority: 10 ahead; flex: 10 behind"},                 \
      {"spaces_between_special_tokens", kIgnored, "no spaces are put between them"},      \
      {"store", kRefused, "answers are not stored"},                                      \
      {"use_beam_search", kRefused, "use n with a temperature"}, {                        \
    "guided_json", kRefused, "constrained output is not available"                        \
  }

constexpr auto kChat = std::to_array<FieldRule>({
    HADAL_SHARED_FIELDS,
    {"messages", kHonoured, "text only"},
    {"max_completion_tokens", kHonoured, "goes before max_tokens"},
    {"top_logprobs", kHonoured, "with logprobs: true"},
    {"chat_template_kwargs", kHonoured, "thinking, enable_thinking"},
    {"thinking", kHonoured, "{\"type\": \"enabled\" or \"disabled\"}"},
    {"reasoning_effort", kHonoured, "none: no thinking; the others: thinking, low, high or max"},
    {"include_reasoning", kHonoured, "false: reasoning_content is left out"},
    {"add_generation_prompt", kHonoured, ""},
    {"parallel_tool_calls", kHonoured, "false: the answer ends with its first call"},
    {"verbosity", kIgnored, "models here have no such setting"},
    {"modalities", kHonoured, "[\"text\"]"},
    {"response_format", kHonoured, "text; json_object: an answer that is not JSON is an error"},
    {"tools", kHonoured, "functions"},
    {"tool_choice", kHonoured, "none, auto, required, or a function's name"},
    {"thinking_token_budget", kHonoured, "thinking is closed after so many tokens"},
    {"functions", kRefused, "use tools"},
    {"function_call", kRefused, "use tool_choice"},
    {"audio", kRefused, "this server answers with text"},
    {"prediction", kRefused, "remove it"},
    {"web_search_options", kRefused, "this server does not search"},
    {"chat_template", kRefused, "the model's own template is used"},
    {"continue_final_message", kHonoured, "goes on with the last message, an assistant's"},
    {"echo", kRefused, "use /v1/completions"},
});

constexpr auto kCompletion = std::to_array<FieldRule>({
    HADAL_SHARED_FIELDS,
    {"prompt", kHonoured, "string, strings, token ids, or arrays of them"},
    {"echo", kHonoured, ""},
    {"add_special_tokens", kHonoured, ""},
    {"best_of", kHonoured, "the most likely n of so many; not in streams"},
    {"suffix", kHonoured, "where the model has tokens for it"},
    {"response_format", kHonoured, "{\"type\": \"text\"}"},
});

#undef HADAL_SHARED_FIELDS

}  // namespace

std::span<const FieldRule> chat_fields() { return kChat; }
std::span<const FieldRule> completion_fields() { return kCompletion; }

}  // namespace hadal::api
