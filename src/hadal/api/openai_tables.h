// Private to api: the field tables of OpenAI's endpoints, and what other protocols share with them.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "hadal/api/fields.h"
#include "hadal/base/limits.h"

namespace hadal::api::table {

using enum FieldUse;

inline constexpr int64_t kTokensMax = std::numeric_limits<int32_t>::max();
inline constexpr size_t kLabelBytesMax = 1'024;
inline constexpr size_t kTextBytesMax = limits::kBodyBytesMax;
inline constexpr size_t kIdBytesMax = 256;
inline constexpr size_t kToolsMax = 512;
inline constexpr size_t kToolCallsMax = 512;  // of one message
inline constexpr size_t kPartsMax = 65'536;   // of one message
inline constexpr size_t kToolNameMax = 128;
static_assert(kToolNameMax == 128 && limits::kLogitBiasMax == 1'024);  // as the texts below say

inline constexpr FieldShape kToolName =
    shape::other(R"({"type": "string", "pattern": "^[A-Za-z0-9_.:/-]{1,128}$"})",
                 "1 to 128 letters, digits and \"_-.:/\"");
inline constexpr FieldShape kSchema =
    shape::other(R"({"type": "object"})", "a JSON schema, an object");
inline constexpr FieldShape kEffort = shape::word("none|minimal|low|medium|high|xhigh|max|ultra");

inline constexpr auto kPartRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("text|input_text|output_text").otherwise("\"text\"")},
    {"text", kHonoured, "", shape::text(kTextBytesMax)},
});
inline constexpr FieldTable kPart = {"TextPart", kPartRules, "text", true};

inline constexpr auto kStreamOptionRules = std::to_array<FieldRule>({
    {"include_usage", kHonoured, "", shape::boolean().otherwise("false")},
    {"include_obfuscation", kIgnored, "chunks are not padded"},
    {"continuous_usage_stats", kRefused, "usage comes once, at the end"},
});
inline constexpr FieldTable kStreamOptions = {"StreamOptions", kStreamOptionRules};

inline constexpr auto kThinkingRules = std::to_array<FieldRule>({
    {"type", kHonoured, "adaptive: as enabled", shape::word("enabled|disabled|adaptive")},
    {"budget_tokens", kHonoured, "thinking is closed after so many", shape::integer(0, kTokensMax)},
});
inline constexpr FieldTable kThinking = {"ThinkingConfig", kThinkingRules, "type", true};

inline constexpr auto kTemplateArgumentRules = std::to_array<FieldRule>({
    {"thinking", kHonoured, "", shape::boolean()},
    {"enable_thinking", kHonoured, "", shape::boolean()},
});
inline constexpr FieldTable kTemplateArguments = {"TemplateArguments", kTemplateArgumentRules};

inline constexpr auto kResponseFormatRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("text|json_object")},
});
inline constexpr FieldTable kResponseFormat = {"ResponseFormat", kResponseFormatRules, "type",
                                               true};

inline constexpr auto kCalledFunctionRules = std::to_array<FieldRule>({
    {"name", kHonoured, "", kToolName},
    {"arguments", kHonoured, "JSON as text, or an object",
     shape::other(R"({"type": ["string", "object"]})", "string or object").otherwise("\"{}\"")},
});
inline constexpr FieldTable kCalledFunction = {"CalledFunction", kCalledFunctionRules, "name",
                                               true};

inline constexpr auto kToolCallRules = std::to_array<FieldRule>({
    {"id", kHonoured, "", shape::text(kIdBytesMax)},
    {"type", kHonoured, "", shape::word("function").otherwise("\"function\"")},
    {"function", kHonoured, "", shape::object(kCalledFunction)},
});
inline constexpr FieldTable kToolCall = {"ToolCall", kToolCallRules, "id|function", true};

inline constexpr auto kMessageRules = std::to_array<FieldRule>({
    {"role", kHonoured, "developer: as system",
     shape::word("system|developer|user|assistant|tool")},
    {"content", kHonoured, "text only", shape::text_or_objects(kPart, 0, kPartsMax)},
    {"reasoning_content", kHonoured, "kept or dropped by the model's template",
     shape::text(kTextBytesMax)},
    {"reasoning", kHonoured, "as reasoning_content", shape::text(kTextBytesMax)},
    {"tool_calls", kHonoured, "of an assistant", shape::objects(kToolCall, 0, kToolCallsMax)},
    {"tool_call_id", kHonoured, "of a tool: the call that it answers", shape::text(kIdBytesMax)},
    {"prefix", kHonoured, "of the last message: the answer goes on with it",
     shape::boolean().otherwise("false")},
    {"name", kIgnored, "the models' templates have no place for it"},
    {"refusal", kIgnored, "part of an earlier answer"},
    {"annotations", kIgnored, "part of an earlier answer"},
    {"index", kIgnored, "part of an earlier answer"},
    {"audio", kRefused, "only text is supported"},
    {"function_call", kRefused, "use tool_calls"},
});
inline constexpr FieldTable kMessage = {"Message", kMessageRules, "role"};

inline constexpr std::string_view kStrictNote =
    "arguments are not held to the schema while they are written; check them";
inline constexpr auto kFunctionRules = std::to_array<FieldRule>({
    {"name", kHonoured, "", kToolName},
    {"description", kHonoured, "", shape::text(kTextBytesMax)},
    {"parameters", kHonoured, "", kSchema},
    {"strict", kRefused, kStrictNote},
});
inline constexpr FieldTable kFunction = {"Function", kFunctionRules, "name", true};
inline constexpr auto kToolRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function")},
    {"function", kHonoured, "", shape::object(kFunction)},
});
inline constexpr FieldTable kTool = {"Tool", kToolRules, "type|function", true};

inline constexpr auto kFunctionNameRules = std::to_array<FieldRule>({
    {"name", kHonoured, "", kToolName},
});
inline constexpr FieldTable kFunctionName = {"FunctionName", kFunctionNameRules, "name", true};
inline constexpr auto kToolNameRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function").otherwise("\"function\"")},
    {"function", kHonoured, "", shape::object(kFunctionName)},
});
inline constexpr FieldTable kToolOfName = {"ToolName", kToolNameRules, "function", true};
inline constexpr auto kAllowedToolRules = std::to_array<FieldRule>({
    {"mode", kHonoured, "", shape::word("auto|required")},
    {"tools", kHonoured, "the others are not offered", shape::objects(kToolOfName, 1, kToolsMax)},
});
inline constexpr FieldTable kAllowedTools = {"AllowedTools", kAllowedToolRules, "mode|tools"};
inline constexpr auto kToolChoiceRules = std::to_array<FieldRule>({
    {"type", kHonoured, "", shape::word("function|allowed_tools").otherwise("\"function\"")},
    {"function", kHonoured, "", shape::object(kFunctionName)},
    {"allowed_tools", kHonoured, "", shape::object(kAllowedTools)},
});
inline constexpr FieldTable kToolChoice = {"ToolChoice", kToolChoiceRules};
inline constexpr std::string_view kToolChoiceWords = "none|auto|required";

}  // namespace hadal::api::table

// Parts of the tables below it; initialisers of FieldRule cannot be joined in another way.
#define HADAL_SAMPLING_FIELDS                                                                      \
  {"temperature", kHonoured, "absent: the model's own", shape::number(0, 2)},                      \
      {"top_p", kHonoured, "absent: the model's own", shape::above(0, 1)},                         \
      {"top_k", kHonoured, "-1 and 0: off", shape::integer(-1, kTokensMax)},                       \
      {"min_p", kHonoured, "", shape::number(0, 1)},                                               \
      {"repetition_penalty", kHonoured, "", shape::above(0, 100)},                                 \
      {"presence_penalty", kHonoured, "", shape::number(-2, 2).otherwise("0")},                    \
      {"frequency_penalty", kHonoured, "", shape::number(-2, 2).otherwise("0")},                   \
      {"logit_bias", kHonoured, "token ids and what is added to their logits",                     \
       shape::other(R"({"type": "object", "maxProperties": 1024, "additionalProperties": )"        \
                    R"({"type": "number", "minimum": -100, "maximum": 100}})",                     \
                    "object of at most 1024 token ids with a bias -100 to 100")},                  \
      {"seed", kHonoured, "choice i of n uses seed + i",                                           \
       shape::integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())},  \
      {"stop", kHonoured, "", shape::texts(limits::kStopStringsMax, limits::kStopStringBytesMax)}, \
      {"stop_token_ids", kHonoured, "", shape::tokens(limits::kLogitBiasMax)},                     \
      {"include_stop_str_in_output", kHonoured, "", shape::boolean().otherwise("false")},          \
      {"min_tokens", kHonoured, "", shape::integer(0, kTokensMax).otherwise("0")}, {               \
    "ignore_eos", kHonoured, "", shape::boolean().otherwise("false")                               \
  }

#define HADAL_GENERATION_FIELDS                                                              \
  HADAL_SAMPLING_FIELDS,                                                                     \
      {"model", kHonoured, "a served name; absent: the first", shape::text(kLabelBytesMax)}, \
      {"stream", kHonoured, "", shape::boolean().otherwise("false")},                        \
      {"stream_options", kHonoured, "", shape::object(kStreamOptions)},                      \
      {"priority", kHonoured, "lower runs first",                                            \
       shape::integer(std::numeric_limits<int32_t>::min(), kTokensMax).otherwise("0")},      \
      {"cache_salt", kHonoured, "prefixes are shared only within one salt",                  \
       shape::text(kLabelBytesMax)},                                                         \
      {"user_id", kHonoured, "as cache_salt", shape::text(kLabelBytesMax)},                  \
      {"skip_special_tokens", kHonoured, "", shape::boolean().otherwise("true")},            \
      {"user", kIgnored, "a label"}, {"request_id", kIgnored, "a label"},                    \
      {"safety_identifier", kIgnored, "a label"},                                            \
      {"prompt_cache_key", kIgnored, "every prefix is looked up"},                           \
      {"service_tier", kHonoured, "priority: 10 ahead; flex: 10 behind",                     \
       shape::word("auto|default|standard_only|flex|priority").otherwise("\"auto\"")},       \
      {"spaces_between_special_tokens", kIgnored, "no spaces are put between them"}, {       \
    "store", kRefused, "answers are not stored"                                              \
  }
