// Opening a Hugging Face folder: which files it has, and which shard holds which tensor.
#include <boost/json/value.hpp>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/hf.h"
#include "hadal/format/json_text.h"
#include "hadal/format/safetensors.h"

namespace hadal {
namespace {

namespace json = boost::json;

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

std::string in_folder(const std::string& folder, std::string_view name) {
  return (std::filesystem::path(folder) / name).string();
}

// A missing file is nullopt; one that cannot be read or parsed is an error.
Result<std::optional<JsonConfig>> load_optional(const std::string& path) {
  auto loaded = JsonConfig::load(path);
  if (loaded) return std::optional<JsonConfig>(*std::move(loaded));
  if (loaded.error().code == Code::kNotFound) return std::optional<JsonConfig>();
  return fail(std::move(loaded.error()));
}

using WeightMap = std::unordered_map<std::string, std::string>;  // tensor to shard

Result<WeightMap> read_index(const std::string& path) {
  HADAL_TRY(const std::string text, read_file(path, limits::kJsonFileMax));
  HADAL_TRY(const json::value root, parse_json(text, path));
  const json::object* object = root.if_object();
  const json::value* map = object == nullptr ? nullptr : object->if_contains("weight_map");
  if (map == nullptr || !map->is_object()) {
    return field_error(Code::kCorrupt, path, "weight_map",
                       map == nullptr ? "no such key" : describe_json(*map), "an object");
  }
  WeightMap weights;
  for (const json::key_value_pair& entry : map->get_object()) {
    const std::string tensor(entry.key().data(), entry.key().size());
    if (!entry.value().is_string()) {
      return field_error(Code::kCorrupt, path, "weight_map " + shown(tensor),
                         describe_json(entry.value()), "a file name");
    }
    const std::string shard(std::string_view(entry.value().get_string()));
    // A name in this folder: an index must not make the reader open files elsewhere.
    if (!shard.ends_with(".safetensors") || shard.find('/') != std::string::npos ||
        !is_plain_name(shard)) {
      return field_error(Code::kCorrupt, path, "weight_map " + shown(tensor), shown(shard),
                         "the name of a .safetensors file in the same folder");
    }
    weights.emplace(tensor, shard);
  }
  return weights;
}

// The index decides: a tensor that it places elsewhere, or nowhere, is not this shard's.
void take_mapped(std::vector<TensorRecord> records, const std::string& shard,
                 const WeightMap& weights, std::vector<TensorRecord>& tensors) {
  for (TensorRecord& record : records) {
    const auto mapped = weights.find(record.name);
    if (mapped != weights.end() && mapped->second == shard) tensors.push_back(std::move(record));
  }
}

Result<TensorFile> open_sharded(const std::string& folder, const std::string& index_path) {
  HADAL_TRY(const WeightMap weights, read_index(index_path));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weights) shards.insert(shard);
  if (shards.size() > limits::kFilePartsMax) {
    return field_error(Code::kTooLarge, index_path, "weight_map",
                       std::to_string(shards.size()) + " files",
                       "at most " + std::to_string(limits::kFilePartsMax));
  }
  std::vector<MappedFile> files;
  std::vector<TensorRecord> tensors;
  for (const std::string& shard : shards) {
    const std::string path = in_folder(folder, shard);
    auto file = MappedFile::open(path);
    if (!file && file.error().code == Code::kNotFound) {
      return field_error(Code::kNotFound, index_path, "weight_map", "no file " + path,
                         "all " + std::to_string(shards.size()) + " files that it names");
    }
    if (!file) return fail(std::move(file.error()));
    HADAL_TRY(auto records,
              parse_safetensors(file->bytes(), path, static_cast<uint32_t>(files.size())));
    take_mapped(std::move(records), shard, weights, tensors);
    files.push_back(*std::move(file));
  }
  if (tensors.size() != weights.size()) {
    std::set<std::string_view> present;
    for (const TensorRecord& tensor : tensors) present.insert(tensor.name);
    for (const auto& [tensor, shard] : weights) {
      if (present.contains(tensor)) continue;
      return field_error(Code::kCorrupt, index_path, "weight_map " + shown(tensor),
                         "no such tensor in " + shard, "it there");
    }
  }
  return TensorFile(std::move(files), std::move(tensors));
}

Result<TensorFile> open_tensors(const std::string& folder) {
  std::error_code error;
  const std::string index = in_folder(folder, kIndex);
  if (std::filesystem::exists(index, error)) return open_sharded(folder, index);
  const std::string single = in_folder(folder, kSingle);
  if (std::filesystem::exists(single, error)) return open_safetensors({single});
  return field_error(Code::kNotFound, folder, "weights", "neither file",
                     std::string(kSingle) + " or " + std::string(kIndex));
}

}  // namespace

Result<HfModel> open_hf_folder(const std::string& path) {
  HADAL_TRY(JsonConfig config, JsonConfig::load(in_folder(path, "config.json")));
  HADAL_TRY(auto generation, load_optional(in_folder(path, "generation_config.json")));
  HADAL_TRY(TensorFile tensors, open_tensors(path));
  return HfModel{path, std::move(config), std::move(generation), std::move(tensors)};
}

}  // namespace hadal
