#include "hadal/engine/sizing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hadal {
namespace {

constexpr uint64_t kGiB = 1ull << 30;
constexpr uint64_t kLiteBlock = 32 * 31'104;      // V2-Lite: 27 layers of 576 f16 values
constexpr uint64_t kLlama70Block = 32 * 327'680;  // 80 layers, 8 heads of 128, keys and values

EngineSize size_of(const EngineOptions& options, int32_t context, uint64_t block, uint64_t memory) {
  const auto size = size_engine(options, context, block, memory);
  EXPECT_TRUE(size) << size.error().what;
  return size.value_or(EngineSize{});
}

TEST(Sizing, ASmallModelGetsAllItCanUse) {
  const EngineSize size = size_of({}, 1024, 32 * 1'000, 16 * kGiB);
  EXPECT_EQ(size.context, 1024);
  EXPECT_EQ(size.sequences_max, 64);
  EXPECT_EQ(size.queue_max, 1024);
  EXPECT_EQ(size.blocks, 64 * 1024 / 32);
}

TEST(Sizing, ALargeContextIsBoundedByTheDefaultCache) {
  const EngineSize size = size_of({}, 163'840, kLiteBlock, 16 * kGiB);
  EXPECT_EQ(size.blocks, static_cast<int32_t>(kGiB / kLiteBlock));
  EXPECT_EQ(size.context, size.blocks * 32);
}

TEST(Sizing, LargeRowsStillGetOneLongConversation) {
  EXPECT_EQ(size_of({}, 131'072, kLlama70Block, 64 * kGiB).context, 8'192);
}

TEST(Sizing, FreeMemoryIsNotOverrun) {
  const EngineSize size = size_of({}, 131'072, kLlama70Block, kGiB);
  EXPECT_LE(static_cast<uint64_t>(size.blocks) * kLlama70Block, kGiB / 4 * 3);
  EXPECT_EQ(size.context, size.blocks * 32);
}

TEST(Sizing, AnAskedContextIsGivenOrRefused) {
  EngineOptions options;
  options.context = 65'536;
  EXPECT_EQ(size_of(options, 163'840, kLiteBlock, 16 * kGiB).context, 65'536);
  const auto refused = size_engine(options, 163'840, kLiteBlock, kGiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_THAT(refused.error().what, testing::HasSubstr("65536 tokens"));
}

TEST(Sizing, AskedBytesAreTaken) {
  EngineOptions options;
  options.kv_bytes = 5 * kLiteBlock + 7;
  EXPECT_EQ(size_of(options, 163'840, kLiteBlock, kGiB).blocks, 5);
  options.kv_bytes = 1ull << 60;
  EXPECT_EQ(size_of(options, 4'096, kLiteBlock, kGiB).blocks, ((1u << 31) - 1) / 32);
}

TEST(Sizing, AStepHasARowForEverySequence) {
  EngineOptions options;
  options.sequences_max = 700;
  const EngineSize size = size_of(options, 512, 32 * 64, kGiB);
  EXPECT_EQ(size.step_rows_max, 700);
  EXPECT_EQ(size.step_logits_max, 700);
}

TEST(Sizing, OptionsOutOfRangeAreNamed) {
  struct Case {
    const char* name;
    void (*set)(EngineOptions&);
  };
  const Case cases[] = {
      {"context", [](EngineOptions& o) { o.context = -1; }},
      {"context", [](EngineOptions& o) { o.context = 1; }},
      {"context", [](EngineOptions& o) { o.context = 4'097; }},
      {"sequences_max", [](EngineOptions& o) { o.sequences_max = -1; }},
      {"sequences_max", [](EngineOptions& o) { o.sequences_max = 1 << 30; }},
      {"queue_max", [](EngineOptions& o) { o.queue_max = -1; }},
      {"block_tokens", [](EngineOptions& o) { o.block_tokens = 0; }},
      {"block_tokens", [](EngineOptions& o) { o.block_tokens = -32; }},
      {"step_rows_max", [](EngineOptions& o) { o.step_rows_max = 0; }},
      {"prefill_rows_with_decode", [](EngineOptions& o) { o.prefill_rows_with_decode = 0; }},
  };
  for (const Case& test : cases) {
    EngineOptions options;
    test.set(options);
    const auto size = size_engine(options, 4'096, kLiteBlock, kGiB);
    ASSERT_FALSE(size) << test.name;
    EXPECT_EQ(size.error().code, Code::kInvalidInput);
    EXPECT_THAT(size.error().what, testing::StartsWith(test.name));
  }
}

}  // namespace
}  // namespace hadal
