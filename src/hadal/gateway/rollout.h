// One rollout as a state machine: who goes to which arm, when its answers are looked at, and what
// follows. Time is passed in; what is to be remembered comes out before it takes effect, so that
// its owner can write it down first.
//
// What may be said of its decisions (rollout_sim_test.cc measures it):
// - A candidate that is worse than no margin is rolled back with a probability of `alpha` at most,
//   over all steps and all looks together. Half of alpha is for looks at the end of a window, half
//   for those in between; the k-th of its kind tests at half of alpha / (k (k + 1)), which sum to
//   that half, and within a look the metrics share its level by Holm.
// - A candidate that is worse by more than a margin passes a step with a probability of `alpha` at
//   most: a step passes only at a window's end, where each metric must be shown to be fine at
//   alpha / windows.
// Both hold for answers that are independent of each other; those of one user are less so.
//
// Pure; not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/rollout_config.h"
#include "hadal/gateway/rollout_judge.h"

namespace hadal::gateway {

enum class RolloutPhase : uint8_t {
  kWaiting,     // for `hadal rollout start`
  kRunning,     //
  kPaused,      // shares stay, nothing is judged or recorded
  kPromoted,    // everybody goes to the candidate
  kRolledBack,  // everybody goes where they went before; also of what was ended by hand
};
std::string_view phase_name(RolloutPhase phase);
std::optional<RolloutPhase> find_phase(std::string_view name);

enum class RolloutCommand : uint8_t { kStart, kPause, kResume, kPromote, kNextStep, kAbort };

// What decides where requests go and what comes next.
struct RolloutControl {
  RolloutPhase phase = RolloutPhase::kWaiting;
  int32_t step = 0;
  Millis elapsed{0};      // running, in this step
  Millis looked{0};       // ... at the last look
  int32_t windows = 0;    // of this step that ended without a result
  int64_t ends = 0;       // looks at the end of a window, of the whole rollout
  int64_t looks = 0;      // ... in between
  int64_t next_look = 0;  // also when the candidate has so many requests in this step
  int64_t epoch = 0;      // answers to requests of an earlier one are not counted
  std::string reason;     // of the phase; one line
  bool operator==(const RolloutControl&) const = default;
};

struct RolloutState {
  RolloutControl control;
  std::vector<ArmSamples> arms;      // of this step
  std::vector<ProbeResults> probes;  // an arm each; empty: no probes
  bool operator==(const RolloutState&) const = default;
};

// What is to happen, and what to remember of it.
struct RolloutChange {
  RolloutControl control;
  std::vector<bool> fresh;  // arms whose samples begin anew
  std::string event;        // one line for people; empty: nothing that they must know
};

class Rollout {
 public:
  static constexpr int64_t kFirstLook = 8;    // requests of the candidate
  static constexpr int kLooksPerWindow = 10;  // beside those at 8, 16, 32, ... requests

  // `probes`: how many questions there are.
  Rollout(RolloutConfig config, size_t probes);
  // Goes on with what another process remembered. kInvalidInput: not of this rollout.
  Status restore(RolloutState state);

  const RolloutConfig& config() const { return config_; }
  const RolloutState& state() const { return state_; }
  // Their names, the baseline's first.
  std::vector<std::string> arms() const;
  const RolloutTarget& target(size_t arm) const;
  // Of all users, from 0 to 1; of shadows the share that is copied, in the second.
  double share(size_t arm) const;
  // Where a user goes, `user` being uniform over all values. As the candidate's share grows, users
  // only ever move from the baseline to the candidate.
  size_t arm_of(uint64_t user) const;
  // Whether requests are touched at all.
  bool is_active() const;

  // An answer to a request that was sent to `arm` in `epoch`.
  void observe(int64_t epoch, size_t arm, const Observation& seen);
  // The next question that both arms have not been asked; none when all were.
  std::optional<size_t> next_probe() const;
  void probed(int64_t epoch, size_t arm, size_t probe, bool passed);

  // `passed`: since the last call.
  std::optional<RolloutChange> advance(Millis passed);
  // kInvalidInput: not possible now, with the reason.
  Result<RolloutChange> command(RolloutCommand command) const;
  // The state that a change leads to: what must be written before apply().
  RolloutState after(const RolloutChange& change) const;
  void apply(const RolloutChange& change);

  // At the level of the next look.
  Verdict verdict() const;

 private:
  size_t steps() const;
  double step_share(int32_t step) const;
  bool gathers_baseline() const;
  JudgeLevels levels() const;
  bool window_is_over() const;
  bool look_is_due() const;
  RolloutChange looked() const;
  RolloutChange to_step(int32_t step, std::string reason) const;
  RolloutChange to_phase(RolloutPhase phase, std::string reason) const;

  const RolloutConfig config_;
  const size_t probes_;
  RolloutState state_;
};

}  // namespace hadal::gateway
