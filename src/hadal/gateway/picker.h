// Which of several backends a request goes to: the strategies, without any state of the backends.
//
//   round robin   in turn, by weight: over any sum-of-weights requests in a row each gets its share
//   least tokens  the fewest outstanding tokens per weight, prompts and expected answers together
//   two choices   two drawn by weight, of which the one with less to do (Mitzenmacher, "The Power
//   of
//                 Two Choices in Randomized Load Balancing", 2001)
//   prefix        a conversation returns to the backend that holds its cache: highest random weight
//                 (Thaler, Ravishankar, 1998) over the hash of how it begins, with a bound on load
//                 (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018):
//                 a backend that has `load_bound` times its share of all requests is passed over
//
// Pure, seeded. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>

#include "hadal/base/rng.h"

namespace hadal::gateway {

using BackendId = uint32_t;

enum class Strategy : uint8_t { kRoundRobin, kLeastTokens, kTwoChoices, kPrefix };
// "round_robin", "least_tokens", "two_choices", "prefix".
std::optional<Strategy> strategy_from_name(std::string_view name);

// One that may be asked.
struct Candidate {
  BackendId id = 0;
  int32_t weight = 1;      // at least 1
  int32_t in_flight = 0;   // requests
  int64_t tokens = 0;      // outstanding
  uint64_t name_hash = 0;  // the same in every gateway, so that all send a conversation alike
};

class Picker {
 public:
  explicit Picker(uint64_t seed) : rng_(seed) {}

  // `candidates` must not be empty. `affinity`: of the conversation, see BodyScan::prefix_hash.
  BackendId pick(Strategy strategy, std::span<const Candidate> candidates, uint64_t affinity,
                 double load_bound);

 private:
  BackendId round_robin(std::span<const Candidate> candidates);
  BackendId least_tokens(std::span<const Candidate> candidates);
  BackendId two_choices(std::span<const Candidate> candidates);
  static BackendId prefix(std::span<const Candidate> candidates, uint64_t affinity,
                          double load_bound);

  Rng rng_;
  std::map<BackendId, int64_t> credits_;  // of round robin
  uint64_t turn_ = 0;                     // breaks ties
};

}  // namespace hadal::gateway
