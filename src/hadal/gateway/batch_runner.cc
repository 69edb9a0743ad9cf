#include "hadal/gateway/batch_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/base/file.h"

namespace hadal::gateway {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr int32_t kFaultsMax = 4;  // attempts of a line that a server fails at
constexpr Nanos kPauseMin = seconds(1);
constexpr Nanos kPauseMax = seconds(60);
constexpr int64_t kRetryAfterMax = 600;  // a day's limit may be raised before the day ends
constexpr Nanos kTroublePause = seconds(1);
constexpr Nanos kSweepEvery = seconds(60);

// What an answer means for its line.
enum class Verdict { kResult, kLater, kFault };

Verdict verdict(const CallAnswer& answer) {
  if (!answer.whole) return Verdict::kFault;
  switch (answer.answer.status) {
    case 429:
    case 499:  // broken off on our side
    case 503:
      return Verdict::kLater;
    case 408:
    case 500:
    case 502:
    case 504:
      return Verdict::kFault;
    default:
      return Verdict::kResult;
  }
}

std::string result_id(const LineId& line) {
  return fmt::format("batch_req_{}_{}", line.batch.substr(line.batch.find('_') + 1), line.line);
}

BatchStore::Missing missing_of(BatchEnd how) {
  switch (how) {
    case BatchEnd::kExpired:
      return {"batch_expired",
              "This request could not be executed before the completion window expired."};
    case BatchEnd::kCancelled:
      return {"batch_cancelled", "This request was not executed: the batch was cancelled."};
    case BatchEnd::kComplete:
      break;
  }
  return {"internal_error", "This request has no result."};
}

BatchStatus status_of(BatchEnd how) {
  switch (how) {
    case BatchEnd::kExpired:
      return BatchStatus::kExpired;
    case BatchEnd::kCancelled:
      return BatchStatus::kCancelled;
    case BatchEnd::kComplete:
      break;
  }
  return BatchStatus::kCompleted;
}

}  // namespace

BatchOptions batch_options(const BatchConfig& config) {
  BatchOptions options;
  options.rules = {config.at_once, config.load, duration_cast<Nanos>(config.preempt_after),
                   config.outside_hours == "when_idle"};
  auto hours = BatchHours::parse(config.hours, config.time_zone);
  HADAL_CHECK(hours.has_value(), "hours that were not checked");
  options.hours = std::move(*hours);
  options.input.lines = static_cast<size_t>(config.lines_max);
  options.keep_seconds = duration_cast<seconds>(config.keep).count();
  return options;
}

BatchRunner::BatchRunner(BatchStore& store, LineCaller& caller, const Clock& clock, LogSink log,
                         std::function<void()> nudge, uint64_t seed)
    : store_(store),
      caller_(caller),
      clock_(clock),
      log_(std::move(log)),
      rng_(seed),
      inbox_(std::make_shared<Inbox>()) {
  inbox_->nudge = std::move(nudge);
}

BatchRunner::~BatchRunner() { stop(); }

void BatchRunner::stop() {
  {
    std::lock_guard lock(inbox_->mutex);
    inbox_->nudge = nullptr;
  }
  active_.clear();
}

void BatchRunner::wake() {
  woken_ = true;
  std::lock_guard lock(inbox_->mutex);
  if (inbox_->nudge) inbox_->nudge();
}

void BatchRunner::report(const Status& status) {
  if (status) return;
  trouble_until_ = clock_.now() + kTroublePause;
  woken_ = true;
  log_to(log_, LogLevel::kWarning, "batches: " + status.error().what);
}

void BatchRunner::turn(const BatchOptions& options, int32_t live) {
  take_answers();
  const Nanos now = clock_.now();
  if (now < trouble_until_) return;
  if (woken_.exchange(false)) report(look(options));
  const int64_t today = clock_.unix_seconds();
  if (now >= next_sweep_) {
    next_sweep_ = now + kSweepEvery;
    report(store_.sweep(today, today - options.keep_seconds));
  }
  const auto step = schedule_.step(options.rules, {now, today, options.hours.open_at(today), live});
  for (const LineId& line : step.stop) stop(line);
  for (const LineId& line : step.start) {
    auto started = start(line);
    if (!started) schedule_.again_at(line, now + kPauseMin);
    report(started);
  }
  for (const auto& [batch, how] : step.ended) report(end(batch, how));
  counts_.batches = static_cast<int64_t>(batches_.size());
  counts_.running = static_cast<int64_t>(active_.size());
}

Status BatchRunner::look(const BatchOptions& options) {
  HADAL_TRY(const std::vector<BatchRecord> batches, store_.unfinished());
  for (const BatchRecord& batch : batches) HADAL_TRY_VOID(look_at(batch, options));
  return {};
}

Status BatchRunner::look_at(const BatchRecord& batch, const BatchOptions& options) {
  if (!schedule_.knows(batch.id)) {
    if (batch.status == BatchStatus::kValidating) return begin(batch, options);
    HADAL_TRY(std::vector<bool> done, store_.done_lines(batch.id));
    batches_[batch.id] = batch;
    schedule_.add(batch.id, batch.owner, batch.expires, std::move(done));
  }
  if (batch.status == BatchStatus::kCancelling) schedule_.cancel(batch.id);
  return {};
}

Status BatchRunner::begin(const BatchRecord& batch, const BatchOptions& options) {
  const int64_t today = clock_.unix_seconds();
  auto file = store_.read_input(batch);
  if (!file && file.error().code != Code::kNotFound) return fail(std::move(file.error()));
  api::BatchInput input;
  if (file) {
    input = api::read_batch_input(*file, batch.endpoint, options.input);
  } else {
    input.faults.push_back({"missing_file", "the input file is gone", "input_file_id"});
  }
  if (!input.faults.empty()) {
    return store_.fail_batch(batch.id, api::batch_faults(input.faults), today);
  }
  HADAL_TRY_VOID(store_.begin_batch(batch.id, input.lines, today));
  // It may have been cancelled meanwhile, and then has no lines: what the store has counts.
  HADAL_TRY(std::vector<bool> done, store_.done_lines(batch.id));
  const size_t rows = done.size();
  batches_[batch.id] = batch;
  schedule_.add(batch.id, batch.owner, batch.expires, std::move(done));
  if (rows != input.lines.size()) schedule_.cancel(batch.id);
  return {};
}

Result<std::string> BatchRunner::read_body(const BatchRecord& batch,
                                           const BatchStore::LineRow& row) const {
  HADAL_TRY(const MappedFile file, MappedFile::open(store_.path_of(batch.input_file)));
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  const auto offset = static_cast<size_t>(row.offset), length = static_cast<size_t>(row.length);
  if (offset > bytes.size() || length > bytes.size() - offset) {
    return fail(Code::kCorrupt, "the input file is too short");
  }
  return api::batch_line_body(bytes.substr(offset, length));
}

Status BatchRunner::start(const LineId& line) {
  const BatchRecord& batch = batches_.at(line.batch);
  HADAL_TRY(const BatchStore::LineRow row, store_.find_line(line.batch, line.line));
  auto body = read_body(batch, row);
  if (!body && (body.error().code == Code::kCorrupt || body.error().code == Code::kNotFound)) {
    return keep({line, row.custom_id, nullptr}, false,
                api::batch_error(result_id(line), row.custom_id, "input_lost",
                                 "This request cannot be read any more."));
  }
  if (!body) return fail(std::move(body.error()));
  const uint64_t id = ++calls_;
  Active& active = active_[id];
  active = {line, row.custom_id, nullptr};
  active.call = caller_.start(batch, std::move(*body), [inbox = inbox_, id](CallAnswer answer) {
    std::lock_guard lock(inbox->mutex);
    inbox->answers.emplace_back(id, std::move(answer));
    if (inbox->nudge) inbox->nudge();
  });
  return {};
}

void BatchRunner::stop(const LineId& line) {
  const auto found = std::find_if(active_.begin(), active_.end(),
                                  [&](const auto& entry) { return entry.second.line == line; });
  HADAL_CHECK(found != active_.end(), "a line that does not run is to stop");
  active_.erase(found);
  schedule_.stopped(line);
  ++counts_.preempted;
}

void BatchRunner::take_answers() {
  std::vector<std::pair<uint64_t, CallAnswer>> answers;
  {
    std::lock_guard lock(inbox_->mutex);
    answers.swap(inbox_->answers);
  }
  for (auto& [id, answer] : answers) {
    const auto found = active_.find(id);
    if (found == active_.end()) continue;  // stopped before it was known to be answered
    const Active active = std::move(found->second);
    active_.erase(found);
    auto taken = take_answer(active, answer);
    if (!taken) schedule_.again_at(active.line, clock_.now() + kPauseMin);
    report(taken);
  }
}

Status BatchRunner::take_answer(const Active& active, const CallAnswer& answer) {
  const Verdict what = verdict(answer);
  const bool again =
      what == Verdict::kLater || (what == Verdict::kFault && ++faults_[active.line] <= kFaultsMax);
  if (again) {
    schedule_.again_at(active.line, clock_.now() + pause(active.line, answer.retry_after));
    ++counts_.again;
    return {};
  }
  const std::string id = result_id(active.line);
  if (!answer.whole) {
    return keep(active, false,
                api::batch_error(id, active.custom_id, "incomplete_answer",
                                 "The answer broke off, every time it was asked for."));
  }
  const bool good = answer.answer.status >= 200 && answer.answer.status < 300;
  return keep(active, good, api::batch_result(id, active.custom_id, answer.answer));
}

Status BatchRunner::keep(const Active& active, bool good, const std::string& result) {
  HADAL_TRY(const bool kept, store_.commit_line(active.line.batch, active.line.line, good, result));
  schedule_.finished(active.line);
  faults_.erase(active.line);
  if (kept) ++(good ? counts_.finished : counts_.failed);
  return {};
}

Nanos BatchRunner::pause(const LineId& line, int64_t retry_after) {
  const int32_t doublings = std::min(schedule_.attempts(line), 10);
  const Nanos longest = std::min<Nanos>(kPauseMin * (1 << doublings), kPauseMax);
  const auto jittered = Nanos(
      static_cast<int64_t>(static_cast<double>(longest.count()) * (0.5 + 0.5 * rng_.uniform())));
  return std::max<Nanos>(jittered, seconds(std::min(retry_after, kRetryAfterMax)));
}

Status BatchRunner::end(const std::string& batch, BatchEnd how) {
  HADAL_TRY_VOID(store_.end_batch(batch, status_of(how), missing_of(how), clock_.unix_seconds()));
  schedule_.forget(batch);
  batches_.erase(batch);
  std::erase_if(faults_, [&](const auto& entry) { return entry.first.batch == batch; });
  log_to(log_, LogLevel::kInfo, fmt::format("batch {}: {}", batch, status_name(status_of(how))));
  return {};
}

}  // namespace hadal::gateway
