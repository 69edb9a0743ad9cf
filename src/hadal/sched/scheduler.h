// Continuous batching as a state machine without tensors, threads or clock reads: what the next
// step of the model should run, given who waits and which blocks are free. The engine runs its
// plans; a simulation or a planner runs them against invented time.
//
// One round:
//   plan = step(now)      what to run; blocks for every row are in the sequences' tables
//   (the model runs)
//   advance()             the plan's rows are in the cache; full blocks become shareable
//   accept()              for each segment with guesses: how many of them were right
//   append() / remove()   for each segment with logits: its next token, or its end
//   guess()               perhaps: tokens that may come next
//   took(elapsed)         optional: how long all of this took, which later plans learn from
//
// A sequence has one counter, `computed`: positions in the cache. What it lacks, tokens.size() -
// computed, is what it wants to run. A prompt lacks many rows, a generating sequence one; after a
// pre-emption it lacks all that the prefix tree lost. So there is one path for prompts, generation
// and recomputation.
//
// Guessed tokens are rows of a plan and nothing else: they are not among the sequence's tokens, not
// counted as computed and not in the prefix tree until accept() says so; those not accepted leave
// nothing behind but bytes that the next rows at their positions overwrite. A model that cannot
// overwrite (a recurrent state) sees in the plan which rows are provisional.
//
// Rules, in the order in which they win:
// 1. A sequence that lacks one row (it generates) runs in every step.
// 2. Prompt rows fill the step up to step_rows_max. While somebody generates, they fill it up to
//    prefill_rows_with_decode and only as far as the step is expected to take no longer than
//    target_itl, so that a long prompt delays the others' tokens by a bounded time; but there may
//    always be one prompt row for each generating one, so that prompts end where generating alone
//    takes that long. The first prompt in order has at least half of these rows; the others share
//    the rest, of one priority the one with the fewest rows left first, so a short prompt does not
//    wait behind a long one.
// 3. Admission is in order: priority (lower first), then arrival. A sequence is admitted when
// blocks for
//    all of its tokens can be had at once, beside one spare block for each running sequence; nobody
//    overtakes the first that does not fit, so a large request is not starved by small ones.
// 4. When a generating sequence needs a block and there is none, the last running one in order is
//    pre-empted: it gives back all blocks and waits at its old place in the order. The first in
//    order is never pre-empted and any sequence alone fits the pool, so the first always moves: no
//    deadlock.
// 5. A request that waited for `patience` counts as more urgent than every priority until it ends,
// so a
//    stream of urgent requests cannot starve the rest for ever.
//
// 6. Guesses run in what is left: rows and logits of the step, and blocks beyond one spare for each
//    running sequence, so they delay nobody's prompt and pre-empt nobody.
//
// With a slower store below the pool (kv/tier.h), an admitted sequence whose prefix that store has
// and the pool lacks is *restoring*: it has its blocks and its place, and runs no row until the
// prefix is back or given up. The others go on. Complete blocks are offered to the store one step
// after they were computed, since a model may fill rows of its further streams a step late.
//
// Threads: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/kv/pool.h"
#include "hadal/kv/tier.h"
#include "hadal/sched/step_cost.h"

namespace hadal::sched {

struct SchedulerOptions {
  int32_t context = 0;  // tokens of a sequence, prompt and answer
  int32_t running_max = 64;
  int32_t queue_max = 1024;               // waiting for their first admission
  int32_t step_rows_max = 512;            // >= running_max
  int32_t prefill_rows_with_decode = 64;  // >= 1
  Nanos target_itl{0};                    // 0: no such bound
  double expert_share = 1.0;              // of the routed experts, what one row uses; 1: dense
  int32_t step_logits_max = 64;           // rows of a step whose logits are wanted; >= running_max
  Nanos patience = std::chrono::minutes(2);  // 0: priorities are strict
};

// A request, as far as scheduling goes.
struct Submission {
  uint64_t id = 0;              // of the caller, unique among the living
  std::vector<int32_t> tokens;  // the prompt, at least one
  int32_t tokens_max = 0;       // prompt and answer together; > tokens.size()
  int32_t priority = 0;         // lower first
  std::string scope{};          // of the prefix cache
  bool prompt_logits = false;   // logits of every prompt row: no prefix from the cache then
};

// Rows [first_position, first_position + rows) of one sequence, the last guesses.size() of them
// guessed. The logits of the last `logits` of them are wanted; if `samples`, those of the last row
// that is not guessed give the next token, and those of each guess the token after it.
struct Segment {
  uint64_t id = 0;
  int32_t first_position = 0;
  int32_t rows = 0;
  int32_t logits = 0;
  bool samples = false;
  int32_t reused = 0;  // positions taken from the prefix cache since the sequence was admitted
  // Valid until the next change of the scheduler: all tokens, those guessed to follow them, and
  // blocks that cover the rows.
  std::span<const int32_t> tokens{};
  std::span<const int32_t> guesses{};
  std::span<const kv::BlockId> blocks{};
};

struct Plan {
  std::vector<Segment> segments;
  int32_t rows = 0;
  int32_t logits = 0;
  int32_t prompt_rows = 0;  // of sequences that lacked more than one row
  int32_t guesses = 0;      // rows that are guessed
  int32_t preempted = 0;    // sequences that lost their blocks to make this plan
  StepShape shape;          // what the step costs depends on
  // Prompt rows that the bounds of rule 2 left room for, were there as many.
  int32_t prompt_rows_most = 0;
};

// A running sequence that waits for positions [have, until) from the lower tier. The spans are
// valid until the next change of the scheduler.
struct Restoring {
  uint64_t ticket = 0;  // of this sequence's admission; never 0
  int32_t have = 0;
  int32_t until = 0;
  std::string_view scope;
  std::span<const int32_t> tokens{};
  std::span<const kv::BlockId> blocks{};  // those of [have, until) are the sequence's alone
};

class Scheduler {
 public:
  // Copies a block's bytes; called in step().
  using CopyBlock = std::function<void(kv::BlockId from, kv::BlockId to)>;

  // `pool` must outlive the scheduler. Without `copy_block`, prefixes are shared by whole blocks
  // only; with it, a sequence also takes a copy of the block in which its text leaves that of
  // others.
  Scheduler(const SchedulerOptions& options, kv::Pool& pool, CopyBlock copy_block = {});
  ~Scheduler();

  // Before the first submit(). `tier` must outlive the scheduler.
  void set_lower_tier(kv::LowerTier& tier) { tier_ = &tier; }

  // kExhausted: the queue is full. kTooLarge: the request could not even run alone.
  Status submit(Submission submission, Nanos now);

  // The next step; empty when nothing can run, which is when nothing runs or waits, or all that
  // runs is restoring.
  const Plan& step(Nanos now);
  void advance();
  // The first `count` guesses of the sequence's segment were right: they are its tokens now, and
  // computed. Before append() or remove().
  void accept(uint64_t id, int32_t count);
  void append(uint64_t id, int32_t token);
  // What may follow the last token. The next step runs as many of them as there is room for, beside
  // the row that the sequence lacks; whatever happens, they are forgotten by the next append().
  // Ignored for a sequence that does not run or lacks more than one row.
  void guess(uint64_t id, std::span<const int32_t> tokens);

  // What is held of a sequence; nothing for one that is not here. Valid until the next change.
  struct Held {
    std::span<const int32_t> tokens{};
    std::span<const kv::BlockId> blocks{};
    int32_t computed = 0;
    int32_t room = 0;  // for guesses: what may still come, but for the last token
  };
  std::optional<Held> held(uint64_t id) const;
  // Extends a running sequence's blocks towards `positions`, by spare ones alone (rule 6), and no
  // further than its answer may go. Returns how many positions are covered.
  int32_t cover(uint64_t id, int32_t positions);

  // The sequence of `ticket` if it is restoring still, else the first in order that is, if any.
  // These three may be called between step() and advance() as well, and leave the plan valid. What
  // others computed meanwhile is taken into account, so `have` may grow from call to call, and
  // blocks below it are not the sequence's any more.
  std::optional<Restoring> restoring(uint64_t ticket);
  // [0, positions) is in its blocks now; a whole block beyond `have`, at most `until`.
  void restored(uint64_t ticket, int32_t positions);
  // What lacks will be computed.
  void end_restoring(uint64_t ticket);

  // Ends a sequence, running or waiting; its blocks are free at once. False: not here.
  bool remove(uint64_t id);
  // The last non-empty step, from before it ran to where the next can begin. Zero is ignored.
  void took(Nanos elapsed);

  int32_t running() const { return static_cast<int32_t>(running_.size()); }
  int32_t waiting() const { return static_cast<int32_t>(waiting_.size()); }
  // Waiting for their first admission: what queue_max bounds.
  int32_t queued() const { return queued_; }
  bool idle() const { return running_.empty() && waiting_.empty(); }
  const StepCost& cost() const { return cost_; }

  // For tests: "" or the first broken promise, the pool's audit included.
  std::string audit() const;

 private:
  struct Entry;
  static bool before(const Entry* left, const Entry* right);
  void age(Nanos now);
  void admit();
  bool try_admit(Entry& entry);
  void copy_similar(Entry& entry);
  void plan_decode();
  bool reserve_or_preempt(Entry& entry);
  void preempt(Entry& entry);
  void plan_prefill();
  int32_t prompt_rows_within(int32_t most) const;
  void order_prefills();
  bool waits_for_another(size_t index) const;
  void plan_guesses();
  int32_t cover(Entry& entry, int32_t positions);
  enum class Role { kDecode, kPrompt };
  void add_segment(Entry& entry, int32_t rows, Role role);
  void offer(Entry& entry, bool last);
  void leave(Entry& entry);
  void follow(Entry& entry);
  Entry* find_restoring(uint64_t ticket);

  SchedulerOptions options_;
  kv::Pool& pool_;
  CopyBlock copy_block_;
  kv::LowerTier* tier_ = nullptr;
  StepCost cost_;
  uint64_t tickets_ = 0;
  uint64_t arrivals_ = 0;
  int32_t queued_ = 0;
  std::unordered_map<uint64_t, std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> running_;   // in order of before()
  std::vector<Entry*> waiting_;   // in order of before()
  std::vector<Entry*> prefills_;  // of this step
  Plan plan_;
};

}  // namespace hadal::sched
