#include "hadal/sched/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::sched {
struct Scheduler::Entry {
  uint64_t id = 0;
  std::vector<int32_t> tokens;  // prompt and answer so far
  int32_t tokens_max = 0;
  int32_t priority = 0;
  uint64_t arrival = 0;
  Nanos submitted{0};
  bool urgent = false;         // waited for `patience`
  bool ran = false;            // was admitted before
  bool prompt_logits = false;  // still wanted
  std::string scope;
  std::vector<int32_t> guesses;
  int32_t guessed = 0;  // of guesses, in the current plan
  kv::Sequence sequence;
  int32_t computed = 0;  // positions in the cache
  int32_t planned = 0;   // rows of the current plan, without guesses
  int32_t reused = 0;    // of computed, from the prefix cache
  int32_t offered = 0;   // positions that the lower tier need not be offered again
  uint64_t ticket = 0;   // not 0: restoring,
  int32_t until = 0;     // up to here

  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
  int32_t lacks() const { return size() - computed; }
  // The last token of an answer is never fed back.
  int32_t room() const { return std::max(0, tokens_max - 1 - size()); }
  // Positions that may come from the cache: the last token's row must run, so that there are
  // logits.
  int32_t reusable() const { return prompt_logits ? 0 : size() - 1; }
};

Scheduler::Scheduler(const SchedulerOptions& options, kv::Pool& pool, CopyBlock copy_block)
    : options_(options),
      pool_(pool),
      copy_block_(std::move(copy_block)),
      cost_(options.expert_share) {
  HADAL_CHECK(options.context >= 2 && options.running_max >= 1 && options.queue_max >= 0);
  HADAL_CHECK(options.step_rows_max >= options.running_max);
  HADAL_CHECK(options.step_logits_max >= options.running_max);
  HADAL_CHECK(options.prefill_rows_with_decode >= 1);
  const auto running_max = static_cast<size_t>(options.running_max);
  running_.reserve(running_max);
  prefills_.reserve(running_max);
  plan_.segments.reserve(running_max);
}

Scheduler::~Scheduler() = default;

bool Scheduler::before(const Entry* left, const Entry* right) {
  if (left->urgent != right->urgent) return left->urgent;
  if (!left->urgent && left->priority != right->priority) return left->priority < right->priority;
  return left->arrival < right->arrival;
}

Status Scheduler::submit(Submission submission, Nanos now) {
  const auto prompt = static_cast<int32_t>(submission.tokens.size());
  HADAL_CHECK(prompt >= 1 && submission.tokens_max > prompt);
  HADAL_CHECK(!entries_.contains(submission.id));
  if (submission.tokens_max > options_.context) {
    return fail(Code::kTooLarge, fmt::format("{} tokens of prompt and answer, the context holds {}",
                                             submission.tokens_max, options_.context));
  }
  // The last token of an answer is never fed back, so it needs no place in the cache.
  const int32_t blocks = pool_.blocks_for(submission.tokens_max - 1);
  if (blocks > pool_.blocks()) {
    return fail(Code::kTooLarge,
                fmt::format("needs {} cache blocks, there are {}", blocks, pool_.blocks()));
  }
  if (queued_ >= options_.queue_max) {
    return fail(Code::kExhausted, fmt::format("{} requests wait already, at most {} may", queued_,
                                              options_.queue_max));
  }
  auto entry = std::make_unique<Entry>();
  entry->id = submission.id;
  entry->tokens = std::move(submission.tokens);
  entry->tokens_max = submission.tokens_max;
  entry->priority = submission.priority;
  entry->arrival = arrivals_++;
  entry->submitted = now;
  entry->prompt_logits = submission.prompt_logits;
  entry->scope = std::move(submission.scope);
  waiting_.insert(std::ranges::upper_bound(waiting_, entry.get(), before), entry.get());
  ++queued_;
  entries_.emplace(entry->id, std::move(entry));
  return {};
}

const Plan& Scheduler::step(Nanos now) {
  plan_.segments.clear();
  plan_.rows = plan_.logits = plan_.prompt_rows = plan_.prompt_rows_most = 0;
  plan_.guesses = plan_.preempted = 0;
  plan_.shape = {};
  for (Entry* entry : running_) {
    HADAL_CHECK(entry->lacks() > 0, fmt::format("sequence {} got no token", entry->id));
    entry->planned = entry->guessed = 0;
  }
  age(now);
  plan_decode();
  admit();
  plan_prefill();
  plan_guesses();
  HADAL_CHECK(plan_.rows > 0 || idle() || find_restoring(0) != nullptr,
              "work waits and no step can run");
  return plan_;
}

void Scheduler::age(Nanos now) {
  if (options_.patience == Nanos::zero()) return;
  bool changed = false;
  for (Entry* entry : waiting_) {
    if (entry->urgent || now - entry->submitted < options_.patience) continue;
    entry->urgent = changed = true;
  }
  if (changed) std::ranges::sort(waiting_, before);
}

void Scheduler::plan_decode() {
  // By index: a pre-emption takes sequences off the end while this walks.
  for (size_t i = 0; i < running_.size(); ++i) {
    Entry& entry = *running_[i];
    if (entry.lacks() == 1 && reserve_or_preempt(entry)) add_segment(entry, 1, Role::kDecode);
  }
}

// False: the entry itself had to go.
bool Scheduler::reserve_or_preempt(Entry& entry) {
  while (!entry.sequence.reserve(entry.size())) {
    Entry& last = *running_.back();
    preempt(last);
    if (&last == &entry) return false;
  }
  return true;
}

void Scheduler::preempt(Entry& entry) {
  HADAL_CHECK(running_.back() == &entry && entry.planned == 0);
  running_.pop_back();
  leave(entry);
  entry.sequence.release();
  entry.computed = 0;
  entry.guesses.clear();
  waiting_.insert(std::ranges::upper_bound(waiting_, &entry, before), &entry);
  ++plan_.preempted;
}

void Scheduler::admit() {
  while (!waiting_.empty() && running() < options_.running_max) {
    Entry& entry = *waiting_.front();
    if (!try_admit(entry)) return;
    waiting_.erase(waiting_.begin());
    running_.insert(std::ranges::upper_bound(running_, &entry, before), &entry);
    if (!std::exchange(entry.ran, true)) --queued_;
  }
}

bool Scheduler::try_admit(Entry& entry) {
  entry.sequence = pool_.open(entry.scope, entry.tokens, entry.reusable());
  const auto have = static_cast<int32_t>(entry.sequence.blocks().size());
  const int32_t lacking = pool_.blocks_for(entry.size()) - have;
  if (lacking + running() > pool_.available_blocks()) {
    entry.sequence.release();
    return false;
  }
  HADAL_CHECK(entry.sequence.reserve(entry.size()));
  entry.computed = entry.reused = entry.sequence.positions_in_tree();
  entry.planned = entry.guessed = entry.offered = 0;
  if (tier_ != nullptr && entry.reusable() - entry.computed >= pool_.block_tokens()) {
    const auto tokens = std::span<const int32_t>(entry.tokens);
    entry.until = tier_->find(entry.scope, tokens.first(static_cast<size_t>(entry.reusable())));
    if (entry.until > entry.computed) entry.ticket = ++tickets_;
  }
  return true;
}

// The rest of the last common block: a few tokens less than a block, which for a short question
// about a long text that others asked about are most of what is left to compute.
void Scheduler::copy_similar(Entry& entry) {
  if (!copy_block_ || entry.computed >= entry.reusable()) return;
  if (entry.computed != entry.sequence.positions_in_tree()) return;
  const auto [block, positions] = entry.sequence.similar(entry.tokens, entry.reusable());
  if (positions == 0) return;
  const auto next = static_cast<size_t>(entry.computed / pool_.block_tokens());
  copy_block_(block, entry.sequence.blocks()[next]);
  entry.computed += positions;
  entry.reused += positions;
}

// What others computed since is the entry's too.
void Scheduler::follow(Entry& entry) {
  if (entry.prompt_logits || entry.computed != entry.sequence.positions_in_tree()) return;
  const int32_t found = entry.sequence.follow(entry.tokens, entry.reusable());
  entry.reused += found - std::exchange(entry.computed, found);
}

// Fills prefills_: the first running one in order, then the rest, of one priority the shortest
// first.
void Scheduler::order_prefills() {
  prefills_.clear();
  for (Entry* entry : running_) {
    if (entry->planned > 0 || entry->ticket != 0) continue;
    prefills_.push_back(entry);
    follow(*entry);
  }
  if (prefills_.empty()) return;
  std::sort(prefills_.begin() + 1, prefills_.end(), [](const Entry* left, const Entry* right) {
    if (left->urgent != right->urgent || (!left->urgent && left->priority != right->priority)) {
      return before(left, right);
    }
    if (left->lacks() != right->lacks()) return left->lacks() < right->lacks();
    return left->arrival < right->arrival;
  });
}

// Whether an earlier prompt of prefills_ is at the same place of the same text and about to write
// the block that this one needs next.
bool Scheduler::waits_for_another(size_t index) const {
  if (!pool_.prefix_cache()) return false;
  const Entry& entry = *prefills_[index];
  const int32_t begin = entry.computed;
  const int32_t end = begin + pool_.block_tokens();
  if (begin != entry.sequence.positions_in_tree() || end > entry.reusable()) return false;
  const size_t parents = static_cast<size_t>(begin / pool_.block_tokens());
  const auto next = std::span(entry.tokens).subspan(begin, pool_.block_tokens());
  for (size_t i = 0; i < index; ++i) {
    const Entry& other = *prefills_[i];
    if (other.sequence.positions_in_tree() != begin || other.size() < end) continue;
    // Blocks of the tree are one when their text is one, so equal parents mean equal prefixes.
    const bool same_parent =
        parents == 0 ? other.scope == entry.scope
                     : other.sequence.blocks()[parents - 1] == entry.sequence.blocks()[parents - 1];
    const auto others_next = std::span(other.tokens).subspan(begin, pool_.block_tokens());
    if (same_parent && std::ranges::equal(next, others_next)) return true;
  }
  return false;
}

// How many prompt rows, at most `most`, the decode rows of plan_ may wait for.
int32_t Scheduler::prompt_rows_within(int32_t most) const {
  if (options_.target_itl == Nanos::zero() || !cost_.known()) return most;
  // The dearest prompt's place stands for all: too few rows rather than too slow a step.
  int64_t position = 0;
  for (const Entry* entry : prefills_) position = std::max<int64_t>(position, entry->computed);
  const auto seconds = [&](int64_t rows) {
    StepShape shape = plan_.shape;
    shape.prompt_rows = static_cast<int32_t>(rows);
    shape.prompt_keys = rows * position + rows * (rows + 1) / 2;
    return cost_.predict(shape);
  };
  const double allowed = to_seconds(options_.target_itl);
  int32_t fits = std::min(most, plan_.shape.decode_rows);
  int32_t too_many = most + 1;
  while (fits + 1 < too_many) {
    const int32_t middle = fits + (too_many - fits) / 2;
    (seconds(middle) <= allowed ? fits : too_many) = middle;
  }
  return fits;
}

void Scheduler::plan_prefill() {
  order_prefills();
  if (prefills_.empty()) return;
  const bool others_generate = plan_.rows > 0;
  int32_t rows = options_.step_rows_max - plan_.rows;
  if (others_generate && rows > 0) {
    rows = prompt_rows_within(std::min(rows, options_.prefill_rows_with_decode));
  }
  plan_.prompt_rows_most = rows;
  int32_t extra_logits = options_.step_logits_max - running();
  const auto give = [&](Entry& entry, int32_t wanted) {
    if (entry.planned == 0 && std::min(wanted, rows) > 0) copy_similar(entry);
    int32_t most = std::min({wanted, rows, entry.lacks() - entry.planned});
    if (entry.prompt_logits) {
      // One row's logits are set aside for every running sequence.
      const int32_t set_aside = entry.planned == 0 ? 1 : 0;
      most = std::min(most, extra_logits + set_aside);
      extra_logits -= std::max(0, most - set_aside);
    }
    entry.planned += most;
    rows -= most;
  };
  Entry& first = *prefills_.front();
  give(first, rows - rows / 2);
  for (size_t i = 1; i < prefills_.size() && rows > 0; ++i) {
    if (!waits_for_another(i)) give(*prefills_[i], rows);
  }
  give(first, rows);
  for (Entry* entry : prefills_) {
    if (entry->planned == 0) continue;
    plan_.prompt_rows += entry->planned;
    add_segment(*entry, entry->planned, Role::kPrompt);
  }
}

int32_t Scheduler::cover(Entry& entry, int32_t positions) {
  // The last token of an answer is never fed back.
  positions = std::min(positions, entry.tokens_max - 1);
  const auto have = static_cast<int32_t>(entry.sequence.blocks().size());
  const int32_t spare = std::max(0, pool_.available_blocks() - running());
  const int64_t most = int64_t{have + spare} * pool_.block_tokens();
  positions = static_cast<int32_t>(std::min<int64_t>(positions, most));
  HADAL_CHECK(entry.sequence.reserve(positions));
  const auto covered = static_cast<int64_t>(entry.sequence.blocks().size());
  return static_cast<int32_t>(std::min<int64_t>(covered * pool_.block_tokens(), INT32_MAX));
}

int32_t Scheduler::cover(uint64_t id, int32_t positions) {
  return cover(*entries_.at(id), positions);
}

std::optional<Scheduler::Held> Scheduler::held(uint64_t id) const {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  const Entry& entry = *found->second;
  return Held{entry.tokens, entry.sequence.blocks(), entry.computed, entry.room()};
}

void Scheduler::plan_guesses() {
  int32_t room =
      std::min(options_.step_rows_max - plan_.rows, options_.step_logits_max - plan_.logits);
  for (Segment& segment : plan_.segments) {
    Entry& entry = *entries_.at(segment.id);
    if (!segment.samples || entry.guesses.empty() || room <= 0) continue;
    int32_t count = std::min(room, static_cast<int32_t>(entry.guesses.size()));
    count = std::min(count, cover(entry, entry.size() + count) - entry.size());
    if (count <= 0) continue;
    entry.guessed = count;
    segment.guesses = std::span(entry.guesses).first(static_cast<size_t>(count));
    segment.blocks = entry.sequence.blocks();
    segment.rows += count;
    segment.logits += count;
    plan_.rows += count;
    plan_.logits += count;
    plan_.guesses += count;
    plan_.shape.decode_rows += count;
    plan_.shape.decode_keys += int64_t{count} * entry.size() + int64_t{count} * (count + 1) / 2;
    room -= count;
  }
}

void Scheduler::add_segment(Entry& entry, int32_t rows, Role role) {
  entry.planned = rows;
  const bool decodes = role == Role::kDecode;
  (decodes ? plan_.shape.decode_rows : plan_.shape.prompt_rows) += rows;
  (decodes ? plan_.shape.decode_keys : plan_.shape.prompt_keys) +=
      int64_t{rows} * entry.computed + int64_t{rows} * (rows + 1) / 2;
  const bool samples = rows == entry.lacks();
  const int32_t logits = entry.prompt_logits ? rows : samples ? 1 : 0;
  plan_.segments.push_back({.id = entry.id,
                            .first_position = entry.computed,
                            .rows = rows,
                            .logits = logits,
                            .samples = samples,
                            .reused = entry.reused,
                            .tokens = entry.tokens,
                            .guesses = {},
                            .blocks = entry.sequence.blocks()});
  plan_.rows += rows;
  plan_.logits += logits;
}

void Scheduler::advance() {
  for (const Segment& segment : plan_.segments) {
    const auto found = entries_.find(segment.id);
    if (found == entries_.end()) continue;
    Entry& entry = *found->second;
    offer(entry, false);  // what earlier steps completed
    entry.computed += std::exchange(entry.planned, 0);
    entry.sequence.commit(entry.tokens, entry.computed);
    if (segment.samples) entry.prompt_logits = false;
  }
}

void Scheduler::offer(Entry& entry, bool last) {
  const int32_t whole = entry.sequence.positions_in_tree();
  if (tier_ == nullptr || whole <= entry.offered) return;
  const auto tokens = std::span<const int32_t>(entry.tokens).first(static_cast<size_t>(whole));
  entry.offered = tier_->save(entry.scope, tokens, entry.sequence.blocks(), last);
}

// It is about to give its blocks back.
void Scheduler::leave(Entry& entry) {
  if (const uint64_t ticket = std::exchange(entry.ticket, 0); ticket != 0) tier_->lost(ticket);
  offer(entry, true);
}

// 0: any.
Scheduler::Entry* Scheduler::find_restoring(uint64_t ticket) {
  for (Entry* entry : running_) {
    if (entry->ticket != 0 && (ticket == 0 || entry->ticket == ticket)) return entry;
  }
  return nullptr;
}

std::optional<Restoring> Scheduler::restoring(uint64_t ticket) {
  while (true) {
    Entry* entry = find_restoring(ticket);
    if (entry == nullptr) entry = find_restoring(0);
    if (entry == nullptr) return std::nullopt;
    follow(*entry);
    if (entry->computed < entry->until) {
      return Restoring{.ticket = entry->ticket,
                       .have = entry->computed,
                       .until = entry->until,
                       .scope = entry->scope,
                       .tokens = entry->tokens,
                       .blocks = entry->sequence.blocks()};
    }
    entry->ticket = 0;
  }
}

void Scheduler::restored(uint64_t ticket, int32_t positions) {
  Entry* entry = find_restoring(ticket);
  HADAL_CHECK(ticket != 0 && entry != nullptr);
  HADAL_CHECK(positions > entry->computed && positions <= entry->until &&
              positions % pool_.block_tokens() == 0);
  entry->reused += positions - std::exchange(entry->computed, positions);
  entry->sequence.commit(entry->tokens, positions);
  if (positions == entry->until) entry->ticket = 0;
}

void Scheduler::end_restoring(uint64_t ticket) {
  Entry* entry = find_restoring(ticket);
  HADAL_CHECK(ticket != 0 && entry != nullptr);
  entry->ticket = 0;
}

void Scheduler::accept(uint64_t id, int32_t count) {
  if (count == 0) return;
  Entry& entry = *entries_.at(id);
  HADAL_CHECK(count <= entry.guessed && entry.lacks() == 0);
  entry.tokens.insert(entry.tokens.end(), entry.guesses.begin(), entry.guesses.begin() + count);
  entry.guessed = 0;
  entry.computed = entry.size();
  entry.sequence.commit(entry.tokens, entry.computed);
}

void Scheduler::guess(uint64_t id, std::span<const int32_t> tokens) {
  Entry& entry = *entries_.at(id);
  if (entry.lacks() != 1 || entry.sequence.blocks().empty()) return;
  tokens = tokens.first(std::min(static_cast<size_t>(entry.room()), tokens.size()));
  entry.guesses.assign(tokens.begin(), tokens.end());
}

void Scheduler::append(uint64_t id, int32_t token) {
  const auto found = entries_.find(id);
  HADAL_CHECK(found != entries_.end(), fmt::format("a token for unknown sequence {}", id));
  Entry& entry = *found->second;
  HADAL_CHECK(entry.lacks() == 0 && entry.size() + 1 < entry.tokens_max,
              fmt::format("sequence {} of {} tokens, {} computed, at most {}", id, entry.size(),
                          entry.computed, entry.tokens_max));
  entry.tokens.push_back(token);
  entry.guesses.clear();
  entry.guessed = 0;
}

bool Scheduler::remove(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  Entry* entry = found->second.get();
  leave(*entry);
  if (std::erase(running_, entry) == 0) {
    std::erase(waiting_, entry);
    if (!entry->ran) --queued_;
  }
  entries_.erase(found);
  return true;
}

void Scheduler::took(Nanos elapsed) {
  if (plan_.rows > 0 && elapsed > Nanos::zero()) cost_.observe(plan_.shape, to_seconds(elapsed));
}

std::string Scheduler::audit() const {
  std::vector<const kv::Sequence*> sequences;
  if (entries_.size() != running_.size() + waiting_.size()) return "entries in no list";
  if (!std::ranges::is_sorted(running_, before)) return "running out of order";
  if (!std::ranges::is_sorted(waiting_, before)) return "waiting out of order";
  if (running() > options_.running_max) return "more run than may";
  int32_t fresh = 0;
  for (const Entry* entry : waiting_) {
    if (!entry->sequence.blocks().empty()) return fmt::format("{} waits with blocks", entry->id);
    fresh += entry->ran ? 0 : 1;
  }
  if (fresh != queued_) return fmt::format("{} queued, {} counted", fresh, queued_);
  for (const Entry* entry : running_) {
    const auto blocks = static_cast<int32_t>(entry->sequence.blocks().size());
    if (blocks < pool_.blocks_for(entry->computed))
      return fmt::format("{} lacks blocks", entry->id);
    if (entry->computed > entry->size()) return fmt::format("{} is ahead of itself", entry->id);
  }
  for (const auto& [id, entry] : entries_) sequences.push_back(&entry->sequence);
  return pool_.audit(sequences);
}

}  // namespace hadal::sched
