#include "hadal/model/testing/small_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <list>
#include <numeric>

#include "hadal/base/check.h"
#include "hadal/base/rng.h"
#include "hadal/model/weight_names.h"
#include "hadal/tensor/quant.h"

namespace hadal::testing {
namespace {

constexpr int32_t kLayers = 2, kHeads = 4, kKvHeads = 2, kHeadDim = 32, kInner = 256;
constexpr int32_t kQRank = 64, kRank = 128, kNope = 32, kRope = 16, kValue = 32;
constexpr int32_t kExperts = 8, kExpertInner = 128;

std::vector<std::byte> encode(const SmallTensor& tensor) {
  const auto cols = static_cast<uint64_t>(tensor.shape.back());
  const uint64_t rows = tensor.values.size() / cols;
  std::vector<std::byte> bytes(rows * row_bytes(tensor.dtype, cols));
  if (tensor.dtype == DType::kI32) {
    std::memcpy(bytes.data(), tensor.values.data(), bytes.size());
  } else {
    quantize(tensor.dtype, tensor.values.data(), bytes.data(), tensor.values.size());
  }
  return bytes;
}

class Maker {
 public:
  Maker(SmallGguf* out, uint64_t seed) : out_(*out), rng_(seed) {}

  void add(const std::string& name, std::vector<int64_t> shape, double spread, double middle = 0) {
    SmallTensor& tensor = out_.tensors[name];
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    tensor.shape = std::move(shape);
    for (int64_t i = 0; i < count; ++i) {
      tensor.values.push_back(static_cast<float>(middle + (rng_.uniform() * 2 - 1) * spread));
    }
  }
  void norm(const std::string& name, int64_t count) { add(name, {count}, 0.5, 1.0); }
  void matrix(const std::string& name, int64_t rows, int64_t cols) {
    add(name, {rows, cols}, 2.0 / std::sqrt(static_cast<double>(cols)));
  }

  void gqa(int32_t layer, Architecture architecture) {
    const auto name = [layer](const char* part) { return layer_tensor(layer, part); };
    matrix(name("attn_q.weight"), kHeads * kHeadDim, kSmallHidden);
    matrix(name("attn_k.weight"), kKvHeads * kHeadDim, kSmallHidden);
    matrix(name("attn_v.weight"), kKvHeads * kHeadDim, kSmallHidden);
    matrix(name("attn_output.weight"), kSmallHidden, kHeads * kHeadDim);
    if (architecture == Architecture::kQwen2) {
      add(name("attn_q.bias"), {kHeads * kHeadDim}, 1.0);
      add(name("attn_k.bias"), {kKvHeads * kHeadDim}, 1.0);
      add(name("attn_v.bias"), {kKvHeads * kHeadDim}, 1.0);
    }
    if (architecture == Architecture::kQwen3) {
      norm(name("attn_q_norm.weight"), kHeadDim);
      norm(name("attn_k_norm.weight"), kHeadDim);
    }
  }

  void mla(int32_t layer) {
    const auto name = [layer](const char* part) { return layer_tensor(layer, part); };
    matrix(name("attn_q_a.weight"), kQRank, kSmallHidden);
    norm(name("attn_q_a_norm.weight"), kQRank);
    matrix(name("attn_q_b.weight"), kHeads * (kNope + kRope), kQRank);
    matrix(name("attn_kv_a_mqa.weight"), kRank + kRope, kSmallHidden);
    norm(name("attn_kv_a_norm.weight"), kRank);
    matrix(name("attn_kv_b.weight"), kHeads * (kNope + kValue), kRank);
    matrix(name("attn_output.weight"), kSmallHidden, kHeads * kValue);
  }

  void ffn(int32_t layer, const std::string& suffix, std::vector<int64_t> stack, int64_t inner) {
    const auto block = [&](const char* part, int64_t rows, int64_t cols) {
      std::vector<int64_t> shape = stack;
      shape.insert(shape.end(), {rows, cols});
      add(layer_tensor(layer, part + suffix + ".weight"), shape,
          2.0 / std::sqrt(static_cast<double>(cols)));
    };
    block("ffn_gate", inner, kSmallHidden);
    block("ffn_up", inner, kSmallHidden);
    block("ffn_down", kSmallHidden, inner);
  }

  void experts(int32_t layer) {
    matrix(layer_tensor(layer, "ffn_gate_inp.weight"), kExperts, kSmallHidden);
    add(layer_tensor(layer, "exp_probs_b.bias"), {kExperts}, 0.3);
    ffn(layer, "_exps", {kExperts}, kExpertInner);
    ffn(layer, "_shexp", {}, kExpertInner);
  }

 private:
  SmallGguf& out_;
  Rng rng_;
};

void set_common_keys(SmallGguf* out) {
  out->set("block_count", int64_t{kLayers});
  out->set("context_length", int64_t{4096});
  out->set("embedding_length", int64_t{kSmallHidden});
  out->set("feed_forward_length", int64_t{kInner});
  out->set("attention.head_count", int64_t{kHeads});
  out->set("attention.layer_norm_rms_epsilon", 1e-6);
  out->set("rope.freq_base", 10000.0);
}

void set_gqa_keys(SmallGguf* out) {
  out->set("attention.head_count_kv", int64_t{kKvHeads});
  out->set("attention.key_length", int64_t{kHeadDim});
  out->set("attention.value_length", int64_t{kHeadDim});
}

void set_deepseek_keys(SmallGguf* out) {
  out->set("attention.head_count_kv", int64_t{kHeads});
  out->set("attention.q_lora_rank", int64_t{kQRank});
  out->set("attention.kv_lora_rank", int64_t{kRank});
  out->set("attention.key_length", int64_t{kNope + kRope});
  out->set("attention.value_length", int64_t{kValue});
  out->set("rope.dimension_count", int64_t{kRope});
  out->set("expert_count", int64_t{kExperts});
  out->set("expert_used_count", int64_t{3});
  out->set("expert_shared_count", int64_t{1});
  out->set("expert_feed_forward_length", int64_t{kExpertInner});
  out->set("leading_dense_block_count", int64_t{1});
  out->set("expert_gating_func", int64_t{2});
  out->set("expert_weights_norm", true);
  out->set("expert_weights_scale", 1.5);
  out->set("expert_group_count", int64_t{4});
  out->set("expert_group_used_count", int64_t{2});
}

// A key's number as JSON.
std::string number(const SmallGguf& gguf, std::string_view key) {
  const auto found = gguf.keys.find(gguf.prefix() + std::string(key));
  HADAL_CHECK(found != gguf.keys.end());
  if (const auto* whole = std::get_if<int64_t>(&found->second)) return std::to_string(*whole);
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", std::get<double>(found->second));
  return text;
}

void set_deepseek_config(const SmallGguf& gguf, SmallFolder* out) {
  const std::pair<const char*, const char*> names[] = {
      {"q_lora_rank", "attention.q_lora_rank"},
      {"kv_lora_rank", "attention.kv_lora_rank"},
      {"qk_rope_head_dim", "rope.dimension_count"},
      {"v_head_dim", "attention.value_length"},
      {"n_routed_experts", "expert_count"},
      {"num_experts_per_tok", "expert_used_count"},
      {"n_shared_experts", "expert_shared_count"},
      {"moe_intermediate_size", "expert_feed_forward_length"},
      {"first_k_dense_replace", "leading_dense_block_count"},
      {"routed_scaling_factor", "expert_weights_scale"},
      {"n_group", "expert_group_count"},
      {"topk_group", "expert_group_used_count"},
  };
  for (const auto& [to, from] : names) out->config[to] = number(gguf, from);
  out->config["qk_nope_head_dim"] = std::to_string(kNope);
  out->config["norm_topk_prob"] = "true";
  out->config["scoring_func"] = "\"sigmoid\"";
  out->config["topk_method"] = "\"noaux_tc\"";
}

// A stack [experts, rows, cols] as one tensor an expert.
void unstack(const std::string& name, const SmallTensor& stack, SmallTensors* out) {
  const std::vector<int64_t> shape(stack.shape.begin() + 1, stack.shape.end());
  const auto size = static_cast<std::ptrdiff_t>(shape[0] * shape[1]);
  for (int32_t e = 0; e < stack.shape[0]; ++e) {
    const auto begin = stack.values.begin() + e * size;
    (*out)[hf_tensor_name(name, e)] = {stack.dtype, shape, {begin, begin + size}};
  }
}

std::string shape_json(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "[" : ",") + std::to_string(extent);
  return text + "]";
}

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kF8E8M0:
      return "F8_E8M0";
    case DType::kI32:
      return "I32";
    default:
      HADAL_CHECK(false, "no such safetensors type");
      return "";
  }
}

}  // namespace

std::string SmallGguf::prefix() const {
  return std::get<std::string>(keys.find("general.architecture")->second) + ".";
}

void SmallGguf::set(std::string_view key, GgufValue value) {
  keys[prefix() + std::string(key)] = std::move(value);
}

void SmallGguf::erase(std::string_view key) { keys.erase(prefix() + std::string(key)); }

void SmallGguf::write(const std::string& path) const {
  std::list<std::vector<std::byte>> bytes;
  std::vector<GgufTensorSource> sources;
  for (const auto& [name, tensor] : tensors) {
    bytes.push_back(encode(tensor));
    sources.push_back({name, tensor.dtype, tensor.shape, bytes.back()});
  }
  const Status written = write_gguf(path, keys, sources);
  HADAL_CHECK(written.has_value(), written ? "" : written.error().what);
}

std::string SmallFolder::json() const {
  std::string text;
  for (const auto& [key, value] : config) {
    text += (text.empty() ? "{\"" : ",\"") + key + "\":" + value;
  }
  return text + "}";
}

void SmallFolder::write(const std::string& folder) const {
  std::ofstream(folder + "/config.json") << json();
  std::string header, data;
  // Wide elements first, as the format's own writer does, so that each lies at its alignment.
  std::vector<std::pair<std::string, SmallTensor>> ordered(tensors.begin(), tensors.end());
  std::ranges::stable_sort(ordered, std::ranges::greater(),
                           [](const auto& named) { return row_bytes(named.second.dtype, 1); });
  for (const auto& [name, tensor] : ordered) {
    const std::vector<std::byte> bytes = encode(tensor);
    header += (header.empty() ? "{\"" : ",\"") + name + "\":{\"dtype\":\"" +
              safetensors_name(tensor.dtype) + "\",\"shape\":" + shape_json(tensor.shape) +
              ",\"data_offsets\":[" + std::to_string(data.size()) + "," +
              std::to_string(data.size() + bytes.size()) + "]}";
    data.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::ofstream file(folder + "/model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << header << data;
}

SmallGguf small_gguf(Architecture architecture, uint64_t seed) {
  SmallGguf out;
  out.keys["general.architecture"] = std::string(architecture_name(architecture));
  set_common_keys(&out);
  const bool deepseek = architecture == Architecture::kDeepseek2;
  deepseek ? set_deepseek_keys(&out) : set_gqa_keys(&out);
  Maker make(&out, seed);
  make.add("token_embd.weight", {kSmallVocabulary, kSmallHidden}, 1.0);
  make.matrix("output.weight", kSmallVocabulary, kSmallHidden);
  make.norm("output_norm.weight", kSmallHidden);
  for (int32_t layer = 0; layer < kLayers; ++layer) {
    make.norm(layer_tensor(layer, "attn_norm.weight"), kSmallHidden);
    make.norm(layer_tensor(layer, "ffn_norm.weight"), kSmallHidden);
    deepseek ? make.mla(layer) : make.gqa(layer, architecture);
    deepseek&& layer > 0 ? make.experts(layer) : make.ffn(layer, "", {}, kInner);
  }
  return out;
}

SmallFolder small_folder(const SmallGguf& gguf) {
  SmallFolder out;
  const std::string architecture = gguf.prefix().substr(0, gguf.prefix().size() - 1);
  const bool deepseek = architecture == "deepseek2";
  out.config["model_type"] = "\"" + (deepseek ? "deepseek_v3" : architecture) + "\"";
  const std::pair<const char*, const char*> names[] = {
      {"num_hidden_layers", "block_count"},
      {"max_position_embeddings", "context_length"},
      {"hidden_size", "embedding_length"},
      {"intermediate_size", "feed_forward_length"},
      {"num_attention_heads", "attention.head_count"},
      {"num_key_value_heads", "attention.head_count_kv"},
      {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
      {"rope_theta", "rope.freq_base"},
  };
  for (const auto& [to, from] : names) out.config[to] = number(gguf, from);
  out.config["vocab_size"] = std::to_string(kSmallVocabulary);
  if (deepseek) {
    set_deepseek_config(gguf, &out);
  } else {
    out.config["head_dim"] = number(gguf, "attention.key_length");
  }
  for (const auto& [name, tensor] : gguf.tensors) {
    if (tensor.shape.size() == 3) {
      unstack(name, tensor, &out.tensors);
      continue;
    }
    SmallTensor& copy = out.tensors[hf_tensor_name(name)] = tensor;
    if (architecture != "llama") continue;
    const bool q = name.find("attn_q.") != std::string::npos;
    const bool k = name.find("attn_k.") != std::string::npos;
    if (q || k) copy.values = to_halves(tensor.values, q ? kHeads : kKvHeads, kHeadDim);
  }
  return out;
}

std::vector<float> to_halves(const std::vector<float>& values, int64_t heads, int64_t dims) {
  const int64_t cols = static_cast<int64_t>(values.size()) / (heads * dims);
  std::vector<float> out(values.size());
  for (int64_t row = 0; row < heads * dims; ++row) {
    const int64_t head = row / dims;
    const int64_t at = row % dims;
    const int64_t to = head * dims + at / 2 + (at % 2) * (dims / 2);
    std::copy_n(values.begin() + row * cols, cols, out.begin() + to * cols);
  }
  return out;
}

std::vector<float> all_logits(Model& model, kernels::Backend& backend,
                              const std::vector<int32_t>& tokens, const RunOptions& options) {
  constexpr int32_t kPage = 16;
  const auto count = static_cast<int32_t>(tokens.size());
  const int32_t chunk = options.chunk > 0 ? options.chunk : count;
  const int32_t pages = count / kPage + 1;
  auto arena = KvArena::make(model.config().kv_layout(DType::kF32, kPage), pages, backend);
  HADAL_CHECK(arena.has_value() && model.prepare(chunk, chunk).has_value());
  const KvLayout& layout = arena->layout();
  for (size_t s = 0; s < layout.streams.size(); ++s) {
    const uint64_t row = layout.row_bytes(layout.streams[s]);
    std::fill_n(arena->pages(s).data, row * kPage * static_cast<uint64_t>(pages), options.stale);
  }
  std::vector<int32_t> blocks;
  for (int32_t b = pages - 1; b >= 0; --b) blocks.push_back(b);
  std::vector<float> all;
  for (int32_t position = 0; position < count; position += chunk) {
    const int32_t n = std::min(chunk, count - position);
    std::vector<int32_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), 0);
    const kernels::Segment segment{0, n, position, blocks};
    const ConstView logits = model.forward(
        {std::span(tokens).subspan(static_cast<size_t>(position), static_cast<size_t>(n)),
         std::span(&segment, 1), rows},
        *arena);
    for (int64_t r = 0; r < logits.rows; ++r) {
      all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
    }
  }
  return all;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  HADAL_CHECK(a.size() == b.size());
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= worst)) worst = difference;  // NaN stays
  }
  return worst;
}

}  // namespace hadal::testing
