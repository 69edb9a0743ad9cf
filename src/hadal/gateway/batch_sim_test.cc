// Batches with invented time: a store on a real disk, a runner that is killed at random moments,
// answers that come late, wrong or not at all, and live requests that come and go. What must hold:
// every line of every batch is in its results exactly once, nothing runs when it may not.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "hadal/base/file.h"
#include "hadal/base/rng.h"
#include "hadal/gateway/batch_runner.h"

namespace hadal::gateway {
namespace {

using std::chrono::seconds;

// The number or text that follows `name`.
std::string behind(const std::string& json, const std::string& name) {
  size_t at = json.find(name);
  if (at == json.npos) return {};
  at = json.find_first_not_of(" \"", at + name.size());
  return json.substr(at, json.find_first_of(",}\"", at) - at);
}

struct Crash {};  // thrown where the process is killed

// Time, and a place to be killed at: the runner asks for the time between any two of its steps.
class SimClock final : public Clock {
 public:
  Nanos now() const override {
    die();
    return now_;
  }
  int64_t unix_seconds() const override {
    die();
    return 1'700'000'000 + std::chrono::duration_cast<seconds>(now_).count();
  }
  void advance(Nanos by) { now_ += by; }
  void kill_in(int64_t steps) { steps_ = steps; }

 private:
  void die() const {
    if (steps_ > 0 && --steps_ == 0) throw Crash{};
  }
  Nanos now_{0};
  mutable int64_t steps_ = 0;
};

class Sim : public LineCaller {
 public:
  explicit Sim(uint64_t seed)
      : rng_(seed), folder_(fmt::format("{}hadal_batch_sim_{}", ::testing::TempDir(), seed)) {
    std::filesystem::remove_all(folder_);
    config_.dir = folder_;
    config_.at_once = 1 + below(4);
    config_.load = below(4);
    config_.preempt_after = Millis(1'000 * below(20));
    if (below(2) == 0) config_.hours = {"22:00-06:00"};
    config_.time_zone = "+00:00";
    if (below(2) == 0) config_.outside_hours = "when_idle";
    options_ = batch_options(config_);
    open();
  }
  ~Sim() override { std::filesystem::remove_all(folder_); }

  void run() {
    for (int batch = 0; batch < 4; ++batch) submit(batch);
    for (int turn = 0; !done() && turn < 20'000; ++turn) {
      clock_.advance(Nanos(static_cast<int64_t>(rng_.next() % 20'000'000'000)));
      if (below(10) == 0) live_ = below(2) == 0 ? 0 : below(8);
      if (below(200) == 0) cancel();
      deliver();
      if (below(25) == 0) clock_.kill_in(1 + below(12));
      try {
        runner_->turn(options_, live_);
      } catch (const Crash&) {
        ++crashes_;
        open();
      }
      clock_.kill_in(0);
      if (below(150) == 0) open();  // killed between two turns
    }
    clock_.kill_in(0);
    check();
  }
  int crashes() const { return crashes_; }
  int answers() const { return answers_; }

  std::unique_ptr<Call> start(const BatchRecord& batch, std::string body,
                              std::function<void(CallAnswer)> done) override {
    const int64_t line = std::stoll(behind(body, "\"n\":"));
    const int64_t today = clock_.unix_seconds();
    const bool in_hours = options_.hours.open_at(today);
    EXPECT_TRUE(in_hours ? live_ <= config_.load
                         : live_ == 0 && config_.outside_hours == "when_idle");
    EXPECT_LT(open_calls_.size(), static_cast<size_t>(config_.at_once));
    EXPECT_LT(today, batch.expires);
    EXPECT_FALSE(store_->done_lines(batch.id)->at(static_cast<size_t>(line))) << "runs again";
    const uint64_t id = ++ids_;
    open_calls_[id] = {clock_.unix_seconds() + below(90), batch.id, line, std::move(done)};
    if (below(10) == 0) deliver(id);  // at once, from within
    return std::make_unique<Open>(*this, id);
  }

 private:
  struct Pending {
    int64_t due;
    std::string batch;
    int64_t line;
    std::function<void(CallAnswer)> done;
  };
  struct Open final : Call {
    Open(Sim& of, uint64_t number) : sim(of), id(number) {}
    ~Open() override { sim.open_calls_.erase(id); }
    Sim& sim;
    const uint64_t id;
  };
  struct Expected {
    std::string owner, id;
    int64_t lines = 0;
    bool cancelled = false;
    bool valid = true;
  };

  int32_t below(uint64_t bound) { return static_cast<int32_t>(rng_.next() % bound); }

  // As after kill -9: only what is on the disk remains.
  void open() {
    clock_.kill_in(0);
    runner_.reset();
    EXPECT_TRUE(open_calls_.empty());
    store_.reset();
    auto store = BatchStore::open(folder_, Sync::kProcess);
    ASSERT_TRUE(store) << store.error().what;
    store_ = std::move(*store);
    runner_ = std::make_unique<BatchRunner>(*store_, *this, clock_, nullptr, nullptr, rng_.next());
  }

  void submit(int number) {
    Expected batch;
    batch.owner = number % 2 == 0 ? "a" : "b";
    batch.lines = 1 + below(30);
    batch.valid = below(8) != 0;
    std::string text;
    for (int64_t i = 0; i < batch.lines; ++i) {
      text += fmt::format(
          R"({{"custom_id":"c{}","method":"POST","url":"/v1/completions","body":{{"n":{}}}}})"
          "\n",
          batch.valid ? i : 0, i);
      if (below(5) == 0) text += "\n";
    }
    if (!batch.valid) text += "{\n";
    const int64_t today = clock_.unix_seconds();
    auto file = store_->add_file({"", batch.owner, "in.jsonl", "batch", 0, today, 0}, text, {});
    ASSERT_TRUE(file) << file.error().what;
    BatchRecord record;
    record.owner = batch.owner;
    record.endpoint = "/v1/completions";
    record.input_file = file->id;
    record.created = today;
    record.expires = today + (below(3) == 0 ? 600 + below(20'000) : 14 * 24 * 3'600);
    auto made = store_->add_batch(record, 100);
    ASSERT_TRUE(made) << made.error().what;
    batch.id = made->id;
    batches_.push_back(batch);
    runner_->wake();
  }

  void cancel() {
    Expected& batch = batches_[static_cast<size_t>(below(batches_.size()))];
    if (store_->cancel_batch(batch.owner, batch.id, clock_.unix_seconds())) {
      batch.cancelled = true;
      runner_->wake();
    }
  }

  CallAnswer answer_of(const Pending& call) {
    ++answers_;
    const int32_t dice = below(20);
    // One of the lines is a bad request whenever it is asked.
    if (call.line == 3) return {true, {400, "id", R"({"error": {}})"}, 0};
    if (dice == 0) return {true, {429, "id", "{}"}, 1 + below(3)};
    if (dice == 1) return {true, {503, "id", "{}"}, 0};
    if (dice == 2) return {true, {500, "id", "{}"}, 0};
    if (dice == 3) return {false, {200, "id", "{\"n\""}, 0};
    return {true, {200, "id", fmt::format(R"({{"n": {}}})", call.line)}, 0};
  }

  void deliver() {
    std::vector<uint64_t> due;
    for (const auto& [id, call] : open_calls_) {
      if (call.due <= clock_.unix_seconds()) due.push_back(id);
    }
    for (const uint64_t id : due) deliver(id);
  }
  void deliver(uint64_t id) {
    Pending& call = open_calls_.at(id);
    if (call.done) std::exchange(call.done, nullptr)(answer_of(call));
  }

  bool done() {
    const auto left = store_->unfinished();
    return left && left->empty();
  }

  // Lines of a result file by custom_id; each once.
  void collect(const std::string& file, std::map<std::string, std::string>* out) {
    if (file.empty()) return;
    auto text = read_file(store_->path_of(file), 1 << 20);
    ASSERT_TRUE(text) << text.error().what;
    for (size_t at = 0; at < text->size();) {
      const size_t end = text->find('\n', at);
      ASSERT_NE(end, text->npos);
      const std::string line = text->substr(at, end - at);
      EXPECT_TRUE(out->emplace(behind(line, "\"custom_id\":"), line).second) << "twice: " << line;
      at = end + 1;
    }
  }

  void check() {
    for (const Expected& batch : batches_) {
      SCOPED_TRACE(batch.id);
      const auto found = store_->find_batch(batch.owner, batch.id);
      ASSERT_TRUE(found);
      EXPECT_TRUE(has_ended(found->status)) << status_name(found->status);
      EXPECT_FALSE(store_->find_batch(batch.owner == "a" ? "b" : "a", batch.id));
      if (found->status == BatchStatus::kFailed) {
        EXPECT_FALSE(batch.valid);
        EXPECT_THAT(found->errors, ::testing::HasSubstr("invalid_json_line"));
        continue;
      }
      EXPECT_EQ(found->status == BatchStatus::kCancelled, batch.cancelled);
      if (found->total == 0) {  // cancelled before it was looked at
        EXPECT_TRUE(batch.cancelled);
        continue;
      }
      ASSERT_TRUE(batch.valid);
      std::map<std::string, std::string> good, bad;
      collect(found->output_file, &good);
      collect(found->error_file, &bad);
      EXPECT_EQ(static_cast<int64_t>(good.size() + bad.size()), batch.lines);
      EXPECT_EQ(found->total, batch.lines);
      EXPECT_EQ(found->done, batch.lines);
      EXPECT_EQ(found->done_failed, static_cast<int64_t>(bad.size()));
      for (const auto& [id, line] : good) {
        EXPECT_FALSE(bad.count(id)) << id;
        EXPECT_EQ("c" + behind(line, "\"n\":"), id);
      }
      for (const auto& [id, line] : bad) {
        if (line.ends_with("\"error\":null}")) {
          // Of what is asked again only a fault that stays may be a result.
          EXPECT_EQ(behind(line, "\"status_code\":"), id == "c3" ? "400" : "500");
          continue;
        }
        const std::string code = behind(line, "\"code\":");
        if (code == "incomplete_answer") continue;
        EXPECT_EQ(code, batch.cancelled ? "batch_cancelled" : "batch_expired");
        EXPECT_NE(found->status, BatchStatus::kCompleted);
      }
      if (found->status == BatchStatus::kCompleted && batch.lines > 3) {
        EXPECT_EQ(behind(bad.at("c3"), "\"status_code\":"), "400");
      }
    }
    size_t files = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(folder_ + "/files")) {
      ++files;
    }
    size_t rows = 0;
    for (const char* owner : {"a", "b"}) {
      rows += store_->list_files(owner, "", {.limit = 1'000})->items.size();
    }
    // A kill between a file and its row leaves it until the next start.
    open();
    size_t after = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(folder_ + "/files")) {
      ++after;
    }
    EXPECT_EQ(after, rows) << files;
  }

  Rng rng_;
  const std::string folder_;
  BatchConfig config_;
  BatchOptions options_;
  SimClock clock_;
  int32_t live_ = 0;
  int crashes_ = 0;
  int answers_ = 0;
  uint64_t ids_ = 0;
  std::map<uint64_t, Pending> open_calls_;
  std::vector<Expected> batches_;
  std::unique_ptr<BatchStore> store_;
  std::unique_ptr<BatchRunner> runner_;
};

TEST(BatchSimulation, EveryLineOnceWhateverHappens) {
  int crashes = 0;
  for (uint64_t seed = 1; seed <= 16; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Sim sim(seed);
    sim.run();
    crashes += sim.crashes();
    if (::testing::Test::HasFailure()) {
      FAIL() << "replay with seed " << seed;
    }
  }
  EXPECT_GT(crashes, 15);
}

}  // namespace
}  // namespace hadal::gateway
