// GGUF v2 and v3, single or split, by mmap. Layout: ggml's published gguf.md.
// Errors name file, field, found and expected value in one line.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/format/tensor_file.h"
#include "hadal/text/vocab.h"

namespace hadal {

// A key's value. Integers of every width are held as int64 (uint64 above its range is refused),
// floats as double, arrays of one kind.
using GgufValue = std::variant<int64_t, double, bool, std::string, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>>;

class GgufMeta {
 public:
  std::map<std::string, GgufValue, std::less<>> values;
  std::string path;  // for messages

  bool has(std::string_view key) const;
  // Absent: `fallback`. Present with another kind, or out of [minimum, maximum]: an error that
  // names both.
  Result<int64_t> integer(std::string_view key, std::optional<int64_t> fallback, int64_t minimum,
                          int64_t maximum) const;
  Result<double> real(std::string_view key, std::optional<double> fallback) const;
  Result<bool> boolean(std::string_view key, std::optional<bool> fallback) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> fallback) const;
  const std::vector<int64_t>* integers(
      std::string_view key) const;  // nullptr when absent or of another kind
};

struct GgufModel {
  GgufMeta meta;
  TensorFile tensors;
};

// Opens `path`; when its name has the form *-0000M-of-0000N.gguf, the other parts too, by whichever
// of them is given (all are required, split.count and split.no are checked). The keys are the first
// part's.
Result<GgufModel> open_gguf(const std::string& path);
// The same from bytes in memory (the embedded model). `bytes` must outlive the result.
Result<GgufModel> parse_gguf(std::span<const std::byte> bytes, const std::string& name);

// The tokenizer.ggml.* keys. kUnsupported names an unknown model or pre-tokenizer.
Result<VocabData> gguf_vocab(const GgufMeta& meta);

// Writing: for conversion, quantised copies and tests. Tensors are written in the order given, each
// at general.alignment (32 when absent). Integers become 32-bit values where they fit and floats
// single precision, as readers expect; split.* keys, which describe parts, are left out.
struct GgufTensorSource {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  // outermost first
  std::span<const std::byte> data;
};
Status write_gguf(const std::string& path,
                  const std::map<std::string, GgufValue, std::less<>>& values,
                  std::span<const GgufTensorSource> tensors);

}  // namespace hadal
