// Weights from either kind of file: the same model gives the same logits however it is stored, and
// a tensor that is not what the configuration needs is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "hadal/format/testing/files.h"
#include "hadal/model/testing/small_model.h"
#include "hadal/tensor/quant.h"

namespace hadal {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::largest_difference;
using ::testing::Not;
using testing::small_folder;
using testing::small_gguf;
using testing::SmallFolder;
using testing::SmallGguf;
using testing::SmallTensor;
using testing::TempFolder;

const std::vector<int32_t> kTokens = {7, 1, 30, 30, 2,  47, 0,  19, 5,  11, 40,
                                      3, 8, 9,  6,  21, 4,  33, 2,  17, 25, 0};

class Weights : public ::testing::Test {
 protected:
  Result<std::unique_ptr<Model>> load(const std::string& path, const LoadOptions& options = {}) {
    HADAL_TRY(const ModelFiles files, open_model(path));
    return load_model(files, *backend_, options);
  }
  Result<std::unique_ptr<Model>> load(const SmallGguf& gguf, const LoadOptions& options = {}) {
    gguf.write(folder_ / "m.gguf");
    return load(folder_ / "m.gguf", options);
  }
  Result<std::unique_ptr<Model>> load(const SmallFolder& folder, const LoadOptions& options = {}) {
    folder.write(folder_.path());
    return load(folder_.path(), options);
  }
  template <class T>
  std::vector<float> logits_of(const T& stored, const LoadOptions& options = {}) {
    auto model = load(stored, options);
    EXPECT_TRUE(model) << model.error().what;
    return model ? testing::all_logits(**model, *backend_, kTokens) : std::vector<float>();
  }
  template <class T>
  std::string refusal_of(const T& stored) {
    const auto model = load(stored);
    EXPECT_FALSE(model);
    return model ? "" : model.error().what;
  }

  TempFolder folder_;
  ThreadPool pool_{1};
  std::unique_ptr<kernels::Backend> backend_ =
      std::move(*kernels::make_cpu_backend("", cpu_features(), pool_));
};

TEST_F(Weights, FolderAndGgufGiveTheSameBits) {
  for (const Architecture architecture :
       {Architecture::kDeepseek2, Architecture::kQwen2, Architecture::kQwen3}) {
    SCOPED_TRACE(architecture_name(architecture));
    const SmallGguf gguf = small_gguf(architecture);
    const std::vector<float> logits = logits_of(gguf);
    EXPECT_EQ(logits, logits_of(small_folder(gguf)));
    EXPECT_GT(largest_difference(logits, logits_of(small_gguf(architecture, 2))), 1.0);
  }
}

// The order of a head's elements changes the order of its sums, and nothing else.
TEST_F(Weights, LlamaInHalvesOrderIsThePermutedModel) {
  const SmallGguf gguf = small_gguf(Architecture::kLlama);
  const std::vector<float> logits = logits_of(gguf);
  EXPECT_LT(largest_difference(logits, logits_of(small_folder(gguf))), 1e-4);

  SmallFolder unpermuted = small_folder(gguf);
  unpermuted.tensors["model.layers.0.self_attn.k_proj.weight"] =
      gguf.tensors.at("blk.0.attn_k.weight");
  EXPECT_GT(largest_difference(logits, logits_of(unpermuted)), 0.1);
}

TEST_F(Weights, LlamaWithQwensBiases) {
  SmallGguf qwen = small_gguf(Architecture::kQwen2);
  SmallGguf llama = small_gguf(Architecture::kLlama);
  for (const char* name : {"blk.0.attn_q.bias", "blk.0.attn_k.bias", "blk.0.attn_v.bias",
                           "blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias"}) {
    llama.tensors[name] = qwen.tensors[name];
  }
  // The same model in Qwen's order.
  qwen.tensors = llama.tensors;
  for (auto& [name, tensor] : qwen.tensors) {
    const bool q = name.find("attn_q.") != std::string::npos;
    const bool k = name.find("attn_k.") != std::string::npos;
    if (q || k) tensor.values = testing::to_halves(tensor.values, q ? 4 : 2, 32);
  }
  const std::vector<float> logits = logits_of(llama);
  EXPECT_LT(largest_difference(logits, logits_of(qwen)), 1e-4);
  EXPECT_GT(largest_difference(logits, logits_of(small_gguf(Architecture::kLlama))), 0.1);
}

TEST_F(Weights, TiedEmbeddings) {
  for (const Architecture architecture : {Architecture::kQwen3, Architecture::kDeepseek2}) {
    SmallGguf twice = small_gguf(architecture);
    twice.tensors["output.weight"] = twice.tensors["token_embd.weight"];
    SmallGguf tied = twice;
    tied.tensors.erase("output.weight");
    SmallFolder folder = small_folder(tied);
    folder.config["tie_word_embeddings"] = "true";
    const std::vector<float> expected = logits_of(twice);
    EXPECT_EQ(logits_of(tied), expected);
    EXPECT_EQ(logits_of(folder), expected);
    folder.config["tie_word_embeddings"] = "false";
    EXPECT_THAT(refusal_of(folder), HasSubstr("lm_head.weight: tensor is missing"));
  }
}

TEST_F(Weights, LatentProjectionsJoinedOrSplit) {
  const SmallGguf joined = small_gguf(Architecture::kDeepseek2);
  SmallGguf split = joined;
  constexpr int64_t kHeads = 4, kNope = 32, kValue = 32, kRank = 128;
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    const SmallTensor b = joined.tensors.at(layer + "attn_kv_b.weight");
    split.tensors.erase(layer + "attn_kv_b.weight");
    SmallTensor& k = split.tensors[layer + "attn_k_b.weight"];
    SmallTensor& v = split.tensors[layer + "attn_v_b.weight"];
    k = {DType::kF32, {kHeads, kRank, kNope}, {}};
    v = {DType::kF32, {kHeads, kValue, kRank}, {}};
    for (int64_t head = 0; head < kHeads; ++head) {
      const float* rows = b.values.data() + head * (kNope + kValue) * kRank;
      for (int64_t r = 0; r < kRank; ++r) {
        for (int64_t n = 0; n < kNope; ++n) k.values.push_back(rows[n * kRank + r]);
      }
      v.values.insert(v.values.end(), rows + kNope * kRank, rows + (kNope + kValue) * kRank);
    }
  }
  EXPECT_EQ(logits_of(joined), logits_of(split));
}

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0.0, size = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(found[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

// Uniform weights lose about 1/500 of themselves in 8 bits and 1/30 in 4, and a few matrices follow
// one another.
TEST_F(Weights, QuantisedWhileLoading) {
  struct Case {
    DType dtype;
    double error_max, size_max;
  };
  ThreadPool three(3);
  for (const Architecture architecture : {Architecture::kDeepseek2, Architecture::kQwen2}) {
    SmallFolder folder = small_folder(small_gguf(architecture));
    for (auto& [name, tensor] : folder.tensors) tensor.dtype = DType::kBF16;
    const auto plain = load(folder);
    ASSERT_TRUE(plain) << plain.error().what;
    const std::vector<float> expected = logits_of(folder);
    double before = 1e-9;
    for (const Case& test : {Case{DType::kQ8_0, 0.03, 0.7}, Case{DType::kQ4_K, 0.3, 0.5}}) {
      SCOPED_TRACE(dtype_name(test.dtype));
      const LoadOptions options{test.dtype, &three, {}};
      const double error = relative_error(logits_of(folder, options), expected);
      EXPECT_GT(error, before);
      EXPECT_LT(error, test.error_max);
      before = error;
      const auto model = load(folder, options);
      EXPECT_LT((*model)->weight_bytes(), test.size_max * (*plain)->weight_bytes());
      // With or without threads, the same.
      EXPECT_EQ(logits_of(folder, {test.dtype, nullptr, {}}), logits_of(folder, options));
    }
  }
}

TEST_F(Weights, ReportsProgressToTheEnd) {
  std::vector<uint64_t> done;
  uint64_t all = 0;
  LoadOptions options;
  options.progress = [&](uint64_t bytes, uint64_t total) {
    done.push_back(bytes);
    all = total;
  };
  ASSERT_TRUE(load(small_gguf(Architecture::kDeepseek2), options));
  ASSERT_GT(done.size(), 10u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), all);
}

// FP8 with the scales of its 128x128 blocks, and what it stands for.
struct Fp8 {
  SmallTensor codes, scales, values;
};

Fp8 to_fp8(const SmallTensor& plain) {
  const int64_t rows = plain.shape[0], cols = plain.shape[1];
  const int64_t down = (rows + 127) / 128, across = (cols + 127) / 128;
  Fp8 out;
  out.codes = {DType::kF8E4M3, plain.shape, {}};
  out.scales = {DType::kF32, {down, across}, {}};
  out.values = {DType::kF32, plain.shape, {}};
  for (int64_t i = 0; i < down * across; ++i) {
    out.scales.values.push_back(std::ldexp(1.0f, static_cast<int>(i % 5) - 7));
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const float scale = out.scales.values[r / 128 * across + c / 128];
      const float code = f8e4m3_to_f32(f32_to_f8e4m3(plain.values[r * cols + c] / scale));
      out.codes.values.push_back(code);
      out.values.values.push_back(code * scale);
    }
  }
  return out;
}

bool is_projection(const std::string& name) {
  return name.find("_proj") != std::string::npos && name.ends_with(".weight");
}

struct Fp8Folders {
  SmallFolder plain, fp8;
};

Fp8Folders fp8_folders() {
  Fp8Folders out;
  out.plain = out.fp8 = small_folder(small_gguf(Architecture::kDeepseek2));
  for (auto& [name, tensor] : out.plain.tensors) {
    if (!is_projection(name)) continue;
    Fp8 stored = to_fp8(tensor);
    tensor = std::move(stored.values);
    out.fp8.tensors[name] = std::move(stored.codes);
    out.fp8.tensors[name + "_scale_inv"] = std::move(stored.scales);
  }
  return out;
}

TEST_F(Weights, Fp8IsItsCodesTimesItsScales) {
  Fp8Folders folders = fp8_folders();
  const std::vector<float> expected = logits_of(folders.plain);
  EXPECT_LT(largest_difference(logits_of(folders.fp8), expected), 1e-3);
  // Scales as exponents alone: these are powers of two, so nothing is lost.
  SmallFolder exponents = folders.fp8;
  for (auto& [name, tensor] : exponents.tensors) {
    if (name.ends_with("_scale_inv")) tensor.dtype = DType::kF8E8M0;
  }
  EXPECT_EQ(logits_of(exponents), logits_of(folders.fp8));
  EXPECT_LT(relative_error(logits_of(folders.fp8, {DType::kQ8_0, nullptr, {}}), expected), 0.05);
}

TEST_F(Weights, Fp8ScalesAreChecked) {
  const SmallFolder good = fp8_folders().fp8;
  const std::string scale = "model.layers.0.self_attn.q_a_proj.weight_scale_inv";
  SmallFolder bad = good;
  bad.tensors.erase(scale);
  EXPECT_THAT(refusal_of(bad), HasSubstr(scale + ": tensor is missing"));
  bad = good;
  bad.tensors[scale].shape = {2, 1};  // of [1, 2]
  EXPECT_THAT(refusal_of(bad), AllOf(HasSubstr(scale + ": found shape [2, 1], expected [1, 2]"),
                                     HasSubstr("128x128")));
  bad = good;
  bad.tensors[scale] = {DType::kF32, {1, 1}, {1.0f}};
  EXPECT_THAT(refusal_of(bad), HasSubstr("found shape [1, 1]"));
  bad = good;
  bad.tensors[scale].dtype = DType::kI32;
  EXPECT_THAT(refusal_of(bad), HasSubstr(scale + ": found type i32"));
}

struct Damage {
  const char* tensor;
  std::function<void(SmallTensor&)> change;  // null: the tensor is taken away
  const char* expected;
};

void reshape(SmallTensor& tensor, std::vector<int64_t> shape) {
  const int64_t count =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  tensor.shape = std::move(shape);
  tensor.values.resize(static_cast<size_t>(count), 0.5f);
}

const Damage kDeepseekDamage[] = {
    {"output_norm.weight", nullptr, "tensor is missing"},
    {"token_embd.weight",
     [](auto& t) {
       reshape(t, {48, 128});
     },
     "found shape [48, 128], expected [48, 256]"},
    {"output.weight",
     [](auto& t) {
       reshape(t, {47, 256});
     },
     "found shape [47, 256], expected [48, 256]"},
    {"blk.0.attn_norm.weight", nullptr, "tensor is missing"},
    {"blk.0.attn_norm.weight", [](auto& t) { reshape(t, {255}); },
     "found shape [255], expected 256 values"},
    {"blk.0.attn_norm.weight", [](auto& t) { t.dtype = DType::kI32; },
     "found type i32, expected f32, f16 or bf16"},
    {"blk.0.attn_q_a.weight",
     [](auto& t) {
       reshape(t, {256, 64});
     },
     "found shape [256, 64], expected [64, 256]"},
    {"blk.1.attn_kv_b.weight", nullptr, "tensor is missing"},
    {"blk.1.attn_kv_b.weight",
     [](auto& t) {
       reshape(t, {255, 128});
     },
     "found shape [255, 128], expected [256, 128]"},
    {"blk.1.attn_output.weight", [](auto& t) { t.dtype = DType::kI32; },
     "found type i32, expected a float or quantised one"},
    {"blk.1.ffn_gate_inp.weight",
     [](auto& t) {
       reshape(t, {256, 8});
     },
     "found shape [256, 8], expected [8, 256]"},
    {"blk.1.ffn_gate_inp.weight",
     [](auto& t) {
       reshape(t, {7, 256});
     },
     "found shape [7, 256]"},
    {"blk.1.exp_probs_b.bias", [](auto& t) { reshape(t, {9}); }, "found shape [9], expected 8"},
    {"blk.1.ffn_up_exps.weight",
     [](auto& t) {
       reshape(t, {7, 128, 256});
     },
     "found shape [7, 128, 256], expected [8, 128, 256]"},
    {"blk.1.ffn_down_exps.weight",
     [](auto& t) {
       reshape(t, {8, 128, 256});
     },
     "found shape [8, 128, 256], expected [8, 256, 128]"},
    {"blk.1.ffn_down_exps.weight",
     [](auto& t) {
       reshape(t, {8 * 256, 128});
     },
     "found shape [2048, 128], expected [8, 256, 128]"},
    {"blk.1.ffn_gate_shexp.weight", nullptr, "tensor is missing"},
};

TEST_F(Weights, DamageIsNamed) {
  const SmallGguf good = small_gguf(Architecture::kDeepseek2);
  ASSERT_TRUE(load(good));
  for (const Damage& damage : kDeepseekDamage) {
    SCOPED_TRACE(std::string(damage.tensor) + " " + damage.expected);
    SmallGguf bad = good;
    damage.change ? damage.change(bad.tensors[damage.tensor])
                  : static_cast<void>(bad.tensors.erase(damage.tensor));
    EXPECT_THAT(refusal_of(bad), AllOf(HasSubstr("m.gguf: "), HasSubstr(damage.tensor),
                                       HasSubstr(damage.expected), Not(HasSubstr("\n"))));
  }
}

TEST_F(Weights, DamagedExpertsOfAFolderAreNamed) {
  const SmallFolder good = small_folder(small_gguf(Architecture::kDeepseek2));
  const std::string name = "model.layers.1.mlp.experts.5.up_proj.weight";
  SmallFolder bad = good;
  bad.tensors.erase(name);
  EXPECT_THAT(refusal_of(bad), HasSubstr(name + ": tensor is missing"));
  bad = good;
  reshape(bad.tensors[name], {256, 128});
  EXPECT_THAT(refusal_of(bad), HasSubstr(name + ": found shape [256, 128], expected [128, 256]"));
  bad = good;
  bad.tensors[name].dtype = DType::kBF16;
  EXPECT_THAT(refusal_of(bad),
              HasSubstr(name + ": found type bf16, expected f32 as the experts before it"));
}

// A tensor that no layer of ours uses means another model.
TEST_F(Weights, TensorsThatNobodyReadsAreRefused) {
  const SmallTensor extra{DType::kF32, {256}, std::vector<float>(256, 1.0f)};
  for (const char* name : {"blk.0.attn_output.bias", "blk.1.ffn_up.bias", "output.bias",
                           "blk.0.attn_q_norm.weight", "blk.2.attn_norm.weight"}) {
    SmallGguf gguf = small_gguf(Architecture::kQwen2);
    gguf.tensors[name] = extra;
    EXPECT_THAT(
        refusal_of(gguf),
        HasSubstr(std::string(name) + ": found a tensor that qwen2 with 2 layers does not use"));
  }
  SmallFolder folder = small_folder(small_gguf(Architecture::kQwen2));
  folder.tensors["model.layers.1.self_attn.o_proj.bias"] = extra;
  EXPECT_THAT(refusal_of(folder), HasSubstr("model.layers.1.self_attn.o_proj.bias: found"));

  SmallGguf fewer = small_gguf(Architecture::kDeepseek2);
  fewer.set("expert_shared_count", int64_t{0});
  EXPECT_THAT(refusal_of(fewer), HasSubstr("blk.1.ffn_down_shexp.weight: found"));
  fewer = small_gguf(Architecture::kQwen3);
  fewer.set("block_count", int64_t{1});
  EXPECT_THAT(refusal_of(fewer), HasSubstr("qwen3 with 1 layers does not use"));
}

TEST_F(Weights, RedundantTensorsAreNotMissed) {
  const SmallTensor extra{DType::kF32, {16}, std::vector<float>(16, 1.0f)};
  SmallFolder folder = small_folder(small_gguf(Architecture::kLlama));
  const std::vector<float> expected = logits_of(folder);
  folder.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = extra;
  EXPECT_EQ(logits_of(folder), expected);
  folder.config["tie_word_embeddings"] = "true";
  EXPECT_TRUE(load(folder));  // with its lm_head

  SmallFolder mtp = small_folder(small_gguf(Architecture::kDeepseek2));
  const std::vector<float> without = logits_of(mtp);
  mtp.config["num_nextn_predict_layers"] = "1";
  mtp.tensors["model.layers.2.eh_proj.weight"] = extra;
  mtp.tensors["model.layers.2.input_layernorm.weight"] = extra;
  EXPECT_EQ(logits_of(mtp), without);
}

// Weights that are not numbers give logits that are not, and an end: no crash, no endless search
// for the best expert.
TEST_F(Weights, NotANumberAnywhereStillEnds) {
  for (const Architecture architecture : {Architecture::kDeepseek2, Architecture::kQwen3}) {
    const SmallGguf good = small_gguf(architecture);
    for (const auto& [name, unused] : good.tensors) {
      for (const float wrong : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
        SmallGguf bad = good;
        std::ranges::fill(bad.tensors[name].values, wrong);
        EXPECT_EQ(logits_of(bad).size(), kTokens.size() * testing::kSmallVocabulary) << name;
      }
    }
  }
}

// Blocks come back from other sequences as those left them: 0xff bytes are NaN. And a prompt may
// come in pieces.
TEST_F(Weights, TheSameBitsWhateverTheCacheHeldAndInChunks) {
  for (const Architecture architecture :
       {Architecture::kDeepseek2, Architecture::kLlama, Architecture::kQwen3}) {
    small_gguf(architecture).write(folder_ / "m.gguf");
    const auto files = open_model(folder_ / "m.gguf");
    for (const std::string_view name : kernels::cpu_implementations(cpu_features())) {
      SCOPED_TRACE(name);
      const auto backend = kernels::make_cpu_backend(name, cpu_features(), pool_);
      const auto model = load_model(*files, **backend, {});
      ASSERT_TRUE(model) << model.error().what;
      const std::vector<float> whole = testing::all_logits(**model, **backend, kTokens);
      for (const int32_t chunk : {0, 1, 5, 16}) {
        EXPECT_EQ(testing::all_logits(**model, **backend, kTokens, {std::byte{0xff}, chunk}),
                  whole);
      }
    }
  }
}

// Parts as llama.cpp's splitter writes them: the keys in the first, tensors spread over all.
void write_parts(const SmallGguf& whole, const std::string& stem) {
  constexpr int64_t kParts = 3;
  std::vector<SmallGguf> parts(kParts);
  size_t next = 0;
  for (const auto& [name, tensor] : whole.tensors) parts[next++ % kParts].tensors[name] = tensor;
  parts[0].keys = whole.keys;
  for (int64_t i = 0; i < kParts; ++i) {
    const std::string path =
        stem + "-0000" + std::to_string(i + 1) + "-of-0000" + std::to_string(kParts) + ".gguf";
    // The writer leaves split keys out, so they go through it under other names.
    parts[i].keys["sqlit.no"] = i;
    parts[i].keys["sqlit.count"] = kParts;
    parts[i].keys["sqlit.tensors.count"] = static_cast<int64_t>(whole.tensors.size());
    parts[i].write(path);
    std::string bytes;
    {
      std::ifstream file(path, std::ios::binary);
      bytes.assign(std::istreambuf_iterator<char>(file), {});
    }
    for (size_t at = 0; (at = bytes.find("sqlit.", at)) != std::string::npos;) {
      bytes.replace(at, 6, "split.");
    }
    std::ofstream(path, std::ios::binary) << bytes;
  }
}

TEST_F(Weights, SplitOverSeveralFiles) {
  const SmallGguf whole = small_gguf(Architecture::kDeepseek2);
  const std::vector<float> expected = logits_of(whole);
  write_parts(whole, folder_ / "parts");
  for (const char* part : {"parts-00001-of-00003.gguf", "parts-00003-of-00003.gguf"}) {
    auto model = load(folder_ / part);
    ASSERT_TRUE(model) << model.error().what;
    EXPECT_EQ(testing::all_logits(**model, *backend_, kTokens), expected);
  }
  std::filesystem::remove(folder_ / "parts-00002-of-00003.gguf");
  EXPECT_FALSE(load(folder_ / "parts-00001-of-00003.gguf"));
}

}  // namespace
}  // namespace hadal
