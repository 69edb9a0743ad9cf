// The bytes behind kv's block ids: for every layer one or more streams of rows (MLA: one stream of
// rank + rope values; GQA: keys and values). Sized once at load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/kernels/backend.h"

namespace hadal {

// One kind of row a layer keeps per token. A layer may keep several; later models keep streams with
// fewer rows than tokens, which is why nothing above counts "rows per token and layer".
struct KvStream {
  int32_t layer = 0;
  int64_t width = 0;  // elements
  // How a row divides; see kernels::CachePages.
  int32_t parts = 1;
  int32_t fine = 0;
};

// The type of a cache by the name that users write: "f32", "f16", "bf16", "int8" (DType::kI8).
std::optional<DType> kv_type_from_name(std::string_view name);
std::string_view kv_type_name(DType dtype);

struct KvLayout {
  DType dtype = DType::kF16;
  int32_t block_tokens = 32;
  std::vector<KvStream> streams;
  // f32 values kept once a block: the hidden state behind its last position, when a
  // next-token-prediction layer follows. 0: none.
  int64_t block_floats = 0;

  uint64_t row_bytes(const KvStream& stream) const;
  uint64_t block_bytes(const KvStream& stream) const;
  uint64_t state_bytes() const { return static_cast<uint64_t>(block_floats) * sizeof(float); }
  // A block's state, and how many entries of that layer it has.
  uint64_t layer_bytes() const { return block_floats > 0 ? state_bytes() + sizeof(int32_t) : 0; }
  uint64_t block_bytes() const;  // of all streams and layer_bytes()
};

// Of a block's bytes, beside what KvLayout says. Raised when rows of one layout come to mean
// something else: caches on disk outlive the program that wrote them.
inline constexpr int32_t kKvFormat = 2;

class KvArena {
 public:
  static Result<KvArena> make(const KvLayout& layout, int32_t blocks, kernels::Backend& backend);

  kernels::CachePages pages(size_t stream) const;
  // [blocks, block_floats]
  View block_states() const;
  // A next-token-prediction layer's entries may be left out: they make guesses, not answers. How
  // many of a block's first positions have theirs, of the text whose rows are there; only with
  // block_floats. Whoever writes rows or entries says so, in that order.
  int32_t entries(int32_t block) const;
  void rows_written(const kernels::Segment& segment);
  void entries_written(const kernels::Segment& segment);
  int32_t blocks() const { return blocks_; }
  // All bytes of a block, of every stream.
  void copy_block(int32_t from, int32_t to);
  // One block's bytes, layout().block_bytes() of them: streams, then what layer_bytes() counts. Any
  // thread, for blocks that nobody else touches meanwhile.
  void copy_out(int32_t block, std::span<std::byte> bytes) const;
  void copy_in(int32_t block, std::span<const std::byte> bytes);
  const KvLayout& layout() const { return layout_; }

 private:
  // Calls visit(bytes of a block, where the part's block 0 begins) for every stream and the states.
  template <typename Visit>
  void each_part(const Visit& visit) const;

  KvLayout layout_;
  int32_t blocks_ = 0;
  std::vector<std::unique_ptr<kernels::Buffer>> buffers_;  // one a stream
  std::unique_ptr<kernels::Buffer> states_;                // with block_floats
  std::vector<int32_t> entries_;                           // [blocks], with block_floats
  Device device_ = Device::kCpu;
};

}  // namespace hadal
