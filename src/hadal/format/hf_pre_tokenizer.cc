#include "hadal/format/hf_pre_tokenizer.h"

#include <boost/json/value.hpp>
#include <span>
#include <string>
#include <vector>

#include "hadal/format/field_error.h"
#include "hadal/format/json_text.h"

namespace hadal {
namespace {

namespace json = boost::json;

constexpr std::string_view kField = "pre_tokenizer";

// One step, as a tokenizer.json has it. A prefix is enough where the rest is a long list of ranges.
struct Step {
  std::string_view
      pattern;  // of a Split, with line ends as \r and \n; "digits" for the Digits step
  bool prefix = false;
};

constexpr std::string_view kDigits = "digits";
constexpr std::string_view kHan = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";

constexpr Step kDeepseekLlm[] = {{"[\\r\\n]"},
                                 {"\\s?[A-Za-z\u00b5\u00c0-\u00d6", true},
                                 {"\\s?[!-/:-~", true},
                                 {"\\s+$"},
                                 {kHan},
                                 {kDigits}};
constexpr Step kDeepseekCoder[] = {
    {"[\\r\\n]"}, {"\\s?\\p{L}+"}, {"\\s?\\p{P}+"}, {kHan}, {kDigits}};
constexpr Step kDeepseekV3[] = {
    {"\\p{N}{1,3}"},
    {"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
     "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}};
constexpr Step kQwen2[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
     "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}};
constexpr Step kLlamaBpe[] = {
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
     "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}};

struct Known {
  PreTokenizer pre;
  std::span<const Step> steps;
};
constexpr Known kKnown[] = {{PreTokenizer::kDeepseekLlm, kDeepseekLlm},
                            {PreTokenizer::kDeepseekCoder, kDeepseekCoder},
                            {PreTokenizer::kDeepseekV3, kDeepseekV3},
                            {PreTokenizer::kQwen2, kQwen2},
                            {PreTokenizer::kLlamaBpe, kLlamaBpe}};

// Files write a line end either as itself or as the regex escape; both mean the same.
std::string with_escaped_lines(std::string_view pattern) {
  std::string result;
  for (const char c : pattern) {
    if (c == '\r') {
      result += "\\r";
    } else if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result;
}

std::string_view text_member(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

bool bool_member(const json::object& object, const char* key, bool fallback) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_bool() ? value->get_bool() : fallback;
}

Result<std::string> split_pattern(const json::object& step, std::string_view file) {
  const json::value* pattern = step.if_contains("pattern");
  const std::string_view regex =
      pattern != nullptr && pattern->is_object() ? text_member(pattern->get_object(), "Regex") : "";
  if (regex.empty()) {
    return field_error(Code::kUnsupported, file, kField, "a Split without a Regex", "a Regex");
  }
  if (text_member(step, "behavior") != "Isolated" || bool_member(step, "invert", false)) {
    return field_error(Code::kUnsupported, file, kField,
                       "a Split with behavior " + shown(text_member(step, "behavior")),
                       "\"Isolated\", not inverted");
  }
  return with_escaped_lines(regex);
}

// The patterns of the steps up to ByteLevel, which must come last and must not split by itself.
Result<std::vector<std::string>> read_steps(const json::array& steps, std::string_view file) {
  std::vector<std::string> patterns;
  bool byte_level = false;
  for (const json::value& value : steps) {
    const json::object* step = value.if_object();
    if (step == nullptr || byte_level) {
      return field_error(Code::kUnsupported, file, kField,
                         step == nullptr ? describe_json(value) : "a step after ByteLevel",
                         "Split and Digits steps, then ByteLevel");
    }
    const std::string_view type = text_member(*step, "type");
    if (type == "Split") {
      HADAL_TRY(std::string pattern, split_pattern(*step, file));
      patterns.push_back(std::move(pattern));
    } else if (type == "Digits") {
      patterns.emplace_back(kDigits);
    } else if (type == "ByteLevel") {
      if (bool_member(*step, "add_prefix_space", true) || bool_member(*step, "use_regex", true)) {
        return field_error(Code::kUnsupported, file, kField,
                           "ByteLevel with its own prefix or regex",
                           "add_prefix_space and use_regex false");
      }
      byte_level = true;
    } else {
      return field_error(Code::kUnsupported, file, kField, "a step of type " + shown(type),
                         "Split, Digits or ByteLevel");
    }
  }
  if (!byte_level)
    return field_error(Code::kUnsupported, file, kField, "no ByteLevel step", "one at the end");
  return patterns;
}

bool matches(std::span<const Step> known, const std::vector<std::string>& patterns) {
  if (known.size() != patterns.size()) return false;
  for (size_t i = 0; i < known.size(); ++i) {
    const bool same = known[i].prefix ? patterns[i].starts_with(known[i].pattern)
                                      : patterns[i] == known[i].pattern;
    if (!same) return false;
  }
  return true;
}

}  // namespace

Result<PreTokenizer> hf_pre_tokenizer(const json::object& root, std::string_view file) {
  constexpr std::string_view kExpected = "a Sequence of Split, Digits and ByteLevel steps";
  const json::value* value = root.if_contains("pre_tokenizer");
  if (value == nullptr || !value->is_object()) {
    return field_error(Code::kUnsupported, file, kField,
                       value == nullptr ? "no such key" : describe_json(*value), kExpected);
  }
  const json::object& object = value->get_object();
  const json::value* list = object.if_contains("pretokenizers");
  if (text_member(object, "type") != "Sequence" || list == nullptr || !list->is_array()) {
    return field_error(Code::kUnsupported, file, kField,
                       "type " + shown(text_member(object, "type")), kExpected);
  }
  HADAL_TRY(const auto patterns, read_steps(list->get_array(), file));
  for (const Known& known : kKnown) {
    if (matches(known.steps, patterns)) return known.pre;
  }
  return field_error(
      Code::kUnsupported, file, kField,
      patterns.empty() ? std::string("no Split") : "patterns from " + shown(patterns[0]),
      "those of deepseek-llm, deepseek-coder, deepseek-v3, qwen2 or llama-bpe");
}

}  // namespace hadal
