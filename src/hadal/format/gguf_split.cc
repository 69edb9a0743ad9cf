// Opening a model that is one GGUF or several: *-00001-of-00003.gguf and its siblings, by any of
// them.
#include <unordered_set>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/gguf_part.h"

namespace hadal {
namespace {

constexpr std::string_view kSuffix = ".gguf";
constexpr size_t kDigits = 5;

struct SplitName {
  std::string stem;  // all before "-00001-of-"
  uint32_t part = 0, parts = 0;
};

std::optional<uint32_t> five_digits(std::string_view text) {
  if (text.size() != kDigits) return std::nullopt;
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value;
}

// "stem-DDDDD-of-DDDDD.gguf"
std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kTail = 1 + kDigits + kOf.size() + kDigits;
  if (!path.ends_with(kSuffix)) return std::nullopt;
  path.remove_suffix(kSuffix.size());
  if (path.size() <= kTail) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kDigits, kOf.size()) != kOf) return std::nullopt;
  const auto part = five_digits(tail.substr(1, kDigits));
  const auto parts = five_digits(tail.substr(kTail - kDigits));
  if (!part || !parts || *part < 1 || *part > *parts) return std::nullopt;
  return SplitName{std::string(path.substr(0, path.size() - kTail)), *part, *parts};
}

std::string padded(uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kDigits - std::min(kDigits, digits.size()), '0') + digits;
}

std::string part_path(const SplitName& name, uint32_t part) {
  return name.stem + "-" + padded(part) + "-of-" + padded(name.parts) + std::string(kSuffix);
}

Status check_split_keys(const GgufMeta& meta, uint32_t number, uint32_t parts) {
  HADAL_TRY(const int64_t count,
            meta.integer("split.count", std::nullopt, 1, limits::kFilePartsMax));
  if (count != parts) {
    return field_error(Code::kCorrupt, meta.path, "split.count", std::to_string(count),
                       std::to_string(parts) + " as in the file's name");
  }
  HADAL_TRY(const int64_t no, meta.integer("split.no", std::nullopt, 0, limits::kFilePartsMax));
  if (no != number) {
    return field_error(Code::kCorrupt, meta.path, "split.no", std::to_string(no),
                       std::to_string(number) + " (counted from 0) as in the file's name");
  }
  return {};
}

Status check_unique(const std::vector<TensorRecord>& tensors, std::string_view file) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(tensors.size());
  for (const TensorRecord& tensor : tensors) {
    if (!seen.insert(tensor.name).second) {
      return field_error(Code::kCorrupt, file, "tensor " + tensor.name, "the name twice",
                         "it once");
    }
  }
  return {};
}

// One file that says it is a part of several, under a name that does not say which.
Status check_not_split(const GgufMeta& meta) {
  HADAL_TRY(const int64_t count, meta.integer("split.count", 1, 0, limits::kFilePartsMax));
  if (count > 1) {
    return field_error(Code::kCorrupt, meta.path, "split.count", std::to_string(count),
                       "a file name that ends in -00001-of-" +
                           padded(static_cast<uint32_t>(count)) + std::string(kSuffix));
  }
  return {};
}

Result<GgufModel> open_split(const SplitName& name, const std::string& path) {
  if (name.parts > limits::kFilePartsMax) {
    return field_error(Code::kTooLarge, path, "file name", std::to_string(name.parts) + " parts",
                       "at most " + std::to_string(limits::kFilePartsMax));
  }
  std::vector<MappedFile> files;
  std::vector<TensorRecord> tensors;
  GgufMeta meta;
  for (uint32_t i = 0; i < name.parts; ++i) {
    const std::string file_path = part_path(name, i + 1);
    auto file = MappedFile::open(file_path);
    if (!file && file.error().code == Code::kNotFound && file_path != path) {
      return field_error(Code::kNotFound, path, "part " + std::to_string(i + 1),
                         "no file " + file_path, "all " + std::to_string(name.parts) + " parts");
    }
    if (!file) return fail(std::move(file.error()));
    HADAL_TRY(GgufPart part, read_gguf_part(file->bytes(), file_path, i));
    HADAL_TRY_VOID(check_split_keys(part.meta, i, name.parts));
    for (TensorRecord& tensor : part.tensors) tensors.push_back(std::move(tensor));
    if (i == 0) meta = std::move(part.meta);
    files.push_back(*std::move(file));
  }
  HADAL_TRY_VOID(check_unique(tensors, path));
  const auto found = static_cast<int64_t>(tensors.size());
  HADAL_TRY(const int64_t total, meta.integer("split.tensors.count", found, 0,
                                              static_cast<int64_t>(limits::kGgufTensorsMax)));
  if (total != found) {
    return field_error(Code::kCorrupt, path, "split.tensors.count",
                       std::to_string(total) + " where the parts hold " + std::to_string(found),
                       "the same number");
  }
  return GgufModel{std::move(meta), TensorFile(std::move(files), std::move(tensors))};
}

}  // namespace

Result<GgufModel> open_gguf(const std::string& path) {
  if (const auto name = parse_split_name(path)) return open_split(*name, path);
  std::vector<MappedFile> files;
  HADAL_TRY(MappedFile file, MappedFile::open(path));
  HADAL_TRY(GgufPart part, read_gguf_part(file.bytes(), path, 0));
  HADAL_TRY_VOID(check_not_split(part.meta));
  HADAL_TRY_VOID(check_unique(part.tensors, path));
  files.push_back(std::move(file));
  return GgufModel{std::move(part.meta), TensorFile(std::move(files), std::move(part.tensors))};
}

Result<GgufModel> parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  HADAL_TRY(GgufPart part, read_gguf_part(bytes, name, 0));
  HADAL_TRY_VOID(check_not_split(part.meta));
  HADAL_TRY_VOID(check_unique(part.tensors, name));
  return GgufModel{std::move(part.meta), TensorFile({}, std::move(part.tensors))};
}

}  // namespace hadal
