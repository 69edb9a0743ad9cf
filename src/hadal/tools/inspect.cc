#include "hadal/tools/inspect.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <utility>

#include "hadal/model/model.h"
#include "hadal/text/chat.h"
#include "hadal/text/tokenizer.h"
#include "hadal/tools/report_text.h"

namespace hadal {
namespace {

constexpr int32_t kBlockTokens = 32;
constexpr uint64_t kStepRows = 512;

// Which job a tensor does, by GGUF's or Hugging Face's name. First match wins.
struct Rule {
  std::string_view part;  // contained in the name
  std::string_view group;
};
constexpr std::array kRules = {
    Rule{"nextn.", "next-token prediction"},
    Rule{"eh_proj", "next-token prediction"},
    Rule{"token_embd", "embedding"},
    Rule{"embed_tokens", "embedding"},
    Rule{"lm_head", "output head"},
    Rule{"_scale_inv", "FP8 scales"},
    Rule{"norm", "norms"},
    Rule{"rope_freqs", "norms"},
    Rule{"_shexp", "shared experts"},
    Rule{"shared_experts", "shared experts"},
    Rule{"_exps", "routed experts"},
    Rule{"mlp.experts.", "routed experts"},
    Rule{"ffn_gate_inp", "expert gates"},
    Rule{"exp_probs_b", "expert gates"},
    Rule{"mlp.gate.", "expert gates"},
    Rule{"attn_", "attention"},
    Rule{"self_attn.", "attention"},
    Rule{"ffn_", "feed-forward"},
    Rule{"mlp.", "feed-forward"},
};
constexpr std::array<std::string_view, 11> kOrder = {
    "embedding",      "attention", "feed-forward", "expert gates",          "routed experts",
    "shared experts", "norms",     "FP8 scales",   "next-token prediction", "output head",
    "other"};

std::string_view group_of(std::string_view name) {
  if (name.starts_with("output.")) return "output head";
  for (const Rule& rule : kRules) {
    if (name.find(rule.part) != std::string_view::npos) return rule.group;
  }
  return "other";
}

std::vector<TensorGroup> group_tensors(const TensorFile& file) {
  std::map<std::pair<size_t, DType>, TensorGroup> groups;
  for (const TensorRecord& tensor : file.tensors()) {
    const std::string_view name = group_of(tensor.name);
    size_t order = 0;
    while (order + 1 < kOrder.size() && kOrder[order] != name) ++order;
    TensorGroup& group = groups[{order, tensor.dtype}];
    group.name = name;
    group.dtype = tensor.dtype;
    group.tensors += 1;
    group.elements += tensor.elements();
    group.bytes += tensor.data.size();
  }
  std::vector<TensorGroup> list;
  for (auto& [key, group] : groups) list.push_back(std::move(group));
  return list;
}

// Bytes after packing matrices of float types to `target`: the loader's own rule for row lengths is
// finer; this is what a user sizes a machine with.
uint64_t quantized_bytes(const TensorFile& file, DType target) {
  uint64_t sum = 0;
  for (const TensorRecord& tensor : file.tensors()) {
    const bool matrix = tensor.shape.size() >= 2 && !dtype_info(tensor.dtype).quantized;
    const bool gate = group_of(tensor.name) == "expert gates";
    const auto elements = static_cast<uint64_t>(tensor.elements());
    const DTypeInfo& info = dtype_info(target);
    sum += matrix && !gate ? elements / info.block_elements * info.block_bytes : tensor.data.size();
  }
  return sum;
}

MemoryNeed memory_need(const ModelFiles& files, const ModelConfig& config,
                       const InspectOptions& options) {
  MemoryNeed need;
  need.context = options.context > 0 ? options.context : config.context;
  need.sequences = options.sequences;
  need.weights = options.quantize ? quantized_bytes(files.tensors(), *options.quantize)
                                  : files.tensors().total_bytes();
  const uint64_t block = config.kv_layout(options.kv_dtype, kBlockTokens).block_bytes();
  need.kv_per_token = block / kBlockTokens;
  const auto blocks = static_cast<uint64_t>((need.context + kBlockTokens - 1) / kBlockTokens);
  need.kv = blocks * block * static_cast<uint64_t>(need.sequences);
  const auto sequences = static_cast<uint64_t>(need.sequences);
  const auto widest = static_cast<uint64_t>(std::max(config.inner, config.hidden));
  need.activations = 4 * (kStepRows * (6 * static_cast<uint64_t>(config.hidden) + 2 * widest) +
                          sequences * static_cast<uint64_t>(config.vocabulary));
  return need;
}

void describe_text(const ModelFiles& files, InspectReport* report) {
  Result<VocabData> vocab = files.vocab();
  if (!vocab) {
    report->tokenizer = "none: " + vocab.error().what;
    report->chat_form = "none";
    return;
  }
  const bool bpe = vocab->kind == TokenizerKind::kByteBpe;
  const size_t tokens = vocab->tokens.size();
  Result<Tokenizer> tokenizer = Tokenizer::make(std::move(*vocab));
  if (!tokenizer) {
    report->tokenizer = "unusable: " + tokenizer.error().what;
    report->chat_form = "none";
    return;
  }
  report->tokenizer =
      fmt::format("{}, {} tokens", bpe ? "byte-level BPE" : "SentencePiece", tokens);
  const Result<ChatFormat> form = ChatFormat::detect(*tokenizer);
  report->chat_form = form ? std::string(form->name()) : "unsupported: " + form.error().what;
}

std::string attention_text(const ModelConfig& c) {
  if (c.mla) {
    return fmt::format("MLA, {} heads, latent {} + {} rope, heads of {} + {} / {}", c.heads,
                       c.latent.kv_rank, c.latent.rope_dim, c.latent.nope_dim, c.latent.rope_dim,
                       c.latent.v_dim);
  }
  return fmt::format("GQA, {} heads over {} key heads of {}", c.heads, c.grouped.kv_heads,
                     c.grouped.head_dim);
}

std::string moe_text(const MoeConfig& m) {
  if (m.experts == 0) return "";
  const bool sigmoid = m.gate.function == kernels::GateFunction::kSigmoid;
  std::string text = fmt::format("{} experts, {} used, {} shared, {} gate", m.experts,
                                 m.gate.experts_used, m.shared, sigmoid ? "sigmoid" : "softmax");
  if (m.gate.groups > 1)
    text += fmt::format(", {} of {} groups", m.gate.groups_used, m.gate.groups);
  return text;
}

}  // namespace

Result<InspectReport> inspect_model(const ModelFiles& files, const InspectOptions& options) {
  InspectReport report;
  report.path = files.path;
  HADAL_TRY(report.config, model_config(files));
  const size_t parts = files.tensors().parts().size();
  if (std::holds_alternative<HfModel>(files.model)) {
    report.container =
        fmt::format("Hugging Face folder, {} safetensors file{}", parts, parts == 1 ? "" : "s");
  } else {
    report.container = parts > 1 ? fmt::format("GGUF in {} parts", parts) : "GGUF";
  }
  report.groups = group_tensors(files.tensors());
  report.tensor_bytes = files.tensors().total_bytes();
  describe_text(files, &report);
  report.memory = memory_need(files, report.config, options);
  return report;
}

std::string inspect_text(const InspectReport& r) {
  const ModelConfig& c = r.config;
  std::string out;
  const auto line = [&out](std::string_view label, const std::string& value) {
    if (!value.empty()) out += fmt::format("{:<14}{}\n", label, value);
  };
  line("file", r.path);
  line("container", r.container);
  line("architecture", fmt::format("{}{}", architecture_name(c.architecture),
                                   c.name.empty() ? "" : " (" + c.name + ")"));
  line("parameters", fmt::format("{} total, {} active", human_count(c.parameters_total()),
                                 human_count(c.parameters_active())));
  line("layers", fmt::format("{}{}, hidden {}, vocabulary {}, context {}", c.layers,
                             c.mtp_layers > 0 ? fmt::format(" + {} next-token", c.mtp_layers) : "",
                             c.hidden, c.vocabulary, c.context));
  line("attention", attention_text(c));
  line("experts", moe_text(c.moe));
  line("tokenizer", r.tokenizer);
  line("chat form", r.chat_form);
  out += fmt::format("\n{:<24}{:<9}{:>8}{:>12}{:>12}{:>8}\n", "tensors", "type", "count",
                     "elements", "bytes", "bits");
  for (const TensorGroup& g : r.groups) {
    out += fmt::format("{:<24}{:<9}{:>8}{:>12}{:>12}{:>8.2f}\n", g.name, dtype_name(g.dtype),
                       g.tensors, human_count(static_cast<uint64_t>(g.elements)),
                       human_bytes(g.bytes), g.bits_per_weight());
  }
  const MemoryNeed& m = r.memory;
  out += fmt::format("\nmemory for {} sequence{} of {} tokens\n", m.sequences,
                     m.sequences == 1 ? "" : "s", m.context);
  out += fmt::format("  weights      {:>10}\n  cache        {:>10}   {} a token\n",
                     human_bytes(m.weights), human_bytes(m.kv), human_bytes(m.kv_per_token));
  out += fmt::format("  activations  {:>10}\n  total        {:>10}\n", human_bytes(m.activations),
                     human_bytes(m.total()));
  return out;
}

std::string inspect_json(const InspectReport& r) {
  const ModelConfig& c = r.config;
  std::string out = fmt::format(
      "{{\"path\": {}, \"container\": {}, \"architecture\": {}, \"name\": {}, "
      "\"parameters_total\": {}, "
      "\"parameters_active\": {}, \"layers\": {}, \"mtp_layers\": {}, \"hidden\": {}, "
      "\"vocabulary\": {}, "
      "\"context\": {}, \"attention\": {}, \"experts\": {}, \"experts_used\": {}, \"tokenizer\": "
      "{}, "
      "\"chat_form\": {}, \"tensor_bytes\": {}, \"groups\": [",
      json_string(r.path), json_string(r.container), json_string(architecture_name(c.architecture)),
      json_string(c.name), c.parameters_total(), c.parameters_active(), c.layers, c.mtp_layers,
      c.hidden, c.vocabulary, c.context, json_string(c.mla ? "mla" : "gqa"), c.moe.experts,
      c.moe.gate.experts_used, json_string(r.tokenizer), json_string(r.chat_form), r.tensor_bytes);
  for (size_t i = 0; i < r.groups.size(); ++i) {
    const TensorGroup& g = r.groups[i];
    out += fmt::format(
        "{}{{\"name\": {}, \"type\": {}, \"tensors\": {}, \"elements\": {}, \"bytes\": {}, "
        "\"bits_per_weight\": {:.4f}}}",
        i ? ", " : "", json_string(g.name), json_string(dtype_name(g.dtype)), g.tensors, g.elements,
        g.bytes, g.bits_per_weight());
  }
  const MemoryNeed& m = r.memory;
  return out + fmt::format(
                   "], \"memory\": {{\"context\": {}, \"sequences\": {}, \"weights\": {}, "
                   "\"kv_per_token\": {}, \"kv\": {}, \"activations\": {}, \"total\": {}}}}}\n",
                   m.context, m.sequences, m.weights, m.kv_per_token, m.kv, m.activations,
                   m.total());
}

}  // namespace hadal
