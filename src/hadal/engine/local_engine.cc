#include "hadal/engine/local_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/hw/memory.h"
#include "hadal/obs/registry.h"

namespace hadal {
namespace {

double expert_share(const ModelConfig& config) {
  if (config.moe.experts == 0) return 1.0;
  return static_cast<double>(config.moe.gate.experts_used) / config.moe.experts;
}

Status check_models(const Model& model, const Model* draft, const Tokenizer& tokenizer,
                    const EngineOptions& options) {
  HADAL_TRY_VOID(Engine::check_vocabulary(tokenizer, model.config()));
  if (draft != nullptr) HADAL_TRY_VOID(Engine::check_vocabulary(tokenizer, draft->config()));
  if (options.speculate == Speculate::kMtp && !model.config().drafts) {
    return fail(Code::kInvalidInput,
                "the model has no next-token-prediction layer to guess with (speculate is mtp)");
  }
  if (options.speculate == Speculate::kDraft && draft == nullptr) {
    return fail(Code::kInvalidInput, "there is no draft model to guess with (speculate is draft)");
  }
  return {};
}

// Room for as many tokens as the main cache has.
Result<std::unique_ptr<Drafter>> prepare_draft(std::unique_ptr<Model> draft, const EngineSize& size,
                                               const EngineOptions& options,
                                               const Tokenizer& tokenizer,
                                               kernels::Backend& backend, const Clock& clock) {
  if (draft == nullptr) return nullptr;
  const int32_t rows = std::max(size.step_rows_max, size.sequences_max);
  HADAL_TRY_VOID(draft->prepare(rows, size.sequences_max));
  const KvLayout layout = draft->config().kv_layout(options.kv_dtype, options.block_tokens);
  HADAL_TRY(KvArena arena, KvArena::make(layout, size.blocks, backend));
  return make_model_drafter(std::move(draft), std::move(arena), rows, tokenizer.vocabulary_size(),
                            clock);
}

}  // namespace

Status Engine::check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config) {
  if (tokenizer.vocabulary_size() <= config.vocabulary) return {};
  return fail(Code::kCorrupt,
              fmt::format("the tokenizer has {} tokens, the model's embedding {} rows: they are "
                          "not of one model",
                          tokenizer.vocabulary_size(), config.vocabulary));
}

Result<std::unique_ptr<Engine>> Engine::make(std::unique_ptr<Model> model,
                                             const Tokenizer& tokenizer, kernels::Backend& backend,
                                             ThreadPool& pool, const EngineOptions& options,
                                             EngineMetrics& metrics, const Clock& clock,
                                             LogSink log, std::unique_ptr<Model> draft) {
  HADAL_CHECK(model != nullptr);
  HADAL_TRY_VOID(check_models(*model, draft.get(), tokenizer, options));
  const KvLayout layout = model->config().kv_layout(options.kv_dtype, options.block_tokens);
  const uint64_t draft_bytes =
      draft ? draft->config().kv_layout(options.kv_dtype, options.block_tokens).block_bytes() : 0;
  // Mapped weights are pages that count as available, and are needed in every step.
  const uint64_t available = memory_info().available;
  const uint64_t free = available - std::min(available / 2, model->mapped_bytes());
  HADAL_TRY(const EngineSize size, size_engine(options, model->config().context,
                                               layout.block_bytes() + draft_bytes, free));
  // A next-token layer sees up to one row a sequence more than a step has.
  HADAL_TRY_VOID(
      model->prepare(size.step_rows_max + (model->config().drafts ? size.sequences_max : 0),
                     size.step_logits_max));
  HADAL_TRY(KvArena arena, KvArena::make(layout, size.blocks, backend));
  HADAL_TRY(auto drafter,
            prepare_draft(std::move(draft), size, options, tokenizer, backend, clock));
  metrics.cache_config(options.block_tokens, size.blocks);
  metrics.target_itl(to_seconds(options.target_itl));
  log_to(log, LogLevel::kInfo,
         fmt::format("cache of {} blocks of {} tokens, {} bytes; {} sequences of at most {} tokens",
                     size.blocks, options.block_tokens,
                     static_cast<uint64_t>(size.blocks) * (layout.block_bytes() + draft_bytes),
                     size.sequences_max, size.context));
  auto engine = std::make_unique<LocalEngine>(
      LocalEngine::Parts{std::move(model), std::move(arena), size, options, tokenizer, pool,
                         std::move(drafter), metrics, clock, std::move(log)});
  HADAL_TRY_VOID(engine->start());
  return engine;
}

// None with a next-token layer: its entry where the texts part would be of the other text, and the
// hidden state to make it anew is kept for ends of blocks alone.
std::function<void(int32_t, int32_t)> LocalEngine::copier() {
  if (parts_.model->config().drafts) return {};
  return [this](int32_t from, int32_t to) { parts_.arena.copy_block(from, to); };
}

std::unique_ptr<Drafter> LocalEngine::make_drafter(Parts* parts) {
  const Speculate speculate = parts->options.speculate;
  const bool may = speculate == Speculate::kAuto && parts->options.draft_max > 0;
  if (parts->draft_model != nullptr && (may || speculate == Speculate::kDraft)) {
    return std::move(parts->draft_model);
  }
  if (!parts->model->config().drafts || !(may || speculate == Speculate::kMtp)) return nullptr;
  return make_mtp_drafter(*parts->model, parts->arena, parts->tokenizer.vocabulary_size(),
                          parts->clock);
}

LocalEngine::LocalEngine(Parts parts)
    : parts_(std::move(parts)),
      vocabulary_(parts_.tokenizer.vocabulary_size()),
      seeds_(parts_.options.random_seed),
      pool_({.blocks = parts_.size.blocks, .block_tokens = parts_.options.block_tokens}),
      scheduler_(
          {.context = parts_.size.context,
           .running_max = parts_.size.sequences_max,
           // submit() keeps the bound; what may run at once passes through the queue as well.
           .queue_max = parts_.size.queue_max + parts_.size.sequences_max,
           .step_rows_max = parts_.size.step_rows_max,
           .prefill_rows_with_decode = parts_.options.prefill_rows_with_decode,
           .target_itl = parts_.options.target_itl,
           .expert_share = expert_share(parts_.model->config()),
           .step_logits_max = parts_.size.step_logits_max},
          pool_, copier()),
      speculator_(parts_.options, parts_.model->config(), parts_.model->cached(),
                  make_drafter(&parts_), parts_.metrics, parts_.clock) {
  state_.blocks_total = parts_.size.blocks;
  scratches_.resize(static_cast<size_t>(parts_.pool.threads()));
  tokens_.reserve(static_cast<size_t>(parts_.size.step_rows_max));
  segments_.reserve(static_cast<size_t>(parts_.size.sequences_max));
  logit_rows_.reserve(static_cast<size_t>(parts_.size.step_logits_max));
  for (size_t i = 0; i < step_costs_.size(); ++i) {
    step_costs_[i] = &parts_.metrics.step_cost(sched::StepCost::kTermNames[i]);
  }
}

Status LocalEngine::start() {
  if (const KvDiskOptions& disk = parts_.options.kv_disk; !disk.path.empty()) {
    const auto wake = [this] {
      {
        const std::lock_guard lock(mutex_);
        disk_moved_ = true;
      }
      wake_.notify_one();
    };
    HADAL_TRY(disk_,
              KvDisk::open(disk, parts_.arena, parts_.metrics, parts_.clock, parts_.log, wake));
    scheduler_.set_lower_tier(*disk_);
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    return fail(Code::kExhausted, fmt::format("no thread for the engine: {}", error.what()));
  }
  return {};
}

LocalEngine::~LocalEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

Status LocalEngine::check_request(const GenerationRequest& request) const {
  if (request.prompt.empty()) return fail(Code::kInvalidInput, "the prompt has no tokens");
  for (const TokenId token : request.prompt) {
    if (token >= 0 && token < vocabulary_) continue;
    return fail(Code::kInvalidInput,
                fmt::format("the prompt holds token {}, the vocabulary is 0 to {}", token,
                            vocabulary_ - 1));
  }
  for (const int32_t count : {request.logprobs, request.prompt_logprobs}) {
    if (count >= -1 && count <= vocabulary_) continue;
    return fail(
        Code::kInvalidInput,
        fmt::format("{} log-probabilities asked for, allowed is 0 to {}", count, vocabulary_));
  }
  HADAL_TRY_VOID(request.sampling.validate(vocabulary_));
  const size_t least = std::max<size_t>(1, static_cast<size_t>(request.sampling.min_tokens));
  if (request.prompt.size() + least > static_cast<size_t>(context())) {
    return fail(
        Code::kTooLarge,
        fmt::format("the prompt has {} tokens and its answer at least {}, the context holds {}",
                    request.prompt.size(), least, context()));
  }
  return {};
}

Result<RequestId> LocalEngine::submit(GenerationRequest request, EventSink sink) {
  HADAL_CHECK(sink != nullptr);
  HADAL_TRY_VOID(check_request(request));
  const auto prompt = static_cast<int32_t>(request.prompt.size());
  const int32_t room = context() - prompt;
  const int32_t answer_max = std::min(request.sampling.max_tokens.value_or(room), room);

  std::unique_lock lock(mutex_);
  if (draining_ || stopping_) return fail(Code::kUnavailable, "the engine takes no new requests");
  if (occupied_ >= parts_.size.sequences_max + parts_.size.queue_max) {
    parts_.metrics.refused();
    return fail(Code::kExhausted,
                fmt::format("{} requests run or wait already, at most {} run and {} wait",
                            occupied_, parts_.size.sequences_max, parts_.size.queue_max));
  }
  // A place is free before its client hears of the end, so that the client may come again at once.
  const auto counting = [this, sink = std::move(sink)](const GenerationEvent& event) {
    if (event.finished) {
      const std::lock_guard lock(mutex_);
      --occupied_;
    }
    sink(event);
  };
  const RequestId id = ++last_id_;
  if (!request.sampling.seed) request.sampling.seed = seeds_.next();
  auto generation = std::make_unique<Generation>(request, vocabulary_, answer_max, parts_.tokenizer,
                                                 counting, parts_.clock.now());
  inbox_.push_back({{.id = id,
                     .tokens = std::move(request.prompt),
                     .tokens_max = prompt + answer_max,
                     .priority = request.priority,
                     .scope = std::move(request.cache_scope),
                     .prompt_logits = request.prompt_logprobs >= 0},
                    std::move(generation)});
  ++occupied_;
  ++alive_;
  lock.unlock();
  wake_.notify_one();
  return id;
}

void LocalEngine::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    cancels_.push_back(id);
  }
  wake_.notify_one();
}

void LocalEngine::drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

bool LocalEngine::idle() const {
  const std::lock_guard lock(mutex_);
  return alive_ == 0;
}

EngineState LocalEngine::state() const {
  const std::lock_guard lock(mutex_);
  EngineState state = state_;
  state.waiting += static_cast<int32_t>(inbox_.size());
  return state;
}

void LocalEngine::run() {
  while (take_work()) {
    run_step();
    publish();
  }
  abort_all();
}

// Sleeps until there is something to do. False: the engine is being destroyed.
bool LocalEngine::take_work() {
  std::vector<Arrival> arrivals;
  std::vector<RequestId> cancels;
  {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] {
      return stopping_ || !inbox_.empty() || !cancels_.empty() || disk_moved_ ||
             (!scheduler_.idle() && !stalled_);
    });
    if (stopping_) return false;
    disk_moved_ = false;
    state_.waiting += static_cast<int32_t>(inbox_.size());
    arrivals.swap(inbox_);
    cancels.swap(cancels_);
  }
  for (Arrival& arrival : arrivals) begin(std::move(arrival));
  for (const RequestId id : cancels) end_early(id);
  return true;
}

void LocalEngine::begin(Arrival arrival) {
  const RequestId id = arrival.submission.id;
  const Nanos now = parts_.clock.now();
  const Status status = scheduler_.submit(std::move(arrival.submission), now);
  // submit() checked all that could be refused: sizing lets any context fit the pool.
  HADAL_CHECK(status.has_value(), status ? "" : status.error().what);
  generations_.emplace(id, std::move(arrival.generation));
}

void LocalEngine::end_early(RequestId id) {
  const auto found = generations_.find(id);
  if (found == generations_.end()) return;
  scheduler_.remove(id);
  found->second->abort(FinishReason::kCancelled, {Code::kCancelled, "cancelled"},
                       parts_.clock.now(), parts_.metrics);
  forget(id);
}

void LocalEngine::run_step() {
  const Nanos now = parts_.clock.now();
  // Before the plan for who is complete, after it for who was just admitted or lost its blocks.
  if (disk_) disk_->restore(scheduler_);
  const sched::Plan& plan = scheduler_.step(now);
  const bool moved = disk_ && disk_->restore(scheduler_);
  stalled_ = plan.rows == 0 && !moved;
  for (int32_t i = 0; i < plan.preempted; ++i) parts_.metrics.preempted();
  if (plan.rows == 0) return;
  for (const sched::Segment& segment : plan.segments) generations_.at(segment.id)->started(now);
  const LogitRows logits(*parts_.model, forward(plan), vocabulary_);
  HADAL_CHECK(logits.count() == plan.logits);
  scheduler_.advance();
  parts_.metrics.iteration(plan.rows, plan.prompt_rows);
  sample(plan, logits);
  deliver(plan);
  if (!speculator_.off()) speculator_.propose(plan, scheduler_);
  for (const RequestId id : ended_) scheduler_.remove(id);
  ended_.clear();
  const Nanos elapsed = parts_.clock.now() - now;
  if (!speculator_.off()) speculator_.ran(plan, to_seconds(elapsed));
  learn(plan, elapsed);
}

// From the plan to the last event: what the next token of those who generate waits for.
void LocalEngine::learn(const sched::Plan& plan, Nanos elapsed) {
  scheduler_.took(elapsed);
  const Nanos target = parts_.options.target_itl;
  parts_.metrics.step(
      {.seconds = to_seconds(elapsed),
       .over_target = target > Nanos::zero() && plan.shape.decode_rows > 0 && elapsed > target,
       .prompt_rows_most = plan.prompt_rows_most});
  const auto& terms = scheduler_.cost().terms();
  for (size_t i = 0; i < terms.size(); ++i) step_costs_[i]->set(terms[i]);
}

ConstView LocalEngine::forward(const sched::Plan& plan) {
  tokens_.clear();
  segments_.clear();
  logit_rows_.clear();
  for (const sched::Segment& segment : plan.segments) {
    const auto first_row = static_cast<int32_t>(tokens_.size());
    const auto rows = segment.tokens.subspan(static_cast<size_t>(segment.first_position),
                                             segment.rows - segment.guesses.size());
    tokens_.insert(tokens_.end(), rows.begin(), rows.end());
    tokens_.insert(tokens_.end(), segment.guesses.begin(), segment.guesses.end());
    segments_.push_back({.first_row = first_row,
                         .rows = segment.rows,
                         .position = segment.first_position,
                         .blocks = segment.blocks});
    for (int32_t i = segment.rows - segment.logits; i < segment.rows; ++i) {
      logit_rows_.push_back(first_row + i);
    }
  }
  return parts_.model->forward(
      {.tokens = tokens_, .segments = segments_, .logit_rows = logit_rows_}, parts_.arena);
}

// Rows of different sequences know nothing of each other, so any thread may take any of them. One
// row of a large vocabulary takes a millisecond or more: too long, times 64, for one thread while
// the others wait for the next step.
void LocalEngine::sample(const sched::Plan& plan, const LogitRows& logits) {
  first_logits_.clear();
  int64_t row = 0;
  for (const sched::Segment& segment : plan.segments) {
    first_logits_.push_back(row);
    row += segment.logits;
  }
  parts_.pool.parallel_for(plan.segments.size(), 1, [&](size_t begin, size_t end, int thread) {
    for (size_t i = begin; i < end; ++i) {
      sample_segment(plan.segments[i], logits, first_logits_[i],
                     scratches_[static_cast<size_t>(thread)]);
    }
  });
}

// `row`: the segment's first of `logits`. On any thread of the pool.
void LocalEngine::sample_segment(const sched::Segment& segment, const LogitRows& logits,
                                 int64_t row, SamplerScratch& scratch) {
  if (segment.logits == 0) return;
  Generation& generation = *generations_.at(segment.id);
  const auto guesses = static_cast<int32_t>(segment.guesses.size());
  const int32_t end = segment.first_position + segment.rows - guesses;
  const int32_t known = segment.logits - guesses;
  for (int32_t i = 0; i < known; ++i) {
    generation.score_prompt(segment.tokens, end - known + i, logits.row(row + i));
  }
  if (!segment.samples) return;
  // A guess is right when it is what its predecessor's row gives; from the first wrong one on, rows
  // are of another text.
  for (int32_t right = 0; right <= guesses; ++right) {
    const int64_t at = row + known - 1 + right;
    const auto token = generation.choose(logits.row(at), scratch, logits.told(at));
    if (!token || right == guesses || *token != segment.guesses[static_cast<size_t>(right)]) return;
  }
}

void LocalEngine::deliver(const sched::Plan& plan) {
  const Nanos now = parts_.clock.now();
  for (const sched::Segment& segment : plan.segments) {
    if (segment.samples) deliver_segment(segment, now);
  }
}

void LocalEngine::deliver_segment(const sched::Segment& segment, Nanos now) {
  Generation& generation = *generations_.at(segment.id);
  generation.set_cached(segment.reused);
  taken_.clear();
  std::optional<TokenId> token;
  do {
    token = generation.advance(now, parts_.metrics);
    if (token) taken_.push_back(*token);
  } while (token && generation.chosen() > 0);
  // The last token is the one that was not guessed; one that ends the answer is not among them.
  const auto right = static_cast<int32_t>(taken_.size()) - (token ? 1 : 0);
  if (!speculator_.off()) speculator_.took(segment, taken_, right, generation.end_tokens());
  scheduler_.accept(segment.id, right);
  if (token) {
    scheduler_.append(segment.id, *token);
  } else {
    ended_.push_back(segment.id);
    forget(segment.id);
  }
}

// After the last event: the sink is destroyed, then the request counts as gone.
void LocalEngine::forget(RequestId id) {
  generations_.erase(id);
  speculator_.forget(id);
  const std::lock_guard lock(mutex_);
  --alive_;
}

void LocalEngine::publish() {
  const int32_t used = pool_.referenced_blocks();
  const std::lock_guard lock(mutex_);
  state_.running = scheduler_.running();
  state_.waiting = scheduler_.waiting();
  state_.blocks_used = used;
  parts_.metrics.load(state_.running, state_.waiting + static_cast<int32_t>(inbox_.size()),
                      static_cast<double>(used) / pool_.blocks());
}

void LocalEngine::abort_all() {
  std::vector<Arrival> arrivals;
  {
    const std::lock_guard lock(mutex_);
    arrivals.swap(inbox_);
  }
  for (Arrival& arrival : arrivals) {
    generations_.emplace(arrival.submission.id, std::move(arrival.generation));
  }
  while (!generations_.empty()) end_early(generations_.begin()->first);
}

}  // namespace hadal
