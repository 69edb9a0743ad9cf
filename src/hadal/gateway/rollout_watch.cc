#include "hadal/gateway/rollout_watch.h"

#include <algorithm>
#include <utility>

namespace hadal::gateway {
namespace {

const obs::Buckets kSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60};

}  // namespace

RolloutMetrics::RolloutMetrics(obs::Registry& registry)
    : answers_(registry.counter("hadal_rollout_answers_total",
                                "Answers measured, by arm: good, refused, failed, or left by "
                                "the client.",
                                {"rollout", "arm", "outcome"})),
      changes_(registry.counter("hadal_rollout_changes_total",
                                "Changes of a rollout, by the phase that it led to.",
                                {"rollout", "phase"})),
      copies_(registry.counter("hadal_rollout_copies_total",
                               "Requests to be copied: sent, full, or withheld as sensitive.",
                               {"rollout", "outcome"})),
      first_token_(registry.histogram("hadal_rollout_first_token_seconds",
                                      "From a request's arrival to its first token, by arm.",
                                      kSeconds, {"rollout", "arm"})),
      share_(registry.gauge("hadal_rollout_share", "The candidate's share of the users, 0 to 1.",
                            {"rollout"})),
      failed_writes_(registry
                         .counter("hadal_rollout_write_errors_total",
                                  "Writes of a rollout's state that failed.")
                         .with()) {}

void RolloutMetrics::answered(const std::string& rollout, const std::string& arm,
                              std::string_view outcome) {
  answers_.with({rollout, arm, std::string(outcome)}).increment();
}
void RolloutMetrics::first_token(const std::string& rollout, const std::string& arm,
                                 double seconds) {
  first_token_.with({rollout, arm}).observe(seconds);
}
void RolloutMetrics::share(const std::string& rollout, double candidate) {
  share_.with({rollout}).set(candidate);
}
void RolloutMetrics::changed(const std::string& rollout, std::string_view phase) {
  changes_.with({rollout, std::string(phase)}).increment();
}
void RolloutMetrics::copied(const std::string& rollout, std::string_view outcome) {
  copies_.with({rollout, std::string(outcome)}).increment();
}
void RolloutMetrics::write_failed() { failed_writes_.increment(); }

LiveRollout::LiveRollout(Rollout machine, std::vector<Probe> probes, std::string spec,
                         std::shared_ptr<RolloutMetrics> metrics)
    : config_(machine.config()),
      probes_(std::move(probes)),
      spec_(std::move(spec)),
      arms_(machine.arms()),
      refusals_(config_.refusal_openings.empty() ? usual_refusals() : config_.refusal_openings),
      metrics_(std::move(metrics)),
      machine_(std::move(machine)) {}

LiveRollout::Seat LiveRollout::seat(uint64_t user) const {
  std::lock_guard lock(mutex_);
  const size_t arm = machine_.arm_of(user);
  return {machine_.is_active(), arm, machine_.state().control.epoch, machine_.target(arm)};
}

LiveRollout::Seat LiveRollout::seat_at(size_t arm) const {
  std::lock_guard lock(mutex_);
  return {machine_.is_active(), arm, machine_.state().control.epoch, machine_.target(arm)};
}

double LiveRollout::share(size_t arm) const {
  std::lock_guard lock(mutex_);
  return machine_.share(arm);
}

void LiveRollout::observe(const Seat& seat, const Observation& seen) {
  std::lock_guard lock(mutex_);
  machine_.observe(seat.epoch, seat.arm, seen);
  news_ = true;
}

bool LiveRollout::take_place() {
  std::lock_guard lock(mutex_);
  if (copies_ >= config_.in_flight) return false;
  ++copies_;
  return true;
}

void LiveRollout::give_back() {
  std::lock_guard lock(mutex_);
  --copies_;
}

RolloutState LiveRollout::state() const {
  std::lock_guard lock(mutex_);
  return machine_.state();
}

Verdict LiveRollout::verdict() const {
  std::lock_guard lock(mutex_);
  return machine_.verdict();
}

bool LiveRollout::take_news() {
  std::lock_guard lock(mutex_);
  return std::exchange(news_, false);
}

AnswerWatch::AnswerWatch(std::shared_ptr<LiveRollout> rollout, LiveRollout::Seat seat,
                         const Clock& clock, Nanos began, std::shared_ptr<net::RequestNotes> notes,
                         size_t text_max)
    : rollout_(std::move(rollout)),
      seat_(std::move(seat)),
      clock_(clock),
      began_(began),
      notes_(std::move(notes)),
      scan_(text_max) {}

void AnswerWatch::on_head(int status, const std::vector<net::Header>& headers) {
  status_ = status;
  limited_ = !net::find_header(headers, "x-hadal-limit").empty();
}

void AnswerWatch::on_bytes(std::string_view bytes) {
  const int64_t before = scan_.pieces();
  scan_.push(bytes);
  if (scan_.pieces() == before) return;
  last_ = clock_.now();
  if (first_ == Nanos(0)) first_ = last_;
}

bool AnswerWatch::says_nothing() const {
  if (limited_ || status_ == 401 || status_ == 403) return true;
  const auto* journey = dynamic_cast<const Journey*>(notes_.get());
  if (journey == nullptr) return false;
  const std::string cache = journey->facts().cache;
  return !cache.empty() && cache != "miss" && cache != "bypass";
}

// Of a client that left before anything came it is known how long it waited at least.
Observation AnswerWatch::seen(bool whole) const {
  Observation seen;
  seen.failed = status_ >= 400 || scan_.failed() || (!whole && !left_);
  if (seen.failed) return seen;
  seen.first_token = to_seconds((first_ != Nanos(0) ? first_ : clock_.now()) - began_);
  if (scan_.pieces() > 1 && last_ > first_) {
    seen.between_tokens = to_seconds(last_ - first_) / static_cast<double>(scan_.pieces() - 1);
  }
  if (!whole) return seen;
  seen.characters = scan_.characters();
  seen.refused = scan_.refused() || opens_with(scan_.text(), rollout_->refusals());
  return seen;
}

void AnswerWatch::on_end(bool whole) {
  if (says_nothing()) return;
  const Observation observed = seen(whole);
  rollout_->observe(seat_, observed);
  const std::string& name = rollout_->config().name;
  const std::string& arm = rollout_->arms()[seat_.arm];
  rollout_->metrics().answered(name, arm,
                               observed.failed    ? "failed"
                               : !whole           ? "left"
                               : observed.refused ? "refused"
                                                  : "good");
  if (!observed.failed) rollout_->metrics().first_token(name, arm, observed.first_token);
}

}  // namespace hadal::gateway
