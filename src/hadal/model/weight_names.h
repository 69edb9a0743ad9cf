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

// The N of "blk.N." and "model.layers.N.".
std::optional<int32_t> layer_of(std::string_view stored_name);

// Tensors of some writers that no forward pass needs: angles that follow from the configuration.
bool is_redundant(std::string_view stored_name);

}  // namespace hadal
