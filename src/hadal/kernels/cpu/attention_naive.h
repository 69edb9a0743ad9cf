// Latent attention in its naive form (kernels/op/attention.h), for many rows of one sequence: a
// head's keys and values are expanded from cached rows, some hundred positions at a time, into
// memory that stays in the second-level cache, and meet all of the rows there.
//
// All of it in int8, whatever the cache holds: latents as kI8 rows hold them (rows of other types
// are rounded to that), weights with one scale an output, expanded keys and values as parts of kI8
// rows: `nope` coarse elements, turned, and `rope` fine ones, copied; `v_dim` coarse ones. The
// turns of what is expanded lie in the weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/op/attention.h"

namespace hadal::kernels::cpu {

// Outputs are computed so many at a time.
inline constexpr int64_t kExpandOutputs = 32;

// What makes keys, or values, of one head: output o = scale[o] * (sum of codes * latent's codes).
struct ExpansionHalf {
  const int8_t* codes = nullptr;   // [outputs / 32][words][32][4], 4 elements of the latent a word
  const int32_t* begin = nullptr;  // [outputs] -128 * the sum of an output's codes
  const float* scale = nullptr;    // [outputs]
  int64_t count = 0;               // of outputs; arrays are padded to whole blocks of 32
  int64_t words = 0;

  int64_t padded() const { return (count + kExpandOutputs - 1) / kExpandOutputs * kExpandOutputs; }
};

class PackedExpansion final : public Expansion {
 public:
  // kExhausted when memory cannot be had.
  static Result<std::unique_ptr<PackedExpansion>> make(CpuContext& context,
                                                       const PackedMatrix& k_up,
                                                       const PackedMatrix& v_up);

  const ExpansionHalf& keys(int64_t head) const { return keys_[static_cast<size_t>(head)]; }
  const ExpansionHalf& values(int64_t head) const { return values_[static_cast<size_t>(head)]; }

 private:
  PackedExpansion() = default;
  std::unique_ptr<PanelMemory> memory_;
  std::vector<ExpansionHalf> keys_, values_;  // [heads]
};

struct NaiveKernels {
  // parts[t] = coarse elements and their scale of a kI8 part of half.count coarse elements, from
  // the latent at latents[t], for t in [0, count). Parts are `stride` bytes apart, their scale lies
  // at `scale_at`, that of a latent at `latent_scale_at`. `spare`: [32][half.padded()] floats.
  void (*expand)(const ExpansionHalf& half, const std::byte* const* latents,
                 int64_t latent_scale_at, int64_t count, float* spare, std::byte* parts,
                 int64_t stride, int64_t scale_at);
  // As those of DirectKernels, with the tile's queries in another order.
  int64_t (*tile_bytes)(const PartForm& keys);
  void (*pack)(const PartForm& keys, float scale, const float* const* heads,
               const float* const* tails, std::byte* tile);
  // Scores of tokens [0, tokens) of every tile, rounded up to a multiple of 4, for keys `stride`
  // bytes apart.
  void (*score)(const PartForm& keys, const SpanTile* tiles, int count, const std::byte* first,
                int64_t stride, int tokens);
};

namespace avx512 {
const NaiveKernels& naive_kernels();  // VNNI
}

// Whether this segment's rows are to be computed here, by what the arguments say alone.
bool is_naive(const CpuContext& context, const MlaArgs& args, const Segment& segment);

// args.out of these segments, of which is_naive() was true. Every row's entry is in the cache,
// queries are rotated; their other part is overwritten. Uses the pool.
void attend_naive(CpuContext& context, const MlaArgs& args,
                  const std::vector<const Segment*>& segments);

}  // namespace hadal::kernels::cpu
