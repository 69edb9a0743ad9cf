#include "hadal/gateway/batch_schedule.h"

#include <algorithm>
#include <utility>

#include "hadal/base/check.h"

namespace hadal::gateway {

bool BatchSchedule::Batch::can_start(Nanos now) {
  const auto size = static_cast<int64_t>(done.size());
  while (fresh < size && done[static_cast<size_t>(fresh)]) ++fresh;
  return fresh < size || (!again.empty() && again.begin()->first <= now);
}

// What waits for another attempt goes first, so that a batch does not end with all of them.
int64_t BatchSchedule::Batch::take(Nanos now) {
  if (!again.empty() && again.begin()->first <= now) {
    return again.extract(again.begin()).value().second;
  }
  return fresh++;
}

void BatchSchedule::add(const std::string& batch, const std::string& owner, int64_t expires,
                        std::vector<bool> done) {
  const auto [entry, added] = batches_.try_emplace(batch);
  if (!added) return;
  Batch& one = entry->second;
  one.owner = owner;
  one.expires = expires;
  one.arrival = arrivals_++;
  one.left = std::count(done.begin(), done.end(), false);
  one.done = std::move(done);
}

void BatchSchedule::cancel(const std::string& batch) {
  const auto found = batches_.find(batch);
  if (found != batches_.end()) found->second.cancelled = true;
}

std::optional<BatchEnd> BatchSchedule::end_of(const Batch& batch, int64_t unix_seconds) const {
  if (batch.left == 0 && !batch.cancelled) return BatchEnd::kComplete;
  if (batch.cancelled) return BatchEnd::kCancelled;
  if (unix_seconds >= batch.expires) return BatchEnd::kExpired;
  return {};
}

void BatchSchedule::stop_all(const std::string& id, Batch& batch, Step* out) {
  for (const int64_t line : batch.running) {
    if (batch.stopping.insert(line).second) out->stop.push_back({id, line});
  }
}

// How many more lines may run.
int32_t BatchSchedule::places(const BatchRules& rules, const BatchMoment& moment) const {
  const int32_t mark = moment.in_hours ? rules.load : 0;
  const bool open = moment.in_hours || rules.idle_outside_hours;
  if (!open || moment.live > mark) return 0;
  return rules.at_once - static_cast<int32_t>(running_);
}

BatchSchedule::Step BatchSchedule::step(const BatchRules& rules, const BatchMoment& moment) {
  Step out;
  const int32_t mark = moment.in_hours ? rules.load : 0;
  if (moment.live <= mark) {
    over_since_.reset();
  } else if (!over_since_) {
    over_since_ = moment.now;
  }
  const bool preempt = over_since_ && moment.now - *over_since_ >= rules.preempt_after;
  // In the order of arrival, not of their ids, which are random: so a simulation repeats itself.
  std::vector<std::pair<const std::string, Batch>*> in_order;
  for (auto& entry : batches_) in_order.push_back(&entry);
  std::sort(in_order.begin(), in_order.end(),
            [](const auto* a, const auto* b) { return a->second.arrival < b->second.arrival; });
  for (auto* entry : in_order) {
    auto& [id, batch] = *entry;
    const auto end = end_of(batch, moment.unix_seconds);
    if (end || preempt) stop_all(id, batch, &out);
    if (end && batch.running.empty()) out.ended.emplace_back(id, *end);
  }
  start(rules, moment, &out);
  return out;
}

void BatchSchedule::start(const BatchRules& rules, const BatchMoment& moment, Step* out) {
  for (int32_t left = places(rules, moment); left > 0; --left) {
    // Of the owner whose last turn is longest ago, the oldest batch.
    std::pair<const std::string, Batch>* best = nullptr;
    std::pair<uint64_t, uint64_t> order;
    for (auto& entry : batches_) {
      Batch& batch = entry.second;
      if (end_of(batch, moment.unix_seconds) || !batch.can_start(moment.now)) continue;
      const auto turn = turns_.find(batch.owner);
      const std::pair mine(turn == turns_.end() ? 0 : turn->second, batch.arrival);
      if (best == nullptr || mine < order) {
        best = &entry;
        order = mine;
      }
    }
    if (best == nullptr) break;
    turns_[best->second.owner] = ++turn_;
    const int64_t line = best->second.take(moment.now);
    best->second.running.insert(line);
    ++running_;
    out->start.push_back({best->first, line});
  }
  std::erase_if(turns_, [&](const auto& turn) {
    return std::none_of(batches_.begin(), batches_.end(),
                        [&](const auto& entry) { return entry.second.owner == turn.first; });
  });
}

void BatchSchedule::finished(const LineId& line) {
  Batch& batch = batches_.at(line.batch);
  HADAL_CHECK(batch.running.erase(line.line) == 1, "a line that does not run has finished");
  batch.stopping.erase(line.line);
  batch.attempts.erase(line.line);
  batch.done[static_cast<size_t>(line.line)] = true;
  --batch.left;
  --running_;
}

void BatchSchedule::again_at(const LineId& line, Nanos at) {
  Batch& batch = batches_.at(line.batch);
  HADAL_CHECK(batch.running.erase(line.line) == 1, "a line that does not run was given back");
  batch.stopping.erase(line.line);
  if (at > Nanos(0)) ++batch.attempts[line.line];
  batch.again.insert({at, line.line});
  --running_;
}

int32_t BatchSchedule::attempts(const LineId& line) const {
  const auto batch = batches_.find(line.batch);
  if (batch == batches_.end()) return 0;
  const auto found = batch->second.attempts.find(line.line);
  return found == batch->second.attempts.end() ? 0 : found->second;
}

}  // namespace hadal::gateway
