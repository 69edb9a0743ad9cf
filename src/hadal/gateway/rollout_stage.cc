#include "hadal/gateway/rollout_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace hadal::gateway {
namespace {

constexpr Millis kTick{100};

bool is_here(const Directory& directory, const Config& config, const RolloutConfig& rollout,
             const RolloutTarget& target) {
  const ModelTarget* model = directory.find(target.model.empty() ? rollout.model : target.model);
  if (model == nullptr || !model->local) return false;
  const BackendConfig* local = config.local();
  return std::all_of(target.backends.begin(), target.backends.end(), [&](const std::string& name) {
    return local != nullptr && local->name == name;
  });
}

bool is_over(const LiveRollout& live) {
  const RolloutPhase phase = live.state().control.phase;
  return phase == RolloutPhase::kRolledBack || phase == RolloutPhase::kWaiting;
}

}  // namespace

RolloutStage::RolloutStage(std::unique_ptr<RolloutStore> store, Parts parts)
    : store_(std::move(store)),
      parts_(std::move(parts)),
      errands_(parts_.io, parts_.clock, parts_.go),
      metrics_(std::make_shared<RolloutMetrics>(*parts_.registry)),
      mailbox_(std::make_shared<Mailbox>()),
      rng_(static_cast<uint64_t>(parts_.clock.now().count())),
      table_(std::make_shared<const Table>()) {}

Result<std::unique_ptr<RolloutStage>> RolloutStage::make(const Config& config, Parts parts) {
  HADAL_TRY(auto store, RolloutStore::open(config.store.path));
  // A damaged row must not look like a rollout that never was.
  auto rows = store->load();
  if (!rows) return fail(std::move(rows.error()));
  std::unique_ptr<RolloutStage> stage(new RolloutStage(std::move(store), std::move(parts)));
  stage->configure(config);
  if (stage->parts_.runs) stage->thread_ = std::thread([raw = stage.get()] { raw->run(); });
  return stage;
}

RolloutStage::~RolloutStage() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  std::lock_guard lock(owner_mutex_);
  save_news();
}

void RolloutStage::run() {
  Nanos before = parts_.clock.now();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kTick, [&] { return ended_ || !copies_.empty(); });
      if (ended_) return;
    }
    const Nanos now = parts_.clock.now();
    const auto passed = std::chrono::duration_cast<Millis>(now - before);
    before += passed;
    tick(passed);
  }
}

void RolloutStage::tick(Millis passed) {
  send_copies();
  std::lock_guard lock(owner_mutex_);
  take_probe_answers();
  for (const Entry& entry : table()->rollouts) {
    const Live& live = entry.live;
    const auto change = live->with([&](Rollout& machine) { return machine.advance(passed); });
    if (change) static_cast<void>(carry_out(live, *change));
    send_probe(live, passed);
  }
  unsaved_ += passed;
  if (unsaved_ >= kSaveEvery) save_news();
}

void RolloutStage::save_news() {
  unsaved_ = Millis(0);
  for (const Entry& entry : table()->rollouts) {
    if (entry.live->take_news()) static_cast<void>(save(entry.live, entry.live->state(), ""));
  }
}

Status RolloutStage::save(const Live& live, const RolloutState& state, std::string_view event) {
  Status saved = store_->save({live->config().name, live->spec(), live->config().identity(), state},
                              event, parts_.clock.unix_seconds());
  if (!saved) {
    metrics_->write_failed();
    if (!std::exchange(told_failure_, true)) {
      log_to(parts_.log, LogLevel::kError,
             fmt::format("rollout '{}' cannot be written: {}", live->config().name,
                         saved.error().what));
    }
  } else {
    told_failure_ = false;
  }
  return saved;
}

Status RolloutStage::carry_out(const Live& live, const RolloutChange& change) {
  const RolloutState next = live->with([&](Rollout& machine) { return machine.after(change); });
  const Status saved = save(live, next, change.event);
  // Users come first: who takes them back does not wait for a disk. It is written later.
  const bool takes_back = next.control.phase == RolloutPhase::kRolledBack;
  if (!saved && !takes_back) return saved;
  live->with([&](Rollout& machine) { machine.apply(change); });
  const std::string& name = live->config().name;
  metrics_->share(name, live->share(1));
  if (change.event.empty()) return {};
  metrics_->changed(name, phase_name(next.control.phase));
  if (parts_.decided) parts_.decided(name, phase_name(next.control.phase), change.event);
  log_to(parts_.log, takes_back ? LogLevel::kWarning : LogLevel::kInfo,
         fmt::format("rollout '{}': {}", name, change.event));
  return {};
}

std::shared_ptr<const RolloutStage::Table> RolloutStage::table() const {
  std::lock_guard lock(mutex_);
  return table_;
}

RolloutStage::Live RolloutStage::look_up(const std::string& name) const {
  for (const Entry& entry : table()->rollouts) {
    if (entry.live->config().name == name) return entry.live;
  }
  return nullptr;
}

void RolloutStage::publish(std::vector<Live> rollouts) {
  std::sort(rollouts.begin(), rollouts.end(),
            [](const Live& a, const Live& b) { return a->config().name < b->config().name; });
  auto table = std::make_shared<Table>();
  auto directory = std::make_shared<const Directory>(config_);
  for (Live& live : rollouts) {
    Entry entry;
    for (size_t arm = 0; arm < live->arms().size(); ++arm) {
      entry.arm_is_here.push_back(
          is_here(*directory, config_, live->config(), live->seat_at(arm).target));
    }
    metrics_->share(live->config().name, live->share(1));
    entry.live = std::move(live);
    table->rollouts.push_back(std::move(entry));
  }
  table->directory = std::move(directory);
  is_empty_ = table->rollouts.empty();
  std::lock_guard lock(mutex_);
  table_ = std::move(table);
}

// Goes on with what runs, or else with what was kept.
Result<RolloutStage::Live> RolloutStage::take_up(RolloutConfig rollout, std::string spec,
                                                 const std::map<std::string, StoredRollout>& kept) {
  HADAL_TRY(std::vector<Probe> probes, load_probes(rollout.probes.file));
  const Live running = look_up(rollout.name);
  const std::string identity = rollout.identity();
  const bool same = running != nullptr && running->config().identity() == identity;
  if (same && running->config() == rollout && running->probes() == probes &&
      running->spec() == spec) {
    return running;
  }
  Rollout machine(rollout, probes.size());
  Status restored = fail(Code::kNotFound, "");
  if (same) {
    restored = machine.restore(running->state());
  } else if (const auto row = kept.find(rollout.name);
             row != kept.end() && row->second.identity == identity) {
    restored = machine.restore(row->second.state);
  }
  auto live = std::make_shared<LiveRollout>(std::move(machine), std::move(probes), std::move(spec),
                                            metrics_);
  if (!restored) {
    HADAL_TRY_VOID(
        save(live, live->state(), rollout.autostart ? "began" : "declared, waits to be started"));
  }
  return live;
}

void RolloutStage::configure(const Config& config) {
  std::lock_guard lock(owner_mutex_);
  configure_locked(config);
}

void RolloutStage::configure_locked(const Config& config) {
  config_ = config;
  auto rows = store_->load();
  if (!rows) {
    return log_to(parts_.log, LogLevel::kError, "rollouts stay as they were: " + rows.error().what);
  }
  std::map<std::string, StoredRollout> kept;
  for (StoredRollout& row : *rows) kept.emplace(row.name, std::move(row));
  std::vector<Live> rollouts;
  const auto take = [&](RolloutConfig rollout, std::string spec) {
    const std::string name = rollout.name;
    auto live = take_up(std::move(rollout), std::move(spec), kept);
    if (!live) {
      log_to(parts_.log, LogLevel::kError,
             fmt::format("rollout '{}' stays as it was: {}", name, live.error().what));
      live = look_up(name);
    }
    if (*live != nullptr) rollouts.push_back(std::move(*live));
  };
  for (const RolloutConfig& rollout : config.rollouts) {
    kept[rollout.name].spec.clear();  // what is declared counts more
    take(rollout, "");
  }
  for (const auto& [name, row] : kept) {
    if (row.spec.empty()) continue;
    auto rollout = read_rollout(name, row.spec, config);
    if (rollout) {
      take(std::move(*rollout), row.spec);
    } else {
      log_to(parts_.log, LogLevel::kError,
             fmt::format("rollout '{}' does not fit the configuration and rests: {}", name,
                         rollout.error().what));
    }
  }
  publish(std::move(rollouts));
}

RolloutView RolloutStage::view(const Live& live) const {
  RolloutView view;
  view.config = live->config();
  view.declared = live->spec().empty();
  view.arms = live->arms();
  for (size_t arm = 0; arm < view.arms.size(); ++arm) view.shares.push_back(live->share(arm));
  view.state = live->state();
  if (view.config.is_judged()) view.verdict = live->verdict();
  if (auto events = store_->events(view.config.name)) view.events = std::move(*events);
  return view;
}

std::vector<RolloutView> RolloutStage::list() const {
  std::vector<RolloutView> views;
  for (const Entry& entry : table()->rollouts) views.push_back(view(entry.live));
  return views;
}

Result<RolloutView> RolloutStage::find(const std::string& name) const {
  const Live live = look_up(name);
  if (live == nullptr) {
    return fail(Code::kNotFound, fmt::format("there is no rollout '{}'", name.substr(0, 64)));
  }
  return view(live);
}

Status RolloutStage::has_no_rival(const RolloutConfig& rollout) const {
  for (const Entry& entry : table()->rollouts) {
    const RolloutConfig& other = entry.live->config();
    if (other.name == rollout.name || !is_rival(rollout, other) || is_over(*entry.live)) continue;
    return fail(Code::kInvalidInput,
                fmt::format("rollout '{}' has the requests of '{}'", other.name, other.model));
  }
  return {};
}

Result<RolloutView> RolloutStage::create(const std::string& name, std::string_view text) {
  std::lock_guard lock(owner_mutex_);
  if (look_up(name) != nullptr) {
    return fail(Code::kInvalidInput, fmt::format("there is a rollout '{}' already", name));
  }
  HADAL_TRY(RolloutConfig rollout, read_rollout(name, text, config_));
  HADAL_TRY_VOID(has_no_rival(rollout));
  HADAL_TRY(Live live, take_up(std::move(rollout), std::string(text), {}));
  std::vector<Live> rollouts = {live};
  for (const Entry& entry : table()->rollouts) rollouts.push_back(entry.live);
  publish(std::move(rollouts));
  return view(live);
}

Result<RolloutView> RolloutStage::command(const std::string& name, RolloutCommand command) {
  std::lock_guard lock(owner_mutex_);
  const Live live = look_up(name);
  if (live == nullptr) return find(name);
  if (command == RolloutCommand::kStart) HADAL_TRY_VOID(has_no_rival(live->config()));
  HADAL_TRY(const RolloutChange change,
            live->with([&](Rollout& machine) { return machine.command(command); }));
  HADAL_TRY_VOID(carry_out(live, change));
  return view(live);
}

Status RolloutStage::forget(const std::string& name) {
  std::lock_guard lock(owner_mutex_);
  const Live live = look_up(name);
  if (live == nullptr) {
    return fail(Code::kNotFound, fmt::format("there is no rollout '{}'", name.substr(0, 64)));
  }
  if (live->spec().empty()) {
    return fail(Code::kInvalidInput, fmt::format("hadal.yaml declares rollout '{}'", name));
  }
  if (!is_over(*live)) {
    return fail(Code::kInvalidInput, fmt::format("rollout '{}' has not ended: abort it", name));
  }
  HADAL_TRY_VOID(store_->remove(name));
  std::vector<Live> rollouts;
  for (const Entry& entry : table()->rollouts) {
    if (entry.live != live) rollouts.push_back(entry.live);
  }
  asking_.erase(name);
  publish(std::move(rollouts));
  return {};
}

}  // namespace hadal::gateway
