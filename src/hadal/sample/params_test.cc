#include "hadal/sample/params.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "hadal/base/limits.h"

namespace hadal {
namespace {

constexpr int32_t kVocabulary = 100;
const float kNan = std::nanf("");
const float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  const char* field;
  std::function<void(SamplingParams&)> set;
  Code code = Code::kInvalidInput;
};

TEST(SamplingParams, DefaultsAreValid) { EXPECT_TRUE(SamplingParams{}.validate(kVocabulary)); }

TEST(SamplingParams, RefusalsNameTheField) {
  const Case cases[] = {
      {"temperature", [](auto& p) { p.temperature = -0.1f; }},
      {"temperature", [](auto& p) { p.temperature = kNan; }},
      {"temperature", [](auto& p) { p.temperature = kInfinity; }},
      {"top_k", [](auto& p) { p.top_k = -2; }},
      {"top_p", [](auto& p) { p.top_p = 0.0f; }},
      {"top_p", [](auto& p) { p.top_p = 1.01f; }},
      {"top_p", [](auto& p) { p.top_p = kNan; }},
      {"min_p", [](auto& p) { p.min_p = -0.01f; }},
      {"min_p", [](auto& p) { p.min_p = 1.5f; }},
      {"min_p", [](auto& p) { p.min_p = kNan; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0.0f; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = kNan; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = kInfinity; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = 2.1f; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = kNan; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = -2.1f; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = kNan; }},
      {"max_tokens", [](auto& p) { p.max_tokens = 0; }},
      {"min_tokens", [](auto& p) { p.min_tokens = -1; }},
      {"min_tokens", [](auto& p) { p.min_tokens = 5, p.max_tokens = 4; }},
      {"logit_bias",
       [](auto& p) {
         p.logit_bias = {{kVocabulary, 1.0f}};
       }},
      {"logit_bias",
       [](auto& p) {
         p.logit_bias = {{-1, 1.0f}};
       }},
      {"logit_bias",
       [](auto& p) {
         p.logit_bias = {{3, 101.0f}};
       }},
      {"logit_bias",
       [](auto& p) {
         p.logit_bias = {{3, kNan}};
       }},
      {"logit_bias", [](auto& p) { p.logit_bias.resize(limits::kLogitBiasMax + 1); },
       Code::kTooLarge},
      {"stop", [](auto& p) { p.stop = {""}; }},
      {"stop", [](auto& p) { p.stop = {"\xff"}; }},
      {"stop", [](auto& p) { p.stop.assign(limits::kStopStringsMax + 1, "x"); }, Code::kTooLarge},
      {"stop", [](auto& p) { p.stop = {std::string(limits::kStopStringBytesMax + 1, 'x')}; },
       Code::kTooLarge},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {kVocabulary}; }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {-1}; }},
  };
  for (const Case& test : cases) {
    SamplingParams params;
    test.set(params);
    const Status status = params.validate(kVocabulary);
    ASSERT_FALSE(status) << test.field;
    EXPECT_EQ(status.error().code, test.code) << status.error().what;
    EXPECT_THAT(status.error().what, testing::StartsWith(test.field));
  }
}

TEST(SamplingParams, EdgesAreAllowed) {
  SamplingParams params;
  params.temperature = 0.0f;
  params.top_k = -1;
  params.top_p = 1e-6f;
  params.min_p = 1.0f;
  params.repetition_penalty = 0.01f;
  params.presence_penalty = -2.0f;
  params.frequency_penalty = 2.0f;
  params.max_tokens = 1;
  params.min_tokens = 1;
  params.logit_bias = {{0, -100.0f}, {kVocabulary - 1, 100.0f}};
  params.stop = {"停", std::string(limits::kStopStringBytesMax, 'x')};
  params.stop_token_ids = {0, kVocabulary - 1};
  const Status status = params.validate(kVocabulary);
  EXPECT_TRUE(status) << status.error().what;
}

TEST(SamplingParams, MessagesSayFoundAndAllowed) {
  SamplingParams params;
  params.top_p = 1.5f;
  EXPECT_EQ(params.validate(kVocabulary).error().what, "top_p is 1.5, allowed is above 0 up to 1");
}

}  // namespace
}  // namespace hadal
