// The requests of a RolloutStage: clients', whose arm is chosen, and its own.
#include <fmt/format.h>

#include <span>
#include <utility>

#include "hadal/base/hash.h"
#include "hadal/gateway/passing.h"
#include "hadal/gateway/rollout_stage.h"

namespace hadal::gateway {
namespace {

constexpr size_t kBaseline = 0, kShadow = 1;

// Those that make text.
bool is_generation(const net::HttpRequest& request) {
  if (request.method != "POST") return false;
  const std::string_view path = upstream_path(request.path);
  return path == "/chat/completions" || path == "/completions" || path == "/responses" ||
         path == "/messages";
}

// Whom a request is for, as well as it can be told.
uint64_t user_of(const net::HttpRequest& request, const BodyScan& scan, const Journey& journey,
                 const std::string& rollout) {
  Hasher hasher(hash64(std::as_bytes(std::span(rollout))));
  const auto take = [&](std::string_view kind, std::string_view value) {
    hasher.update(kind);
    hasher.update(value);
  };
  const Caller& caller = *journey.caller();
  const std::string_view session = request.header("x-session");
  take("tenant ", caller.tenant->name);
  if (!scan.user.empty()) {
    take(" user ", scan.user);
  } else if (!session.empty()) {
    take(" session ", session);
  } else if (!caller.key.id.empty()) {
    take(" key ", caller.key.id);
  } else if (const std::string_view shown = shown_key(request); !shown.empty()) {
    take(" key ", shown);
  } else {
    take(" peer ", journey.peer());
  }
  return hasher.finish().low;
}

Choice choice_of(const LiveRollout& live, const LiveRollout::Seat& seat) {
  return {seat.target.model, seat.target.backends,
          fmt::format("{}={}", live.config().name, live.arms()[seat.arm])};
}

}  // namespace

// Of an answer to a probe keeps the text, for the thread to judge.
class RolloutStage::ProbeWatch final : public net::AnswerTap {
 public:
  ProbeWatch(std::shared_ptr<Mailbox> mailbox, ProbeAnswer answer)
      : mailbox_(std::move(mailbox)), answer_(std::move(answer)) {}
  void on_head(int status, const std::vector<net::Header>&) override { status_ = status; }
  void on_bytes(std::string_view bytes) override { scan_.push(bytes); }
  void on_end(bool whole) override {
    answer_.is_answer = whole && status_ == 200 && !scan_.failed();
    answer_.is_busy = status_ == 429 || status_ == 503 || status_ == 529;
    answer_.text = scan_.text();
    std::lock_guard lock(mailbox_->mutex);
    mailbox_->answers.push_back(std::move(answer_));
  }

 private:
  const std::shared_ptr<Mailbox> mailbox_;  // shared with the stage
  ProbeAnswer answer_;
  AnswerScan scan_{kProbeAnswerMax};
  int status_ = 0;
};

class RolloutStage::CopyWatch final : public AnswerWatch {
 public:
  using AnswerWatch::AnswerWatch;
  void on_end(bool whole) override {
    AnswerWatch::on_end(whole);
    rollout()->give_back();
  }
};

void RolloutStage::arrive(const net::HttpRequest& request, net::ResponseWriter& writer,
                          Journey& journey) {
  if (is_empty_ || !is_generation(request)) return;
  const auto now = table();
  const auto scan = scan_body(request.body);
  if (!scan) return;
  const ModelTarget* target = now->directory->find(scan->model);
  if (target == nullptr || !journey.caller()->may_ask(scan->model)) return;
  // What another stage has decided stays.
  const Choice chosen = journey.choice();
  const bool is_chosen = !chosen.model.empty() || !chosen.backends.empty();
  bool is_seated = is_chosen;
  for (const Entry& entry : now->rollouts) {
    const RolloutConfig& config = entry.live->config();
    if (config.model != scan->model && config.model != target->model) continue;
    if (config.what() == RolloutKind::kShadow) {
      copy(entry, request, is_chosen, writer, journey);
    } else if (!is_seated) {
      is_seated = seat(entry, request, *scan, writer, journey);
    }
  }
}

bool RolloutStage::seat(const Entry& entry, const net::HttpRequest& request, const BodyScan& scan,
                        net::ResponseWriter& writer, Journey& journey) {
  const Live& live = entry.live;
  LiveRollout::Seat seat = live->seat(user_of(request, scan, journey, live->config().name));
  if (!seat.active) return false;
  // What is sensitive goes nowhere new.
  if (!entry.arm_is_here[seat.arm] && !seat.target.empty() && !journey.facts().labels.empty()) {
    return false;
  }
  if (!seat.target.empty()) journey.choose(choice_of(*live, seat));
  const std::string words = fmt::format("{}={}", live->config().name, live->arms()[seat.arm]);
  journey.note_reason("rollout " + words);
  writer.also({"X-Hadal-Rollout", words});
  writer.tap(std::make_shared<AnswerWatch>(live, std::move(seat), parts_.clock, journey.began(),
                                           request.notes));
  return true;
}

void RolloutStage::copy(const Entry& entry, const net::HttpRequest& request, bool is_chosen,
                        net::ResponseWriter& writer, const Journey& journey) {
  const Live& live = entry.live;
  const double share = live->share(kShadow);
  if (rng_.uniform_at(draws_++) >= share) return;
  const std::string& name = live->config().name;
  if (!entry.arm_is_here[kShadow] && (is_chosen || !journey.facts().labels.empty())) {
    return metrics_->copied(name, "withheld");
  }
  if (!live->take_place()) return metrics_->copied(name, "full");
  metrics_->copied(name, "sent");
  writer.tap(std::make_shared<AnswerWatch>(live, live->seat_at(kBaseline), parts_.clock,
                                           journey.began(), request.notes));
  Copy copied{live, request, journey.id() + "-copy"};
  copied.request.notes.reset();
  {
    std::lock_guard lock(mutex_);
    copies_.push_back(std::move(copied));
  }
  wake_.notify_all();
}

// Never on a client's thread.
void RolloutStage::send_copies() {
  std::deque<Copy> copies;
  {
    std::lock_guard lock(mutex_);
    copies.swap(copies_);
  }
  for (Copy& copy : copies) {
    const LiveRollout::Seat seat = copy.rollout->seat_at(kShadow);
    auto watch =
        std::make_shared<CopyWatch>(copy.rollout, seat, parts_.clock, parts_.clock.now(), nullptr);
    errands_.send(std::move(copy.request), choice_of(*copy.rollout, seat), copy.id,
                  std::move(watch));
  }
}

// One question at a time, to all arms that have not answered it.
void RolloutStage::send_probe(const Live& live, Millis passed) {
  if (live->probes().empty()) return;
  Asking& asking = asking_[live->config().name];
  asking.waited += passed;
  if (asking.under_way > 0 || asking.waited < live->config().probes.every) return;
  const auto next = live->with([](Rollout& machine) { return machine.next_probe(); });
  if (!next) return;
  asking.waited = Millis(0);
  const RolloutState state = live->state();
  if (std::exchange(asking.epoch, state.control.epoch) != state.control.epoch) {
    asking.attempts.clear();
  }
  const Probe& probe = live->probes()[*next];
  for (size_t arm = 0; arm < state.probes.size(); ++arm) {
    if (state.probes[arm][*next] != '?') continue;
    const LiveRollout::Seat seat = live->seat_at(arm);
    net::HttpRequest request{"POST",
                             "/v1/chat/completions",
                             {},
                             {{"Content-Type", "application/json"}},
                             probe_body(probe, live->config().model)};
    ++asking.under_way;
    errands_.send(std::move(request), choice_of(*live, seat),
                  fmt::format("probe-{}-{}", live->config().name, ++errands_sent_),
                  std::make_shared<ProbeWatch>(mailbox_, ProbeAnswer{live, seat, *next}));
  }
}

void RolloutStage::take_probe_answers() {
  std::vector<ProbeAnswer> answers;
  {
    std::lock_guard lock(mailbox_->mutex);
    answers.swap(mailbox_->answers);
  }
  for (const ProbeAnswer& answer : answers) {
    Asking& asking = asking_[answer.rollout->config().name];
    --asking.under_way;
    // A server that is loading or has too much to do says nothing of its model. Another error may
    // pass; one that stays counts as a wrong answer.
    if (answer.is_busy) continue;
    const auto place = std::pair(answer.seat.arm, answer.probe);
    if (!answer.is_answer && ++asking.attempts[place] < kProbeAttempts) continue;
    const bool passed =
        answer.is_answer && passes(answer.rollout->probes()[answer.probe], answer.text);
    answer.rollout->with([&](Rollout& machine) {
      machine.probed(answer.seat.epoch, answer.seat.arm, answer.probe, passed);
    });
  }
}

}  // namespace hadal::gateway
