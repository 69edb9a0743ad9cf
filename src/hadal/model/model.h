// A loaded model: weights on a backend, and one forward pass for every architecture.
//
// A model is data (config.h) and a list of blocks; forward() walks the list. An architecture adds a
// description, never a second forward pass.
//
// Threads: forward() by one thread at a time. Everything else is immutable after load.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "hadal/base/file.h"
#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/format/model_files.h"
#include "hadal/kernels/backend.h"
#include "hadal/model/config.h"
#include "hadal/model/kv_arena.h"
#include "hadal/model/pack_cache.h"

namespace hadal {

// Rows from which the naive form is worth its expansion of the whole context (docs/adr/0008).
inline constexpr int32_t kNaiveRows = 256;

struct LoadOptions {
  // Packs matrices of float types (not norms, gates, biases) to this type while loading; empty: as
  // they are.
  std::optional<DType> quantize;
  ThreadPool* pool = nullptr;  // for quantising; null: on the calling thread
  // Called from the loading thread with bytes done and bytes in all.
  std::function<void(uint64_t done, uint64_t total)> progress;
  PackCacheOptions pack_cache = {};
  // Weights in a mapped file stay in memory once they were touched. Forbidden: an error, not a
  // warning.
  bool lock_pages = false;
  LogSink log = {};
  // Loads the next-token-prediction layer too, where the files have one that can run;
  // config().drafts says so.
  bool drafts = false;
  // Latent attention of at least so many rows of one sequence and step is computed in the naive
  // form (kernels::MlaArgs), where the backend has one; a row's bits then depend on how its prompt
  // was cut into steps. 0: never.
  int32_t naive_rows_min = 0;
};

// One step's rows. Rows of one sequence are consecutive and in position order.
struct Batch {
  std::span<const int32_t> tokens;             // [n]; each in [0, vocabulary)
  std::span<const kernels::Segment> segments;  // cover [0, n) in order, without gaps
  std::span<const int32_t> logit_rows;         // rows whose logits are wanted, ascending
};

// Rows for a next-token-prediction layer. Its entry at position q >= 1 is made of the token at q
// and of the hidden state behind q - 1, so that, like any cache entry, it is a function of the
// tokens up to q, and blocks can be shared. Its logits are of the token at q + 1.
struct DraftBatch {
  static constexpr int32_t kFromBlock = -1;

  std::span<const int32_t> tokens;             // [n]
  std::span<const kernels::Segment> segments;  // as in Batch; positions of the tokens, >= 1
  // [n]: what left the hidden state to use: a row of the last call, where that was forward(); which
  // one of its logit_rows, where it was draft(). kFromBlock: the last position of the block before;
  // for a position that begins a block.
  std::span<const int32_t> hidden_rows;
  std::span<const int32_t> logit_rows;
  // [segments]: blocks at the beginning of each segment's text that the layer does not look at,
  // because entries are missing there; nor does it then look at the first position behind them.
  // Empty: none.
  std::span<const int32_t> blocks_unseen = {};
  bool guessed = false;  // the tokens may not be the text's: KvArena does not count the entries
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelConfig& config() const = 0;

  // Sizes activations for batches of at most `rows` rows, `logit_rows` of them with logits. Once,
  // before the first forward(): no step allocates after it.
  virtual Status prepare(int32_t rows, int32_t logit_rows) = 0;

  // Writes the new rows' cache entries and returns logits [logit_rows, vocabulary], valid until the
  // next call. A row's logits are the same bits whatever else is in the batch; with
  // LoadOptions::naive_rows_min not whatever the number of its sequence's rows.
  virtual ConstView forward(const Batch& batch, KvArena& cache) = 0;

  // Of each row of the last call's logits, or nothing: then who wants to know has to look.
  virtual std::span<const kernels::Greatest> greatest() const { return {}; }

  // Runs the next-token-prediction layer; only with config().drafts. Its own hidden states may
  // stand for the model's, to look further ahead than it was trained for. Logits as of forward().
  // Rows without logits get entries, which is a small part of the layer.
  virtual ConstView draft(const DraftBatch& batch, KvArena& cache);

  virtual uint64_t weight_bytes() const = 0;  // of memory held by packed weights
  // Of those, how many a step reads whose rows choose so many distinct experts in each layer.
  virtual uint64_t step_bytes(double /*experts*/) const { return weight_bytes(); }
  // How many of them lie in a mapped file: memory that the system counts as free, though every step
  // needs it.
  virtual uint64_t mapped_bytes() const { return 0; }
  // That file, valid while the model lives; null: there is none.
  virtual const MappedFile* mapped_file() const { return nullptr; }
  // Whether the weights stay in the processor's caches from step to step.
  virtual bool cached() const { return false; }
};

// What the files say the model is. kUnsupported names an unknown architecture.
Result<ModelConfig> model_config(const ModelFiles& files);

// Packs the weights for `backend`, which must outlive the model, or finds them packed. What the
// files' names, types and shapes can show to be wrong is found before anything is packed. `files`
// may be closed afterwards.
Result<std::unique_ptr<Model>> load_model(const ModelFiles& files, kernels::Backend& backend,
                                          const LoadOptions& options);

}  // namespace hadal
