#include "hadal/text/chat_tools.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace hadal {
namespace {

using ::testing::HasSubstr;

ChatMessage said(const std::string& role, const std::string& content) {
  ChatMessage message;
  message.role = role;
  message.content = content;
  return message;
}

TEST(ToolForm, IsReadFromTheVendorsTemplates) {
  struct Row {
    const char* file;
    ToolForm form;
    bool reads;
  };
  const std::string folder = std::string(HADAL_SOURCE_DIR) + "/../shared/templates/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  for (const Row& row : {
           Row{"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", ToolForm::kDeepseekV3, true},
           Row{"deepseek-ai-DeepSeek-V3.1", ToolForm::kDeepseekV31, true},
           Row{"deepseek-ai-DeepSeek-V3.2", ToolForm::kDsmlV32, true},
           Row{"deepseek-ai-DeepSeek-V4", ToolForm::kDsmlV4, true},
           Row{"Qwen-Qwen2.5-7B-Instruct", ToolForm::kHermes, true},
           Row{"Qwen-Qwen3-0.6B", ToolForm::kHermes, true},
           Row{"Qwen-QwQ-32B", ToolForm::kHermes, true},
           Row{"meta-llama-Llama-3.1-8B-Instruct", ToolForm::kLlama3, true},
           Row{"google-gemma-2-2b-it", ToolForm::kHermes, false},
           Row{"GLM-4.6", ToolForm::kHermes, false},
       }) {
    std::ifstream file(folder + row.file + ".jinja", std::ios::binary);
    const std::string source{std::istreambuf_iterator<char>(file), {}};
    ASSERT_FALSE(source.empty()) << row.file;
    EXPECT_EQ(tool_form(source), row.form) << row.file;
    EXPECT_EQ(reads_calls(source), row.reads) << row.file;
  }
}

TEST(ChatTools, TheListGoesIntoTheSystemMessage) {
  const std::vector<ChatTool> tools = {{"get", R"({"type":"function"})"}};
  const std::string hermes = tool_description(ToolForm::kHermes, tools);
  EXPECT_THAT(hermes, HasSubstr("<tools>\n{\"type\":\"function\"}\n</tools>"));
  EXPECT_THAT(tool_description(ToolForm::kDeepseekV31, tools), HasSubstr("### get\n{\"type\""));
  const auto first = with_description(std::vector{said("user", "u")}, "D");
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].role, "system");
  EXPECT_EQ(first[0].content, "D");
  const auto merged = with_description(std::vector{said("system", "s"), said("system", "t")}, "D");
  EXPECT_EQ(merged[0].content, "s\n\nD");
  EXPECT_EQ(merged[1].content, "t");
}

TEST(ChatTools, CallsAndResultsBecomeText) {
  ChatMessage calls = said("assistant", "Look.");
  calls.tool_calls = {{"1", "get", R"({"a": 1})"}, {"2", "put", "no json\""}};
  const auto out =
      calls_as_text(std::vector{said("user", "u"), calls, said("tool", "r1"), said("tool", "r2")});
  ASSERT_EQ(out.size(), 3U);
  EXPECT_EQ(out[1].content,
            "Look.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": 1}}\n</tool_call>\n"
            "<tool_call>\n{\"name\": \"put\", \"arguments\": \"no json\\\"\"}\n</tool_call>");
  EXPECT_TRUE(out[1].tool_calls.empty());
  EXPECT_EQ(out[2].role, "user");
  EXPECT_EQ(out[2].content,
            "<tool_response>\nr1\n</tool_response>\n<tool_response>\nr2\n</tool_response>");
}

}  // namespace
}  // namespace hadal
