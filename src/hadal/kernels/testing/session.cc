#include "hadal/kernels/testing/session.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "hadal/base/check.h"
#include "hadal/kernels/ref/cache.h"

namespace hadal::kernels::testing {

Inputs make_inputs(int sequences, int64_t length, const std::vector<int64_t>& stream_cols,
                   RopeStyle style, int32_t rope_dims, uint64_t seed) {
  Inputs inputs;
  inputs.rope_style = style;
  inputs.rope_dims = rope_dims;
  for (int s = 0; s < sequences; ++s) {
    inputs.streams.emplace_back();
    for (const int64_t cols : stream_cols) {
      inputs.streams.back().push_back(make_activations(length, cols, 1.0f, ++seed));
    }
  }
  return inputs;
}

namespace {

void disturb_by_cache(Activations& x, DType cache, Rng& rng) {
  for (int64_t r = 0; r < x.rows; ++r) {
    double squares = 0;
    for (int64_t c = 0; c < x.cols; ++c) squares += double{x.row(r)[c]} * x.row(r)[c];
    // The greatest of a turned row is about four times its root mean square.
    const double step = 4 * std::sqrt(squares / static_cast<double>(x.cols)) / 127;
    for (int64_t c = 0; c < x.cols; ++c) {
      float& value = x.row(r)[c];
      const double error = rng.uniform() - 0.5;
      value = static_cast<float>(cache == DType::kI8 ? value + step * error
                                                     : value * (1 + 0x1p-7 * error));
    }
  }
}

}  // namespace

Inputs disturbed(const Inputs& inputs, const std::vector<bool>& quantized, DType cache,
                 uint64_t seed) {
  Inputs noisy = inputs;
  seed *= 1000;
  for (auto& streams : noisy.streams) {
    for (size_t i = 0; i < streams.size(); ++i) {
      streams[i] = disturbed(streams[i], quantized[i], ++seed);
      Rng rng(++seed);
      if (cache == DType::kI8 || cache == DType::kBF16) disturb_by_cache(streams[i], cache, rng);
    }
  }
  return noisy;
}

double rope_angle(int64_t position, int64_t pair, int32_t dims) {
  return static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(pair) / dims);
}

Session::Session(Backend& backend, const Inputs& inputs, CacheOptions cache,
                 const std::vector<int64_t>& cache_widths, int64_t out_cols, int32_t cache_parts,
                 int32_t cache_fine)
    : backend_(backend), inputs_(inputs), next_(inputs.streams.size()) {
  const int64_t pages = (inputs.length() + cache.page_tokens - 1) / cache.page_tokens;
  const int64_t blocks = pages * inputs.sequences() + 1;  // one that nobody owns
  std::vector<int32_t> pool(static_cast<size_t>(blocks));
  std::iota(pool.begin(), pool.end(), 0);
  Rng rng(99);
  for (size_t i = pool.size(); i > 1; --i) std::swap(pool[i - 1], pool[rng.next() % i]);
  for (int s = 0; s < inputs.sequences(); ++s) {
    blocks_.emplace_back(pool.begin() + s * pages, pool.begin() + (s + 1) * pages);
    outputs_.emplace_back(inputs.length(), out_cols);
  }
  for (const int64_t width : cache_widths) {
    CachePages pages{nullptr, cache.dtype, cache.page_tokens, width, cache_parts, cache_fine};
    const uint64_t bytes = blocks * cache.page_tokens * cache_row_bytes(pages);
    auto buffer = backend.allocate(bytes);
    HADAL_CHECK(buffer.has_value());
    pages.data = (*buffer)->data();
    caches_.push_back(pages);
    buffers_.push_back(std::move(*buffer));
  }
}

void Session::run(const std::vector<Step>& steps) {
  for (const Step& parts : steps) step(parts);
}

void Session::step(const Step& parts) {
  int64_t rows = 0;
  for (const Part& part : parts) rows += part.rows;
  std::vector<Activations> streams;
  for (const Activations& stream : inputs_.streams[0]) streams.emplace_back(rows, stream.cols);
  const int64_t pairs = inputs_.rope_dims / 2;
  std::vector<float> cos(static_cast<size_t>(rows * pairs));
  std::vector<float> sin(cos.size());
  std::vector<Segment> segments;
  int64_t row = 0;
  for (const Part& part : parts) {
    const auto position = static_cast<int32_t>(next_[part.sequence]);
    segments.push_back({static_cast<int32_t>(row), part.rows, position, blocks_[part.sequence]});
    for (int i = 0; i < part.rows; ++i, ++row) {
      for (size_t k = 0; k < streams.size(); ++k) {
        const Activations& source = inputs_.streams[part.sequence][k];
        std::copy_n(source.row(position + i), source.cols, streams[k].row(row));
      }
      for (int64_t j = 0; j < pairs; ++j) {
        const double angle = rope_angle(position + i, j, inputs_.rope_dims);
        cos[row * pairs + j] = static_cast<float>(kRopeMagnitude * std::cos(angle));
        sin[row * pairs + j] = static_cast<float>(kRopeMagnitude * std::sin(angle));
      }
    }
  }
  Activations out(rows, outputs_[0].cols);
  const RopeRows rope{cos.data(), sin.data(), inputs_.rope_dims, inputs_.rope_style};
  call(backend_, streams, rope, caches_, segments, out.view());
  for (const Segment& segment : segments) {
    const int sequence = parts[&segment - segments.data()].sequence;
    std::copy_n(out.row(segment.first_row), segment.rows * out.cols,
                outputs_[sequence].row(segment.position));
    next_[sequence] += segment.rows;
  }
}

std::vector<float> Session::all_outputs() const {
  std::vector<float> all;
  for (const Activations& out : outputs_) {
    all.insert(all.end(), out.values.begin(), out.values.end());
  }
  return all;
}

std::vector<float> Session::cached(int index, int sequence, int64_t position) const {
  const int64_t length = inputs_.length();
  return ref::read_cache(caches_[index], {0, static_cast<int32_t>(length), 0, blocks_[sequence]},
                         position);
}

std::vector<std::byte> Session::cache_bytes() const {
  std::vector<std::byte> bytes;
  for (const auto& buffer : buffers_) {
    bytes.insert(bytes.end(), buffer->data(), buffer->data() + buffer->size());
  }
  return bytes;
}

std::vector<Step> chunked(int sequences, int64_t length, int rows) {
  std::vector<Step> steps;
  for (int s = 0; s < sequences; ++s) {
    for (int64_t done = 0; done < length; done += rows) {
      steps.push_back({{s, static_cast<int>(std::min<int64_t>(rows, length - done))}});
    }
  }
  return steps;
}

std::vector<Step> together(int sequences, int64_t length, const std::vector<int>& rows) {
  std::vector<Step> steps;
  std::vector<int64_t> done(static_cast<size_t>(sequences));
  for (bool more = true; more;) {
    more = false;
    Step step;
    for (int s = sequences - 1; s >= 0; --s) {
      const int64_t left = length - done[s];
      const auto count = static_cast<int>(std::min<int64_t>(rows[s % rows.size()], left));
      if (count == 0) continue;
      step.push_back({s, count});
      done[s] += count;
      more = true;
    }
    if (more) steps.push_back(step);
  }
  return steps;
}

}  // namespace hadal::kernels::testing
