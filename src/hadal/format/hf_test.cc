#include "hadal/format/hf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/format/hf_tokenizer.h"
#include "hadal/format/testing/files.h"

namespace hadal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TempFolder;

TEST(JsonConfig, TypedAccess) {
  const auto config = JsonConfig::parse(
      R"({"n":3,"whole":4096.0,"r":0.5,"big":18446744073709551615,"s":"x","yes":true,"null":null,)"
      R"("deep":{"er":{"n":7}},"list":[1,2],"texts":["a"],"mixed":[1,"a"]})",
      "config.json");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->integer("n", {}, 0, 9).value(), 3);
  EXPECT_EQ(config->integer("whole", {}, 0, 9999).value(), 4096);
  EXPECT_EQ(config->integer("deep.er.n", {}, 0, 9).value(), 7);
  EXPECT_EQ(config->integer("null", 5, 0, 9).value(), 5);
  EXPECT_EQ(config->integer("deep.no.n", 6, 0, 9).value(), 6);
  EXPECT_EQ(config->real("n", {}).value(), 3.0);
  EXPECT_EQ(config->real("r", {}).value(), 0.5);
  EXPECT_TRUE(config->boolean("yes", {}).value());
  EXPECT_EQ(config->text("s", {}).value(), "x");
  EXPECT_THAT(config->integers("list").value(), ElementsAre(1, 2));
  EXPECT_THAT(config->integers("n").value(), ElementsAre(3));
  EXPECT_TRUE(config->integers("absent")->empty());
  EXPECT_THAT(config->texts("texts").value(), ElementsAre("a"));
  EXPECT_TRUE(config->has("deep.er"));
  EXPECT_FALSE(config->has("null"));
  EXPECT_FALSE(config->has("n.x"));
  EXPECT_EQ(config->integer("n", {}, 4, 9).error().what,
            "config.json: n: found the number 3, expected an integer from 4 to 9");
  EXPECT_THAT(config->integer("r", {}, 0, 9).error().what, HasSubstr("an integer"));
  EXPECT_THAT(config->integer("big", {}, 0, 9).error().what, HasSubstr("18446744073709551615"));
  EXPECT_THAT(config->integer("absent", {}, 0, 9).error().what, HasSubstr("found no such key"));
  EXPECT_THAT(config->text("n", {}).error().what,
              HasSubstr("found the number 3, expected a string"));
  EXPECT_THAT(config->boolean("s", {}).error().what, HasSubstr("found the string \"x\""));
  EXPECT_FALSE(config->integers("mixed"));
  EXPECT_FALSE(config->texts("mixed"));
  EXPECT_FALSE(config->texts("s"));
}

TEST(JsonConfig, RefusesBrokenText) {
  for (const char* text : {"", "{", "{}x", "[]", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}", "{'a':1}",
                           "{\"a\":1e999999}", "{\"a\":{\"b\":1,\"b\":1}}", "nul"}) {
    const auto config = JsonConfig::parse(text, "c.json");
    const bool infinite = std::string_view(text).find("e999999") != std::string_view::npos;
    if (infinite) {
      EXPECT_FALSE(config && config->real("a", {})) << text;
      continue;
    }
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, Code::kCorrupt);
    EXPECT_THAT(config.error().what, ::testing::StartsWith("c.json: "));
  }
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  EXPECT_FALSE(JsonConfig::parse("{\"a\":" + deep + "}", "c.json"));
}

const char* const kV3Steps =
    R"({"type":"Split","pattern":{"Regex":"\\p{N}{1,3}"},"behavior":"Isolated","invert":false},)"
    R"({"type":"Split","pattern":{"Regex":"[一-龥぀-ゟ゠-ヿ]+"},"behavior":"Isolated","invert":false},)"
    R"({"type":"Split","pattern":{"Regex":"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|)"
    R"([^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|)"
    R"(\\s+"},"behavior":"Isolated","invert":false})";
const char* const kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false})";

std::string sequence(const std::string& steps) {
  return R"({"type":"Sequence","pretokenizers":[)" + steps + "]}";
}

struct Parts {
  std::string pre = sequence(std::string(kV3Steps) + "," + kByteLevel);
  std::string model =
      R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"],"byte_fallback":false})";
  std::string added =
      R"([{"id":3,"content":"<s>","special":true},{"id":4,"content":"<think>","special":false},)"
      R"({"id":5,"content":"<|im_end|>","special":true}])";
  std::string normalizer = R"({"type":"Sequence","normalizers":[]})";
  std::string post = "null";

  std::string text() const {
    return "{\"added_tokens\":" + added + ",\"normalizer\":" + normalizer +
           ",\"pre_tokenizer\":" + pre + ",\"post_processor\":" + post + ",\"model\":" + model +
           "}";
  }
};

Result<VocabData> parse(const Parts& parts, std::optional<std::string_view> config = std::nullopt,
                        std::optional<std::string_view> generation = std::nullopt) {
  const std::string text = parts.text();
  return parse_hf_vocab({text, config, generation, std::nullopt}, "m");
}

TEST(HfTokenizer, ByteLevelBpe) {
  const auto vocab = parse({},
                           R"({"bos_token":{"content":"<s>"},"eos_token":"ab","pad_token":null,)"
                           R"("add_bos_token":true,"chat_template":"T"})",
                           R"({"eos_token_id":[1,2]})");
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_EQ(vocab->kind, TokenizerKind::kByteBpe);
  EXPECT_EQ(vocab->pre, PreTokenizer::kDeepseekV3);
  EXPECT_THAT(vocab->tokens, ElementsAre("a", "b", "ab", "<s>", "<think>", "<|im_end|>"));
  EXPECT_THAT(vocab->merges, ElementsAre("a b"));
  EXPECT_EQ(vocab->types[3], TokenType::kControl);
  EXPECT_EQ(vocab->types[4], TokenType::kUserDefined);
  EXPECT_EQ(vocab->bos, 3);
  EXPECT_EQ(vocab->eos, 2);
  EXPECT_FALSE(vocab->padding.has_value());
  EXPECT_TRUE(vocab->add_bos);
  EXPECT_FALSE(vocab->add_space_prefix);
  EXPECT_EQ(vocab->chat_template, "T");
  EXPECT_THAT(vocab->end_of_generation, ElementsAre(2, 1, 5));
}

TEST(HfTokenizer, MergesAsPairs) {
  Parts parts;
  parts.model = R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]})";
  const auto vocab = parse(parts);
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_THAT(vocab->merges, ElementsAre("a b"));
}

TEST(HfTokenizer, ChatTemplates) {
  const auto named = parse({}, R"({"chat_template":[{"name":"tool_use","template":"U"},)"
                               R"({"name":"default","template":"D"}]})");
  ASSERT_TRUE(named) << named.error().what;
  EXPECT_EQ(named->chat_template, "D");
  const std::string text = Parts().text();
  const auto file = parse_hf_vocab({text, R"({"chat_template":"C"})", std::nullopt, "J"}, "m");
  EXPECT_EQ(file->chat_template, "J");
}

TEST(HfTokenizer, PostProcessorImpliesBos) {
  Parts parts;
  parts.post =
      R"({"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",)"
      R"("single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A"}}]}]})";
  EXPECT_TRUE(parse(parts, R"({"bos_token":"<s>"})")->add_bos);
  EXPECT_FALSE(parse(parts, R"({"bos_token":"<s>","add_bos_token":false})")->add_bos);
  EXPECT_FALSE(parse(parts, R"({"bos_token":"ab"})")->add_bos);
  EXPECT_FALSE(parse({}, R"({"bos_token":"<s>"})")->add_bos);
}

std::string split(const std::string& regex) {
  return R"({"type":"Split","pattern":{"Regex":")" + regex +
         R"("},"behavior":"Isolated","invert":false},)";
}

TEST(HfTokenizer, PreTokenizersByTheirPatterns) {
  const std::string han = split("[一-龥ࠀ-一가-\ud7ff]+");
  const std::string digits = R"({"type":"Digits","individual_digits":true},)";
  const std::string contractions =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N})";
  const std::string tail = R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+)";
  const std::pair<std::string, PreTokenizer> cases[] = {
      {split(R"([\r\n])") + split(R"(\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+)") + split(R"(\\s?[!-/:-~！-／]+)") +
           split(R"(\\s+$)") + han + digits,
       PreTokenizer::kDeepseekLlm},
      {split(R"([\r\n])") + split(R"(\\s?\\p{L}+)") + split(R"(\\s?\\p{P}+)") + han + digits,
       PreTokenizer::kDeepseekCoder},
      {split(contractions + tail), PreTokenizer::kQwen2},
      {split(contractions + "{1,3}" + tail), PreTokenizer::kLlamaBpe},
  };
  for (const auto& [steps, pre] : cases) {
    Parts parts;
    parts.pre = sequence(steps + kByteLevel);
    const auto vocab = parse(parts);
    ASSERT_TRUE(vocab) << vocab.error().what;
    EXPECT_EQ(vocab->pre, pre);
  }
}

TEST(HfTokenizer, SentencePieceStyle) {
  Parts parts;
  parts.pre = "null";
  parts.normalizer = R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
                     R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})";
  parts.model =
      R"({"type":"BPE","unk_token":"<unk>","byte_fallback":true,"vocab":{"<unk>":0,"<0x0A>":1,)"
      R"("a":2,"b":3,"ab":4,"aba":5},"merges":["a b","ab a"]})";
  parts.added =
      R"([{"id":0,"content":"<unk>","special":true},{"id":6,"content":"</s>","special":true}])";
  const auto vocab = parse(parts, R"({"eos_token":"</s>"})");
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_EQ(vocab->kind, TokenizerKind::kSentencePiece);
  EXPECT_EQ(vocab->types[1], TokenType::kByte);
  EXPECT_EQ(vocab->unknown, 0);
  EXPECT_EQ(vocab->types[0], TokenType::kUnknown);
  EXPECT_GT(vocab->scores[4], vocab->scores[5]);
  EXPECT_GT(vocab->scores[5], vocab->scores[2]);
  EXPECT_TRUE(vocab->merges.empty());
  EXPECT_TRUE(vocab->add_space_prefix);
  parts.normalizer = "null";
  EXPECT_FALSE(parse(parts)->add_space_prefix);
}

struct Refusal {
  const char* name;
  Parts parts;
  Code code;
  const char* says;  // part of the message
};

Parts with(std::string Parts::*member, std::string value) {
  Parts parts;
  parts.*member = std::move(value);
  return parts;
}

Parts steps(const std::string& list) { return with(&Parts::pre, sequence(list)); }

std::vector<Refusal> refused_models() {
  return {
      {"unigram", with(&Parts::model, R"({"type":"Unigram","vocab":[]})"), Code::kUnsupported,
       "model.type: found \"Unigram\""},
      {"no model", with(&Parts::model, "null"), Code::kCorrupt, "model: found no such key"},
      {"no vocab", with(&Parts::model, R"({"merges":[]})"), Code::kCorrupt,
       "vocab: found no such key"},
      {"id text", with(&Parts::model, R"({"vocab":{"a":"0"},"merges":[]})"), Code::kCorrupt,
       "model.vocab \"a\""},
      {"id negative", with(&Parts::model, R"({"vocab":{"a":-1},"merges":[]})"), Code::kCorrupt,
       "-1"},
      {"id twice", with(&Parts::model, R"({"vocab":{"a":0,"b":0},"merges":[]})"), Code::kCorrupt,
       "contiguous ids, each once"},
      {"token twice", with(&Parts::model, R"({"vocab":{"a":0,"a":1},"merges":[]})"), Code::kCorrupt,
       "key \"a\": found it twice"},
      {"id hole", with(&Parts::model, R"({"vocab":{"a":0,"b":2},"merges":[]})"), Code::kCorrupt,
       "no token with id 1"},
      {"id huge", with(&Parts::model, R"({"vocab":{"a":4194303},"merges":[]})"), Code::kCorrupt,
       "id 4194303"},
      {"id over limit", with(&Parts::model, R"({"vocab":{"a":4194304},"merges":[]})"),
       Code::kCorrupt, "below 4194304"},
      {"no merges", with(&Parts::model, R"({"vocab":{"a":0,"b":1,"c":2}})"), Code::kCorrupt,
       "model.merges"},
      {"merge kind", with(&Parts::model, R"({"vocab":{"a":0,"b":1,"c":2},"merges":[1]})"),
       Code::kCorrupt, "model.merges: found the number 1"},
      {"merge triple",
       with(&Parts::model, R"({"vocab":{"a":0,"b":1,"c":2},"merges":[["a","b","c"]]})"),
       Code::kCorrupt, "an array of 3"},
      {"merge with space",
       with(&Parts::model, R"({"vocab":{"a":0,"b":1,"c":2},"merges":[["a b","c"]]})"),
       Code::kCorrupt, "parts without spaces"},
      {"merge of one", with(&Parts::model, R"({"vocab":{"a":0,"b":1,"c":2},"merges":["ab"]})"),
       Code::kCorrupt, "merge 0: found \"ab\""},
      {"ignore_merges",
       with(&Parts::model, R"({"vocab":{"a":0},"merges":[],"ignore_merges":true})"),
       Code::kUnsupported, "model.ignore_merges"},
  };
}

std::vector<Refusal> refused_steps() {
  return {
      {"added clash", with(&Parts::added, R"([{"id":0,"content":"x"}])"), Code::kCorrupt,
       "added_tokens \"x\": found id 0"},
      {"added empty", with(&Parts::added, R"([{"id":3}])"), Code::kCorrupt, "added_tokens \"\""},
      {"added kind", with(&Parts::added, R"([3])"), Code::kCorrupt,
       "added_tokens: found the number 3"},
      {"added far", with(&Parts::added, R"([{"id":4000000,"content":"x"}])"), Code::kCorrupt,
       "id 4000000"},
      {"lowercase", with(&Parts::normalizer, R"({"type":"Lowercase"})"), Code::kUnsupported,
       "normalizer: found type \"Lowercase\""},
      {"no pre-tokenizer", with(&Parts::pre, "null"), Code::kUnsupported,
       "pre_tokenizer: found null"},
      {"GPT-2", with(&Parts::pre, R"({"type":"ByteLevel","use_regex":true})"), Code::kUnsupported,
       "type \"ByteLevel\""},
      {"unknown step", steps(R"({"type":"Whitespace"})"), Code::kUnsupported,
       "a step of type \"Whitespace\""},
      {"unknown regex", steps(split("x+") + kByteLevel), Code::kUnsupported,
       "patterns from \"x+\""},
      {"no ByteLevel", steps(kV3Steps), Code::kUnsupported, "no ByteLevel"},
      {"ByteLevel first", steps(std::string(kByteLevel) + "," + kV3Steps), Code::kUnsupported,
       "a step after ByteLevel"},
      {"ByteLevel regex", steps(R"({"type":"ByteLevel","add_prefix_space":false})"),
       Code::kUnsupported, "use_regex false"},
      {"string pattern",
       steps(R"({"type":"Split","pattern":{"String":" "},"behavior":"Isolated"})"),
       Code::kUnsupported, "without a Regex"},
      {"removed", steps(R"({"type":"Split","pattern":{"Regex":"x"},"behavior":"Removed"})"),
       Code::kUnsupported, "behavior \"Removed\""},
  };
}

TEST(HfTokenizer, Refusals) {
  std::vector<Refusal> cases = refused_models();
  for (Refusal refusal : refused_steps()) cases.push_back(std::move(refusal));
  for (const Refusal& c : cases) {
    const auto vocab = parse(c.parts);
    ASSERT_FALSE(vocab) << c.name;
    EXPECT_EQ(vocab.error().code, c.code) << c.name << ": " << vocab.error().what;
    EXPECT_THAT(vocab.error().what, HasSubstr(c.says)) << c.name;
    EXPECT_THAT(vocab.error().what, HasSubstr("tokenizer.json: ")) << c.name;
  }
}

TEST(HfTokenizer, RefusesConfigsThatContradict) {
  EXPECT_THAT(parse({}, R"({"bos_token":"<none>"})").error().what,
              HasSubstr("tokenizer_config.json: bos_token: found \"<none>\""));
  EXPECT_THAT(parse({}, "[]").error().what, HasSubstr("tokenizer_config.json: content"));
  EXPECT_THAT(parse({}, "{}", R"({"eos_token_id":6})").error().what,
              HasSubstr("generation_config.json: eos_token_id: found 6"));
  EXPECT_THAT(parse({}, "{}", R"({"eos_token_id":"x"})").error().what, HasSubstr("eos_token_id"));
}

TEST(HfTokenizer, EveryTruncationIsOneLine) {
  const std::string whole = Parts().text();
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto vocab = parse_hf_vocab({whole.substr(0, size), {}, {}, {}}, "m");
    ASSERT_FALSE(vocab) << size;
    EXPECT_EQ(vocab.error().what.find('\n'), std::string::npos);
  }
}

TEST(HfVocab, ReadsTheFolder) {
  const TempFolder folder;
  EXPECT_EQ(hf_vocab(folder.path()).error().code, Code::kNotFound);
  folder.write("tokenizer.json", Parts().text());
  EXPECT_TRUE(hf_vocab(folder.path()));
  folder.write("tokenizer_config.json", R"({"eos_token":"b"})");
  folder.write("generation_config.json", R"({"eos_token_id":2})");
  folder.write("chat_template.jinja", "{{ messages }}");
  const auto vocab = hf_vocab(folder.path());
  ASSERT_TRUE(vocab) << vocab.error().what;
  EXPECT_THAT(vocab->end_of_generation, ElementsAre(1, 2, 5));
  EXPECT_EQ(vocab->chat_template, "{{ messages }}");
}

}  // namespace
}  // namespace hadal
