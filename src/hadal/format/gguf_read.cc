// One GGUF file: header, keys, tensor table. Opening the parts of a split model is in
// gguf_split.cc.
#include <algorithm>
#include <limits>

#include "hadal/base/limits.h"
#include "hadal/format/gguf_cursor.h"
#include "hadal/format/gguf_part.h"
#include "hadal/format/gguf_types.h"

namespace hadal {
namespace {

constexpr uint64_t kNameMax = 65'535;  // of keys and tensors, in bytes
constexpr int64_t kAlignmentDefault = 32;
constexpr int64_t kAlignmentMax = 1 << 20;

// Numbers of the value kinds in a file.
enum ValueKind : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

uint64_t kind_bytes(uint32_t kind) {
  switch (kind) {
    case kUint8:
    case kInt8:
    case kBool:
      return 1;
    case kUint16:
    case kInt16:
      return 2;
    case kUint32:
    case kInt32:
    case kFloat32:
      return 4;
    case kUint64:
    case kInt64:
    case kFloat64:
    case kString:
      return 8;  // a string is at least its length
    default:
      return 0;
  }
}

template <class T>
Result<int64_t> integer_as(GgufCursor& cursor, std::string_view field) {
  HADAL_TRY(const T value, cursor.read<T>(field));
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return field_error(Code::kUnsupported, cursor.file(), field, std::to_string(value),
                         "an integer below 2^63");
    }
  }
  return static_cast<int64_t>(value);
}

Result<int64_t> read_integer(GgufCursor& cursor, uint32_t kind, std::string_view field) {
  switch (kind) {
    case kUint8:
      return integer_as<uint8_t>(cursor, field);
    case kInt8:
      return integer_as<int8_t>(cursor, field);
    case kUint16:
      return integer_as<uint16_t>(cursor, field);
    case kInt16:
      return integer_as<int16_t>(cursor, field);
    case kUint32:
      return integer_as<uint32_t>(cursor, field);
    case kInt32:
      return integer_as<int32_t>(cursor, field);
    case kUint64:
      return integer_as<uint64_t>(cursor, field);
    default:
      return integer_as<int64_t>(cursor, field);
  }
}

Result<double> read_real(GgufCursor& cursor, uint32_t kind, std::string_view field) {
  if (kind == kFloat64) return cursor.read<double>(field);
  HADAL_TRY(const float value, cursor.read<float>(field));
  return static_cast<double>(value);
}

Result<bool> read_bool(GgufCursor& cursor, std::string_view field) {
  HADAL_TRY(const auto value, cursor.read<uint8_t>(field));
  if (value > 1) {
    return field_error(Code::kCorrupt, cursor.file(), field,
                       "the byte " + std::to_string(value) + " as a bool", "0 or 1");
  }
  return value == 1;
}

Result<std::string> read_string(GgufCursor& cursor, std::string_view field) {
  HADAL_TRY(const std::string_view text, cursor.text(field, limits::kGgufStringMax));
  return std::string(text);
}

// `count` values, whose least size in the file has been compared with what is left of it.
template <class T, class Read>
Result<GgufValue> read_all(uint64_t count, const Read& read) {
  std::vector<T> values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    HADAL_TRY(T value, read());
    values.push_back(std::move(value));
  }
  return GgufValue(std::move(values));
}

Result<GgufValue> read_array(GgufCursor& cursor, std::string_view field) {
  HADAL_TRY(const auto kind, cursor.read<uint32_t>(field));
  HADAL_TRY(const auto count, cursor.read<uint64_t>(field));
  if (kind == kArray) {
    return field_error(Code::kUnsupported, cursor.file(), field, "an array of arrays",
                       "an array of numbers or strings");
  }
  const uint64_t least = kind_bytes(kind);
  if (least == 0) {
    return field_error(Code::kCorrupt, cursor.file(), field,
                       "an array of value kind " + std::to_string(kind), "a kind from 0 to 12");
  }
  if (count > limits::kGgufArrayMax) {
    return field_error(Code::kTooLarge, cursor.file(), field,
                       "an array of " + std::to_string(count) + " elements",
                       "at most " + std::to_string(limits::kGgufArrayMax));
  }
  if (count > cursor.left() / least) {
    return field_error(Code::kCorrupt, cursor.file(), field,
                       "an array of " + std::to_string(count) + " elements in " +
                           std::to_string(cursor.left()) + " remaining bytes",
                       "an array that fits the file");
  }
  if (kind == kString)
    return read_all<std::string>(count, [&] { return read_string(cursor, field); });
  if (kind == kFloat32 || kind == kFloat64) {
    return read_all<double>(count, [&] { return read_real(cursor, kind, field); });
  }
  if (kind == kBool) {
    return read_all<int64_t>(count, [&]() -> Result<int64_t> {
      HADAL_TRY(const bool value, read_bool(cursor, field));
      return value ? 1 : 0;
    });
  }
  return read_all<int64_t>(count, [&] { return read_integer(cursor, kind, field); });
}

Result<GgufValue> read_value(GgufCursor& cursor, uint32_t kind, std::string_view field) {
  switch (kind) {
    case kFloat32:
    case kFloat64:
      return read_real(cursor, kind, field);
    case kBool:
      return read_bool(cursor, field);
    case kString:
      return read_string(cursor, field);
    case kArray:
      return read_array(cursor, field);
    default:
      break;
  }
  if (kind_bytes(kind) == 0) {
    return field_error(Code::kCorrupt, cursor.file(), field, "value kind " + std::to_string(kind),
                       "a kind from 0 to 12");
  }
  return read_integer(cursor, kind, field);
}

// A key's or a tensor's name, checked so that it can appear in messages.
Result<std::string> read_name(GgufCursor& cursor, const std::string& field) {
  HADAL_TRY(const std::string_view name, cursor.text(field, kNameMax));
  if (name.empty() || !is_plain_name(name)) {
    return field_error(Code::kCorrupt, cursor.file(), field, shown(name),
                       "a name of UTF-8 text without control characters");
  }
  return std::string(name);
}

struct Header {
  uint64_t tensors = 0, keys = 0;
};

Result<Header> read_header(GgufCursor& cursor) {
  HADAL_TRY(const auto magic, cursor.take(4, "magic"));
  const std::string_view letters(reinterpret_cast<const char*>(magic.data()), magic.size());
  if (letters != "GGUF") {
    return field_error(Code::kCorrupt, cursor.file(), "magic", shown(letters), "\"GGUF\"");
  }
  HADAL_TRY(const auto version, cursor.read<uint32_t>("version"));
  if ((version & 0xFFFFu) == 0 && version != 0) {
    return field_error(Code::kUnsupported, cursor.file(), "version", "a big-endian file",
                       "a little-endian one");
  }
  if (version < 2 || version > 3) {
    return field_error(Code::kUnsupported, cursor.file(), "version", std::to_string(version),
                       "2 or 3");
  }
  Header header;
  HADAL_TRY(header.tensors, cursor.read<uint64_t>("tensor count"));
  HADAL_TRY(header.keys, cursor.read<uint64_t>("key count"));
  if (header.tensors > limits::kGgufTensorsMax) {
    return field_error(Code::kTooLarge, cursor.file(), "tensor count",
                       std::to_string(header.tensors),
                       "at most " + std::to_string(limits::kGgufTensorsMax));
  }
  if (header.keys > limits::kGgufKeysMax) {
    return field_error(Code::kTooLarge, cursor.file(), "key count", std::to_string(header.keys),
                       "at most " + std::to_string(limits::kGgufKeysMax));
  }
  return header;
}

Status read_keys(GgufCursor& cursor, uint64_t count, GgufMeta& meta) {
  for (uint64_t i = 0; i < count; ++i) {
    HADAL_TRY(std::string key, read_name(cursor, "key " + std::to_string(i)));
    HADAL_TRY(const auto kind, cursor.read<uint32_t>(key));
    HADAL_TRY(GgufValue value, read_value(cursor, kind, key));
    const auto [at, inserted] = meta.values.emplace(std::move(key), std::move(value));
    if (!inserted) {
      return field_error(Code::kCorrupt, cursor.file(), at->first, "the key twice", "it once");
    }
  }
  return {};
}

Result<uint64_t> read_alignment(const GgufMeta& meta) {
  constexpr std::string_view kKey = "general.alignment";
  HADAL_TRY(const int64_t alignment, meta.integer(kKey, kAlignmentDefault, 8, kAlignmentMax));
  if ((alignment & (alignment - 1)) != 0) {
    return field_error(Code::kCorrupt, meta.path, kKey, std::to_string(alignment),
                       "a power of two");
  }
  return static_cast<uint64_t>(alignment);
}

// A row of the tensor table; data is located once the table's end is known.
struct TableRow {
  TensorRecord record;
  uint64_t offset = 0, bytes = 0;
};

Result<DType> read_dtype(GgufCursor& cursor, const std::string& field) {
  HADAL_TRY(const auto type, cursor.read<uint32_t>(field));
  if (const auto dtype = dtype_from_ggml(type)) return *dtype;
  const std::string_view name = ggml_type_name(type);
  if (name.empty()) {
    return field_error(Code::kUnsupported, cursor.file(), field,
                       "type number " + std::to_string(type), "a type that ggml has named");
  }
  return field_error(
      Code::kUnsupported, cursor.file(), field, "type " + std::string(name),
      "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS, MXFP4, "
      "I32 or I64");
}

Result<TableRow> read_table_row(GgufCursor& cursor, uint64_t index, uint64_t alignment) {
  TableRow row;
  HADAL_TRY(row.record.name, read_name(cursor, "name of tensor " + std::to_string(index)));
  const std::string field = "tensor " + row.record.name;
  HADAL_TRY(const auto dims, cursor.read<uint32_t>(field));
  if (dims < 1 || dims > limits::kTensorDimsMax) {
    return field_error(Code::kCorrupt, cursor.file(), field, std::to_string(dims) + " dimensions",
                       "1 to " + std::to_string(limits::kTensorDimsMax));
  }
  uint64_t elements = 1;
  for (uint32_t d = 0; d < dims; ++d) {
    HADAL_TRY(const auto extent, cursor.read<uint64_t>(field));
    if (extent == 0 || !checked_multiply(elements, extent, &elements) || elements > INT64_MAX) {
      return field_error(Code::kCorrupt, cursor.file(), field,
                         "dimension " + std::to_string(d) + " of " + std::to_string(extent),
                         "dimensions from 1 whose product is below 2^63");
    }
    row.record.shape.push_back(static_cast<int64_t>(extent));
  }
  const auto row_elements =
      static_cast<uint64_t>(row.record.shape.front());  // innermost comes first
  std::reverse(row.record.shape.begin(), row.record.shape.end());
  HADAL_TRY(row.record.dtype, read_dtype(cursor, field));
  HADAL_TRY(row.offset, cursor.read<uint64_t>(field));
  const DTypeInfo& info = dtype_info(row.record.dtype);
  if (row_elements % info.block_elements != 0) {
    return field_error(
        Code::kCorrupt, cursor.file(), field,
        "rows of " + std::to_string(row_elements) + " elements of " + std::string(info.name),
        "a multiple of " + std::to_string(info.block_elements));
  }
  if (!checked_multiply(elements / info.block_elements, info.block_bytes, &row.bytes)) {
    return field_error(Code::kCorrupt, cursor.file(), field, std::to_string(elements) + " elements",
                       "a size below 2^64 bytes");
  }
  if (row.offset % alignment != 0) {
    return field_error(Code::kCorrupt, cursor.file(), field, "offset " + std::to_string(row.offset),
                       "a multiple of the alignment " + std::to_string(alignment));
  }
  return row;
}

// Every tensor inside [0, size) of the data section, none over another.
Status check_extents(const std::vector<TableRow>& rows, uint64_t size, std::string_view file) {
  std::vector<const TableRow*> sorted;
  sorted.reserve(rows.size());
  for (const TableRow& row : rows) {
    uint64_t end = 0;
    if (!checked_add(row.offset, row.bytes, &end) || end > size) {
      return field_error(
          Code::kCorrupt, file, "tensor " + row.record.name,
          std::to_string(row.bytes) + " bytes at offset " + std::to_string(row.offset),
          "an end within the " + std::to_string(size) + " bytes of data");
    }
    sorted.push_back(&row);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const TableRow* a, const TableRow* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const TableRow& before = *sorted[i - 1];
    if (before.offset + before.bytes > sorted[i]->offset) {
      return field_error(Code::kCorrupt, file, "tensor " + sorted[i]->record.name,
                         "offset " + std::to_string(sorted[i]->offset),
                         "at least " + std::to_string(before.offset + before.bytes) +
                             ", the end of " + before.record.name);
    }
  }
  return {};
}

// Where the data section begins: the table's end, rounded up. A file without tensors may end
// before.
Result<std::span<const std::byte>> data_section(std::span<const std::byte> bytes,
                                                const GgufCursor& cursor, uint64_t alignment,
                                                bool needed) {
  const uint64_t begin = (cursor.position() + alignment - 1) / alignment * alignment;
  if (begin > bytes.size()) {
    if (!needed) return std::span<const std::byte>{};
    return field_error(Code::kCorrupt, cursor.file(), "data",
                       "the end of the file at " + std::to_string(bytes.size()),
                       "tensor data from " + std::to_string(begin));
  }
  return bytes.subspan(begin);
}

}  // namespace

Result<GgufPart> read_gguf_part(std::span<const std::byte> bytes, const std::string& file,
                                uint32_t number) {
  GgufCursor cursor(bytes, file);
  GgufPart part;
  part.meta.path = file;
  HADAL_TRY(const Header header, read_header(cursor));
  HADAL_TRY_VOID(read_keys(cursor, header.keys, part.meta));
  HADAL_TRY(const uint64_t alignment, read_alignment(part.meta));
  constexpr uint64_t kRowBytesMin = 8 + 1 + 4 + 8 + 4 + 8;
  if (header.tensors > cursor.left() / kRowBytesMin) {
    return field_error(Code::kCorrupt, file, "tensor count",
                       std::to_string(header.tensors) + " tensors in " +
                           std::to_string(cursor.left()) + " remaining bytes",
                       "a table that fits the file");
  }
  std::vector<TableRow> rows;
  rows.reserve(header.tensors);
  for (uint64_t i = 0; i < header.tensors; ++i) {
    HADAL_TRY(TableRow row, read_table_row(cursor, i, alignment));
    rows.push_back(std::move(row));
  }
  HADAL_TRY(const auto data, data_section(bytes, cursor, alignment, !rows.empty()));
  HADAL_TRY_VOID(check_extents(rows, data.size(), file));
  part.tensors.reserve(rows.size());
  for (TableRow& row : rows) {
    row.record.data = data.subspan(row.offset, row.bytes);
    row.record.part = number;
    part.tensors.push_back(std::move(row.record));
  }
  return part;
}

}  // namespace hadal
