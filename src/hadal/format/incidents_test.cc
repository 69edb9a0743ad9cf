// The model file behind each incident of other inference servers. docs/security.md lists them all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/format/gguf.h"
#include "hadal/format/hf.h"
#include "hadal/format/model_files.h"
#include "hadal/format/testing/files.h"

namespace hadal {
namespace {

using testing::bytes_of;
using testing::GgufBytes;
using ::testing::HasSubstr;
using testing::Kind;
using testing::TempFolder;

constexpr uint32_t kTypeF32 = 0;
constexpr uint64_t kHuge[] = {~0ull,      ~0ull - 31, 1ull << 63, (1ull << 63) - 1,
                              1ull << 62, 1ull << 61, 1ull << 48, (1ull << 32) + 1,
                              1ull << 31};

void expect_refused(const GgufBytes& file, const std::string& what) {
  const auto model = parse_gguf(bytes_of(file.bytes()), "model.gguf");
  ASSERT_FALSE(model) << what;
  EXPECT_LT(model.error().what.size(), 400u) << what;
  EXPECT_EQ(model.error().what.find('\n'), std::string::npos) << what;
}

// llama.cpp #15711: the number of tensors times the size of their records overflowed.
TEST(Incidents, LlamaCpp15711_NumberOfTensors) {
  for (const uint64_t count : kHuge) {
    expect_refused(GgufBytes().header(count, 0).data(4'096), "tensors");
    expect_refused(GgufBytes().header(0, count).data(4'096), "keys");
  }
}

// llama.cpp CVE-2025-53630, and its bypass CVE-2026-27940: sizes that overflow when they are padded
// and summed, so that the buffer is too small.
TEST(Incidents, Cve2026_27940_Cve2025_53630_SizesThatOverflow) {
  for (const uint64_t extent : kHuge) {
    for (const uint64_t other : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 32, ~uint64_t{0}}) {
      expect_refused(GgufBytes().header(1, 0).tensor("x", {extent, other}, kTypeF32, 0).data(64),
                     "one tensor");
    }
    // Each fits 64 bits, their sum does not.
    GgufBytes sum;
    sum.header(3, 0);
    sum.tensor("a", {extent / 8}, kTypeF32, 0);
    sum.tensor("b", {extent / 8}, kTypeF32, extent / 8 * 4);
    sum.tensor("c", {16}, kTypeF32, ~0ull / 32 * 32);
    expect_refused(sum.data(256), "a sum");
  }
}

// Ollama CVE-2026-7482: a tensor's offset and size reached beyond the file, and what lay there was
// handed out.
TEST(Incidents, Cve2026_7482_TensorBeyondTheFile) {
  for (const uint64_t offset : {uint64_t{64}, uint64_t{4096}, ~uint64_t{31}, uint64_t{1} << 63}) {
    expect_refused(GgufBytes().header(1, 0).tensor("x", {16}, kTypeF32, offset).data(64), "offset");
  }
  expect_refused(GgufBytes().header(1, 0).tensor("x", {17}, kTypeF32, 0).data(64), "size");
  expect_refused(GgufBytes().header(1, 0).tensor("x", {1u << 30}, kTypeF32, 0).data(64), "size");
}

// llama.cpp CVE-2025-49847: the length of a token in the vocabulary.
TEST(Incidents, Cve2025_49847_VocabularyTokenLength) {
  for (const uint64_t length : kHuge) {
    GgufBytes file;
    file.header(0, 1).array("tokenizer.ggml.tokens", Kind::kString, 2).text("a");
    file.put<uint64_t>(length).raw("rest of the file");
    expect_refused(file, "token length");
    expect_refused(GgufBytes().header(0, 1).array("tokenizer.ggml.tokens", Kind::kString, length),
                   "token count");
  }
}

// PyTorch CVE-2025-32434, CVE-2026-24747; vLLM CVE-2025-32444: weights whose loading runs code. No
// reader of pickles is here: such a file is refused by its first bytes, whatever its name.
TEST(Incidents, Cve2025_32434_PickledWeights) {
  const TempFolder folder;
  const std::string pickle(
      "\x80\x02"
      "cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
      38);
  const std::string zip("PK\x03\x04\x14\0\0\0\0\0archive/data.pkl", 26);
  for (const std::string& content : {pickle, zip}) {
    for (const char* name : {"model.bin", "model.pt", "model.gguf", "model.safetensors"}) {
      const auto files = open_model(folder.write(name, content));
      ASSERT_FALSE(files) << name;
      EXPECT_THAT(files.error().what, HasSubstr(name));
    }
  }
  folder.write("config.json", R"({"model_type": "deepseek_v3"})");
  folder.write("pytorch_model.bin", pickle);
  std::filesystem::remove(folder / "model.safetensors");
  EXPECT_FALSE(open_hf_folder(folder.path()));
}

// vLLM CVE-2026-22807: auto_map of a configuration named code that was run.
TEST(Incidents, Cve2026_22807_CodeNamedByTheConfiguration) {
  const auto config = JsonConfig::parse(
      R"({"model_type": "deepseek_v3", "hidden_size": 64, "trust_remote_code": true,
          "auto_map": {"AutoConfig": "configuration_evil.Config", "AutoModel": "evil--m.M"}})",
      "config.json");
  ASSERT_TRUE(config) << config.error().what;
  EXPECT_EQ(*config->integer("hidden_size", std::nullopt, 1, 1'000), 64);
}

}  // namespace
}  // namespace hadal
