// What files say of a model, and what is said when they lie: one line with file, key, found and
// expected.
#include "hadal/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "hadal/model/rope.h"
#include "hadal/model/testing/small_model.h"

namespace hadal {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::small_folder;
using testing::small_gguf;
using testing::SmallFolder;
using testing::SmallGguf;
using testing::SmallTensors;

// Names, types and shapes; the configuration looks at no weight but rope_freqs.
TensorFile tensor_file(const SmallTensors& tensors) {
  std::vector<TensorRecord> records;
  for (const auto& [name, tensor] : tensors) {
    records.push_back(
        {name, tensor.dtype, tensor.shape, std::as_bytes(std::span(tensor.values)), 0});
  }
  return TensorFile({}, std::move(records));
}

Result<ModelConfig> config_of(const SmallGguf& gguf) {
  const TensorFile tensors = tensor_file(gguf.tensors);
  return config_from_gguf(GgufMeta{gguf.keys, "m.gguf"}, tensors);
}

Result<ModelConfig> config_of(const SmallFolder& folder) {
  HADAL_TRY(JsonConfig json, JsonConfig::parse(folder.json(), "m/config.json"));
  return config_from_hf(HfModel{"m", std::move(json), std::nullopt, tensor_file(folder.tensors)});
}

constexpr auto kDeepseek2 = Architecture::kDeepseek2;
constexpr auto kLlama = Architecture::kLlama;
constexpr auto kQwen2 = Architecture::kQwen2;
constexpr auto kQwen3 = Architecture::kQwen3;
constexpr Architecture kAll[] = {kDeepseek2, kLlama, kQwen2, kQwen3};

TEST(ConfigGguf, ReadsEveryField) {
  const auto config = config_of(small_gguf(kDeepseek2));
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->architecture, kDeepseek2);
  EXPECT_EQ(config->vocabulary, testing::kSmallVocabulary);
  EXPECT_EQ(config->hidden, 256);
  EXPECT_EQ(config->layers, 2);
  EXPECT_EQ(config->heads, 4);
  EXPECT_EQ(config->inner, 256);
  EXPECT_EQ(config->context, 4096);
  EXPECT_FALSE(config->tied_embeddings);
  ASSERT_TRUE(config->mla);
  EXPECT_EQ(config->latent.q_rank, 64);
  EXPECT_EQ(config->latent.kv_rank, 128);
  EXPECT_EQ(config->latent.nope_dim, 32);
  EXPECT_EQ(config->latent.rope_dim, 16);
  EXPECT_EQ(config->latent.v_dim, 32);
  EXPECT_NEAR(config->attention_scale, 1 / std::sqrt(48.0), 1e-7);
  EXPECT_EQ(config->moe.experts, 8);
  EXPECT_EQ(config->moe.shared, 1);
  EXPECT_EQ(config->moe.inner, 128);
  EXPECT_EQ(config->moe.dense_layers, 1);
  EXPECT_FALSE(config->layer_has_experts(0));
  EXPECT_TRUE(config->layer_has_experts(1));
  EXPECT_EQ(config->moe.gate.function, kernels::GateFunction::kSigmoid);
  EXPECT_EQ(config->moe.gate.experts_used, 3);
  EXPECT_EQ(config->moe.gate.groups, 4);
  EXPECT_EQ(config->moe.gate.groups_used, 2);
  EXPECT_TRUE(config->moe.gate.normalize);
  EXPECT_EQ(config->moe.gate.scale, 1.5f);
}

TEST(ConfigGguf, FolderSaysTheSame) {
  for (const Architecture architecture : kAll) {
    SCOPED_TRACE(architecture_name(architecture));
    const SmallGguf gguf = small_gguf(architecture);
    const auto a = config_of(gguf);
    const auto b = config_of(small_folder(gguf));
    ASSERT_TRUE(a) << a.error().what;
    ASSERT_TRUE(b) << b.error().what;
    EXPECT_EQ(a->architecture, b->architecture);
    EXPECT_EQ(a->parameters_total(), b->parameters_total());
    EXPECT_EQ(a->parameters_active(), b->parameters_active());
    EXPECT_EQ(a->kv_layout(DType::kF16, 32).block_bytes(),
              b->kv_layout(DType::kF16, 32).block_bytes());
    EXPECT_EQ(a->rope.frequencies, b->rope.frequencies);
    EXPECT_EQ(a->attention_scale, b->attention_scale);
    EXPECT_EQ(a->norm_eps, b->norm_eps);
    EXPECT_EQ(a->grouped.qkv_bias, b->grouped.qkv_bias);
    EXPECT_EQ(a->grouped.qk_norm, b->grouped.qk_norm);
    EXPECT_EQ(a->moe.gate.groups_used, b->moe.gate.groups_used);
    EXPECT_EQ(a->moe.gate.scale, b->moe.gate.scale);
  }
}

// Whoever names a type gets it; else the model's attention decides.
TEST(ConfigGguf, RowsOfTheCacheAreInt8ForLatentAttentionAlone) {
  for (const Architecture architecture : kAll) {
    SCOPED_TRACE(architecture_name(architecture));
    const auto config = config_of(small_gguf(architecture));
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->kv_layout({}, 32).dtype, config->mla ? DType::kI8 : DType::kF16);
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8}) {
      EXPECT_EQ(config->kv_layout(dtype, 32).dtype, dtype);
    }
  }
}

TEST(ConfigGguf, ParametersAreTheTensorsElements) {
  for (const Architecture architecture : kAll) {
    SCOPED_TRACE(architecture_name(architecture));
    const SmallGguf gguf = small_gguf(architecture);
    uint64_t elements = 0;
    for (const auto& [name, tensor] : gguf.tensors) elements += tensor.values.size();
    EXPECT_EQ(config_of(gguf)->parameters_total(), elements);
  }
}

TEST(ConfigGguf, BothDescriptionsOfTheLatentCache) {
  SmallGguf gguf = small_gguf(kDeepseek2);
  gguf.set("attention.head_count_kv", int64_t{1});
  gguf.set("attention.key_length", int64_t{128 + 16});
  gguf.set("attention.value_length", int64_t{128});
  gguf.set("attention.key_length_mla", int64_t{48});
  gguf.set("attention.value_length_mla", int64_t{32});
  const auto config = config_of(gguf);
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->latent.nope_dim, 32);
  EXPECT_EQ(config->latent.v_dim, 32);
  EXPECT_NEAR(config->attention_scale, 1 / std::sqrt(48.0), 1e-7);
}

TEST(ConfigGguf, OptionalKeysHaveTheirDefaults) {
  SmallGguf gguf = small_gguf(kLlama);
  for (const char* key : {"attention.head_count_kv", "attention.key_length",
                          "attention.value_length", "rope.freq_base"}) {
    gguf.erase(key);
  }
  gguf.tensors.erase("output.weight");
  const auto config = config_of(gguf);
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->grouped.kv_heads, 4);
  EXPECT_EQ(config->grouped.head_dim, 64);
  EXPECT_EQ(config->rope.frequencies, rope_frequencies(64, 10000.0));
  EXPECT_TRUE(config->tied_embeddings);
}

TEST(ConfigGguf, LlamaPermutesAndQwenDoesNot) {
  EXPECT_EQ(config_of(small_gguf(kLlama))->rope.style, kernels::RopeStyle::kInterleaved);
  EXPECT_EQ(config_of(small_gguf(kQwen2))->rope.style, kernels::RopeStyle::kHalves);
  EXPECT_EQ(config_of(small_gguf(kQwen3))->rope.style, kernels::RopeStyle::kHalves);
  EXPECT_EQ(config_of(small_folder(small_gguf(kLlama)))->rope.style, kernels::RopeStyle::kHalves);
}

TEST(ConfigGguf, RopeFactorsDivide) {
  SmallGguf gguf = small_gguf(kLlama);
  auto& factors = gguf.tensors["rope_freqs.weight"];
  factors.shape = {16};
  factors.values.assign(16, 4.0f);
  std::vector<float> expected = rope_frequencies(32, 10000.0);
  for (float& frequency : expected) frequency /= 4.0f;
  EXPECT_EQ(config_of(gguf)->rope.frequencies, expected);
}

void set_yarn(SmallGguf* gguf) {
  gguf->set("rope.scaling.type", std::string("yarn"));
  gguf->set("rope.scaling.factor", 40.0);
  gguf->set("rope.scaling.original_context_length", int64_t{64});
}

TEST(ConfigGguf, YarnGoesToScoresOrToRotation) {
  SmallGguf deepseek = small_gguf(kDeepseek2);
  set_yarn(&deepseek);
  deepseek.set("rope.scaling.yarn_log_multiplier", 0.0707);
  const auto mla = config_of(deepseek);
  ASSERT_TRUE(mla) << mla.error().what;
  EXPECT_NEAR(mla->attention_scale, 1.2608037774 * 1.2608037774 / std::sqrt(48.0), 1e-6);
  EXPECT_EQ(mla->rope.magnitude, 1.0f);

  SmallGguf qwen = small_gguf(kQwen2);
  set_yarn(&qwen);
  const auto grouped = config_of(qwen);
  ASSERT_TRUE(grouped) << grouped.error().what;
  EXPECT_NEAR(grouped->attention_scale, 1 / std::sqrt(32.0), 1e-7);
  EXPECT_NEAR(grouped->rope.magnitude, 1.3688879454, 1e-6);
  std::vector<float> expected = rope_frequencies(32, 10000.0);
  apply_yarn(expected, 10000.0, {40.0, 64, 32.0, 1.0});
  EXPECT_EQ(grouped->rope.frequencies, expected);
}

// The published sizes, whose files of before mid-2025 lack the group keys.
TEST(ConfigGguf, GroupsOfFilesWithoutThem) {
  struct Case {
    int64_t experts, function;
    int32_t groups, used;
  };
  for (const Case& test : {Case{256, 2, 8, 4}, Case{160, 1, 8, 3}, Case{64, 1, 1, 1},
                           Case{256, 1, 1, 1}, Case{160, 2, 1, 1}}) {
    SmallGguf gguf = small_gguf(kDeepseek2);
    gguf.erase("expert_group_count");
    gguf.erase("expert_group_used_count");
    gguf.set("expert_count", test.experts);
    gguf.set("expert_gating_func", test.function);
    const auto config = config_of(gguf);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->moe.gate.groups, test.groups) << test.experts;
    EXPECT_EQ(config->moe.gate.groups_used, test.used) << test.experts;
  }
}

TEST(ConfigGguf, GateFunctionOfFilesWithoutIt) {
  SmallGguf gguf = small_gguf(kDeepseek2);
  gguf.erase("expert_gating_func");
  EXPECT_EQ(config_of(gguf)->moe.gate.function, kernels::GateFunction::kSigmoid);
  gguf.tensors.erase("blk.1.exp_probs_b.bias");
  EXPECT_EQ(config_of(gguf)->moe.gate.function, kernels::GateFunction::kSoftmax);
}

TEST(ConfigGguf, NextTokenLayersAreLeftOut) {
  SmallGguf without = small_gguf(kDeepseek2);
  without.set("nextn_predict_layers", int64_t{1});  // said, but the last block is a plain one
  EXPECT_EQ(config_of(without)->layers, 2);
  EXPECT_EQ(config_of(without)->mtp_layers, 0);

  SmallGguf with = without;
  with.set("block_count", int64_t{3});
  with.tensors["blk.2.nextn.eh_proj.weight"].shape = {256, 512};
  with.tensors["blk.2.attn_norm.weight"].shape = {256};
  EXPECT_EQ(config_of(with)->layers, 2);
  EXPECT_EQ(config_of(with)->mtp_layers, 1);

  SmallGguf counted = without;  // counted in block_count and then not written
  counted.set("block_count", int64_t{3});
  EXPECT_EQ(config_of(counted)->layers, 2);
  EXPECT_EQ(config_of(counted)->mtp_layers, 0);

  SmallFolder folder = small_folder(small_gguf(kDeepseek2));
  folder.config["num_nextn_predict_layers"] = "1";
  EXPECT_EQ(config_of(folder)->mtp_layers, 0);
  folder.tensors["model.layers.2.eh_proj.weight"].shape = {256, 512};
  EXPECT_EQ(config_of(folder)->layers, 2);
  EXPECT_EQ(config_of(folder)->mtp_layers, 1);
}

const double kNan = std::numeric_limits<double>::quiet_NaN();

struct Lie {
  Architecture architecture;
  const char* key;  // in the message
  GgufValue value;  // kErase: the key is absent
  const char* expected;
};

const std::string kErase = "<erase>";

const Lie kGgufLies[] = {
    {kLlama, "block_count", kErase, "found no such key, expected an integer"},
    {kLlama, "embedding_length", kErase, "found no such key"},
    {kLlama, "attention.head_count", kErase, "found no such key"},
    {kLlama, "feed_forward_length", kErase, "found no such key"},
    {kLlama, "context_length", kErase, "found no such key"},
    {kLlama, "attention.layer_norm_rms_epsilon", kErase, "found no such key"},
    {kLlama, "block_count", int64_t{0}, "found 0, expected an integer from 1"},
    {kLlama, "block_count", int64_t{-1}, "found -1, expected"},
    {kLlama, "block_count", int64_t{1'000'000}, "found 1000000, expected 1 to 1024"},
    {kLlama, "block_count", std::string("two"), "found \"two\", expected an integer"},
    {kLlama, "block_count", 2.0, "found the number 2.000000, expected an integer"},
    {kLlama, "embedding_length", int64_t{1} << 40, "found 1099511627776, expected"},
    {kLlama, "embedding_length", int64_t{0}, "found 0, expected"},
    {kLlama, "attention.head_count", int64_t{0}, "found 0, expected"},
    {kLlama, "attention.head_count", int64_t{5000}, "found 5000, expected 1 to 4096"},
    {kLlama, "attention.head_count_kv", int64_t{0}, "found 0, expected an integer from 1"},
    {kLlama, "attention.head_count_kv", int64_t{3}, "found 1, expected 0 to 0"},
    {kLlama, "attention.head_count_kv", int64_t{8}, "found 8, expected 1 to 4"},
    {kLlama, "attention.head_count_kv", std::vector<int64_t>{2, 2},
     "found an array of 2 integers, expected an integer"},
    {kLlama, "attention.key_length", int64_t{0}, "found 0, expected an integer from 1"},
    {kLlama, "attention.value_length", int64_t{64}, "found 64, expected 32"},
    {kLlama, "rope.dimension_count", int64_t{31}, "expected 0 to 0"},
    {kLlama, "rope.dimension_count", int64_t{64}, "found 64, expected 2 to 32"},
    {kLlama, "rope.dimension_count", int64_t{0}, "found 0, expected 2"},
    {kLlama, "rope.freq_base", 0.0, "found 0.000000, expected above 1"},
    {kLlama, "rope.freq_base", kNan, "found nan, expected a finite number"},
    {kLlama, "attention.layer_norm_rms_epsilon", kNan, "found nan, expected a finite number"},
    {kLlama, "attention.layer_norm_rms_epsilon", -1.0, "found -1.000000, expected 0 to 1"},
    {kLlama, "attention.layer_norm_rms_epsilon", 5.0, "found 5.000000, expected 0 to 1"},
    {kLlama, "context_length", int64_t{1} << 31, "found 2147483648, expected"},
    {kLlama, "rope.scaling.type", std::string("longrope"),
     "found \"longrope\", expected none, linear or yarn"},
    {kDeepseek2, "attention.kv_lora_rank", kErase, "found no such key"},
    {kDeepseek2, "attention.kv_lora_rank", int64_t{1 << 20}, "found 1048576, expected 1 to 65536"},
    {kDeepseek2, "rope.dimension_count", kErase, "found no such key"},
    {kDeepseek2, "attention.key_length", kErase, "found no such key"},
    {kDeepseek2, "attention.key_length", int64_t{16},
     "found 16, expected more than an even rope.dimension_count (16)"},
    {kDeepseek2, "attention.value_length", int64_t{0}, "found 0, expected"},
    {kDeepseek2, "expert_count", int64_t{100'000}, "found 100000, expected at most 4096"},
    {kDeepseek2, "expert_used_count", kErase, "found no such key"},
    {kDeepseek2, "expert_used_count", int64_t{99}, "found 99, expected 1 to 4"},
    {kDeepseek2, "expert_feed_forward_length", kErase, "found no such key"},
    {kDeepseek2, "expert_group_count", int64_t{3}, "found 2, expected 0 to 0"},
    {kDeepseek2, "expert_group_count", int64_t{16}, "found 16, expected 1 to 8"},
    {kDeepseek2, "expert_group_count", int64_t{0}, "found 0, expected"},
    {kDeepseek2, "expert_group_used_count", int64_t{5}, "found 5, expected 1 to 4"},
    {kDeepseek2, "expert_group_used_count", int64_t{0}, "found 0, expected 1 to 4"},
    {kDeepseek2, "expert_gating_func", int64_t{3}, "found 3, expected 1 (softmax) or 2 (sigmoid)"},
    {kDeepseek2, "expert_shared_count", int64_t{65}, "found 65, expected 0 to 64"},
    {kDeepseek2, "expert_weights_scale", 1e300, "expected a finite one"},
    {kDeepseek2, "leading_dense_block_count", int64_t{3}, "found 3, expected 0 to 2"},
    {kDeepseek2, "nextn_predict_layers", int64_t{2}, "block_count"},
};

TEST(ConfigGguf, LiesAreNamed) {
  for (const Lie& lie : kGgufLies) {
    SCOPED_TRACE(std::string(lie.key) + " " + lie.expected);
    SmallGguf gguf = small_gguf(lie.architecture);
    gguf.set(lie.key, lie.value);
    if (lie.value == GgufValue(kErase)) gguf.erase(lie.key);
    if (std::string_view(lie.key) == "nextn_predict_layers") {  // more of them than blocks
      gguf.tensors["blk.1.nextn.eh_proj.weight"].shape = {256, 512};
    }
    const auto config = config_of(gguf);
    ASSERT_FALSE(config);
    const bool other = std::string_view(lie.key) == "nextn_predict_layers";
    EXPECT_THAT(config.error().what,
                AllOf(HasSubstr("m.gguf: "), HasSubstr(other ? lie.expected : lie.key),
                      HasSubstr(lie.expected), Not(HasSubstr("\n"))));
  }
}

TEST(ConfigGguf, YarnLiesAreNamed) {
  for (const char* key : {"rope.scaling.factor", "rope.scaling.original_context_length",
                          "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"}) {
    for (const double value : {0.0, -1.0}) {
      SmallGguf gguf = small_gguf(kDeepseek2);
      set_yarn(&gguf);
      gguf.set(key, value);
      const auto config = config_of(gguf);
      ASSERT_FALSE(config) << key;
      EXPECT_THAT(config.error().what, AllOf(HasSubstr(key), HasSubstr("expected above 0")));
    }
  }
}

TEST(ConfigGguf, TensorLiesAreNamed) {
  SmallGguf gguf = small_gguf(kLlama);
  gguf.keys["general.architecture"] = std::string("gpt2");
  EXPECT_EQ(config_of(gguf).error().what,
            "m.gguf: general.architecture: found \"gpt2\", expected deepseek2, llama, qwen2 or "
            "qwen3");
  EXPECT_EQ(config_of(gguf).error().code, Code::kUnsupported);

  SmallGguf headless = small_gguf(kLlama);
  headless.tensors.erase("token_embd.weight");
  EXPECT_THAT(config_of(headless).error().what,
              HasSubstr("token_embd.weight: found nothing, expected [vocabulary"));

  SmallGguf flat = small_gguf(kLlama);
  flat.tensors["token_embd.weight"].shape = {48 * 256};
  EXPECT_THAT(config_of(flat).error().what, HasSubstr("token_embd.weight: found another shape"));

  SmallGguf factors = small_gguf(kLlama);
  factors.tensors["rope_freqs.weight"] = {DType::kF32, {15}, std::vector<float>(15, 1.0f)};
  EXPECT_THAT(config_of(factors).error().what,
              HasSubstr("rope_freqs.weight: found 15 values, expected 16"));
  factors.tensors["rope_freqs.weight"] = {DType::kF32, {16}, std::vector<float>(16, 0.0f)};
  EXPECT_THAT(config_of(factors).error().what, HasSubstr("rope scaling"));
}

struct FolderLie {
  Architecture architecture;
  const char* key;
  const char* json;  // "" erases
  const char* expected;
};

const FolderLie kFolderLies[] = {
    {kLlama, "model_type", "\"gpt2\"", "found \"gpt2\", expected deepseek_v2"},
    {kLlama, "model_type", "", "found no such key"},
    {kLlama, "vocab_size", "", "found no such key"},
    {kLlama, "vocab_size", "8388608", "found 8388608, expected 1 to 4194304"},
    {kLlama, "hidden_size", "", "found no such key"},
    {kLlama, "hidden_size", "\"big\"", "found the string \"big\", expected an integer"},
    {kLlama, "num_hidden_layers", "1e6", "found 1000000, expected 1 to 1024"},
    {kLlama, "num_attention_heads", "0", "found the number 0, expected an integer from 1"},
    {kLlama, "num_key_value_heads", "0", "expected an integer from 1"},
    {kLlama, "num_key_value_heads", "3", "found 1, expected 0 to 0"},
    {kLlama, "head_dim", "4098", "found 4098, expected 2 to 4096"},
    {kLlama, "head_dim", "31", "found 1, expected 0 to 0"},
    {kLlama, "rms_norm_eps", "2", "found 2.000000, expected 0 to 1"},
    {kLlama, "rope_theta", "1", "found 1.000000, expected above 1"},
    {kLlama, "hidden_act", "\"gelu\"", "found \"gelu\", expected \"silu\""},
    {kDeepseek2, "hidden_act", "1", "expected a string"},
    {kLlama, "attention_bias", "true", "found true, expected false"},
    {kLlama, "mlp_bias", "true", "found true, expected false"},
    {kQwen2, "use_sliding_window", "true", "found true, expected false"},
    {kQwen3, "attention_bias", "true", "found true, expected false"},
    {kLlama, "tie_word_embeddings", "1", "expected true or false"},
    {kLlama, "rope_scaling", R"({"rope_type":"longrope"})",
     "found \"longrope\", expected default, linear, yarn or llama3"},
    {kLlama, "rope_scaling", R"({"factor":2})", "rope_scaling.type: found no such key"},
    {kLlama, "rope_scaling", R"({"type":"linear"})", "rope_scaling.factor: found no such key"},
    {kLlama, "rope_scaling", R"({"type":"linear","factor":0})", "expected above 0"},
    {kLlama, "rope_scaling", R"({"type":"llama3","factor":-8})", "expected above 0"},
    {kLlama, "rope_scaling", R"({"type":"llama3","factor":8,"low_freq_factor":4})",
     "rope_scaling.high_freq_factor: found 4.000000, expected above low_freq_factor, 4.000000"},
    {kDeepseek2, "rope_scaling", R"({"type":"yarn","factor":4,"beta_fast":0})",
     "rope_scaling.beta_fast: found 0.000000, expected above 0"},
    {kDeepseek2, "rope_scaling", R"({"type":"yarn","factor":40,"mscale_all_dim":1e39})",
     "not finite"},
    {kDeepseek2, "kv_lora_rank", "", "found no such key"},
    {kDeepseek2, "qk_rope_head_dim", "15", "found 1, expected 0 to 0"},
    {kDeepseek2, "scoring_func", "\"relu\"", "found \"relu\", expected softmax or sigmoid"},
    {kDeepseek2, "topk_method", "\"best\"", "found \"best\", expected greedy"},
    {kDeepseek2, "moe_layer_freq", "2", "found 2, expected 1"},
    {kDeepseek2, "num_experts_per_tok", "5", "found 5, expected 1 to 4"},
    {kDeepseek2, "n_group", "3", "found 2, expected 0 to 0"},
    {kDeepseek2, "topk_group", "9", "found 9, expected 1 to 4"},
    {kDeepseek2, "first_k_dense_replace", "7", "found 7, expected 0 to 2"},
};

TEST(ConfigFolder, LiesAreNamed) {
  for (const FolderLie& lie : kFolderLies) {
    SCOPED_TRACE(std::string(lie.key) + " " + lie.json);
    SmallFolder folder = small_folder(small_gguf(lie.architecture));
    folder.config[lie.key] = lie.json;
    if (*lie.json == '\0') folder.config.erase(lie.key);
    const auto config = config_of(folder);
    ASSERT_FALSE(config);
    const bool by_other_name = std::string_view(lie.expected).find("found 1, ") == 0 ||
                               std::string_view(lie.expected).find("not finite") == 0 ||
                               std::string_view(lie.expected).find("found 2, expected 0") == 0;
    EXPECT_THAT(config.error().what,
                AllOf(HasSubstr("m/config.json: "), HasSubstr(by_other_name ? "found" : lie.key),
                      HasSubstr(lie.expected), Not(HasSubstr("\n"))));
  }
}

TEST(ConfigFolder, WhatTheTypeImpliesMayBeLeftOut) {
  SmallFolder v3 = small_folder(small_gguf(kDeepseek2));
  for (const char* key : {"scoring_func", "topk_method", "norm_topk_prob"}) v3.config.erase(key);
  const auto config = config_of(v3);
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(config->moe.gate.function, kernels::GateFunction::kSigmoid);
  EXPECT_TRUE(config->moe.gate.normalize);
  EXPECT_EQ(config->moe.gate.groups, 4);

  SmallFolder v2 = v3;
  v2.config["model_type"] = "\"deepseek_v2\"";
  EXPECT_EQ(config_of(v2)->moe.gate.function, kernels::GateFunction::kSoftmax);
  EXPECT_FALSE(config_of(v2)->moe.gate.normalize);
  EXPECT_EQ(config_of(v2)->moe.gate.groups, 1);
  v2.config["topk_method"] = "\"gready\"";
  EXPECT_TRUE(config_of(v2));
}

// transformers since 2025 writes "rope_parameters", with the base inside.
TEST(ConfigFolder, RopeParametersOfEitherAge) {
  SmallFolder old = small_folder(small_gguf(kLlama));
  old.config["rope_theta"] = "500000";
  old.config["rope_scaling"] =
      R"({"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,)"
      R"("original_max_position_embeddings":8192})";
  SmallFolder recent = old;
  recent.config.erase("rope_theta");
  recent.config.erase("rope_scaling");
  recent.config["rope_parameters"] =
      R"({"rope_type":"llama3","rope_theta":500000,"factor":8,"low_freq_factor":1,)"
      R"("high_freq_factor":4,"original_max_position_embeddings":8192})";
  std::vector<float> expected = rope_frequencies(32, 500000.0);
  apply_llama3(expected, {8.0, 1.0, 4.0, 8192});
  EXPECT_EQ(config_of(old)->rope.frequencies, expected);
  EXPECT_EQ(config_of(recent)->rope.frequencies, expected);
}

TEST(ConfigFolder, YarnMagnitudes) {
  struct Case {
    Architecture architecture;
    const char* rest;
    double magnitude, on_scores;
  };
  const double full = 1.3688879454113936;  // 0.1 ln 40 + 1
  const Case cases[] = {
      {kDeepseek2, R"("mscale":1.0,"mscale_all_dim":1.0)", 1.0, full * full},
      {kDeepseek2, R"("mscale":1.0,"mscale_all_dim":0)", full, 1.0},
      {kDeepseek2, R"("mscale_all_dim":1.0)", 1.0, full * full},
      {kDeepseek2, R"("beta_slow":1)", full, 1.0},
      {kQwen2, R"("beta_slow":1)", full, 1.0},
      {kQwen2, R"("mscale":1.0,"mscale_all_dim":1.0)", 1.0, 1.0},
      {kQwen3, R"("attention_factor":1.5)", 1.5, 1.0},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.rest);
    SmallFolder folder = small_folder(small_gguf(test.architecture));
    const float plain = config_of(folder)->attention_scale;
    folder.config["rope_scaling"] =
        std::string(R"({"type":"yarn","factor":40,"original_max_position_embeddings":64,)") +
        test.rest + "}";
    const auto config = config_of(folder);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_NEAR(config->rope.magnitude, test.magnitude, 1e-6);
    EXPECT_NEAR(config->attention_scale, plain * test.on_scores, 1e-6);
  }
}

TEST(ConfigFolder, TiedOnlyWhenNothingElseIsSaid) {
  SmallFolder folder = small_folder(small_gguf(kQwen3));
  EXPECT_FALSE(config_of(folder)->tied_embeddings);
  folder.config["tie_word_embeddings"] = "true";
  EXPECT_TRUE(config_of(folder)->tied_embeddings);
  folder.tensors.erase("lm_head.weight");
  EXPECT_TRUE(config_of(folder)->tied_embeddings);
  folder.config["tie_word_embeddings"] = "false";
  EXPECT_FALSE(config_of(folder)->tied_embeddings);  // loading it says what is missing
  folder.config.erase("tie_word_embeddings");
  EXPECT_TRUE(config_of(folder)->tied_embeddings);
}

}  // namespace
}  // namespace hadal
