// For tests: an engine around the fake model, with everything that must outlive it.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "hadal/engine/engine.h"
#include "hadal/engine/testing/collector.h"
#include "hadal/engine/testing/fake_model.h"

namespace hadal::testing {

inline EngineOptions fake_engine_options() {
  EngineOptions options;
  options.kv_dtype = DType::kF32;
  options.block_tokens = 8;
  options.kv_bytes = kv_bytes_of_blocks(256, options.block_tokens);
  return options;
}

// What Engine::make refuses these with; nothing where it makes an engine.
inline std::optional<Error> refusal_of(const EngineOptions& options,
                                       const FakeModel::Options& model,
                                       std::unique_ptr<Model> draft = nullptr) {
  const Tokenizer tokenizer = fake_tokenizer();
  const auto backend = kernels::make_reference_backend();
  ThreadPool pool(1);
  EngineMetrics metrics("fake");
  const SystemClock clock;
  const auto engine = Engine::make(std::make_unique<FakeModel>(model), tokenizer, *backend, pool,
                                   options, metrics, clock, {}, std::move(draft));
  return engine ? std::nullopt : std::optional(engine.error());
}

class FakeEngine {
 public:
  explicit FakeEngine(EngineOptions options = fake_engine_options(), FakeModel::Options model = {},
                      FakeModel::Hook hook = {}, const Clock* clock = nullptr,
                      std::optional<FakeModel::Options> draft = std::nullopt)
      : tokenizer_(fake_tokenizer()),
        backend_(kernels::make_reference_backend()),
        metrics_("fake") {
    model.vocabulary = tokenizer_.vocabulary_size();
    auto owned = std::make_unique<FakeModel>(model, std::move(hook));
    model_ = owned.get();
    std::unique_ptr<Model> draft_model;
    if (draft) {
      draft->vocabulary = model.vocabulary;
      draft_model = std::make_unique<FakeModel>(*draft);
    }
    auto engine =
        Engine::make(std::move(owned), tokenizer_, *backend_, pool_, options, metrics_,
                     clock != nullptr ? *clock : system_clock_, {}, std::move(draft_model));
    HADAL_CHECK(engine.has_value(), engine ? "" : engine.error().what);
    engine_ = std::move(*engine);
  }

  Engine* operator->() const { return engine_.get(); }
  Engine& operator*() const { return *engine_; }
  void destroy() { engine_.reset(); }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const FakeModel& model() const { return *model_; }
  const EngineMetrics& metrics() const { return metrics_; }

  // Submits and waits.
  Answer answer(const GenerationRequest& request) {
    Collector collector;
    const auto id = engine_->submit(request, collector.sink());
    HADAL_CHECK(id.has_value(), id ? "" : id.error().what);
    return collector.wait();
  }

 private:
  Tokenizer tokenizer_;
  ThreadPool pool_{3};
  std::unique_ptr<kernels::Backend> backend_;
  EngineMetrics metrics_;
  SystemClock system_clock_;
  const FakeModel* model_ = nullptr;
  std::unique_ptr<Engine> engine_;
};

}  // namespace hadal::testing
