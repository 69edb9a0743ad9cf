#include "hadal/engine/drafter.h"

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/engine/logit_rows.h"
#include "hadal/kv/pool.h"

namespace hadal {
namespace {

// Beside more layers than this, one more for every row of a prompt is less than 3 %. Otherwise a
// prompt's last positions must do: what guesses lose is less than what a long prompt would.
constexpr int32_t kLayersCheap = 32;
constexpr int32_t kLookBack = 32;

// Rows of a call under construction.
struct Rows {
  std::vector<int32_t> tokens, hidden, wanted;
  std::vector<kernels::Segment> segments;
  std::vector<int32_t> unseen;  // blocks, of each segment

  int32_t size() const { return static_cast<int32_t>(tokens.size()); }
  void clear() {
    tokens.clear();
    hidden.clear();
    wanted.clear();
    segments.clear();
    unseen.clear();
  }
  void add_segment(std::span<const int32_t> added, int32_t position,
                   std::span<const kv::BlockId> blocks, int32_t blocks_unseen = 0) {
    segments.push_back({size(), static_cast<int32_t>(added.size()), position, blocks});
    unseen.push_back(blocks_unseen);
    tokens.insert(tokens.end(), added.begin(), added.end());
  }
};

// A sequence that is being guessed ahead: `position` is of the next guess to be fed back.
struct Chain {
  DraftRequest* request;
  int32_t position;
  int32_t covered;  // positions that have blocks
  std::span<const kv::BlockId> blocks;
  int32_t row;         // of the last call's wanted ones
  int32_t unseen = 0;  // blocks

  bool goes_on() const {
    return static_cast<int32_t>(request->guesses.size()) < request->count && position < covered;
  }
};

// Takes the guesses of a call, whose wanted rows are those of `chains` in order; drops those that
// are through.
void take_guesses(const LogitRows& logits, std::vector<Chain>* chains) {
  for (size_t i = 0; i < chains->size(); ++i) {
    const TokenId token = logits.first(static_cast<int64_t>(i)).token;
    Chain& chain = (*chains)[i];
    // None where there is no number among the logits. One that ends the answer is not run, since
    // nothing follows.
    if (token < 0 || std::ranges::count(chain.request->ends, token) > 0) {
      chain.covered = 0;
    } else {
      chain.request->guesses.push_back(token);
    }
  }
  std::erase_if(*chains, [](const Chain& chain) { return !chain.goes_on(); });
}

// The row of each chain's last guess.
void fill_chain_rows(std::vector<Chain>& chains, Rows* rows) {
  rows->clear();
  for (Chain& chain : chains) {
    rows->wanted.push_back(rows->size());
    rows->hidden.push_back(chain.row);
    chain.row = rows->size();  // all are wanted
    rows->add_segment(std::span(chain.request->guesses).last(1), chain.position++, chain.blocks,
                      chain.unseen);
  }
}

class MtpDrafter final : public Drafter {
 public:
  MtpDrafter(Model& model, KvArena& cache, int32_t vocabulary, const Clock& clock)
      : model_(model),
        cache_(cache),
        vocabulary_(vocabulary),
        clock_(clock),
        look_back_(model.config().layers > kLayersCheap ? std::numeric_limits<int32_t>::max()
                                                        : kLookBack) {}

  void draft(const sched::Plan& plan, sched::Scheduler& scheduler,
             std::span<DraftRequest> requests) override {
    wanted_.clear();
    for (DraftRequest& request : requests) wanted_.emplace(request.id, &request);
    rows_.clear();
    chains_.clear();
    int32_t row = 0;
    for (const sched::Segment& segment : plan.segments) {
      add_entries(segment, row, scheduler);
      row += segment.rows;
    }
    if (rows_.size() == 0) return;
    call(false, &times_.first);
    while (!chains_.empty()) {
      fill_chain_rows(chains_, &rows_);
      call(true, &times_.further);
    }
  }
  void forget(uint64_t /*id*/) override {}

 private:
  // The entries that a segment's rows, which begin at `row` of the step, made possible: one behind
  // each row whose next token is known. The first position of a block is made again when its own
  // row runs, from the state that the block before keeps, because its block may not have been there
  // when its token came.
  void add_entries(const sched::Segment& segment, int32_t row, sched::Scheduler& scheduler) {
    auto held = scheduler.held(segment.id);
    if (!held || held->computed <= segment.first_position) return;
    const auto found = wanted_.find(segment.id);
    if (found == wanted_.end()) return;
    DraftRequest& request = *found->second;
    if (request.count > 0) {
      scheduler.cover(segment.id, held->computed + request.count);
      held = scheduler.held(segment.id);
    }
    const int32_t block_tokens = cache_.layout().block_tokens;
    const auto covered = static_cast<int32_t>(held->blocks.size()) * block_tokens;
    const int32_t first = segment.first_position;
    // The token behind the last row is missing where the answer has ended.
    const auto known = static_cast<int32_t>(held->tokens.size());
    const int32_t last = std::min({held->computed, covered - 1, known - 1});
    const int32_t from = first_entry(*held, first);
    if (from > last) return;
    const int32_t unseen = blocks_unseen(*held, from);
    for (int32_t q = from; q <= last; ++q) {
      rows_.hidden.push_back(q == first ? DraftBatch::kFromBlock : row + q - 1 - first);
    }
    rows_.add_segment(held->tokens.subspan(static_cast<size_t>(from), last - from + 1), from,
                      held->blocks, unseen);
    const bool sees_enough = unseen == 0 || last - unseen * block_tokens >= kSeenMin;
    if (last < held->computed || request.count == 0 || !sees_enough) return;
    rows_.wanted.push_back(rows_.size() - 1);
    chains_.push_back({&request, last + 1, covered, held->blocks,
                       static_cast<int32_t>(rows_.wanted.size()) - 1, unseen});
  }

  // Where entries begin that can and should be made behind rows from `first` on: behind a gap
  // only with a block's beginning, and of a long prompt only near its end.
  int32_t first_entry(const sched::Scheduler::Held& held, int32_t first) const {
    const int32_t block_tokens = cache_.layout().block_tokens;
    const int32_t begin = first / block_tokens * block_tokens;
    int32_t from = first > 0 && first == begin ? first : first + 1;
    const int32_t near = static_cast<int32_t>(held.tokens.size()) - look_back_;
    const bool gap =
        from > begin && first > 0 &&
        cache_.entries(held.blocks[static_cast<size_t>(begin / block_tokens)]) < from - begin;
    if (gap || from < near) {
      const int32_t at = std::max(from, near);
      from = (at + block_tokens - 1) / block_tokens * block_tokens;
    }
    return from;
  }

  // Those before the first of the unbroken row of blocks that leads to position `from`.
  int32_t blocks_unseen(const sched::Scheduler::Held& held, int32_t from) const {
    const int32_t block_tokens = cache_.layout().block_tokens;
    int32_t block = from / block_tokens;
    while (block > 0 && cache_.entries(held.blocks[block - 1]) == block_tokens) --block;
    return block;
  }

  void call(bool guessed, CallTime* times) {
    const Nanos start = clock_.now();
    const ConstView logits = model_.draft(
        {rows_.tokens, rows_.segments, rows_.hidden, rows_.wanted, rows_.unseen, guessed}, cache_);
    const int32_t rows = rows_.size();
    take_guesses(LogitRows(model_, logits, vocabulary_), &chains_);
    times->observe(rows, to_seconds(clock_.now() - start));
  }

  // After a gap, positions that a row must see before guesses are worth the trouble.
  static constexpr int32_t kSeenMin = 16;

  Model& model_;
  KvArena& cache_;
  int32_t vocabulary_;
  const Clock& clock_;
  const int32_t look_back_;
  std::unordered_map<uint64_t, DraftRequest*> wanted_;
  Rows rows_;
  std::vector<Chain> chains_;
};

class ModelDrafter final : public Drafter {
 public:
  ModelDrafter(std::unique_ptr<Model> model, KvArena cache, int32_t rows_max, int32_t vocabulary,
               const Clock& clock)
      : model_(std::move(model)),
        cache_(std::move(cache)),
        pool_({.blocks = cache_.blocks(),
               .block_tokens = cache_.layout().block_tokens,
               .prefix_cache = false}),
        rows_max_(rows_max),
        vocabulary_(vocabulary),
        clock_(clock) {}

  void draft(const sched::Plan& /*plan*/, sched::Scheduler& scheduler,
             std::span<DraftRequest> requests) override {
    rows_.clear();
    chains_.clear();
    for (DraftRequest& request : requests) add_missing(request, scheduler);
    if (rows_.size() == 0) return;
    call(&times_.first);
    while (!chains_.empty()) {
      fill_chain_rows(chains_, &rows_);
      for (const Chain& chain : chains_) {
        texts_.at(chain.request->id).cached.push_back(chain.request->guesses.back());
      }
      call(&times_.further);
    }
  }
  void forget(uint64_t id) override { texts_.erase(id); }

 private:
  struct Text {
    kv::Sequence sequence;
    std::vector<TokenId> cached;  // tokens whose rows are in the cache, guesses among them
    size_t agreed = 0;            // of cached, known to be the text's
  };

  // The rows that the draft's cache lacks, or as many as fit.
  void add_missing(DraftRequest& request, sched::Scheduler& scheduler) {
    const auto held = scheduler.held(request.id);
    if (!held || request.count == 0) return;
    const auto [place, fresh] = texts_.try_emplace(request.id);
    Text& text = place->second;
    if (fresh) text.sequence = pool_.open("", {}, 0);
    const auto tokens = held->tokens;
    while (text.agreed < text.cached.size() && text.agreed + 1 < tokens.size() &&
           text.cached[text.agreed] == tokens[text.agreed]) {
      ++text.agreed;
    }
    text.cached.resize(text.agreed);
    const auto size = static_cast<int32_t>(tokens.size());
    if (size + request.count > model_->config().context ||
        !text.sequence.reserve(size + request.count)) {
      texts_.erase(place);  // its blocks may do for others
      return;
    }
    const auto first = static_cast<int32_t>(text.agreed);
    const int32_t count = std::min(size - first, rows_max_ - rows_.size());
    if (count <= 0) return;
    rows_.add_segment(tokens.subspan(text.agreed, static_cast<size_t>(count)), first,
                      text.sequence.blocks());
    text.cached.insert(text.cached.end(), tokens.begin() + first, tokens.begin() + first + count);
    if (first + count < size) return;
    rows_.wanted.push_back(rows_.size() - 1);
    chains_.push_back({&request, size, size + request.count, text.sequence.blocks(), 0});
  }

  void call(CallTime* times) {
    const Nanos start = clock_.now();
    const ConstView logits = model_->forward({rows_.tokens, rows_.segments, rows_.wanted}, cache_);
    const int32_t rows = rows_.size();
    take_guesses(LogitRows(*model_, logits, vocabulary_), &chains_);
    times->observe(rows, to_seconds(clock_.now() - start));
  }

  std::unique_ptr<Model> model_;
  KvArena cache_;
  kv::Pool pool_;
  int32_t rows_max_;
  int32_t vocabulary_;
  const Clock& clock_;
  std::unordered_map<uint64_t, Text> texts_;
  Rows rows_;
  std::vector<Chain> chains_;
};

}  // namespace

std::unique_ptr<Drafter> make_mtp_drafter(Model& model, KvArena& cache, int32_t vocabulary,
                                          const Clock& clock) {
  HADAL_CHECK(model.config().drafts);
  return std::make_unique<MtpDrafter>(model, cache, vocabulary, clock);
}

std::unique_ptr<Drafter> make_model_drafter(std::unique_ptr<Model> model, KvArena cache,
                                            int32_t rows_max, int32_t vocabulary,
                                            const Clock& clock) {
  return std::make_unique<ModelDrafter>(std::move(model), std::move(cache), rows_max, vocabulary,
                                        clock);
}

}  // namespace hadal
