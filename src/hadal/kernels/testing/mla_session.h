// Latent attention as a Session.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "hadal/kernels/testing/close.h"
#include "hadal/kernels/testing/session.h"

namespace hadal::kernels::testing {

inline constexpr float kNormEps = 1e-6f;

struct MlaShape {
  int32_t heads, nope, rope, rank, v_dim;

  float scale() const { return 1 / std::sqrt(static_cast<float>(nope + rope)); }
  std::vector<int64_t> stream_cols() const {
    return {int64_t{heads} * (nope + rope), int64_t{rank} + rope};
  }
};

struct MlaModel {
  MlaModel(MlaShape shape, DType dtype)
      : shape(shape),
        k_up(make_weights(dtype, shape.rank, shape.nope, shape.heads,
                          2 / std::sqrt(static_cast<float>(shape.nope)), 201)),
        v_up(make_weights(dtype, shape.v_dim, shape.rank, shape.heads,
                          2 / std::sqrt(static_cast<float>(shape.rank)), 202)),
        norm(make_activations(1, shape.rank, 1.0f, 203).values) {}

  bool quantized() const { return dtype_info(k_up.source.dtype).quantized; }

  MlaShape shape;
  Weights k_up, v_up;
  std::vector<float> norm;
};

// With naive_rows_min 0 in the absorbed form alone.
class MlaSession final : public Session {
 public:
  MlaSession(Backend& backend, const MlaModel& model, const Inputs& inputs, CacheOptions cache,
             bool skip_first = false, bool in_parts = false, int32_t naive_rows_min = 0)
      : Session(backend, inputs, cache, {model.shape.rank + model.shape.rope},
                int64_t{model.shape.heads} * model.shape.v_dim, 1, model.shape.rope),
        model_(model),
        k_up_(pack(backend, model.k_up)),
        v_up_(pack(backend, model.v_up)),
        skip_first_(skip_first),
        in_parts_(in_parts),
        naive_rows_min_(naive_rows_min) {
    if (naive_rows_min > 0) expansion_ = std::move(*backend.pack_expansion(*k_up_, *v_up_));
  }

 private:
  void call(Backend& backend, std::vector<Activations>& streams, const RopeRows& rope,
            const std::vector<CachePages>& caches, const std::vector<Segment>& segments,
            View out) override {
    const MlaShape& s = model_.shape;
    MlaArgs args{};
    args.q = streams[0].view();
    args.kv = streams[1].view();
    args.kv_norm_weight = model_.norm.data();
    args.norm_eps = kNormEps;
    args.k_up = k_up_.get();
    args.v_up = v_up_.get();
    args.rope = rope;
    args.heads = s.heads;
    args.nope_dim = s.nope;
    args.rank = s.rank;
    args.v_dim = s.v_dim;
    args.scale = s.scale();
    args.cache = caches[0];
    args.segments = segments;
    args.out = out;
    args.skip_first = skip_first_;
    args.naive = expansion_.get();
    args.naive_rows_min = naive_rows_min_;
    if (!in_parts_) return backend.mla(args);
    for (const MlaPart part : {MlaPart::kStore, MlaPart::kAttend}) {
      args.part = part;
      backend.mla(args);
    }
  }

  const MlaModel& model_;
  std::unique_ptr<Matrix> k_up_, v_up_;
  std::unique_ptr<Expansion> expansion_;
  bool skip_first_, in_parts_;
  int32_t naive_rows_min_;
};

// The error of the last projection, whose input (a mean of latents) is rounded inside the
// operation.
inline double last_projection_error(Backend& ref, const MlaModel& model, const Inputs& inputs) {
  const MlaShape& s = model.shape;
  MatrixSource source = model.v_up.source;
  source.parts.resize(1);
  if (!source.fp8_scales.empty()) source.fp8_scales.resize(1);
  const auto matrix = std::move(*ref.pack(source));
  Activations latents(inputs.length(), s.rank);
  View rows = const_cast<Activations&>(inputs.streams[0][1]).view().columns(0, s.rank);
  ref.rms_norm({rows, model.norm.data(), kNormEps, latents.view()});
  const auto project = [&](const Activations& x) {
    Activations out(x.rows, s.v_dim);
    LinearArgs args;
    args.x = x.view();
    args.projections[0].weight = matrix.get();
    args.projections[0].out = out.view();
    args.projection_count = 1;
    ref.linear(args);
    return out.values;
  };
  const std::vector<float> exact = project(latents);
  return rounding_tolerance(
      exact, [&](uint64_t seed) { return project(disturbed(latents, model.quantized(), seed)); });
}

}  // namespace hadal::kernels::testing
