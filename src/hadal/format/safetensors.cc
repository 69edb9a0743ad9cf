#include "hadal/format/safetensors.h"

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <cstring>
#include <unordered_set>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/hf.h"
#include "hadal/format/json_text.h"

namespace hadal {
namespace {

namespace json = boost::json;

struct DTypeName {
  std::string_view name;
  DType dtype;
};

constexpr std::array<DTypeName, 7> kDTypeNames = {{
    {"F32", DType::kF32},
    {"F16", DType::kF16},
    {"BF16", DType::kBF16},
    {"F8_E4M3", DType::kF8E4M3},
    {"F8_E8M0", DType::kF8E8M0},
    {"I32", DType::kI32},
    {"I64", DType::kI64},
}};

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

Result<DType> read_dtype(const json::object& entry, std::string_view file,
                         const std::string& field) {
  constexpr std::string_view kExpected = "dtype F32, F16, BF16, F8_E4M3, F8_E8M0, I32 or I64";
  const json::value* dtype = entry.if_contains("dtype");
  if (dtype == nullptr || !dtype->is_string()) {
    return field_error(Code::kCorrupt, file, field,
                       dtype == nullptr ? "no dtype" : describe_json(*dtype) + " as dtype",
                       kExpected);
  }
  for (const DTypeName& row : kDTypeNames) {
    if (row.name == view(dtype->get_string())) return row.dtype;
  }
  return field_error(Code::kUnsupported, file, field, "dtype " + shown(view(dtype->get_string())),
                     kExpected);
}

// An array of unsigned integers under `key`.
Result<std::vector<int64_t>> read_numbers(const json::object& entry, const char* key,
                                          std::string_view file, const std::string& field) {
  const json::value* value = entry.if_contains(key);
  std::vector<int64_t> numbers;
  const std::string expected = std::string(key) + " as an array of unsigned integers";
  if (value == nullptr || !value->is_array()) {
    return field_error(Code::kCorrupt, file, field,
                       value == nullptr ? std::string("no ") + key : describe_json(*value),
                       expected);
  }
  for (const json::value& element : value->get_array()) {
    const int64_t* number = element.if_int64();
    if (number == nullptr || *number < 0) {
      return field_error(Code::kCorrupt, file, field, describe_json(element), expected);
    }
    numbers.push_back(*number);
  }
  return numbers;
}

// Bytes that `shape` of `dtype` needs.
Result<uint64_t> needed_bytes(const TensorRecord& record, std::string_view file,
                              const std::string& field) {
  if (record.shape.size() > limits::kTensorDimsMax) {
    return field_error(Code::kUnsupported, file, field,
                       std::to_string(record.shape.size()) + " dimensions",
                       "at most " + std::to_string(limits::kTensorDimsMax));
  }
  uint64_t bytes = dtype_info(record.dtype).block_bytes;
  for (const int64_t extent : record.shape) {
    if (extent == 0 || !checked_multiply(bytes, static_cast<uint64_t>(extent), &bytes) ||
        bytes > INT64_MAX) {
      return field_error(Code::kCorrupt, file, field, "a dimension of " + std::to_string(extent),
                         "dimensions from 1 whose product is below 2^63 bytes");
    }
  }
  return bytes;
}

Result<TensorRecord> read_entry(const json::key_value_pair& entry, std::span<const std::byte> data,
                                uint64_t data_begin, std::string_view file) {
  const std::string_view name(entry.key().data(), entry.key().size());
  if (name.empty() || !is_plain_name(name)) {
    return field_error(Code::kCorrupt, file, "tensor", shown(name),
                       "a name without control characters");
  }
  const std::string field = "tensor " + std::string(name);
  if (!entry.value().is_object()) {
    return field_error(Code::kCorrupt, file, field, describe_json(entry.value()), "an object");
  }
  const json::object& object = entry.value().get_object();
  TensorRecord record;
  record.name = name;
  HADAL_TRY(record.dtype, read_dtype(object, file, field));
  HADAL_TRY(record.shape, read_numbers(object, "shape", file, field));
  HADAL_TRY(const auto offsets, read_numbers(object, "data_offsets", file, field));
  HADAL_TRY(const uint64_t needed, needed_bytes(record, file, field));
  if (record.shape.empty()) record.shape = {1};
  const auto size = static_cast<int64_t>(data.size());
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
    return field_error(Code::kCorrupt, file, field,
                       offsets.size() == 2 ? "data_offsets " + std::to_string(offsets[0]) + " to " +
                                                 std::to_string(offsets[1])
                                           : std::to_string(offsets.size()) + " data_offsets",
                       "a range within the " + std::to_string(size) + " bytes of data");
  }
  const auto begin = static_cast<uint64_t>(offsets[0]);
  const auto length = static_cast<uint64_t>(offsets[1]) - begin;
  if (length != needed) {
    return field_error(Code::kCorrupt, file, field, std::to_string(length) + " bytes",
                       std::to_string(needed) + " as dtype and shape need");
  }
  const uint64_t element = dtype_info(record.dtype).block_bytes;
  if ((data_begin + begin) % element != 0) {
    return field_error(Code::kUnsupported, file, field,
                       "data at byte " + std::to_string(data_begin + begin) + " of the file",
                       "a multiple of the element's " + std::to_string(element) + " bytes");
  }
  record.data = data.subspan(begin, length);
  return record;
}

Status check_overlap(const std::vector<TensorRecord>& sorted, std::string_view file) {
  for (size_t i = 1; i < sorted.size(); ++i) {
    const auto& before = sorted[i - 1].data;
    if (before.data() + before.size() > sorted[i].data.data()) {
      return field_error(Code::kCorrupt, file, "tensor " + sorted[i].name,
                         "data that begins inside that of " + sorted[i - 1].name, "no overlap");
    }
  }
  return {};
}

}  // namespace

Result<std::vector<TensorRecord>> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& file, uint32_t part) {
  uint64_t length = 0;
  if (bytes.size() < sizeof(length)) {
    return field_error(Code::kCorrupt, file, "header length",
                       std::to_string(bytes.size()) + " bytes", "at least 8");
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  const auto rest = bytes.subspan(sizeof(length));
  if (length > limits::kSafetensorsHeaderMax) {
    return field_error(Code::kTooLarge, file, "header length", std::to_string(length),
                       "at most " + std::to_string(limits::kSafetensorsHeaderMax));
  }
  if (length > rest.size()) {
    return field_error(Code::kCorrupt, file, "header length", std::to_string(length),
                       "at most the " + std::to_string(rest.size()) + " bytes that follow");
  }
  const std::string_view text(reinterpret_cast<const char*>(rest.data()), length);
  HADAL_TRY(const json::value header, parse_json(text, file));
  if (!header.is_object()) {
    return field_error(Code::kCorrupt, file, "header", describe_json(header), "an object");
  }
  const auto data = rest.subspan(length);
  std::vector<TensorRecord> tensors;
  for (const json::key_value_pair& entry : header.get_object()) {
    if (entry.key() == "__metadata__") continue;  // free text
    HADAL_TRY(TensorRecord record, read_entry(entry, data, sizeof(length) + length, file));
    record.part = part;
    tensors.push_back(std::move(record));
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorRecord& a, const TensorRecord& b) {
    return a.data.data() < b.data.data();
  });
  HADAL_TRY_VOID(check_overlap(tensors, file));
  return tensors;
}

Result<TensorFile> open_safetensors(const std::vector<std::string>& paths) {
  if (paths.size() > limits::kFilePartsMax) {
    return fail(Code::kTooLarge, std::to_string(paths.size()) + " files, at most " +
                                     std::to_string(limits::kFilePartsMax));
  }
  std::vector<MappedFile> files;
  std::vector<TensorRecord> tensors;
  std::unordered_set<std::string> names;
  for (const std::string& path : paths) {
    HADAL_TRY(MappedFile file, MappedFile::open(path));
    HADAL_TRY(auto records,
              parse_safetensors(file.bytes(), path, static_cast<uint32_t>(files.size())));
    for (TensorRecord& record : records) {
      if (!names.insert(record.name).second) {
        return field_error(Code::kCorrupt, path, "tensor " + record.name,
                           "it in an earlier file too", "it in one file");
      }
      tensors.push_back(std::move(record));
    }
    files.push_back(std::move(file));
  }
  return TensorFile(std::move(files), std::move(tensors));
}

}  // namespace hadal
