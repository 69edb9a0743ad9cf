#include "hadal/engine/sizing.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "hadal/base/check.h"
#include "hadal/engine/speculator.h"

namespace hadal {
namespace {

constexpr int32_t kSequencesDefault = 64;
constexpr int32_t kSequencesMax = 4'096;
constexpr int32_t kQueueDefault = 1'024;
constexpr int32_t kQueueMax = 1 << 20;
constexpr int32_t kRowsMax = 1 << 16;
constexpr uint64_t kCacheDefault = 1ull << 30;
constexpr uint64_t kTokensDefault = 8'192;  // one long conversation, where 1 GiB holds less
constexpr int32_t kLogitRowsMin = 16;       // so that scoring a prompt does not go row by row

Status check_range(std::string_view name, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return fail(Code::kInvalidInput,
              fmt::format("{} is {}, allowed is {} to {}", name, value, least, most));
}

Status check_options(const EngineOptions& o, int32_t model_context) {
  HADAL_TRY_VOID(check_range("context", o.context, o.context == 0 ? 0 : 2, model_context));
  HADAL_TRY_VOID(check_range("sequences_max", o.sequences_max, 0, kSequencesMax));
  HADAL_TRY_VOID(check_range("queue_max", o.queue_max, 0, kQueueMax));
  HADAL_TRY_VOID(check_range("block_tokens", o.block_tokens, 1, 1'024));
  if (o.target_itl < Nanos::zero()) return fail(Code::kInvalidInput, "target_itl is negative");
  HADAL_TRY_VOID(check_range("step_rows_max", o.step_rows_max, 1, kRowsMax));
  HADAL_TRY_VOID(check_range("draft_max", o.draft_max, 0, Speculator::kGuessesMax));
  return check_range("prefill_rows_with_decode", o.prefill_rows_with_decode, 1, kRowsMax);
}

}  // namespace

Result<EngineSize> size_engine(const EngineOptions& options, int32_t model_context,
                               uint64_t block_bytes, uint64_t free_bytes) {
  HADAL_TRY_VOID(check_options(options, model_context));
  HADAL_CHECK(block_bytes > 0);
  EngineSize size;
  size.context = options.context > 0 ? options.context : model_context;
  size.sequences_max = options.sequences_max > 0 ? options.sequences_max : kSequencesDefault;
  size.queue_max = options.queue_max > 0 ? options.queue_max : kQueueDefault;
  size.step_rows_max = std::max(options.step_rows_max, size.sequences_max);
  const bool guesses = options.speculate != Speculate::kOff && options.draft_max > 0;
  size.step_logits_max =
      std::max(size.sequences_max, guesses ? Speculator::kGuessesMax : kLogitRowsMin);

  const auto block_tokens = static_cast<uint64_t>(options.block_tokens);
  const auto blocks_for = [block_tokens](uint64_t tokens) {
    return (tokens + block_tokens - 1) / block_tokens;
  };
  const uint64_t blocks_wanted =
      blocks_for(static_cast<uint64_t>(size.context)) * static_cast<uint64_t>(size.sequences_max);
  uint64_t bytes = options.kv_bytes;
  if (bytes == 0) {
    const uint64_t least =
        options.context > 0 ? static_cast<uint64_t>(options.context) : kTokensDefault;
    bytes = std::min(blocks_wanted * block_bytes,
                     std::max(kCacheDefault, blocks_for(least) * block_bytes));
    if (free_bytes > 0) bytes = std::min(bytes, free_bytes / 4 * 3);
  }
  const auto ids_max =
      static_cast<uint64_t>(std::numeric_limits<int32_t>::max() / options.block_tokens);
  const uint64_t blocks = std::min(bytes / block_bytes, ids_max);
  const uint64_t tokens = blocks * block_tokens;
  if (tokens < static_cast<uint64_t>(options.context > 0 ? size.context : 2)) {
    return fail(
        Code::kExhausted,
        fmt::format("a context of {} tokens needs {} bytes of cache, there are {}", size.context,
                    blocks_for(static_cast<uint64_t>(size.context)) * block_bytes, bytes));
  }
  size.context = static_cast<int32_t>(std::min(static_cast<uint64_t>(size.context), tokens));
  size.blocks = static_cast<int32_t>(blocks);
  return size;
}

}  // namespace hadal
