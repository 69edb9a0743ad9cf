#include "hadal/gateway/rollout_store.h"

#include <fmt/format.h>

#include <charconv>

namespace hadal::gateway {
namespace {

constexpr const char* kSchema = R"(
  CREATE TABLE IF NOT EXISTS rollouts(
    name TEXT PRIMARY KEY, spec TEXT NOT NULL, identity TEXT NOT NULL, phase TEXT NOT NULL,
    step INTEGER NOT NULL, elapsed_ms INTEGER NOT NULL, looked_ms INTEGER NOT NULL,
    windows INTEGER NOT NULL, ends INTEGER NOT NULL, looks INTEGER NOT NULL, next_look INTEGER NOT NULL,
    epoch INTEGER NOT NULL, reason TEXT NOT NULL, samples TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS rollout_events(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, at INTEGER NOT NULL, what TEXT NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS rollout_events_by_name ON rollout_events(name, id);
)";
constexpr const char* kSave =
    "INSERT OR REPLACE INTO rollouts VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
constexpr const char* kLoad = R"(
  SELECT name, spec, identity, phase, step, elapsed_ms, looked_ms, windows, ends, looks, next_look,
         epoch, reason, samples
  FROM rollouts ORDER BY name
)";
constexpr const char* kTrimEvents = R"(
  DELETE FROM rollout_events WHERE name = ?1 AND id <= (
    SELECT id FROM rollout_events WHERE name = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
)";
constexpr const char* kEvents =
    "SELECT at, what FROM rollout_events WHERE name = ? ORDER BY id DESC LIMIT ?";

// Takes what stands before the next line's end.
std::string_view take_line(std::string_view* text) {
  const size_t end = std::min(text->find('\n'), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return line;
}

bool take_count(std::string_view* line, int64_t* value) {
  const auto [rest, error] = std::from_chars(line->data(), line->data() + line->size(), *value);
  if (error != std::errc() || *value < 0) return false;
  line->remove_prefix(static_cast<size_t>(rest - line->data()));
  if (line->starts_with(' ')) line->remove_prefix(1);
  return true;
}

}  // namespace

// An arm has five lines: counts, three histograms, probes.
std::string samples_text(const RolloutState& state) {
  std::string text;
  for (size_t arm = 0; arm < state.arms.size(); ++arm) {
    const ArmSamples& samples = state.arms[arm];
    text += fmt::format("{} {} {}\n{}\n{}\n{}\n{}\n", samples.requests, samples.errors,
                        samples.refusals, samples.first_token.to_text(),
                        samples.between_tokens.to_text(), samples.length.to_text(),
                        state.probes.empty() ? "" : state.probes[arm]);
  }
  return text;
}

Status read_samples(std::string_view text, RolloutState* state) {
  state->arms.clear();
  state->probes.clear();
  while (!text.empty()) {
    ArmSamples samples;
    std::string_view counts = take_line(&text);
    if (!take_count(&counts, &samples.requests) || !take_count(&counts, &samples.errors) ||
        !take_count(&counts, &samples.refusals) || !counts.empty() ||
        samples.errors > samples.requests || samples.refusals > samples.answers()) {
      return fail(Code::kCorrupt, "a rollout's counts are damaged");
    }
    HADAL_TRY(samples.first_token, LogHistogram::from_text(take_line(&text)));
    HADAL_TRY(samples.between_tokens, LogHistogram::from_text(take_line(&text)));
    HADAL_TRY(samples.length, LogHistogram::from_text(take_line(&text)));
    const std::string_view probes = take_line(&text);
    if (probes.find_first_not_of("?01") != std::string_view::npos) {
      return fail(Code::kCorrupt, "a rollout's probes are damaged");
    }
    state->arms.push_back(std::move(samples));
    if (!probes.empty()) state->probes.emplace_back(probes);
  }
  if (!state->probes.empty() && state->probes.size() != state->arms.size()) {
    return fail(Code::kCorrupt, "a rollout's probes are damaged");
  }
  return {};
}

Result<std::unique_ptr<RolloutStore>> RolloutStore::open(const std::string& path) {
  HADAL_TRY(Database database, Database::open(path, Sync::kPower));
  std::unique_ptr<RolloutStore> store(new RolloutStore(std::move(database)));
  HADAL_TRY_VOID(store->prepare());
  return store;
}

Status RolloutStore::prepare() {
  HADAL_TRY_VOID(make_tables(database_, {"rollouts", 1, kSchema}));
  HADAL_TRY(save_, database_.prepare(kSave));
  HADAL_TRY(load_, database_.prepare(kLoad));
  HADAL_TRY(remove_, database_.prepare("DELETE FROM rollouts WHERE name = ?"));
  HADAL_TRY(add_event_,
            database_.prepare("INSERT INTO rollout_events(name, at, what) VALUES (?,?,?)"));
  HADAL_TRY(trim_events_, database_.prepare(kTrimEvents));
  HADAL_TRY(remove_events_, database_.prepare("DELETE FROM rollout_events WHERE name = ?"));
  HADAL_TRY(events_, database_.prepare(kEvents));
  return {};
}

Result<std::vector<StoredRollout>> RolloutStore::load() {
  std::lock_guard lock(mutex_);
  std::vector<StoredRollout> rollouts;
  Run run = database_.run(load_);
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return rollouts;
    StoredRollout one{run.text(0), run.text(1), run.text(2), {}};
    const auto phase = find_phase(run.text(3));
    if (!phase) {
      return fail(Code::kCorrupt, fmt::format("{}: rollout '{}' has the phase '{}'",
                                              database_.path(), one.name, run.text(3)));
    }
    RolloutControl& control = one.state.control;
    control.phase = *phase;
    control.step = static_cast<int32_t>(run.integer(4));
    control.elapsed = Millis(run.integer(5));
    control.looked = Millis(run.integer(6));
    control.windows = static_cast<int32_t>(run.integer(7));
    control.ends = run.integer(8);
    control.looks = run.integer(9);
    control.next_look = run.integer(10);
    control.epoch = run.integer(11);
    control.reason = run.text(12);
    HADAL_TRY_VOID(read_samples(run.text(13), &one.state));
    rollouts.push_back(std::move(one));
  }
}

Status RolloutStore::save(const StoredRollout& rollout, std::string_view event, int64_t now) {
  const std::string samples = samples_text(rollout.state);
  const RolloutControl& control = rollout.state.control;
  std::lock_guard lock(mutex_);
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  {
    Run run = database_.run(save_);
    run.bind(rollout.name).bind(rollout.spec).bind(rollout.identity);
    run.bind(phase_name(control.phase)).bind(control.step);
    run.bind(int64_t{control.elapsed.count()}).bind(int64_t{control.looked.count()});
    run.bind(control.windows)
        .bind(control.ends)
        .bind(control.looks)
        .bind(control.next_look)
        .bind(control.epoch);
    HADAL_TRY_VOID(run.bind(control.reason).bind(samples).done());
  }
  if (!event.empty()) {
    HADAL_TRY_VOID(database_.run(add_event_).bind(rollout.name).bind(now).bind(event).done());
    HADAL_TRY_VOID(database_.run(trim_events_).bind(rollout.name).bind(kEventsKept).done());
  }
  return transaction.commit();
}

Status RolloutStore::remove(const std::string& name) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  HADAL_TRY_VOID(database_.run(remove_).bind(name).done());
  HADAL_TRY_VOID(database_.run(remove_events_).bind(name).done());
  return transaction.commit();
}

Result<std::vector<RolloutEvent>> RolloutStore::events(const std::string& name) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(events_);
  run.bind(name).bind(kEventsKept);
  std::vector<RolloutEvent> found;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return found;
    found.push_back({run.integer(0), run.text(1)});
  }
}

}  // namespace hadal::gateway
