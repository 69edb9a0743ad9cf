// Searches for the scales of a block. Rounding to the grid that merely spans the largest value
// wastes levels on one outlier; so a few grids around it are tried, each with its own least-squares
// scale.
#include <algorithm>
#include <cmath>

#include "hadal/tensor/quant_block.h"

namespace hadal::quant {
namespace {

struct Moments {
  double xq = 0, qq = 0;
};

Moments moments(std::span<const float> values, float inverse, int low, int high) {
  float xq = 0, qq = 0;
  for (const float x : values) {
    const auto q = static_cast<float>(nearest_code(x * inverse, low, high));
    xq += x * q;
    qq += q * q;
  }
  return {xq, qq};
}

// With its best scale xq / qq, a set of codes leaves the error sum x^2 - gain.
double gain(const Moments& m) { return m.qq > 0 ? m.xq * m.xq / m.qq : 0; }

struct Line {
  float scale = 0, minimum = 0;
};

float squared_error(std::span<const float> values, const Line& line, int high) {
  const float inverse = inverse_or_zero(line.scale);
  float error = 0;
  for (const float x : values) {
    const auto q = static_cast<float>(nearest_code((x - line.minimum) * inverse, 0, high));
    const float difference = x - (line.scale * q + line.minimum);
    error += difference * difference;
  }
  return error;
}

// Least squares of x on the codes that `line` gives.
Line regress(std::span<const float> values, const Line& line, int high, bool minimum_at_most_zero) {
  const float inverse = inverse_or_zero(line.scale);
  double x_sum = 0, q_sum = 0, xq = 0, qq = 0;
  for (const float x : values) {
    const auto q = static_cast<float>(nearest_code((x - line.minimum) * inverse, 0, high));
    x_sum += x;
    q_sum += q;
    xq += x * q;
    qq += q * q;
  }
  const auto n = static_cast<double>(values.size());
  const double determinant = n * qq - q_sum * q_sum;
  if (determinant <= 0) return line;  // all codes equal
  Line fitted{static_cast<float>((n * xq - x_sum * q_sum) / determinant),
              static_cast<float>((x_sum * qq - q_sum * xq) / determinant)};
  if (minimum_at_most_zero && fitted.minimum > 0) {
    fitted = {static_cast<float>(xq / qq), 0.0f};
  }
  if (fitted.scale <= 0) return line;
  return fitted;
}

}  // namespace

float fit_scale(std::span<const float> values, int low, int high) {
  float extreme = 0;
  for (const float x : values) {
    if (std::fabs(x) > std::fabs(extreme)) extreme = x;
  }
  if (std::fabs(extreme) < 1e-30f) return 0;
  // Grids on which the extreme value meets a level from a little inside `low` to a little beyond
  // it; and, when `low` has one level more, the mirrored ones, which serve blocks of one sign worse
  // but cost little.
  double best_gain = -1;
  Moments best;
  const auto consider = [&](float inverse) {
    const Moments m = moments(values, inverse, low, high);
    if (gain(m) > best_gain) {
      best_gain = gain(m);
      best = m;
    }
  };
  const float span = static_cast<float>(-low);
  for (int step = -4; step <= 4; ++step) {
    const float level = span + 0.25f * static_cast<float>(step) * std::min(1.0f, span / 8.0f);
    consider(-level / extreme);
    if (step % 2 == 0) consider(level / extreme);
  }
  for (int round = 0; round < 3; ++round) {
    if (best.xq == 0) return 0;
    const double before = best_gain;
    consider(static_cast<float>(best.qq / best.xq));
    if (best_gain <= before) break;
  }
  return static_cast<float>(best.xq / best.qq);
}

Affine fit_affine(std::span<const float> values, int high, bool minimum_at_most_zero) {
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  const float bottom = minimum_at_most_zero ? std::min(*smallest, 0.0f) : *smallest;
  const float range = *largest - bottom;
  if (!(range > 1e-30f)) {
    const Line flat{0, bottom};
    return {0, bottom, squared_error(values, flat, high)};
  }
  const float top_code = static_cast<float>(high);
  Affine best{0, 0, INFINITY};
  for (int step = -1; step <= 7; ++step) {
    // Shrinks the grid about the middle of the range, by up to one and a half levels in total.
    const float widened = top_code + 0.2f * static_cast<float>(step);
    const float scale = range / widened;
    Line line{scale, bottom + 0.5f * (range - scale * top_code)};
    if (minimum_at_most_zero) line.minimum = std::min(line.minimum, 0.0f);
    for (int round = 0; round < 3; ++round) {
      line = regress(values, line, high, minimum_at_most_zero);
      const float error = squared_error(values, line, high);
      if (error >= best.error) break;
      best = {line.scale, line.minimum, error};
    }
  }
  return best;
}

}  // namespace hadal::quant
