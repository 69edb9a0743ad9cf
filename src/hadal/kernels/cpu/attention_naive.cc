#include "hadal/kernels/cpu/attention_naive.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_core.h"

namespace hadal::kernels::cpu {
namespace {

// Positions expanded at a time: keys and values of DeepSeek's 128 + 64 and 128 elements take 200
// KB.
constexpr int64_t kExpandTokens = 512;
// Tiles of 16 rows that meet a span of keys together: their queries, scores and sums are 160 KB.
constexpr int kTilesTogether = 8;
// Rows that share an expansion. More would spare little and need more memory.
constexpr int64_t kRowsMax = 1024;
// A piece of fewer rows pays for its own expansion with most of what it gains.
constexpr int64_t kRowsMin = 256;
// Products of so many 12-bit and 14-bit codes stay below 2^30.
constexpr int64_t kFineMax = 64;

// One output's weights for `count` elements of a latent, in every 32nd word of 4.
float put_output(const float* row, int64_t count, int8_t* target, int32_t* begin) {
  float greatest = 0.0f;
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) {
    greatest = std::max(greatest, std::abs(row[i]));
    finite &= std::isfinite(row[i]);
  }
  *begin = 0;
  if (!finite) return NAN;
  if (greatest < kLeastMagnitude) return 0.0f;
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto code = static_cast<int8_t>(std::lrint(row[i] * (127.0f / greatest)));
    target[i / 4 * kExpandOutputs * 4 + i % 4] = code;
    sum += code;
  }
  *begin = -128 * sum;
  return greatest / 127.0f;
}

struct HalfPlace {
  int8_t* codes;
  int32_t* begin;
  float* scale;
};

// weights: [outputs][rank], turned both ways.
void put_half(const std::vector<float>& weights, int64_t outputs, int64_t rank, HalfPlace place) {
  const int64_t words = (rank + 3) / 4;
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t block = o / kExpandOutputs * words * kExpandOutputs * 4;
    place.scale[o] = put_output(weights.data() + o * rank, rank,
                                place.codes + block + o % kExpandOutputs * 4, place.begin + o);
  }
}

std::vector<float> transposed(const std::vector<float>& matrix, int64_t rows, int64_t cols) {
  std::vector<float> result(matrix.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      result[static_cast<size_t>(c * rows + r)] = matrix[static_cast<size_t>(r * cols + c)];
    }
  }
  return result;
}

void turn_rows(const CpuContext& context, std::vector<float>* matrix, int64_t cols) {
  const auto size = static_cast<int64_t>(matrix->size());
  for (int64_t at = 0; at < size; at += cols) {
    attention_kernels(context.isa).hadamard(matrix->data() + at, cols);
  }
}

std::vector<float> decoded(const PackedMatrix& matrix, int64_t part) {
  std::vector<float> values(static_cast<size_t>(matrix.rows() * matrix.cols()));
  for (int64_t r = 0; r < matrix.rows(); ++r) {
    matrix.decode_row(part, r, values.data() + r * matrix.cols());
  }
  return values;
}

const PackedExpansion& of(const Expansion& expansion) {
  const auto* ours = dynamic_cast<const PackedExpansion*>(&expansion);
  HADAL_CHECK(ours != nullptr, "an expansion packed by another backend");
  return *ours;
}

// Rows [first, first + rows) of a segment, for one head.
struct Piece {
  const Segment* segment;
  int64_t head, first, rows;

  int tiles() const { return static_cast<int>((rows + kTileLanes - 1) / kTileLanes); }
  int lanes(int tile) const {
    return static_cast<int>(std::min<int64_t>(kTileLanes, rows - int64_t{tile} * kTileLanes));
  }
  int64_t row(int tile, int lane) const {
    return segment->first_row + first + int64_t{tile} * kTileLanes + lane;
  }
  int64_t position(int tile, int lane) const {
    return segment->position + first + int64_t{tile} * kTileLanes + lane;
  }
  int64_t visible() const { return segment->position + first + rows; }
};

class Naive {
 public:
  Naive(CpuContext& context, const MlaArgs& args)
      : context_(context),
        args_(args),
        expansion_(of(*args.naive)),
        kernels_(avx512::naive_kernels()),
        direct_(avx512::int8_attention()),
        latents_{DType::kI8, args.cache.width, args.rope.dims},
        keys_{DType::kI8, args.nope_dim + args.rope.dims, args.rope.dims},
        values_{DType::kI8, args.v_dim, 0} {}

  void run(const std::vector<const Segment*>& segments) {
    std::vector<Piece> pieces;
    for (const Segment* segment : segments) {
      const int64_t rows = piece_rows(segment->rows);
      for (int64_t first = 0; first < segment->rows; first += rows) {
        for (int64_t head = 0; head < args_.heads; ++head) {
          pieces.push_back({segment, head, first, std::min(rows, segment->rows - first)});
        }
      }
    }
    context_.pool.parallel_for(pieces.size(), 1, [&](size_t begin, size_t end, int thread) {
      for (size_t i = begin; i < end; ++i) attend(pieces[i], thread);
    });
  }

 private:
  // A head's keys and values of some positions.
  struct Expanded {
    std::byte *keys, *values;
    std::byte* zeros;  // a value
    float* spare;
    std::byte* converted;  // latents, where the cache is not kI8
    const std::byte* latents[kExpandTokens];
  };
  // What the piece's rows have seen so far.
  struct Seen {
    const std::byte* queries;
    TileState* states;
    float* contexts;
    SpanTile* tiles;  // [kTilesTogether]
  };

  // As few pieces as give every thread a head: each piece expands the context by itself.
  int64_t piece_rows(int64_t rows) const {
    const int64_t wanted = (context_.pool.threads() + args_.heads - 1) / args_.heads;
    const int64_t most = std::clamp<int64_t>((rows + wanted - 1) / wanted, kRowsMin, kRowsMax);
    const int64_t pieces = (rows + most - 1) / most;
    const int64_t each = (rows + pieces - 1) / pieces;
    return (each + kTileLanes - 1) / kTileLanes * kTileLanes;
  }

  static int64_t bytes(const PartForm& form) {
    return static_cast<int64_t>(cache_part_bytes(DType::kI8, form.count, form.fine));
  }
  int64_t context_stride() const { return direct_.context_stride(args_.v_dim); }

  void attend(const Piece& piece, int thread) {
    Scratch& scratch = context_.scratch[static_cast<size_t>(thread)];
    const Scratch::Frame frame(scratch);
    Expanded expanded = take_expanded(piece, scratch);
    Seen seen;
    seen.queries = pack(piece, scratch);
    seen.states = scratch.take<TileState>(piece.tiles());
    seen.tiles = scratch.take<SpanTile>(kTilesTogether);
    auto* scores = scratch.take<float>(int64_t{kTilesTogether} * direct_.span * kTileLanes);
    for (int i = 0; i < kTilesTogether; ++i) {
      seen.tiles[i].scores = scores + int64_t{i} * direct_.span * kTileLanes;
    }
    const int64_t floats = int64_t{piece.tiles()} * kTileLanes * context_stride();
    seen.contexts = scratch.take<float>(floats);
    std::fill_n(seen.contexts, floats, 0.0f);
    for (int tile = 0; tile < piece.tiles(); ++tile) {
      std::fill_n(seen.states[tile].greatest, kTileLanes, -INFINITY);
      std::fill_n(seen.states[tile].sum, kTileLanes, 0.0f);
    }
    for (int64_t begin = 0; begin < piece.visible(); begin += kExpandTokens) {
      const int64_t tokens = std::min(kExpandTokens, piece.visible() - begin);
      expand(piece, begin, tokens, &expanded);
      for (int tile = 0; tile < piece.tiles(); tile += kTilesTogether) {
        const int count = std::min(kTilesTogether, piece.tiles() - tile);
        for (int64_t at = 0; at < tokens; at += direct_.span) {
          const int64_t span = std::min<int64_t>(direct_.span, tokens - at);
          see_span(piece, tile, count, begin + at, at, span, expanded, seen);
        }
      }
    }
    finish(piece, seen);
  }

  Expanded take_expanded(const Piece& piece, Scratch& scratch) const {
    Expanded expanded;
    expanded.keys = scratch.take<std::byte>(kExpandTokens * bytes(keys_));
    expanded.values = scratch.take<std::byte>(kExpandTokens * bytes(values_));
    expanded.zeros = scratch.take<std::byte>(bytes(values_));
    std::fill_n(expanded.zeros, bytes(values_), std::byte{0});
    const int64_t outputs =
        std::max(expansion_.keys(piece.head).padded(), expansion_.values(piece.head).padded());
    expanded.spare = scratch.take<float>(
        std::max(kExpandOutputs * outputs, padded_width(args_.cache.width)));
    expanded.converted = args_.cache.dtype == DType::kI8
                             ? nullptr
                             : scratch.take<std::byte>(kExpandTokens * bytes(latents_));
    return expanded;
  }

  // Queries are turned in place.
  const std::byte* pack(const Piece& piece, Scratch& scratch) const {
    const int64_t tile_bytes = kernels_.tile_bytes(keys_);
    auto* queries = scratch.take<std::byte>(piece.tiles() * tile_bytes);
    const int64_t head_dim = args_.nope_dim + args_.rope.dims;
    for (int tile = 0; tile < piece.tiles(); ++tile) {
      const float* heads[kTileLanes] = {};
      const float* tails[kTileLanes] = {};
      for (int lane = 0; lane < piece.lanes(tile); ++lane) {
        float* query = args_.q.row(piece.row(tile, lane)) + piece.head * head_dim;
        attention_kernels(context_.isa).hadamard(query, args_.nope_dim);
        heads[lane] = query;
        tails[lane] = query + args_.nope_dim;
      }
      kernels_.pack(keys_, args_.scale, heads, tails, queries + tile * tile_bytes);
    }
    return queries;
  }

  // Positions [begin, begin + tokens).
  void expand(const Piece& piece, int64_t begin, int64_t tokens, Expanded* expanded) const {
    const auto stride = static_cast<int64_t>(cache_row_bytes(args_.cache));
    for (int64_t t = 0; t < tokens;) {
      const std::byte* row = cache_row(args_.cache, *piece.segment, begin + t);
      const int64_t left = args_.cache.page_tokens - (begin + t) % args_.cache.page_tokens;
      const int64_t end = std::min(tokens, t + left);
      for (; t < end; ++t, row += stride) expanded->latents[t] = latent(row, t, *expanded);
    }
    const int64_t stride_keys = bytes(keys_);
    kernels_.expand(expansion_.keys(piece.head), expanded->latents, latents_.scale_at(), tokens,
                    expanded->spare, expanded->keys, stride_keys, keys_.scale_at());
    kernels_.expand(expansion_.values(piece.head), expanded->latents, latents_.scale_at(), tokens,
                    expanded->spare, expanded->values, bytes(values_), values_.scale_at());
    if (keys_.fine == 0) return;
    const auto fine_bytes = static_cast<size_t>(keys_.scale_at() - keys_.fine_at());
    for (int64_t t = 0; t < tokens; ++t) {
      const std::byte* source = expanded->latents[t];
      std::byte* key = expanded->keys + t * stride_keys;
      std::memcpy(key + keys_.fine_at(), source + latents_.fine_at(), fine_bytes);
      std::memcpy(key + keys_.scale_at() + 4, source + latents_.scale_at() + 4, sizeof(float));
    }
  }

  // A cached row as kI8 has it.
  const std::byte* latent(const std::byte* row, int64_t t, const Expanded& expanded) const {
    if (expanded.converted == nullptr) return row;
    const AttentionKernels& kernels = attention_kernels(context_.isa);
    std::byte* target = expanded.converted + t * bytes(latents_);
    float* values = expanded.spare;
    kernels.load_row(part_form(args_.cache), row, values);
    kernels.hadamard(values, args_.rank);
    kernels.store_row(latents_, values, target);
    return target;
  }

  // Positions [begin, begin + tokens), which lie at `at` of what is expanded.
  void see_span(const Piece& piece, int first, int count, int64_t begin, int64_t at, int64_t tokens,
                const Expanded& expanded, const Seen& seen) const {
    int used = 0;
    for (int tile = first; tile < first + count; ++tile) {
      SpanTile& target = seen.tiles[used];
      target.lanes = piece.lanes(tile);
      const int64_t last = piece.position(tile, target.lanes - 1);
      target.tokens = static_cast<int>(std::clamp<int64_t>(last + 1 - begin, 0, tokens));
      if (target.tokens == 0) continue;  // rows ascend: only the first tiles may see nothing
      for (int lane = 0; lane < kTileLanes; ++lane) {
        const int64_t position = lane < target.lanes ? piece.position(tile, lane) : last;
        target.visible[lane] =
            static_cast<float>(std::clamp<int64_t>(position + 1 - begin, 0, direct_.span));
      }
      target.queries = seen.queries + tile * kernels_.tile_bytes(keys_);
      target.state = &seen.states[tile];
      target.context = seen.contexts + int64_t{tile} * kTileLanes * context_stride();
      ++used;
    }
    if (used == 0) return;
    const int most = seen.tiles[used - 1].tokens;
    kernels_.score(keys_, seen.tiles, used, expanded.keys + at * bytes(keys_), bytes(keys_), most);
    const std::byte* rows[kDirectSpanMax + 4];
    for (int t = 0; t < most; ++t) rows[t] = expanded.values + (at + t) * bytes(values_);
    std::fill_n(rows + most, 4, expanded.zeros);
    for (int i = 0; i < used; ++i) {
      if (args_.skip_first && begin == 0)
        hide_first(piece, first + count - used + i, seen.tiles[i]);
      direct_.soften(values_, seen.tiles[i], rows);
    }
    Ahead ahead;
    direct_.accumulate(args_.v_dim, seen.tiles, used, rows, most, ahead);
  }

  static void hide_first(const Piece& piece, int tile, const SpanTile& target) {
    for (int lane = 0; lane < target.lanes; ++lane) {
      if (piece.position(tile, lane) > 0) target.scores[lane] = -INFINITY;
    }
  }

  void finish(const Piece& piece, const Seen& seen) const {
    for (int tile = 0; tile < piece.tiles(); ++tile) {
      for (int lane = 0; lane < piece.lanes(tile); ++lane) {
        const int64_t row = int64_t{tile} * kTileLanes + lane;
        float* out = args_.out.row(piece.row(tile, lane)) + piece.head * args_.v_dim;
        direct_.finish(seen.states[tile].sum[lane], seen.contexts + row * context_stride(),
                       args_.v_dim, out);
        attention_kernels(context_.isa).hadamard(out, args_.v_dim);
      }
    }
  }

  CpuContext& context_;
  const MlaArgs& args_;
  const PackedExpansion& expansion_;
  const NaiveKernels& kernels_;
  const DirectKernels& direct_;
  const PartForm latents_, keys_, values_;
};

}  // namespace

Result<std::unique_ptr<PackedExpansion>> PackedExpansion::make(CpuContext& context,
                                                               const PackedMatrix& k_up,
                                                               const PackedMatrix& v_up) {
  const int64_t rank = k_up.rows();
  const int64_t heads = k_up.count();
  HADAL_CHECK(v_up.count() == heads && v_up.cols() == rank);
  ExpansionHalf keys, values;
  keys.count = k_up.cols();
  values.count = v_up.rows();
  keys.words = values.words = (rank + 3) / 4;
  const int64_t outputs = keys.padded() + values.padded();
  const int64_t code_bytes = outputs * keys.words * 4;
  const int64_t head_bytes = code_bytes + outputs * 8;
  auto expansion = std::unique_ptr<PackedExpansion>(new PackedExpansion());
  expansion->bytes_ = static_cast<uint64_t>(heads * head_bytes);
  expansion->memory_ = PanelMemory::make(expansion->bytes_);
  if (expansion->memory_ == nullptr) {
    return fail(Code::kExhausted, "no memory for " + std::to_string(expansion->bytes_) +
                                      " bytes of weights of the naive form");
  }
  std::byte* data = expansion->memory_->data();
  for (int64_t head = 0; head < heads; ++head, data += head_bytes) {
    auto* codes = reinterpret_cast<int8_t*>(data);
    auto* begin = reinterpret_cast<int32_t*>(data + code_bytes);
    auto* scale = reinterpret_cast<float*>(data + code_bytes + outputs * 4);
    keys.codes = codes;
    keys.begin = begin;
    keys.scale = scale;
    values.codes = codes + keys.padded() * keys.words * 4;
    values.begin = begin + keys.padded();
    values.scale = scale + keys.padded();
    expansion->keys_.push_back(keys);
    expansion->values_.push_back(values);
  }
  context.pool.parallel_for(static_cast<size_t>(heads), 1, [&](size_t first, size_t end, int) {
    for (size_t head = first; head < end; ++head) {
      const auto part = static_cast<int64_t>(head);
      const auto place = [](const ExpansionHalf& half) {
        return HalfPlace{const_cast<int8_t*>(half.codes), const_cast<int32_t*>(half.begin),
                         const_cast<float*>(half.scale)};
      };
      std::vector<float> up = decoded(k_up, part);  // [rank][nope]
      turn_rows(context, &up, keys.count);
      up = transposed(up, rank, keys.count);
      turn_rows(context, &up, rank);
      put_half(up, keys.count, rank, place(expansion->keys_[head]));
      up = transposed(decoded(v_up, part), values.count, rank);
      turn_rows(context, &up, values.count);
      up = transposed(up, rank, values.count);
      turn_rows(context, &up, rank);
      put_half(up, values.count, rank, place(expansion->values_[head]));
    }
  });
  return expansion;
}

bool is_naive(const CpuContext& context, const MlaArgs& args, const Segment& segment) {
  return args.naive != nullptr && context.isa != Isa::kAvx2 &&
         segment.rows >= args.naive_rows_min && args.rope.dims <= kFineMax;
}

void attend_naive(CpuContext& context, const MlaArgs& args,
                  const std::vector<const Segment*>& segments) {
  Naive(context, args).run(segments);
}

}  // namespace hadal::kernels::cpu
