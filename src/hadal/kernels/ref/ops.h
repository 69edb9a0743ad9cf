// One function per operation, in the order of backend.h: what every other implementation is
// compared with. Every sum is accumulated in double and rounded to float once, where the operation
// stores it.
#pragma once

#include "hadal/kernels/op/attention.h"
#include "hadal/kernels/op/embed.h"
#include "hadal/kernels/op/ffn.h"
#include "hadal/kernels/op/linear.h"

namespace hadal::kernels::ref {

void embed(const EmbedArgs& args);
void gather(const GatherArgs& args);
void rms_norm(const RmsNormArgs& args);
void linear(const LinearArgs& args);
void ffn(const FfnArgs& args);
void moe(const MoeArgs& args);
void mla(const MlaArgs& args);
void gqa(const GqaArgs& args);

}  // namespace hadal::kernels::ref
