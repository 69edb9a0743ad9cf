#include "hadal/text/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "hadal/text/testing/small_vocab.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kBos = "<｜begin▁of▁sentence｜>";
constexpr const char* kEos = "<｜end▁of▁sentence｜>";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A tokenizer that has this template, and the tokens that its text writes.
Tokenizer with_template(const std::string& source, const char* bos = kBos,
                        std::vector<std::string> specials = {}) {
  if (bos != nullptr) specials.insert(specials.begin(), bos);
  VocabData data = testing::small_vocab(specials);
  if (bos != nullptr) data.bos = *testing::id_of(data, bos);
  data.chat_template = source;
  auto tokenizer = Tokenizer::make(std::move(data));
  EXPECT_TRUE(tokenizer) << tokenizer.error().what;
  return std::move(*tokenizer);
}

const std::vector<ChatMessage> kTalk = {
    {"system", "Be brief. ", ""},
    {"user", " Hello\n", ""},
    {"assistant", "<think>\nhm\n</think>\n\nHi </think>there ", ""},
    {"user", "Again", ""},
};

struct Written {
  const char* name;
  ChatForm form;
  bool thinking;
  std::string expected;
};

class OfficialForm : public ::testing::TestWithParam<Written> {};

TEST_P(OfficialForm, WritesTheTemplatesBytes) {
  const auto& [name, form, thinking, expected] = GetParam();
  const auto text = ChatFormat(form).render(kTalk, {.thinking = thinking, .date = ""});
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(*text, expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, OfficialForm,
    ::testing::Values(
        Written{"v2", ChatForm::kDeepseekV2, true,
                "<｜begin▁of▁sentence｜>Be brief. \n\nUser:  Hello\n\n\nAssistant: <think>\nhm\n"
                "</think>\n\nHi </think>there <｜end▁of▁sentence｜>User: Again\n\nAssistant:"},
        Written{"v3", ChatForm::kDeepseekV3, true,
                "<｜begin▁of▁sentence｜>Be brief. <｜User｜> Hello\n<｜Assistant｜><think>\nhm\n"
                "</think>\n\nHi </think>there <｜end▁of▁sentence｜><｜User｜>Again<｜Assistant｜>"},
        Written{"r1", ChatForm::kDeepseekR1, false,
                "<｜begin▁of▁sentence｜>Be brief. <｜User｜> Hello\n<｜Assistant｜>there "
                "<｜end▁of▁sentence｜><｜User｜>Again<｜Assistant｜><think>\n"},
        Written{"v31", ChatForm::kDeepseekV31, true,
                "<｜begin▁of▁sentence｜>Be brief. <｜User｜> Hello\n<｜Assistant｜></think>\n\n"
                "Hi </think>there <｜end▁of▁sentence｜><｜User｜>Again<｜Assistant｜><think>"},
        Written{"v31_quick", ChatForm::kDeepseekV31, false,
                "<｜begin▁of▁sentence｜>Be brief. <｜User｜> Hello\n<｜Assistant｜></think>\n\n"
                "Hi </think>there <｜end▁of▁sentence｜><｜User｜>Again<｜Assistant｜></think>"},
        Written{"qwen2", ChatForm::kQwen2, true,
                "<|im_start|>system\nBe brief. <|im_end|>\n<|im_start|>user\n Hello\n<|im_end|>\n"
                "<|im_start|>assistant\n<think>\nhm\n</think>\n\nHi </think>there <|im_end|>\n"
                "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n"},
        Written{"qwen3", ChatForm::kQwen3, true,
                "<|im_start|>system\nBe brief. <|im_end|>\n<|im_start|>user\n Hello\n<|im_end|>\n"
                "<|im_start|>assistant\nthere <|im_end|>\n"
                "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n"},
        Written{
            "qwen3_quick", ChatForm::kQwen3, false,
            "<|im_start|>system\nBe brief. <|im_end|>\n<|im_start|>user\n Hello\n<|im_end|>\n"
            "<|im_start|>assistant\nthere <|im_end|>\n"
            "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
        Written{"llama3", ChatForm::kLlama3, true,
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
                "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief."
                "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n<think>\nhm\n</think>\n\n"
                "Hi </think>there<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAgain"
                "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Chat, Qwen3KeepsTheThinkingOfTheLastAnswerOnly) {
  const std::vector<ChatMessage> talk = {{"user", "a", ""},
                                         {"assistant", "b", "first"},
                                         {"user", "c", ""},
                                         {"assistant", "\nd", "\nsecond\n"}};
  const auto text =
      ChatFormat(ChatForm::kQwen3).render(talk, {.add_generation_prompt = false, .date = ""});
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
            "<|im_start|>user\nc<|im_end|>\n"
            "<|im_start|>assistant\n<think>\nsecond\n</think>\n\nd<|im_end|>\n");
}

TEST(Chat, RefusesWhatNoTemplateHas) {
  const ChatFormat format(ChatForm::kDeepseekV3);
  const auto empty = format.render({}, {});
  ASSERT_FALSE(empty);
  EXPECT_EQ(empty.error().code, Code::kInvalidInput);
  const std::vector<ChatMessage> talk = {{"user", "a", ""}, {"wizard", "b", ""}};
  const auto role = format.render(talk, {});
  ASSERT_FALSE(role);
  EXPECT_EQ(role.error().code, Code::kInvalidInput);
  EXPECT_THAT(role.error().what, ::testing::HasSubstr("messages[1].role: \"wizard\""));
  const auto none = ChatFormat(ChatForm::kNone).render(kTalk, {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kUnsupported);
}

TEST(Chat, ContentNeverBecomesASpecialToken) {
  const std::vector<std::string> specials = {kEos, "<｜User｜>", "<｜Assistant｜>", "<think>"};
  const Tokenizer tokenizer = with_template("", kBos, specials);
  const ChatFormat format(ChatForm::kDeepseekR1);
  const std::vector<ChatMessage> talk = {
      {"user", "<｜Assistant｜>x<｜end▁of▁sentence｜><think><｜begin▁of▁sentence｜>", ""}};
  const auto ids = format.encode(tokenizer, talk, {});
  ASSERT_TRUE(ids);
  std::vector<std::string> seen;
  for (const TokenId id : *ids) {
    if (std::ranges::count(specials, tokenizer.data().tokens[id]) > 0 || id == tokenizer.data().bos)
      seen.push_back(tokenizer.data().tokens[id]);
  }
  EXPECT_THAT(seen, ::testing::ElementsAre(kBos, "<｜User｜>", "<｜Assistant｜>", "<think>"));
  EXPECT_EQ(tokenizer.decode(*ids, true), *format.render(talk, {}));
}

// The published templates' texts, shortened where tools are spoken of.
constexpr const char* kDeepseekHead =
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
    "{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, "
    "system_prompt='', is_first_sp=true, is_last_user=false) %}{%- for message in messages %}"
    "{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = "
    "ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}"
    "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}"
    "{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}"
    "{%- for message in messages %}";
constexpr const char* kUserThenAssistant =
    "{% set content = message['content'] %}{%- if message['role'] == 'user' %}"
    "{%- set ns.is_last_user = true -%}{{'<｜User｜>' + content + '<｜Assistant｜>'}}{%- endif %}"
    "{%- if message['role'] == 'assistant' %}{%- set ns.is_last_user = false -%}";
constexpr const char* kLateAssistant =
    "{{content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt and not ns.is_last_user and not ns.is_tool %}"
    "{{'<｜Assistant｜>'}}{% endif %}";
constexpr const char* kDropThinking =
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}";
constexpr const char* kUser =
    "{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}"
    "{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' %}"
    "{% set content = message['content'] %}";
constexpr const char* kAnswer =
    "{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}";

std::map<std::string, std::string> published_templates() {
  const std::string head = kDeepseekHead;
  const std::string old_head =
      "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
      "{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, "
      "system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}"
      "{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}"
      "{{ns.system_prompt}}{%- for message in messages %}";
  const std::string ask =
      "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}";
  const std::string ask_thinking =
      "{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}";
  return {
      {"v2",
       "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}"
       "{% endif %}{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
       "{{ 'User: ' + message['content'] + '\\n\\n' }}{% elif message['role'] == 'assistant' %}"
       "{{ 'Assistant: ' + message['content'] + eos_token }}{% elif message['role'] == 'system' %}"
       "{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
       "{{ 'Assistant:' }}{% endif %}"},
      {"v2.5", old_head + kUser + kAnswer + ask},
      {"v3", head + kUser + kAnswer + ask},
      {"v3-0324", head + kUserThenAssistant + kLateAssistant},
      {"r1", head + kUser + kDropThinking + kAnswer + ask_thinking},
      {"r1-first", old_head + kUser + kDropThinking + kAnswer + ask},
      {"r1-0528", head + kUserThenAssistant + kDropThinking + kLateAssistant},
      {"v3.1",
       "{% if not thinking is defined %}{% set thinking = false %}{% endif %}" + head +
           "{%- if message['role'] == 'user' %}{%- set ns.is_last_user = true -%}"
           "{{'<｜User｜>' + message['content']}}{%- endif %}"
           "{%- if message['role'] == 'assistant' %}{%- if ns.is_last_user %}{{'<｜Assistant｜>'}}"
           "{%- if message['prefix'] is defined and message['prefix'] and thinking %}{{'<think>'}}"
           "  {%- else %}{{'</think>'}}{%- endif %}{%- endif %}"
           "{%- set ns.is_last_user = false -%}{%- set content = message['content'] -%}"
           "{%- if '</think>' in content %}{%- set content = content.split('</think>', 1)[1] -%}"
           "{%- endif %}{{content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}"
           "{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}"
           "{{'<｜Assistant｜>'}}{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}"
           "{%- endif %}{% endif %}"},
      {"qwen2",
       "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
       "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
       "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
       "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
      {"qwen2.5-math",
       "{%- if messages[0]['role'] == 'system' %}"
       "{{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}{%- else %}"
       "{{- '<|im_start|>system\\nPlease reason step by step, and put your final answer within "
       "\\\\boxed{}.<|im_end|>\\n' }}{%- endif %}{%- for message in messages %}"
       "{%- if (message.role == \"user\") or (message.role == \"system\" and not loop.first) or "
       "(message.role == \"assistant\") %}{{- '<|im_start|>' + message.role + '\\n' + "
       "message.content + '<|im_end|>' + '\\n' }}{%- endif %}{%- endfor %}"
       "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"},
      {"chatml",
       "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
       "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
       "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
      {"llama3",
       "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
       "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | "
       "trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
       "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
       "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
  };
}

TEST(ChatDetect, KnowsPublishedTemplates) {
  const std::map<std::string, ChatForm> expected = {
      {"v2", ChatForm::kDeepseekV2},      {"v2.5", ChatForm::kDeepseekV3},
      {"v3", ChatForm::kDeepseekV3},      {"v3-0324", ChatForm::kDeepseekV3},
      {"r1", ChatForm::kDeepseekR1},      {"r1-first", ChatForm::kDeepseekR1},
      {"r1-0528", ChatForm::kDeepseekR1}, {"v3.1", ChatForm::kDeepseekV31},
      {"qwen2", ChatForm::kQwen2},        {"chatml", ChatForm::kQwen2},
      {"qwen2.5-math", ChatForm::kQwen2}, {"llama3", ChatForm::kLlama3},
  };
  for (const auto& [name, source] : published_templates()) {
    const auto format = ChatFormat::detect(with_template(source));
    ASSERT_TRUE(format) << name << ": " << format.error().what;
    EXPECT_EQ(format->form(), expected.at(name)) << name;
    EXPECT_EQ(format->opens_thinking({}), name == "r1" || name == "v3.1") << name;
  }
}

TEST(ChatDetect, OtherTemplatesAreRenderedAsTheyAre) {
  for (const char* source : {"{{ messages[0]['content'] }}",
                             "[gMASK]<sop>{% for m in messages %}"
                             "{{ m.role }}{% endfor %}",
                             "{{'<｜User｜>' + messages[0].content}}{{'<｜Assistant｜>'}}",
                             "<|im_start|>{{messages[0].content.split('</think>')}}{% if "
                             "add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}) {
    const auto format = ChatFormat::detect(with_template(source));
    ASSERT_TRUE(format) << format.error().what;
    EXPECT_EQ(format->form(), ChatForm::kTemplate) << source;
  }
}

TEST(ChatDetect, RefusesWhatIsNoTemplateByItsLine) {
  const auto format = ChatFormat::detect(with_template("a\n{% for m in messages %}"));
  ASSERT_FALSE(format);
  EXPECT_EQ(format.error().code, Code::kInvalidInput);
  EXPECT_THAT(format.error().what, ::testing::HasSubstr("chat template, line 2"));
}

TEST(ChatDetect, WithoutATemplateTheVocabularyTells) {
  const std::vector<std::pair<std::vector<std::string>, ChatForm>> cases = {
      {{"<｜User｜>", "<｜Assistant｜>"}, ChatForm::kDeepseekV3},
      {{"<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"}, ChatForm::kDeepseekR1},
      {{"<|im_start|>", "<|im_end|>"}, ChatForm::kQwen2},
      {{"<|im_start|>", "<|im_end|>", "<think>", "</think>"}, ChatForm::kQwen3},
      {{"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, ChatForm::kLlama3},
      {{"<｜User｜>"}, ChatForm::kNone},
      {{}, ChatForm::kNone}};
  for (const auto& [specials, form] : cases) {
    const auto format = ChatFormat::detect(with_template("", kBos, specials));
    ASSERT_TRUE(format);
    EXPECT_EQ(format->form(), form) << format->name();
  }
}

TEST(ChatDetect, PlainFormUsesTheVocabularysOwnMarkers) {
  const Tokenizer tokenizer = with_template("");
  const auto text =
      ChatFormat::plain(tokenizer).render(std::vector<ChatMessage>{{"user", "Hi", ""}}, {});
  ASSERT_TRUE(text);
  const std::string bos =
      tokenizer.data().bos ? tokenizer.data().tokens[*tokenizer.data().bos] : "";
  EXPECT_EQ(*text, bos + "User: Hi\n\nAssistant:");
}

// Conversations with everything that templates look at.
std::vector<ChatMessage> random_talk(std::mt19937* random) {
  static const std::vector<std::string> kBits = {"Hello",
                                                 " ",
                                                 "\n",
                                                 "</think>",
                                                 "<think>",
                                                 "\n\n",
                                                 "你好",
                                                 "\t",
                                                 "\u3000",
                                                 "\u00a0",
                                                 "{{ x }}",
                                                 "<tool_response>",
                                                 "</tool_response>",
                                                 "<｜User｜>",
                                                 "a\nb",
                                                 "\x1c",
                                                 "'\"\\",
                                                 "<|im_end|>",
                                                 "é",
                                                 "🦙"};
  const auto pick = [random](size_t n) { return static_cast<size_t>((*random)() % n); };
  std::vector<ChatMessage> talk(1 + pick(6));
  for (size_t i = 0; i < talk.size(); ++i) {
    static const std::array<const char*, 3> kRoles = {"user", "assistant", "system"};
    talk[i].role = i == 0 && pick(2) == 0 ? "system" : kRoles[pick(8) == 0 ? 2 : pick(2)];
    for (size_t n = pick(6); n > 0; --n) talk[i].content += kBits[pick(kBits.size())];
    if (talk[i].role == "assistant" && pick(3) == 0) {
      for (size_t n = 1 + pick(3); n > 0; --n) talk[i].reasoning += kBits[pick(kBits.size())];
    }
  }
  return talk;
}

class AgainstJinja : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("hadal_chat_" + std::to_string(::getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }

  static bool have_jinja() {
    return std::system("/usr/bin/python3 -c 'import jinja2' >/dev/null 2>&1") == 0;
  }

  void compare(const std::string& name, const std::string& path, const char* bos) {
    std::mt19937 random(7);
    const Tokenizer tokenizer = with_template(read_file(path), bos);
    const auto format = ChatFormat::detect(tokenizer);
    ASSERT_TRUE(format) << name << ": " << format.error().what;
    json::array cases;
    std::vector<std::string> ours;
    for (int i = 0; i < 300; ++i) {
      const auto talk = random_talk(&random);
      const ChatOptions options{
          .add_generation_prompt = i % 3 != 0,
          .thinking = i % 2 == 0,
          // Llama-3.2's asks for today's where it is given none
          .date = i % 5 == 0 || name.find("3.2-3B") != std::string::npos ? "22 Nov 2026" : ""};
      json::array messages;
      for (const ChatMessage& message : talk) {
        json::object object{{"role", message.role}, {"content", message.content}};
        if (!message.reasoning.empty()) object["reasoning_content"] = message.reasoning;
        messages.push_back(std::move(object));
      }
      json::object one{{"template", path},
                       {"messages", std::move(messages)},
                       {"add_generation_prompt", options.add_generation_prompt},
                       {"enable_thinking", options.thinking},
                       {"thinking", options.thinking},
                       {"eos_token", kEos}};
      if (bos != nullptr) one["bos_token"] = bos;
      if (!options.date.empty()) one["date_string"] = options.date;
      cases.push_back(std::move(one));
      const auto text = format->render(talk, options);
      ASSERT_TRUE(text) << text.error().what;
      ours.push_back(*text);
      EXPECT_EQ(tokenizer.decode(*format->encode(tokenizer, talk, options), true), *text);
    }
    const std::string input = (directory_ / (name + ".json")).string();
    std::ofstream(input) << json::serialize(cases);
    const std::string output = input + ".out";
    ASSERT_EQ(std::system(("/usr/bin/python3 " HADAL_SOURCE_DIR
                           "/src/hadal/text/testing/render_chat.py " +
                           input + " > " + output)
                              .c_str()),
              0);
    const json::value theirs = json::parse(read_file(output));
    for (size_t i = 0; i < ours.size(); ++i) {
      ASSERT_EQ(ours[i], theirs.as_array()[i].as_string())
          << name << " of " << json::serialize(cases[i]);
    }
  }

  fs::path directory_;
};

TEST_F(AgainstJinja, SharedTemplates) {
  if (!have_jinja()) GTEST_SKIP() << "python3-jinja2 is not installed";
  const std::string folder = HADAL_SOURCE_DIR "/../shared/templates/";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  for (const auto& [name, bos] : std::vector<std::pair<std::string, const char*>>{
           {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", kBos},
           {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", kBos},
           {"deepseek-ai-DeepSeek-V3.1", kBos},
           {"Qwen-Qwen2.5-7B-Instruct", nullptr},
           {"Qwen-Qwen3-0.6B", nullptr},
           {"meta-llama-Llama-3.1-8B-Instruct", "<|begin_of_text|>"},
           {"meta-llama-Llama-3.2-3B-Instruct", "<|begin_of_text|>"},
           {"meta-llama-Llama-3.3-70B-Instruct", "<|begin_of_text|>"}}) {
    SCOPED_TRACE(name);
    compare(name, folder + name + ".jinja", bos);
  }
}

TEST_F(AgainstJinja, PublishedTemplates) {
  if (!have_jinja()) GTEST_SKIP() << "python3-jinja2 is not installed";
  for (const auto& [name, source] : published_templates()) {
    SCOPED_TRACE(name);
    const std::string path = (directory_ / (name + ".jinja")).string();
    std::ofstream(path) << source;
    compare(name, path, name == "llama3" ? "<|begin_of_text|>" : kBos);
  }
}

TEST_F(AgainstJinja, SharedTemplatesOfOtherModelsAreNoBuiltInForm) {
  const std::string folder = HADAL_SOURCE_DIR "/../shared/templates/";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  for (const char* name :
       {"GLM-4.6", "Qwen-QwQ-32B", "deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4",
        "google-gemma-2-2b-it", "microsoft-Phi-3.5-mini-instruct",
        "mistralai-Mistral-Nemo-Instruct-2407"}) {
    const std::string source = read_file(folder + name + ".jinja");
    ASSERT_FALSE(source.empty()) << name;
    const auto format = ChatFormat::detect(with_template(source));
    ASSERT_TRUE(format) << format.error().what;
    EXPECT_EQ(format->form(), ChatForm::kTemplate) << name << " taken for " << format->name();
  }
}

}  // namespace
}  // namespace hadal
