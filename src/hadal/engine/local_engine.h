// The engine's loop: takes what callers left in the inbox, lets the scheduler plan a step, runs the
// model, gives each sequence its logits. Callers touch the inbox and the published numbers, under
// one lock; everything else belongs to the engine's thread.
#pragma once

#include <array>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/engine/engine.h"
#include "hadal/engine/generation.h"
#include "hadal/engine/kv_disk.h"
#include "hadal/engine/logit_rows.h"
#include "hadal/engine/sizing.h"
#include "hadal/engine/speculator.h"
#include "hadal/kv/pool.h"
#include "hadal/sched/scheduler.h"

namespace hadal {

class LocalEngine final : public Engine {
 public:
  struct Parts {
    std::unique_ptr<Model> model;
    KvArena arena;
    EngineSize size;
    EngineOptions options;
    const Tokenizer& tokenizer;
    ThreadPool& pool;
    std::unique_ptr<Drafter> draft_model;  // or null
    EngineMetrics& metrics;
    const Clock& clock;
    LogSink log;
  };
  explicit LocalEngine(Parts parts);
  ~LocalEngine() override;
  Status start();  // the disk cache and the thread; once

  Result<RequestId> submit(GenerationRequest request, EventSink sink) override;
  void cancel(RequestId id) override;
  void drain() override;
  bool idle() const override;
  EngineState state() const override;
  const ModelConfig& config() const override { return parts_.model->config(); }
  int32_t context() const override { return parts_.size.context; }

 private:
  struct Arrival {
    sched::Submission submission;
    std::unique_ptr<Generation> generation;
  };

  Status check_request(const GenerationRequest& request) const;
  void run();
  bool take_work();
  void begin(Arrival arrival);
  void end_early(RequestId id);
  void run_step();
  void learn(const sched::Plan& plan, Nanos elapsed);
  ConstView forward(const sched::Plan& plan);
  void sample(const sched::Plan& plan, const LogitRows& logits);
  void sample_segment(const sched::Segment& segment, const LogitRows& logits, int64_t row,
                      SamplerScratch& scratch);
  static std::unique_ptr<Drafter> make_drafter(Parts* parts);
  std::function<void(int32_t, int32_t)> copier();
  void deliver(const sched::Plan& plan);
  void deliver_segment(const sched::Segment& segment, Nanos now);
  void forget(RequestId id);
  void publish();
  void abort_all();

  Parts parts_;
  const int32_t vocabulary_;  // tokens that both model and tokenizer know

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Arrival> inbox_;
  std::vector<RequestId> cancels_;
  RequestId last_id_ = 0;
  Rng seeds_;
  bool draining_ = false;
  bool stopping_ = false;
  bool disk_moved_ = false;  // the disk cache has something for the scheduler
  int32_t occupied_ = 0;     // accepted, and their last event not begun
  int32_t alive_ = 0;        // accepted, and their last event not yet delivered
  EngineState state_;        // as of the last step

  // The engine thread's own.
  std::unique_ptr<KvDisk> disk_;  // may be null
  bool stalled_ = false;          // all that could run waits for the disk
  kv::Pool pool_;
  sched::Scheduler scheduler_;
  std::unordered_map<RequestId, std::unique_ptr<Generation>> generations_;
  Speculator speculator_;
  std::vector<TokenId> taken_;             // by one segment
  std::vector<RequestId> ended_;           // in this step; the scheduler still has them
  std::vector<SamplerScratch> scratches_;  // one a thread of the pool
  std::vector<int64_t> first_logits_;      // of each segment of the plan
  std::vector<TokenId> tokens_;
  std::vector<kernels::Segment> segments_;
  std::vector<int32_t> logit_rows_;
  std::array<obs::Gauge*, sched::StepCost::kTerms> step_costs_{};  // in the order of kTermNames

  std::thread thread_;
};

}  // namespace hadal
