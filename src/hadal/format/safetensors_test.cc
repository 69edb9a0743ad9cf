#include "hadal/format/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/format/hf.h"
#include "hadal/format/testing/files.h"

namespace hadal {
namespace {

using testing::bytes_of;
using ::testing::HasSubstr;
using testing::TempFolder;

// The length of `header`, the header, then `data_size` bytes 0, 1, 2, ...
std::string file_with(std::string header, size_t data_size) {
  while (header.size() % 8 != 0) header += ' ';
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  bytes += header;
  for (size_t i = 0; i < data_size; ++i) bytes += static_cast<char>(i);
  return bytes;
}

const char* const kTwo =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

Result<std::vector<TensorRecord>> parse(const std::string& bytes) {
  return parse_safetensors(bytes_of(bytes), "m.safetensors", 3);
}

TEST(Safetensors, ReadsInOrderOfData) {
  const std::string bytes = file_with(kTwo, 20);
  const auto tensors = parse(bytes);
  ASSERT_TRUE(tensors) << tensors.error().what;
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[1].name, "b");
  EXPECT_EQ((*tensors)[1].dtype, DType::kBF16);
  EXPECT_EQ((*tensors)[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*tensors)[1].data.size(), 12u);
  EXPECT_EQ((*tensors)[1].data[0], std::byte{8});
  EXPECT_EQ((*tensors)[1].part, 3u);
}

TEST(Safetensors, EveryDType) {
  const std::pair<const char*, DType> types[] = {
      {"F32", DType::kF32},        {"F16", DType::kF16}, {"BF16", DType::kBF16},
      {"F8_E4M3", DType::kF8E4M3}, {"I32", DType::kI32}, {"I64", DType::kI64},
      {"F8_E8M0", DType::kF8E8M0}};
  for (const auto& [name, dtype] : types) {
    const uint64_t size = row_bytes(dtype, 4);
    const std::string bytes =
        file_with(std::string(R"({"x":{"dtype":")") + name + R"(","shape":[4],"data_offsets":[0,)" +
                      std::to_string(size) + "]}}",
                  size);
    const auto tensors = parse(bytes);
    ASSERT_TRUE(tensors) << tensors.error().what;
    EXPECT_EQ((*tensors)[0].dtype, dtype) << name;
  }
}

TEST(Safetensors, ScalarsAndHolesAndNothing) {
  const std::string scalar =
      file_with(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[4,8]}})", 12);
  const auto tensors = parse(scalar);
  ASSERT_TRUE(tensors) << tensors.error().what;
  EXPECT_EQ((*tensors)[0].shape, (std::vector<int64_t>{1}));
  EXPECT_TRUE(parse(file_with("{}", 0)));
}

TEST(Safetensors, EveryTruncationIsOneLine) {
  const std::string whole = file_with(kTwo, 20);
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto tensors = parse(std::string(whole.data(), size));
    ASSERT_FALSE(tensors) << size;
    EXPECT_THAT(tensors.error().what, ::testing::StartsWith("m.safetensors: "));
    EXPECT_EQ(tensors.error().what.find('\n'), std::string::npos);
  }
}

struct Refusal {
  const char* name;
  std::string bytes;
  Code code;
  const char* says;  // part of the message
};

std::string one_entry(const char* entry) {
  return file_with(std::string(R"({"x":)") + entry + "}", 64);
}

std::vector<Refusal> refused_headers() {
  return {
      {"length over limit", std::string(8, '\x7f'), Code::kTooLarge,
       "header length: found 9187201950435737471"},
      {"length past end", std::string("\x40\0\0\0\0\0\0\0{}", 10), Code::kCorrupt,
       "header length: found 64, expected at most the 2 bytes"},
      {"not JSON", file_with("{]", 0), Code::kCorrupt, "byte "},
      {"not an object", file_with("[]", 0), Code::kCorrupt, "header: found an array of 0"},
      {"trailing text", file_with("{} {}", 0), Code::kCorrupt, "expected one JSON value"},
      {"too deep", file_with(std::string(100, '[') + std::string(100, ']'), 0), Code::kCorrupt,
       "byte "},
      {"not UTF-8", file_with("{\"\xff\":{}}", 0), Code::kCorrupt, "byte "},
      {"name twice",
       file_with(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                 R"("x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                 8),
       Code::kCorrupt, "key \"x\": found it twice"},
      {"empty name", file_with(R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4),
       Code::kCorrupt, "tensor: found \"\""},
      {"control character",
       file_with(R"({"a\nb":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4), Code::kCorrupt,
       "\"a\\x0ab\""},
      {"entry kind", one_entry("7"), Code::kCorrupt,
       "tensor x: found the number 7, expected an object"},
      {"no dtype", one_entry(R"({"shape":[1],"data_offsets":[0,4]})"), Code::kCorrupt,
       "tensor x: found no dtype"},
      {"dtype kind", one_entry(R"({"dtype":3,"shape":[1],"data_offsets":[0,4]})"), Code::kCorrupt,
       "as dtype"},
      {"dtype unknown", one_entry(R"({"dtype":"F8_E5M2","shape":[1],"data_offsets":[0,1]})"),
       Code::kUnsupported, "tensor x: found dtype \"F8_E5M2\""},
      {"no shape", one_entry(R"({"dtype":"F32","data_offsets":[0,4]})"), Code::kCorrupt,
       "found no shape"},
      {"negative", one_entry(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"),
       Code::kCorrupt, "found the number -1"},
      {"fraction", one_entry(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})"),
       Code::kCorrupt, "unsigned integers"},
  };
}

std::vector<Refusal> refused_extents() {
  return {
      {"zero", one_entry(R"({"dtype":"F32","shape":[4,0],"data_offsets":[0,0]})"), Code::kCorrupt,
       "a dimension of 0"},
      {"five dimensions", one_entry(R"({"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]})"),
       Code::kUnsupported, "5 dimensions"},
      {"product overflow",
       one_entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"),
       Code::kCorrupt, "a dimension of 4294967296"},
      {"uint64 extent",
       one_entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]})"),
       Code::kCorrupt, "unsigned integers"},
      {"one offset", one_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), Code::kCorrupt,
       "1 data_offsets"},
      {"reversed", one_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[8,4]})"), Code::kCorrupt,
       "data_offsets 8 to 4"},
      {"past end", one_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[64,68]})"),
       Code::kCorrupt, "data_offsets 64 to 68, expected a range within the 64 bytes"},
      {"size", one_entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), Code::kCorrupt,
       "tensor x: found 8 bytes, expected 12"},
      {"misaligned", one_entry(R"({"dtype":"F32","shape":[1],"data_offsets":[2,6]})"),
       Code::kUnsupported, "a multiple of the element's 4 bytes"},
      {"overlap",
       file_with(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                 R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                 8),
       Code::kCorrupt, "tensor b: found data that begins inside that of a"},
  };
}

TEST(Safetensors, RefusesWithFieldFoundAndExpected) {
  std::vector<Refusal> cases = refused_headers();
  for (Refusal refusal : refused_extents()) cases.push_back(std::move(refusal));
  for (const Refusal& c : cases) {
    const auto tensors = parse(c.bytes);
    ASSERT_FALSE(tensors) << c.name;
    EXPECT_EQ(tensors.error().code, c.code) << c.name << ": " << tensors.error().what;
    EXPECT_THAT(tensors.error().what, HasSubstr(c.says)) << c.name;
    EXPECT_EQ(tensors.error().what.find('\n'), std::string::npos) << c.name;
  }
}

std::string one_tensor(const std::string& name) {
  return file_with("{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
}

TEST(Safetensors, SeveralFilesMustNotShareNames) {
  const TempFolder folder;
  const std::string a = folder.write("a", one_tensor("x"));
  const std::string b = folder.write("b", one_tensor("y"));
  const auto both = open_safetensors({a, b});
  ASSERT_TRUE(both) << both.error().what;
  EXPECT_EQ(both->find("y")->part, 1u);
  both->release(*both->find("y"));
  EXPECT_THAT(open_safetensors({a, a}).error().what,
              HasSubstr("tensor x: found it in an earlier file"));
}

TEST(HfFolder, SingleAndSharded) {
  const TempFolder folder;
  folder.write("config.json", "{\"hidden_size\": 4}");
  EXPECT_THAT(open_hf_folder(folder.path()).error().what, HasSubstr("model.safetensors"));
  folder.write("model.safetensors", one_tensor("single"));
  auto model = open_hf_folder(folder.path());
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_NE(model->tensors.find("single"), nullptr);
  EXPECT_FALSE(model->generation.has_value());
  folder.write("model.safetensors.index.json",
               R"({"weight_map":{"x":"one.safetensors","y":"two.safetensors"}})");
  folder.write("one.safetensors", one_tensor("x"));
  EXPECT_THAT(open_hf_folder(folder.path()).error().what, HasSubstr("two.safetensors"));
  folder.write("two.safetensors", one_tensor("z"));
  EXPECT_THAT(open_hf_folder(folder.path()).error().what,
              HasSubstr("weight_map \"y\": found no such tensor in two.safetensors"));
  folder.write("two.safetensors",
               file_with(R"({"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                         8));
  folder.write("generation_config.json", R"({"eos_token_id":[1,2]})");
  model = open_hf_folder(folder.path());
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->tensors.tensors().size(),
            2u);  // two's own x is not the one that the index names
  EXPECT_EQ(model->tensors.find("x")->part, 0u);
  EXPECT_EQ(model->generation->integers("eos_token_id").value(), (std::vector<int64_t>{1, 2}));
}

TEST(HfFolder, IndexMayNotLeaveTheFolder) {
  for (const char* shard : {"../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.bin", ""}) {
    const TempFolder folder;
    folder.write("config.json", "{}");
    folder.write("model.safetensors.index.json",
                 std::string(R"({"weight_map":{"x":")") + shard + "\"}}");
    const auto model = open_hf_folder(folder.path());
    ASSERT_FALSE(model) << shard;
    EXPECT_THAT(model.error().what,
                HasSubstr("the name of a .safetensors file in the same folder"));
  }
}

TEST(HfFolder, BrokenFilesAreNamed) {
  const TempFolder folder;
  EXPECT_EQ(open_hf_folder(folder.path()).error().code, Code::kNotFound);
  folder.write("config.json", "{");
  EXPECT_THAT(open_hf_folder(folder.path()).error().what, HasSubstr("config.json: "));
  folder.write("config.json", "{}");
  folder.write("generation_config.json", "[]");
  EXPECT_THAT(open_hf_folder(folder.path()).error().what,
              HasSubstr("generation_config.json: content"));
  folder.write("generation_config.json", "{}");
  folder.write("model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_THAT(open_hf_folder(folder.path()).error().what,
              HasSubstr("weight_map: found an array of 0"));
}

TEST(HfFolder, GoldenModels) {
  const std::string golden = HADAL_SOURCE_DIR "/../shared/golden/deepseek-";
  const auto model = open_hf_folder(golden + "v3-tiny-fp8");
  if (!model && model.error().code == Code::kNotFound) GTEST_SKIP() << model.error().what;
  ASSERT_TRUE(model) << model.error().what;
  const std::string name = "model.layers.0.self_attn.q_a_proj.weight";
  const TensorRecord* weight = model->tensors.find(name);
  const TensorRecord* scale = model->tensors.find(name + "_scale_inv");
  ASSERT_TRUE(weight != nullptr && scale != nullptr);
  EXPECT_EQ(weight->dtype, DType::kF8E4M3);
  EXPECT_EQ(weight->shape, (std::vector<int64_t>{64, 256}));
  EXPECT_EQ(scale->dtype, DType::kF32);
  EXPECT_EQ(scale->shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(model->config.integers("quantization_config.weight_block_size").value(),
            (std::vector<int64_t>{128, 128}));
  EXPECT_EQ(model->config.real("rope_scaling.factor", {}).value(), 40.0);
  EXPECT_TRUE(open_hf_folder(golden + "v2-tiny-bf16"));
  EXPECT_TRUE(open_hf_folder(golden + "v3-tiny-bf16"));
}

}  // namespace
}  // namespace hadal
