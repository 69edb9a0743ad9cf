// A model on disk, whichever way it is stored.
#pragma once

#include <span>
#include <string>
#include <variant>

#include "hadal/base/result.h"
#include "hadal/format/gguf.h"
#include "hadal/format/hf.h"

namespace hadal {

struct ModelFiles {
  std::variant<GgufModel, HfModel> model;
  std::string path;  // as the user gave it

  const TensorFile& tensors() const;
  // kNotFound when the files hold no tokenizer.
  Result<VocabData> vocab() const;
};

// A GGUF file (any part of a split one) or a Hugging Face folder. Reads headers, not weights.
Result<ModelFiles> open_model(const std::string& path);
// The embedded model's bytes, which must outlive the result.
Result<ModelFiles> open_model(std::span<const std::byte> gguf, const std::string& name);

}  // namespace hadal
