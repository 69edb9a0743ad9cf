// Compares what an implementation computed with what the reference did.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace hadal::kernels::testing {

struct Comparison {
  bool close = true;
  std::string what;  // the worst element, or the first that has the wrong kind
};

// Every element within `tolerance` (absolute: it is derived for each case from what rounding does
// to its inputs); NaN and infinities exactly where they are expected. A NaN tolerance accepts
// nothing.
inline Comparison compare(std::span<const float> expected, std::span<const float> actual,
                          double tolerance) {
  const auto failure = [&](size_t i, const char* why) {
    return Comparison{false, std::string(why) + " at element " + std::to_string(i) + " of " +
                                 std::to_string(expected.size()) + ": expected " +
                                 std::to_string(expected[i]) + ", found " +
                                 std::to_string(actual[i]) + ", tolerance " +
                                 std::to_string(tolerance)};
  };
  if (expected.size() != actual.size()) return {false, "different sizes"};
  size_t worst = 0;
  double worst_error = -1;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) != std::isnan(actual[i])) return failure(i, "NaN on one side");
    if (std::isnan(expected[i])) continue;
    if (std::isinf(expected[i]) || std::isinf(actual[i])) {
      if (expected[i] != actual[i]) return failure(i, "infinity on one side");
      continue;
    }
    const double error = std::abs(static_cast<double>(expected[i]) - actual[i]);
    if (error > worst_error) {
      worst = i;
      worst_error = error;
    }
  }
  if (worst_error >= 0 && !(worst_error <= tolerance)) return failure(worst, "too far");
  return {};
}

// How far rounding errors may drive an output: run(seed) computes the outputs from inputs that
// carry the errors an implementation may make, drawn with that seed; `expected` is without. A
// correct implementation's error is another such draw, and beyond six standard deviations of all
// outputs together, or, as outputs differ in how sensitive they are, twice the greatest seen, is
// out of reach.
template <class Run>
double rounding_tolerance(std::span<const float> expected, Run run) {
  constexpr size_t kSamples = 200;
  constexpr uint64_t kDrawsMin = 2;
  double squares = 0;
  double greatest = 0;
  size_t samples = 0;
  for (uint64_t seed = 0; seed < kDrawsMin || samples < kSamples; ++seed) {
    const auto outputs = run(seed);
    for (size_t i = 0; i < expected.size(); ++i, ++samples) {
      const double error = static_cast<double>(outputs[i]) - expected[i];
      squares += error * error;
      greatest = std::max(greatest, std::abs(error));
    }
  }
  return std::max(6 * std::sqrt(squares / static_cast<double>(samples)), 2 * greatest);
}

}  // namespace hadal::kernels::testing
