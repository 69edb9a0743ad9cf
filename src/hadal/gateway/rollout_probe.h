// Questions whose right answers are known, to be put to both arms of a rollout.
//
// Pure, but for load_probes(). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::gateway {

inline constexpr size_t kProbesMax = 1'000;
inline constexpr size_t kProbeAnswerMax = 64u << 10;  // bytes of an answer that are looked at

struct Probe {
  std::string prompt;
  // One of them.
  std::string contains = {};
  std::string exact = {};  // but for space around it
  std::string regex = {};  // see text/pattern.h; found anywhere
  int32_t max_tokens = 256;
  bool operator==(const Probe&) const = default;
};

// A YAML list of maps with the members of Probe. The error has a line for each mistake,
// "LINE:COLUMN: what".
Result<std::vector<Probe>> read_probes(std::string_view yaml);
Result<std::vector<Probe>> load_probes(const std::string& path);

bool passes(const Probe& probe, std::string_view answer);

// A chat request for `model`, at temperature 0.
std::string probe_body(const Probe& probe, std::string_view model);

}  // namespace hadal::gateway
