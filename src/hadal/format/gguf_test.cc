#include "hadal/format/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/format/testing/files.h"

namespace hadal {
namespace {

using testing::bytes_of;
using testing::GgufBytes;
using ::testing::HasSubstr;
using testing::Kind;
using testing::TempFolder;

constexpr uint32_t kTypeF32 = 0, kTypeQ4_K = 12, kTypeQ8_0 = 8, kTypeIq2Xxs = 16;

Result<GgufModel> parse(const std::string& bytes) {
  return parse_gguf(bytes_of(bytes), "model.gguf");
}

// Two keys and two tensors: a matrix of 2 x 32 Q8_0 and a vector of three floats.
std::string small_file() {
  return GgufBytes()
      .header(2, 3)
      .key("general.architecture", "deepseek2")
      .key<uint32_t>("general.alignment", Kind::kU32, 64)
      .strings("words", {"a", ""})
      .tensor("matrix", {32, 2}, kTypeQ8_0, 0)
      .tensor("vector", {3}, kTypeF32, 128)
      .data(128 + 12, 64)
      .bytes();
}

TEST(Gguf, ReadsKeysAndTensors) {
  const std::string bytes = small_file();
  const auto model = parse(bytes);
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->meta.text("general.architecture", {}).value(), "deepseek2");
  EXPECT_EQ(std::get<std::vector<std::string>>(model->meta.values.at("words")),
            (std::vector<std::string>{"a", ""}));
  ASSERT_EQ(model->tensors.tensors().size(), 2u);
  const TensorRecord* matrix = model->tensors.find("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(matrix->dtype, DType::kQ8_0);
  EXPECT_EQ(matrix->data.size(), 68u);
  EXPECT_EQ(matrix->data[1], std::byte{1});
  EXPECT_EQ(matrix->elements(), 64);
  const TensorRecord* vector = model->tensors.find("vector");
  ASSERT_NE(vector, nullptr);
  EXPECT_EQ(vector->data[0], std::byte{128});
  EXPECT_EQ(model->tensors.find("Matrix"), nullptr);
  EXPECT_EQ(model->tensors.total_bytes(), 80u);
  model->tensors.release(*matrix);  // nothing to release, and no harm
}

TEST(Gguf, EveryTruncationIsOneLine) {
  const std::string whole = small_file();
  ASSERT_TRUE(parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of its own, so that a read past the end is a read past an allocation.
    const std::string cut(whole.data(), size);
    const auto model = parse(cut);
    ASSERT_FALSE(model) << size;
    EXPECT_THAT(model.error().what, ::testing::StartsWith("model.gguf: "));
    EXPECT_EQ(model.error().what.find('\n'), std::string::npos) << model.error().what;
    EXPECT_EQ(model.error().code, Code::kCorrupt) << model.error().what;
  }
}

TEST(Gguf, EveryFlippedByteIsReadOrRefused) {
  const std::string whole = small_file();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xFF}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      const auto model = parse(changed);
      EXPECT_TRUE(model || model.error().what.find('\n') == std::string::npos);
    }
  }
}

struct Refusal {
  const char* name;
  std::string bytes;
  Code code;
  const char* says;  // part of the message
};

std::vector<Refusal> refused_headers() {
  const auto file = [] { return GgufBytes(); };
  return {
      {"empty", "", Code::kCorrupt, "magic: found the end"},
      {"magic", file().raw("GGML").put<uint32_t>(3).data(64).bytes(), Code::kCorrupt,
       "magic: found \"GGML\", expected \"GGUF\""},
      {"version 1", file().header(0, 0, 1).bytes(), Code::kUnsupported,
       "version: found 1, expected 2 or 3"},
      {"version 4", file().header(0, 0, 4).bytes(), Code::kUnsupported, "version: found 4"},
      {"big endian", file().header(0, 0, 0x03000000).bytes(), Code::kUnsupported, "big-endian"},
      {"keys over limit", file().header(0, 1 << 20).bytes(), Code::kTooLarge,
       "key count: found 1048576"},
      {"keys near 2^64", file().header(0, ~0ull).bytes(), Code::kTooLarge, "key count"},
      {"tensors near 2^64", file().header(~0ull, 0).bytes(), Code::kTooLarge, "tensor count"},
      {"tensors that cannot fit", file().header(1000, 0).data(64).bytes(), Code::kCorrupt,
       "tensor count: found 1000 tensors in"},
      {"keys that are missing", file().header(0, 2).key("a", "b").bytes(), Code::kCorrupt, "key 1"},
  };
}

std::vector<Refusal> refused_keys() {
  const auto one = [] { return GgufBytes().header(0, 1); };
  return {
      {"string near 2^64", one().put<uint64_t>(~0ull).raw("abc").bytes(), Code::kTooLarge, "key 0"},
      {"long string",
       one().text("a").put<uint32_t>(Kind::kString).put<uint64_t>(1ull << 40).bytes(),
       Code::kTooLarge, "a: found a string of 1099511627776 bytes"},
      {"string past end",
       one().text("a").put<uint32_t>(Kind::kString).put<uint64_t>(100).raw("x").bytes(),
       Code::kCorrupt, "a: found the end of the file after 1 bytes, expected 100 bytes"},
      {"empty key", one().key("", "x").bytes(), Code::kCorrupt, "key 0: found \"\""},
      {"key not UTF-8", one().key("a\xff", "x").bytes(), Code::kCorrupt, "key 0: found \"a\\xff\""},
      {"overlong UTF-8", one().key("\xc0\x80", "x").bytes(), Code::kCorrupt, "key 0"},
      {"surrogate", one().key("\xed\xa0\x80", "x").bytes(), Code::kCorrupt, "key 0"},
      {"key with a line end", one().key("a\nb", "x").bytes(), Code::kCorrupt, "\"a\\x0ab\""},
      {"key twice", GgufBytes().header(0, 2).key("a", "x").key("a", "y").bytes(), Code::kCorrupt,
       "a: found the key twice"},
      {"unknown kind", one().text("a").put<uint32_t>(13).put<uint64_t>(0).bytes(), Code::kCorrupt,
       "a: found value kind 13"},
      {"bool of 2", one().key<uint8_t>("a", Kind::kBool, 2).bytes(), Code::kCorrupt,
       "a: found the byte 2"},
      {"uint64 above int64", one().key<uint64_t>("a", Kind::kU64, 1ull << 63).bytes(),
       Code::kUnsupported, "a: found 9223372036854775808"},
      {"nested array", one().array("a", Kind::kArray, 1).bytes(), Code::kUnsupported,
       "a: found an array of arrays"},
      {"array of unknown", one().array("a", static_cast<Kind>(77), 1).bytes(), Code::kCorrupt,
       "kind 77"},
      {"array over limit", one().array("a", Kind::kU8, 1ull << 40).bytes(), Code::kTooLarge,
       "array of 1099511627776"},
      {"array past end", one().array("a", Kind::kU32, 100).put<uint32_t>(1).bytes(), Code::kCorrupt,
       "an array of 100 elements in 4 remaining bytes"},
      {"strings past end", one().array("a", Kind::kString, 2).text("x").raw("1234567").bytes(),
       Code::kCorrupt, "a: found"},
      {"alignment 48", one().key<uint32_t>("general.alignment", Kind::kU32, 48).bytes(),
       Code::kCorrupt, "general.alignment: found 48, expected a power of two"},
      {"alignment 0", one().key<uint32_t>("general.alignment", Kind::kU32, 0).bytes(),
       Code::kCorrupt, "general.alignment: found 0"},
      {"alignment as text", one().key("general.alignment", "32").bytes(), Code::kCorrupt,
       "general.alignment: found \"32\", expected an integer"},
  };
}

std::vector<Refusal> refused_tensors() {
  const auto one = [] { return GgufBytes().header(1, 0); };
  const auto two = [] { return GgufBytes().header(2, 0); };
  return {
      {"unsupported type", one().tensor("blk.0.x", {256}, kTypeIq2Xxs, 0).data(66).bytes(),
       Code::kUnsupported, "tensor blk.0.x: found type IQ2_XXS"},
      {"withdrawn type", one().tensor("x", {32}, 4, 0).data(99).bytes(), Code::kUnsupported,
       "type Q4_2"},
      {"ternary type", one().tensor("x", {256}, 34, 0).data(99).bytes(), Code::kUnsupported,
       "type TQ1_0"},
      {"no such type", one().tensor("x", {32}, 999, 0).data(99).bytes(), Code::kUnsupported,
       "type number 999"},
      {"no dimensions", one().tensor("x", {}, kTypeF32, 0).data(64).bytes(), Code::kCorrupt,
       "0 dimensions"},
      {"five dimensions", one().tensor("x", {1, 1, 1, 1, 1}, kTypeF32, 0).data(64).bytes(),
       Code::kCorrupt, "5 dimensions"},
      {"zero extent", one().tensor("x", {4, 0}, kTypeF32, 0).data(64).bytes(), Code::kCorrupt,
       "dimension 1 of 0"},
      {"product overflow",
       one().tensor("x", {1ull << 32, 1ull << 32}, kTypeF32, 0).data(64).bytes(), Code::kCorrupt,
       "dimension 1 of 4294967296"},
      {"bytes overflow", one().tensor("x", {(1ull << 62)}, kTypeF32, 0).data(64).bytes(),
       Code::kCorrupt, "tensor x: found"},
      {"negative extent", one().tensor("x", {~0ull}, kTypeF32, 0).data(64).bytes(), Code::kCorrupt,
       "dimension 0"},
      {"partial block", one().tensor("x", {255}, kTypeQ4_K, 0).data(144).bytes(), Code::kCorrupt,
       "rows of 255 elements of q4_k, expected a multiple of 256"},
      {"partial rows", one().tensor("x", {16, 2}, kTypeQ8_0, 0).data(64).bytes(), Code::kCorrupt,
       "rows of 16"},
      {"misaligned", one().tensor("x", {4}, kTypeF32, 8).data(64).bytes(), Code::kCorrupt,
       "offset 8, expected a multiple of the alignment 32"},
      {"offset past end", one().tensor("x", {4}, kTypeF32, 64).data(64).bytes(), Code::kCorrupt,
       "16 bytes at offset 64"},
      {"offset near 2^64", one().tensor("x", {16}, kTypeF32, ~0ull - 31).data(64).bytes(),
       Code::kCorrupt, "64 bytes at offset 18446744073709551584"},
      {"no data", one().tensor("x", {4}, kTypeF32, 0).bytes(), Code::kCorrupt, "data: found"},
      {"overlap",
       two().tensor("a", {16}, kTypeF32, 0).tensor("b", {4}, kTypeF32, 32).data(96).bytes(),
       Code::kCorrupt, "tensor b: found offset 32, expected at least 64, the end of a"},
      {"same place",
       two().tensor("a", {4}, kTypeF32, 0).tensor("b", {4}, kTypeF32, 0).data(96).bytes(),
       Code::kCorrupt, "the end of"},
      {"name twice",
       two().tensor("a", {4}, kTypeF32, 0).tensor("a", {4}, kTypeF32, 32).data(96).bytes(),
       Code::kCorrupt, "tensor a: found the name twice"},
      {"empty name", one().tensor("", {4}, kTypeF32, 0).data(64).bytes(), Code::kCorrupt,
       "name of tensor 0"},
      {"part of a split",
       GgufBytes().header(0, 1).key<uint16_t>("split.count", Kind::kU16, 2).bytes(), Code::kCorrupt,
       "split.count: found 2, expected a file name that ends in -00001-of-00002.gguf"},
  };
}

TEST(Gguf, RefusesWithFieldFoundAndExpected) {
  for (const auto& cases : {refused_headers(), refused_keys(), refused_tensors()}) {
    for (const Refusal& refusal : cases) {
      const auto model = parse(refusal.bytes);
      ASSERT_FALSE(model) << refusal.name;
      EXPECT_EQ(model.error().code, refusal.code) << refusal.name << ": " << model.error().what;
      EXPECT_THAT(model.error().what, HasSubstr(refusal.says)) << refusal.name;
      EXPECT_EQ(model.error().what.find('\n'), std::string::npos);
      EXPECT_LT(model.error().what.size(), 400u);
    }
  }
}

TEST(Gguf, AcceptsWhatIsUnusualButAllowed) {
  EXPECT_TRUE(parse(GgufBytes().header(0, 0, 2).bytes())) << "version 2, empty";
  const std::string four =
      GgufBytes().header(1, 0).tensor("x", {4, 3, 2, 1}, kTypeF32, 0).data(96).bytes();
  const auto model = parse(four);
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->tensors.tensors()[0].shape, (std::vector<int64_t>{1, 2, 3, 4}));
  const std::string gap = GgufBytes()
                              .header(2, 0)
                              .tensor("late", {4}, kTypeF32, 64)
                              .tensor("early", {4}, kTypeF32, 0)
                              .data(96)
                              .bytes();
  EXPECT_TRUE(parse(gap)) << "a hole, and tensors out of order";
}

TEST(Gguf, ValueKinds) {
  const std::string bytes = GgufBytes()
                                .header(0, 13)
                                .key<uint8_t>("u8", Kind::kU8, 255)
                                .key<int8_t>("i8", Kind::kI8, -1)
                                .key<uint16_t>("u16", Kind::kU16, 65535)
                                .key<int16_t>("i16", Kind::kI16, -2)
                                .key<uint32_t>("u32", Kind::kU32, 4294967295u)
                                .key<int32_t>("i32", Kind::kI32, -3)
                                .key<float>("f32", Kind::kF32, 0.5f)
                                .key<uint8_t>("yes", Kind::kBool, 1)
                                .key<uint64_t>("u64", Kind::kU64, 1ull << 62)
                                .key<int64_t>("i64", Kind::kI64, INT64_MIN)
                                .key<double>("f64", Kind::kF64, 0.1)
                                .array("flags", Kind::kBool, 2)
                                .put<uint8_t>(1)
                                .put<uint8_t>(0)
                                .array("none", Kind::kF32, 0)
                                .bytes();
  const auto model = parse(bytes);
  ASSERT_TRUE(model) << model.error().what;
  const GgufMeta& meta = model->meta;
  const auto integer = [&](const char* key) {
    return meta.integer(key, {}, INT64_MIN, INT64_MAX).value();
  };
  EXPECT_EQ(integer("u8"), 255);
  EXPECT_EQ(integer("i8"), -1);
  EXPECT_EQ(integer("u16"), 65535);
  EXPECT_EQ(integer("i16"), -2);
  EXPECT_EQ(integer("u32"), 4294967295);
  EXPECT_EQ(integer("i32"), -3);
  EXPECT_EQ(integer("u64"), int64_t{1} << 62);
  EXPECT_EQ(integer("i64"), INT64_MIN);
  EXPECT_EQ(meta.real("f32", {}).value(), 0.5);
  EXPECT_EQ(meta.real("f64", {}).value(), 0.1);
  EXPECT_EQ(meta.real("u8", {}).value(), 255.0);
  EXPECT_TRUE(meta.boolean("yes", {}).value());
  EXPECT_EQ(*meta.integers("flags"), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(meta.integers("none"), nullptr);
}

TEST(GgufMeta, TypedAccessNamesKeyFoundAndExpected) {
  GgufMeta meta;
  meta.path = "m.gguf";
  meta.values = {{"n", int64_t{7}}, {"s", std::string("x\n")}, {"nan", 0.0 / 0.0}, {"b", true}};
  EXPECT_EQ(meta.integer("n", {}, 0, 10).value(), 7);
  EXPECT_EQ(meta.integer("absent", 3, 5, 10).value(), 3);  // a fallback is the caller's business
  EXPECT_EQ(meta.integer("n", {}, 0, 6).error().what,
            "m.gguf: n: found 7, expected an integer from 0 to 6");
  EXPECT_EQ(meta.integer("absent", {}, 0, 6).error().what,
            "m.gguf: absent: found no such key, expected an integer from 0 to 6");
  EXPECT_EQ(meta.integer("s", 1, 0, 6).error().what,
            "m.gguf: s: found \"x\\x0a\", expected an integer from 0 to 6");
  EXPECT_EQ(meta.boolean("n", false).error().what,
            "m.gguf: n: found the integer 7, expected true or false");
  EXPECT_THAT(meta.real("nan", {}).error().what, HasSubstr("expected a finite number"));
  EXPECT_EQ(meta.text("b", "").error().what, "m.gguf: b: found true, expected a string");
}

// A part of a split model with one vector.
std::string part(uint16_t number, uint16_t count, const char* tensor, int32_t total = 2) {
  return GgufBytes()
      .header(1, 3)
      .key<uint16_t>("split.no", Kind::kU16, number)
      .key<uint16_t>("split.count", Kind::kU16, count)
      .key<int32_t>("split.tensors.count", Kind::kI32, total)
      .tensor(tensor, {4}, kTypeF32, 0)
      .data(16)
      .bytes();
}

TEST(GgufSplit, OpensAllPartsByAnyOfThem) {
  const TempFolder folder;
  const std::string first = folder.write("m-00001-of-00002.gguf", part(0, 2, "a"));
  const std::string second = folder.write("m-00002-of-00002.gguf", part(1, 2, "b"));
  for (const std::string& path : {first, second}) {
    const auto model = open_gguf(path);
    ASSERT_TRUE(model) << model.error().what;
    ASSERT_EQ(model->tensors.tensors().size(), 2u);
    EXPECT_EQ(model->tensors.find("b")->part, 1u);
    EXPECT_EQ(model->tensors.parts()[1].path(), second);
    EXPECT_EQ(model->meta.path, first);
    model->tensors.release(*model->tensors.find("b"));
  }
}

TEST(GgufSplit, RefusesWhatDoesNotBelongTogether) {
  const struct {
    const char* name;
    std::string first, second;  // empty: no such file
    Code code;
    const char* says;
  } cases[] = {
      {"missing part", part(0, 2, "a"), "", Code::kNotFound, "part 2: found no file"},
      {"missing first", "", part(1, 2, "b"), Code::kNotFound, "00001-of-00002.gguf"},
      {"wrong part", part(0, 2, "a"), part(0, 2, "b"), Code::kCorrupt,
       "split.no: found 0, expected 1"},
      {"wrong count", part(0, 2, "a"), part(1, 3, "b"), Code::kCorrupt,
       "split.count: found 3, expected 2"},
      {"not a part", part(0, 2, "a"), small_file(), Code::kCorrupt,
       "split.count: found no such key"},
      {"same tensor", part(0, 2, "a"), part(1, 2, "a"), Code::kCorrupt,
       "tensor a: found the name twice"},
      {"wrong total", part(0, 2, "a", 3), part(1, 2, "b", 3), Code::kCorrupt,
       "split.tensors.count: found 3 where the parts hold 2"},
  };
  for (const auto& c : cases) {
    const TempFolder folder;
    if (!c.first.empty()) folder.write("m-00001-of-00002.gguf", c.first);
    if (!c.second.empty()) folder.write("m-00002-of-00002.gguf", c.second);
    const auto model =
        open_gguf(folder / (c.first.empty() ? "m-00002-of-00002.gguf" : "m-00001-of-00002.gguf"));
    ASSERT_FALSE(model) << c.name;
    EXPECT_EQ(model.error().code, c.code) << c.name << ": " << model.error().what;
    EXPECT_THAT(model.error().what, HasSubstr(c.says)) << c.name;
  }
}

TEST(GgufSplit, NamesThatOnlyLookSplitAreSingleFiles) {
  const TempFolder folder;
  for (const char* name : {"m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-0001-of-0002.gguf",
                           "m00001-of-00002.gguf"}) {
    const auto model = open_gguf(folder.write(name, small_file()));
    EXPECT_TRUE(model) << name << ": " << model.error().what;
  }
}

TEST(Gguf, OpenNamesAMissingFile) {
  const auto model = open_gguf("/nonexistent/m.gguf");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, Code::kNotFound);
  EXPECT_THAT(model.error().what, HasSubstr("/nonexistent/m.gguf"));
}

TEST(GgufWrite, ComesBackAsItWas) {
  const TempFolder folder;
  const std::map<std::string, GgufValue, std::less<>> values = {
      {"general.alignment", int64_t{128}},
      {"a.small", int64_t{-5}},
      {"a.large", int64_t{1} << 40},
      {"a.real", 0.25},
      {"a.huge", 1e300},
      {"a.yes", true},
      {"a.text", std::string("\xff\n")},
      {"a.list", std::vector<int64_t>{1, -2}},
      {"a.reals", std::vector<double>{0.5, -1}},
      {"a.wide", std::vector<int64_t>{int64_t{1} << 40}},
      {"a.words", std::vector<std::string>{"x", ""}}};
  std::vector<std::byte> rows(2 * 34), vector(12);
  rows[5] = std::byte{77};
  const GgufTensorSource tensors[] = {{"rows", DType::kQ8_0, {2, 32}, rows},
                                      {"vector", DType::kF32, {3}, vector}};
  auto with_split = values;
  with_split["split.count"] = int64_t{2};
  const std::string path = folder / "out.gguf";
  const auto written = write_gguf(path, with_split, tensors);
  ASSERT_TRUE(written) << written.error().what;
  const auto model = open_gguf(path);
  ASSERT_TRUE(model) << model.error().what;
  EXPECT_EQ(model->meta.values, values);
  ASSERT_EQ(model->tensors.tensors().size(), 2u);
  const TensorRecord& back = model->tensors.tensors()[0];
  EXPECT_EQ(back.shape, (std::vector<int64_t>{2, 32}));
  EXPECT_TRUE(std::equal(back.data.begin(), back.data.end(), rows.begin(), rows.end()));
  const auto begin = model->tensors.parts()[0].bytes().data();
  for (const TensorRecord& tensor : model->tensors.tensors()) {
    EXPECT_EQ((tensor.data.data() - begin) % 128, 0) << tensor.name;
  }
}

TEST(GgufWrite, RefusesWhatAReaderWouldRefuse) {
  const TempFolder folder;
  const std::vector<std::byte> bytes(64);
  const struct {
    const char* name;
    std::vector<GgufTensorSource> tensors;
    const char* says;
  } cases[] = {
      {"size", {{"x", DType::kF32, {3}, bytes}}, "64 bytes"},
      {"block", {{"x", DType::kQ8_0, {33}, bytes}}, "whole blocks"},
      {"fp8", {{"x", DType::kF8E4M3, {64}, bytes}}, "type f8_e4m3"},
      {"zero", {{"x", DType::kF32, {16, 0}, bytes}}, "a dimension of 0"},
      {"no shape", {{"x", DType::kF32, {}, bytes}}, "0 dimensions"},
      {"name", {{"", DType::kF32, {16}, bytes}}, "a name"},
      {"twice",
       {{"x", DType::kF32, {16}, bytes}, {"x", DType::kF32, {16}, bytes}},
       "the name twice"},
  };
  for (const auto& c : cases) {
    const auto status = write_gguf(folder / "x.gguf", {}, c.tensors);
    ASSERT_FALSE(status) << c.name;
    EXPECT_THAT(status.error().what, HasSubstr(c.says)) << c.name;
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << c.name;
  }
  EXPECT_FALSE(write_gguf(folder / "no/such/x.gguf", {}, {}));
  EXPECT_FALSE(write_gguf(folder / "x.gguf", {{"general.alignment", int64_t{33}}}, {}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace hadal
