#include "hadal/gateway/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::gateway {
namespace {

constexpr std::array<std::string_view, 5> kPhaseNames = {"waiting", "running", "paused", "promoted",
                                                         "rolled back"};
constexpr size_t kBaseline = 0, kCandidate = 1;
constexpr int32_t kGathering = 0;  // blue-green's first step: the baseline alone

double unit(uint64_t user) { return static_cast<double>(user >> 11) * 0x1.0p-53; }

}  // namespace

std::string_view phase_name(RolloutPhase phase) { return kPhaseNames[static_cast<size_t>(phase)]; }

std::optional<RolloutPhase> find_phase(std::string_view name) {
  const auto found = std::find(kPhaseNames.begin(), kPhaseNames.end(), name);
  if (found == kPhaseNames.end()) return std::nullopt;
  return static_cast<RolloutPhase>(found - kPhaseNames.begin());
}

Rollout::Rollout(RolloutConfig config, size_t probes)
    : config_(std::move(config)), probes_(config_.is_judged() ? probes : 0) {
  const size_t arms = config_.what() == RolloutKind::kExperiment ? config_.arms.size() : 2;
  HADAL_CHECK(arms >= 2);
  state_.arms.resize(arms);
  if (probes_ > 0) state_.probes.assign(arms, ProbeResults(probes_, '?'));
  if (!config_.autostart) return;
  state_.control.phase = RolloutPhase::kRunning;
  state_.control.next_look = kFirstLook;
}

Status Rollout::restore(RolloutState state) {
  if (state.arms.size() != state_.arms.size() || state.control.step < 0 ||
      static_cast<size_t>(state.control.step) >= steps()) {
    return fail(Code::kInvalidInput, "what was kept is of another rollout");
  }
  // Another set of questions: the answers to the old ones say nothing.
  const bool same_probes =
      state.probes.size() == state_.probes.size() &&
      (state.probes.empty() || state.probes.front().size() == state_.probes.front().size());
  if (!same_probes) state.probes = state_.probes;
  state_ = std::move(state);
  return {};
}

std::vector<std::string> Rollout::arms() const {
  if (config_.what() == RolloutKind::kShadow) return {"baseline", "shadow"};
  if (config_.what() != RolloutKind::kExperiment) return {"baseline", "candidate"};
  std::vector<std::string> names;
  for (const RolloutArm& arm : config_.arms) names.push_back(arm.name);
  return names;
}

const RolloutTarget& Rollout::target(size_t arm) const {
  if (config_.what() == RolloutKind::kExperiment) return config_.arms[arm].target;
  return arm == kBaseline ? config_.baseline : config_.candidate;
}

size_t Rollout::steps() const {
  switch (config_.what()) {
    case RolloutKind::kCanary:
      return config_.steps.size();
    case RolloutKind::kBlueGreen:
      return 2;
    default:
      return 1;
  }
}

double Rollout::step_share(int32_t step) const {
  if (config_.what() == RolloutKind::kBlueGreen) return step == kGathering ? 0 : 1;
  return config_.steps[static_cast<size_t>(step)] / 100;
}

bool Rollout::gathers_baseline() const {
  return config_.what() == RolloutKind::kBlueGreen && state_.control.step == kGathering;
}

double Rollout::share(size_t arm) const {
  const RolloutPhase phase = state_.control.phase;
  if (config_.what() == RolloutKind::kExperiment) {
    double all = 0;
    for (const RolloutArm& one : config_.arms) all += one.weight;
    return config_.arms[arm].weight / all;
  }
  if (config_.what() == RolloutKind::kShadow) {
    return arm == kBaseline ? 1 : phase == RolloutPhase::kRunning ? config_.share / 100 : 0;
  }
  double candidate = 0;
  if (phase == RolloutPhase::kPromoted) candidate = 1;
  if (phase == RolloutPhase::kRunning || phase == RolloutPhase::kPaused) {
    candidate = step_share(state_.control.step);
  }
  return arm == kBaseline ? 1 - candidate : candidate;
}

size_t Rollout::arm_of(uint64_t user) const {
  const double at = unit(user);
  if (config_.what() != RolloutKind::kExperiment) {
    if (config_.what() == RolloutKind::kShadow) return kBaseline;
    return at < share(kCandidate) ? kCandidate : kBaseline;
  }
  double below = 0;
  for (size_t arm = 0; arm < config_.arms.size(); ++arm) {
    below += share(arm);
    if (at < below) return arm;
  }
  // Rounding: the last one that has a share.
  size_t last = config_.arms.size() - 1;
  while (last > 0 && config_.arms[last].weight <= 0) --last;
  return last;
}

bool Rollout::is_active() const {
  switch (state_.control.phase) {
    case RolloutPhase::kRunning:
    case RolloutPhase::kPaused:
      return true;
    case RolloutPhase::kPromoted:
      return config_.is_judged();
    // What the baseline is, is said by the rollout as long as it is declared.
    case RolloutPhase::kWaiting:
    case RolloutPhase::kRolledBack:
      return config_.is_judged() && !config_.baseline.empty();
  }
  return false;
}

void Rollout::observe(int64_t epoch, size_t arm, const Observation& seen) {
  if (epoch != state_.control.epoch || state_.control.phase != RolloutPhase::kRunning) return;
  state_.arms[arm].add(seen);
}

std::optional<size_t> Rollout::next_probe() const {
  if (state_.control.phase != RolloutPhase::kRunning) return std::nullopt;
  for (size_t i = 0; i < probes_; ++i) {
    const bool open = std::any_of(state_.probes.begin(), state_.probes.end(),
                                  [&](const ProbeResults& results) { return results[i] == '?'; });
    if (open) return i;
  }
  return std::nullopt;
}

void Rollout::probed(int64_t epoch, size_t arm, size_t probe, bool passed) {
  if (epoch != state_.control.epoch || arm >= state_.probes.size() || probe >= probes_) return;
  state_.probes[arm][probe] = passed ? '1' : '0';
}

JudgeLevels Rollout::levels() const {
  const RolloutControl& control = state_.control;
  const double k = static_cast<double>((window_is_over() ? control.ends : control.looks) + 1);
  return {config_.alpha / 2 / (k * (k + 1)), config_.alpha / config_.windows};
}

Verdict Rollout::verdict() const {
  const ProbeResults none;
  return judge(config_, state_.arms[kBaseline], state_.arms[kCandidate],
               probes_ > 0 ? state_.probes[kBaseline] : none,
               probes_ > 0 ? state_.probes[kCandidate] : none, levels());
}

// By time and by answers, so that each window brings something new.
bool Rollout::window_is_over() const {
  const RolloutControl& control = state_.control;
  const int64_t wanted = static_cast<int64_t>(config_.samples) * (control.windows + 1);
  return control.elapsed >= config_.window * (control.windows + 1) &&
         state_.arms[kBaseline].requests >= config_.samples &&
         (gathers_baseline() || state_.arms[kCandidate].requests >= wanted);
}

bool Rollout::look_is_due() const {
  const RolloutControl& control = state_.control;
  if (window_is_over()) return true;
  const int64_t requests = state_.arms[kCandidate].requests;
  if (requests >= control.next_look) return true;
  return control.elapsed - control.looked >= config_.window / kLooksPerWindow &&
         (requests >= kFirstLook || gathers_baseline());
}

std::optional<RolloutChange> Rollout::advance(Millis passed) {
  if (state_.control.phase != RolloutPhase::kRunning) return std::nullopt;
  state_.control.elapsed += passed;
  if (!config_.is_judged() || !look_is_due()) return std::nullopt;
  return looked();
}

RolloutChange Rollout::looked() const {
  const Verdict verdict = this->verdict();
  const bool over = window_is_over();
  RolloutChange change;
  if (verdict.word == Verdict::Word::kWorse) {
    change = to_phase(RolloutPhase::kRolledBack, "worse: " + verdict.reason);
  } else if (over && gathers_baseline() &&
             (probes_ == 0 ||
              (!verdict.compared.empty() && verdict.compared.back().metric == Metric::kScore &&
               verdict.compared.back().fine_p <= levels().fine))) {
    change = to_step(state_.control.step + 1, "the baseline is measured");
  } else if (over && verdict.word == Verdict::Word::kFine) {
    change = to_step(state_.control.step + 1, verdict.reason);
  } else {
    change.control = state_.control;
    change.fresh.assign(state_.arms.size(), false);
    if (over && ++change.control.windows >= config_.windows) {
      change = to_phase(RolloutPhase::kPaused, fmt::format("nothing was shown in {} windows: {}",
                                                           config_.windows, verdict.reason));
    }
  }
  ++(over ? change.control.ends : change.control.looks);
  if (change.control.step == state_.control.step) {
    change.control.looked = state_.control.elapsed;
    while (change.control.next_look <= state_.arms[kCandidate].requests) {
      change.control.next_look = std::max(change.control.next_look, kFirstLook) * 2;
    }
  }
  return change;
}

RolloutChange Rollout::to_step(int32_t step, std::string reason) const {
  if (static_cast<size_t>(step) >= steps()) {
    return to_phase(RolloutPhase::kPromoted, std::move(reason));
  }
  RolloutChange change;
  change.control.phase = RolloutPhase::kRunning;
  change.control.step = step;
  change.control.ends = state_.control.ends;
  change.control.looks = state_.control.looks;
  change.control.next_look = kFirstLook;
  change.control.reason = reason;
  // Blue-green compares with what the baseline did before.
  const bool keeps_baseline = config_.what() == RolloutKind::kBlueGreen && step != kGathering &&
                              state_.control.step == kGathering;
  change.fresh.assign(state_.arms.size(), true);
  change.fresh[kBaseline] = !keeps_baseline;
  change.control.epoch = state_.control.epoch + 1;
  change.event =
      fmt::format("step {} of {}, {:g} %: {}", step + 1, steps(), 100 * step_share(step), reason);
  return change;
}

RolloutChange Rollout::to_phase(RolloutPhase phase, std::string reason) const {
  RolloutChange change;
  change.control = state_.control;
  change.control.phase = phase;
  change.control.reason = std::move(reason);
  change.control.epoch = state_.control.epoch + 1;
  change.fresh.assign(state_.arms.size(), false);
  change.event = fmt::format("{}: {}", phase_name(phase), change.control.reason);
  return change;
}

Result<RolloutChange> Rollout::command(RolloutCommand command) const {
  const RolloutPhase phase = state_.control.phase;
  const bool under_way = phase == RolloutPhase::kRunning || phase == RolloutPhase::kPaused;
  const auto refuse = [&](std::string_view what) {
    return fail(Code::kInvalidInput,
                fmt::format("rollout '{}' is {}: {}", config_.name, phase_name(phase), what));
  };
  switch (command) {
    case RolloutCommand::kStart: {
      if (under_way) return refuse("it has begun already");
      RolloutChange change = to_phase(RolloutPhase::kRunning, "started by the operator");
      change.control.step = 0;
      change.control.elapsed = change.control.looked = Millis(0);
      change.control.windows = 0;
      change.control.ends = change.control.looks = 0;
      change.control.next_look = kFirstLook;
      change.fresh.assign(state_.arms.size(), true);
      return change;
    }
    case RolloutCommand::kPause:
      if (phase != RolloutPhase::kRunning) return refuse("it does not run");
      return to_phase(RolloutPhase::kPaused, "paused by the operator");
    case RolloutCommand::kResume: {
      if (phase != RolloutPhase::kPaused) return refuse("it is not paused");
      // As many windows again. Looks go on being counted, so alpha stays what it is.
      RolloutChange change = to_phase(RolloutPhase::kRunning, "resumed by the operator");
      change.control.elapsed = change.control.looked = Millis(0);
      change.control.windows = 0;
      change.control.next_look = kFirstLook;
      change.fresh.assign(state_.arms.size(), true);
      // Nothing comes to blue-green's baseline any more.
      change.fresh[kBaseline] = share(kBaseline) > 0;
      return change;
    }
    case RolloutCommand::kPromote:
    case RolloutCommand::kNextStep:
      if (!config_.is_judged()) return refuse("it moves nobody; end it with abort");
      if (!under_way) return refuse("it is not under way");
      if (command == RolloutCommand::kPromote) {
        return to_phase(RolloutPhase::kPromoted, "promoted by the operator");
      }
      return to_step(state_.control.step + 1, "by the operator");
    case RolloutCommand::kAbort:
      if (phase == RolloutPhase::kRolledBack) return refuse("it has ended");
      return to_phase(RolloutPhase::kRolledBack, "aborted by the operator");
  }
  return refuse("unknown command");
}

RolloutState Rollout::after(const RolloutChange& change) const {
  RolloutState next = state_;
  next.control = change.control;
  for (size_t arm = 0; arm < next.arms.size(); ++arm) {
    if (!change.fresh[arm]) continue;
    next.arms[arm] = {};
    if (!next.probes.empty()) next.probes[arm].assign(probes_, '?');
  }
  return next;
}

void Rollout::apply(const RolloutChange& change) { state_ = after(change); }

}  // namespace hadal::gateway
