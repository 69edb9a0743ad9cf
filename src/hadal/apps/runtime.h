// Everything that answers with one model, built in order: files, tokenizer, threads, backend,
// model, engine. Shared by serve, ask and chat.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hadal/apps/served_model.h"
#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/model/pack_cache.h"
#include "hadal/obs/engine_metrics.h"

namespace hadal::apps {

struct RuntimeOptions {
  std::string model;  // a GGUF file or a Hugging Face folder; empty: the embedded model
  std::string alias;  // comma-separated names to serve it under; empty: its own
  int32_t context = 0;
  int32_t max_sequences = 0;
  uint64_t kv_memory = 0;  // bytes; 0: what the sequences need, within free memory
  std::string kv_disk;     // folder of the prefix cache on disk; empty: none
  uint64_t kv_disk_max = 10ull << 30;
  double target_itl_ms = -1;    // of a step that others' tokens wait for; 0: any, -1: the default
  int32_t threads = 0;          // 0: every core this process may use
  std::string quantize;         // a dtype's name; empty: as the files are
  std::string speculate;        // auto, off, ngram, mtp or draft; empty: auto
  std::string draft;            // a smaller model of the same tokenizer, to guess with
  int32_t draft_max = -1;       // guesses a sequence and step; -1: the engine's choice
  std::string cpu_impl;         // empty: the best this machine has
  std::string pack_cache;       // a folder, "off", or empty: where this user's caches are
  uint64_t pack_cache_max = 0;  // bytes of that folder; 0: no bound
  bool pack_cache_verify = false;
  bool mlock = false;   // the file of packed weights stays in memory
  std::string kv_type;  // "auto", "f32", "f16", "bf16" or "int8"; empty: auto
  // "absorbed" or "naive"; empty: absorbed
  std::string mla_prefill;
};

// What --pack-cache says. A folder that was named keeps small models, too.
PackCacheOptions pack_cache_options(const RuntimeOptions& options);
// What --speculate says; kInvalidInput names what it may say.
Result<Speculate> wanted_guesses(const RuntimeOptions& options);
// LoadOptions::naive_rows_min for --mla-prefill; kInvalidInput names what it may say.
Result<int32_t> wanted_naive_rows(const RuntimeOptions& options);
// Whether the model's own next-token-prediction layer is to be loaded.
bool wants_next_token_layer(Speculate speculate, bool has_draft);

// What a model is called when nobody says: its file's or folder's name. Empty: the embedded one.
std::string own_model_name(const std::string& model);

class Runtime {
 public:
  using Progress = std::function<void(uint64_t done, uint64_t total)>;

  // `clock` must outlive the runtime.
  static Result<std::unique_ptr<Runtime>> make(const RuntimeOptions& options,
                                               std::shared_ptr<obs::Registry> registry,
                                               const Clock& clock, LogSink log, Progress progress);
  ~Runtime();  // ends running requests

  // Valid while the runtime lives.
  std::shared_ptr<const ServedModel> served() const;
  Engine& engine();
  // "hadal-tiny: deepseek2, 7.1 M parameters, 8 MB, avx512, 2 threads, context 2048"
  std::string summary() const;

 private:
  struct Parts;
  explicit Runtime(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace hadal::apps
