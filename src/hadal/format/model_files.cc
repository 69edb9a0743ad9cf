#include "hadal/format/model_files.h"

#include <filesystem>
#include <system_error>
#include <utility>

namespace hadal {

const TensorFile& ModelFiles::tensors() const {
  return std::visit([](const auto& stored) -> const TensorFile& { return stored.tensors; }, model);
}

Result<VocabData> ModelFiles::vocab() const {
  if (const auto* gguf = std::get_if<GgufModel>(&model)) return gguf_vocab(gguf->meta);
  return hf_vocab(std::get<HfModel>(model).path);
}

Result<ModelFiles> open_model(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status))
    return fail(Code::kNotFound, path + ": no such file or folder");
  if (std::filesystem::is_directory(status)) {
    HADAL_TRY(HfModel model, open_hf_folder(path));
    return ModelFiles{std::move(model), path};
  }
  HADAL_TRY(GgufModel model, open_gguf(path));
  return ModelFiles{std::move(model), path};
}

Result<ModelFiles> open_model(std::span<const std::byte> gguf, const std::string& name) {
  HADAL_TRY(GgufModel model, parse_gguf(gguf, name));
  return ModelFiles{std::move(model), name};
}

}  // namespace hadal
