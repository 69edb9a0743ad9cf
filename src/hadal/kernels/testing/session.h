// Sequences that pass through an attention operation step by step, for any schedule of steps: what
// a row's result may and may not depend on is tested by comparing schedules.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "hadal/kernels/testing/fixture.h"

namespace hadal::kernels::testing {

struct CacheOptions {
  DType dtype = DType::kF32;
  int32_t page_tokens = 16;
};

// The next `rows` rows of a sequence.
struct Part {
  int sequence = 0;
  int rows = 0;
};
using Step = std::vector<Part>;

// Inputs of all sequences, the same for every session made from them.
struct Inputs {
  // [sequence][stream]: rows are positions.
  std::vector<std::vector<Activations>> streams;
  RopeStyle rope_style = RopeStyle::kInterleaved;
  int32_t rope_dims = 0;

  int sequences() const { return static_cast<int>(streams.size()); }
  int64_t length() const { return streams[0][0].rows; }
};
Inputs make_inputs(int sequences, int64_t length, const std::vector<int64_t>& stream_cols,
                   RopeStyle style, int32_t rope_dims, uint64_t seed);
// The same inputs with an implementation's errors; quantized[stream] as in fixture.h.
// Besides, every row carries what an implementation may add that computes in the precision of the
// cache: the rounding to bf16 or int8 of queries and of weights of the softmax, which acts as an
// error of values.
Inputs disturbed(const Inputs& inputs, const std::vector<bool>& quantized, DType cache,
                 uint64_t seed);

// Angles as models have them: position * 10000^(-2 j / dims), with a magnitude that is not 1.
double rope_angle(int64_t position, int64_t pair, int32_t dims);
inline constexpr double kRopeMagnitude = 1.125;

class Session {
 public:
  Session(Backend& backend, const Inputs& inputs, CacheOptions cache,
          const std::vector<int64_t>& cache_widths, int64_t out_cols, int32_t cache_parts,
          int32_t cache_fine);
  virtual ~Session() = default;

  void run(const std::vector<Step>& steps);
  // [length, out_cols] of one sequence.
  const Activations& outputs(int sequence) const { return outputs_[sequence]; }
  // All sequences' outputs, one after another.
  std::vector<float> all_outputs() const;
  // What cache `index` holds for a position, decoded.
  std::vector<float> cached(int index, int sequence, int64_t position) const;
  // Every byte of the caches.
  std::vector<std::byte> cache_bytes() const;

 protected:
  virtual void call(Backend& backend, std::vector<Activations>& streams, const RopeRows& rope,
                    const std::vector<CachePages>& caches, const std::vector<Segment>& segments,
                    View out) = 0;

 private:
  void step(const Step& parts);

  Backend& backend_;
  const Inputs& inputs_;
  std::vector<CachePages> caches_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<std::vector<int32_t>> blocks_;  // [sequence][page], scattered over the pool
  std::vector<int64_t> next_;                 // position of every sequence's next row
  std::vector<Activations> outputs_;
};

// Schedules over sequences of `length` rows.
std::vector<Step> chunked(int sequences, int64_t length, int rows);  // each alone, `rows` at a time
std::vector<Step> together(int sequences, int64_t length, const std::vector<int>& rows);

}  // namespace hadal::kernels::testing
