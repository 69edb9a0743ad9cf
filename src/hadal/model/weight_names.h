// Every weight has one name here, GGUF's. A Hugging Face folder's names are derived from it, so
// that the loader is written once.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hadal {

// "blk.3.attn_q_a.weight"
std::string layer_tensor(int32_t layer, std::string_view name);

// The Hugging Face name of a GGUF name: "model.layers.3.self_attn.q_a_proj.weight". Expert stacks
// ("blk.3.ffn_gate_exps.weight") need the expert's number. Unknown names give "".
std::string hf_tensor_name(std::string_view gguf_name,
                           std::optional<int32_t> expert = std::nullopt);

// Whether `stored_name`, from either kind of file, is a bias that a forward pass adds. Any other
// bias belongs to a model that only looks like one of ours.
bool is_known_bias(std::string_view stored_name);

}  // namespace hadal
