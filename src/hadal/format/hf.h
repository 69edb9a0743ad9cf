// A Hugging Face folder: config.json, generation_config.json, tokenizer.json, tokenizer_config.json
// and safetensors, single (model.safetensors) or sharded (model.safetensors.index.json).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/format/tensor_file.h"
#include "hadal/text/vocab.h"

namespace hadal {

// One JSON object, typed access with messages that name file, field, found and expected.
// A dot reaches into an object: "rope_scaling.factor". JSON null counts as absent.
class JsonConfig {
 public:
  static Result<JsonConfig> load(const std::string& path);
  static Result<JsonConfig> parse(std::string_view text, const std::string& name);
  JsonConfig(JsonConfig&&) noexcept;
  JsonConfig& operator=(JsonConfig&&) noexcept;
  ~JsonConfig();

  bool has(std::string_view key) const;
  Result<int64_t> integer(std::string_view key, std::optional<int64_t> fallback, int64_t minimum,
                          int64_t maximum) const;
  Result<double> real(std::string_view key, std::optional<double> fallback) const;
  Result<bool> boolean(std::string_view key, std::optional<bool> fallback) const;
  Result<std::string> text(std::string_view key, std::optional<std::string> fallback) const;
  // A number or an array of numbers (eos_token_id comes as either); empty when absent.
  Result<std::vector<int64_t>> integers(std::string_view key) const;
  Result<std::vector<std::string>> texts(std::string_view key) const;  // "architectures"

 private:
  struct Impl;
  explicit JsonConfig(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct HfModel {
  std::string path;
  JsonConfig config;
  std::optional<JsonConfig> generation;  // generation_config.json
  TensorFile tensors;
};

Result<TensorFile> open_safetensors(const std::vector<std::string>& paths);
Result<HfModel> open_hf_folder(const std::string& path);

// tokenizer.json with tokenizer_config.json (and generation_config.json's eos list). kNotFound when
// the folder has no tokenizer.json; kUnsupported names a tokenizer type or pre-tokenizer regex not
// known.
Result<VocabData> hf_vocab(const std::string& folder);

}  // namespace hadal
