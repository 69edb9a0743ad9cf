// Which experts a row goes to: the rules of op/ffn.h, without memory of its own. ref/gate.h says
// the same in plain words; the choice and its weights are the same bits.
#pragma once

#include <span>

#include "hadal/kernels/cpu/scratch.h"
#include "hadal/kernels/op/ffn.h"
#include "hadal/kernels/ref/gate.h"

namespace hadal::kernels::cpu {

// logits: [experts]; bias: [experts] or empty; choices: [experts_used], ascending.
void choose_experts(const GateConfig& config, std::span<const float> logits,
                    std::span<const float> bias, Scratch& scratch, ref::Choice* choices);

}  // namespace hadal::kernels::cpu
