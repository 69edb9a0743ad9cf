#include "hadal/kernels/cpu/attention_core.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_direct.h"
#include "hadal/kernels/cpu/units.h"

namespace hadal::kernels::cpu {
namespace {

// Tiles that share each conversion of a span of keys: at DeepSeek's 576 + 512 floats a query, as
// many as fit the second-level cache.
constexpr int32_t kTilesMax = 8;
constexpr int64_t kTileScores = int64_t{kSpanTokens} * kTileLanes;
constexpr int64_t kLineBytes = 64;
// Groups of at most so many heads fill a vector too badly at one row: their scores are computed
// along the width of a key. Depends on the model alone, since the two ways round differently.
constexpr int kHeadsByRowsMax = 8;
// Memory for chunks that are computed apart and merged afterwards.
constexpr int64_t kPartialFloatsMax = int64_t{16} << 20;

// Queries [first, first + count) of a segment, counted [row][head], of each of some groups. Tiles
// are counted [group][tile].
struct Task {
  const Segment* segment;
  int32_t group, groups;
  int64_t first, count;

  int group_tiles() const { return static_cast<int>((count + kTileLanes - 1) / kTileLanes); }
  int tiles() const { return groups * group_tiles(); }
  int32_t group_of(int tile) const { return group + tile / group_tiles(); }
  // Of the segment: the query in lane 0.
  int64_t first_query(int tile) const { return first + int64_t{tile % group_tiles()} * kTileLanes; }
  int lanes(int tile) const {
    return static_cast<int>(std::min<int64_t>(kTileLanes, first + count - first_query(tile)));
  }
};

// Cache rows of the next span, to be called from memory while this span becomes floats.
struct NextRows {
  const std::byte* rows[kSpanTokens];
  int64_t count = 0;
};

// The parts of cache rows that a span's kernels read.
struct SpanRows {
  const std::byte* rows[kDirectSpanMax + kDirectBlock];
};

// The kernels for parts of these forms, or null: then rows become floats first.
const DirectKernels* direct_kernels(const CpuContext& context, const PartForm& keys,
                                    const PartForm& values, int64_t head_width) {
  if (context.isa == Isa::kAvx2) return nullptr;
  const DirectKernels* kernels = nullptr;
  if (keys.dtype == DType::kF16) kernels = &avx512::f16_attention();
  if (keys.dtype == DType::kI8) kernels = &avx512::int8_attention();
  if (keys.dtype == DType::kBF16 && context.bf16_dots) kernels = &avx512::bf16_attention();
  return kernels != nullptr && kernels->takes(keys, values, head_width) ? kernels : nullptr;
}

// What one chunk of positions, or all up to one, gave the tiles of a task.
struct Partial {
  TileState* states;  // [tiles]
  float* contexts;    // [tiles][16][context_stride()]
};

// How a chunk's contexts are taken in by what was seen before; see AttentionKernels::merge.
struct Shares {
  float *keep, *take;  // [tiles][16]
};

class Attention {
 public:
  Attention(CpuContext& context, const AttendArgs& args)
      : context_(context),
        args_(args),
        kernels_(attention_kernels(context.isa)),
        keys_(part_form(*args.keys.pages)),
        values_(args.values.pages != nullptr ? part_form(*args.values.pages) : keys_),
        direct_(direct_kernels(context, keys_, values_, args.query.width)),
        by_rows_(args.heads <= kHeadsByRowsMax) {
    HADAL_CHECK(args.keys.width == args.query.width + args.query_tail.width);
    HADAL_CHECK(args.out.width == args.values.width);
  }

  void run() {
    make_tasks();
    const auto tasks = static_cast<int64_t>(tasks_.size());
    const bool alone = multiply_adds() <= kFloatMaddsAlone;
    if (!alone && tasks < 4 * context_.pool.threads() && split()) return;
    context_.pool.parallel_for(static_cast<size_t>(tasks), alone ? tasks_.size() : 1,
                               [&](size_t begin, size_t end, int thread) {
                                 for (size_t i = begin; i < end; ++i) whole(tasks_[i], thread);
                               });
  }

 private:
  // A chunk of a task.
  struct Piece {
    const Task* task;
    const std::byte* queries;
    int64_t chunk;
    Partial partial;
    Shares shares;
  };
  // A task's pieces.
  struct Whole {
    size_t first, count;
  };

  int64_t position(const Task& task, int64_t query) const {
    return task.segment->position + query / args_.heads;
  }
  // Positions that the last query of the task sees.
  int64_t visible(const Task& task) const {
    return position(task, task.first + task.count - 1) + 1;
  }
  // Of all tasks, each tile counted as full.
  int64_t multiply_adds() const {
    const int64_t width = args_.keys.width + args_.values.width;
    int64_t sum = 0;
    for (const Task& task : tasks_) sum += visible(task) * task.tiles() * kTileLanes * width;
    return sum;
  }
  int64_t chunks(const Task& task) const {
    return (visible(task) + kChunkTokens - 1) / kChunkTokens;
  }
  int64_t context_floats(int tiles) const { return int64_t{tiles} * kTileLanes * context_stride(); }
  int64_t context_stride() const {
    return direct_ != nullptr ? direct_->context_stride(args_.values.width)
                              : padded_width(args_.values.width);
  }
  Partial take_partial(Scratch& scratch, int tiles) const {
    return {scratch.take<TileState>(tiles), scratch.take<float>(context_floats(tiles))};
  }

  static Shares take_shares(Scratch& scratch, int tiles) {
    return {scratch.take<float>(int64_t{tiles} * kTileLanes),
            scratch.take<float>(int64_t{tiles} * kTileLanes)};
  }

  // Calls visit(segment, first query, end) for what the segments have in the rows asked for.
  template <class Visit>
  void each_segment(Visit visit) const {
    for (const Segment& segment : args_.segments) {
      const int64_t begin = std::max<int64_t>(args_.row_begin - segment.first_row, 0);
      const int64_t end = std::min<int64_t>(args_.row_end - segment.first_row, segment.rows);
      if (begin < end) visit(segment, begin * args_.heads, end * args_.heads);
    }
  }

  void make_tasks() {
    int64_t tiles = 0;
    int64_t pieces = 0;  // that threads could take if groups were not shared out
    each_segment([&](const Segment& segment, int64_t first, int64_t end) {
      tiles += (end - first + kTileLanes - 1) / kTileLanes * args_.groups;
      pieces += (segment.position + segment.rows + kChunkTokens - 1) / kChunkTokens;
    });
    const int64_t wanted = 4 * context_.pool.threads();
    const int64_t size = std::clamp<int64_t>(tiles / wanted, 1, kTilesMax) * kTileLanes;
    each_segment([&](const Segment& segment, int64_t first, int64_t end) {
      // A few rows read the cache once: for all groups together, whole cache rows pass in order.
      const bool whole_rows = end - first <= kTileLanes && pieces >= wanted;
      const int32_t groups = whole_rows ? std::min(args_.groups, kTilesMax) : 1;
      for (int32_t group = 0; group < args_.groups; group += groups) {
        for (int64_t i = first; i < end; i += size) {
          tasks_.push_back({&segment, group, std::min(groups, args_.groups - group), i,
                            std::min(size, end - i)});
        }
      }
    });
  }

  // Too few tasks for the threads: chunks become tasks too. False where that would not help.
  bool split() {
    Scratch::Frame frame(context_.shared);
    int64_t floats = 0;
    int64_t longest = 0;
    for (const Task& task : tasks_) {
      floats += chunks(task) * context_floats(task.tiles());
      longest = std::max(longest, chunks(task));
    }
    if (longest < 2 || floats > kPartialFloatsMax) return false;
    std::vector<Piece> pieces;
    std::vector<Whole> wholes;
    for (const Task& task : tasks_) {
      const std::byte* queries = pack(task, context_.shared);
      wholes.push_back({pieces.size(), static_cast<size_t>(chunks(task))});
      for (int64_t c = 0; c < chunks(task); ++c) {
        pieces.push_back({&task, queries, c, take_partial(context_.shared, task.tiles()),
                          take_shares(context_.shared, task.tiles())});
      }
    }
    // A thread's pieces follow one another, so that what it calls ahead is its own.
    const PanelRun run{.count = static_cast<int64_t>(pieces.size()), .shortest = 1, .step = 1};
    for_panels(context_.pool, run, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t i = begin; i < end; ++i) {
        const Piece& piece = pieces[static_cast<size_t>(i)];
        chunk(*piece.task, piece.chunk, piece.queries, thread, piece.partial);
      }
    });
    for (const Whole& whole : wholes) join(std::span(pieces).subspan(whole.first, whole.count));
    return true;
  }

  // The first of a task's pieces takes in the others, and becomes the task's result.
  void join(std::span<const Piece> pieces) const {
    const Task& task = *pieces.front().task;
    const Partial& total = pieces.front().partial;
    for (const Piece& piece : pieces.subspan(1)) merge(task, total, piece.partial, piece.shares);
    const auto lanes = static_cast<size_t>(task.tiles()) * kTileLanes;
    context_.pool.parallel_for(lanes, kTileLanes / 4, [&](size_t begin, size_t end, int) {
      for (size_t i = begin; i < end; ++i) {
        const int tile = static_cast<int>(i) / kTileLanes;
        const int lane = static_cast<int>(i) % kTileLanes;
        if (lane >= task.lanes(tile)) continue;
        for (const Piece& piece : pieces.subspan(1)) {
          merge_lane(tile, lane, total, piece.partial, piece.shares);
        }
        finish_lane(task, tile, lane, total);
      }
    });
  }

  void whole(const Task& task, int thread) {
    Scratch& scratch = context_.scratch[thread];
    Scratch::Frame frame(scratch);
    const std::byte* queries = pack(task, scratch);
    const Partial total = take_partial(scratch, task.tiles());
    chunk(task, 0, queries, thread, total);
    if (chunks(task) > 1) {
      const Partial later = take_partial(scratch, task.tiles());
      const Shares shares = take_shares(scratch, task.tiles());
      for (int64_t c = 1; c < chunks(task); ++c) {
        chunk(task, c, queries, thread, later);
        merge(task, total, later, shares);
        each_lane(task, [&](int tile, int lane) { merge_lane(tile, lane, total, later, shares); });
      }
    }
    each_lane(task, [&](int tile, int lane) { finish_lane(task, tile, lane, total); });
  }

  // The row and head of the batch that a lane stands for.
  float* lane_row(const HeadRows& rows, const Task& task, int tile, int lane) const {
    const int64_t query = task.first_query(tile) + lane;
    return rows.at(task.segment->first_row + query / args_.heads,
                   int64_t{task.group_of(tile)} * args_.heads + query % args_.heads);
  }

  int64_t tile_floats() const {
    return kTileLanes * (by_rows_ ? padded_width(args_.keys.width) : args_.keys.width);
  }
  int64_t tile_bytes() const {
    return direct_ != nullptr ? direct_->tile_bytes(keys_)
                              : tile_floats() * static_cast<int64_t>(sizeof(float));
  }

  // The task's queries as the kernels want them.
  const std::byte* pack(const Task& task, Scratch& scratch) const {
    auto* queries = scratch.take<std::byte>(task.tiles() * tile_bytes());
    for (int tile = 0; tile < task.tiles(); ++tile) {
      const float* heads[kTileLanes] = {};
      const float* tails[kTileLanes] = {};
      for (int lane = 0; lane < task.lanes(tile); ++lane) {
        heads[lane] = lane_row(args_.query, task, tile, lane);
        tails[lane] = lane_row(args_.query_tail, task, tile, lane);
      }
      if (direct_ != nullptr) {
        direct_->pack(keys_, args_.scale, heads, args_.query.width, tails,
                      queries + tile * tile_bytes());
        continue;
      }
      auto* target = reinterpret_cast<float*>(queries + tile * tile_bytes());
      if (by_rows_) {
        pack_rows(heads, tails, task.lanes(tile), target);
      } else {
        kernels_.pack_queries(heads, args_.query.width, target);
        kernels_.pack_queries(tails, args_.query_tail.width,
                              target + args_.query.width * kTileLanes);
      }
    }
    return queries;
  }

  void pack_rows(const float* const* heads, const float* const* tails, int lanes,
                 float* target) const {
    std::fill_n(target, tile_floats(), 0.0f);
    for (int lane = 0; lane < lanes; ++lane, target += padded_width(args_.keys.width)) {
      std::copy_n(heads[lane], args_.query.width, target);
      std::copy_n(tails[lane], args_.query_tail.width, target + args_.query.width);
    }
  }

  // Calls visit(cache row, how many follow one another from it) for positions [begin, end).
  template <class Visit>
  static void each_page(const Task& task, const CachePages& pages, int64_t begin, int64_t end,
                        Visit visit) {
    while (begin < end) {
      const int64_t left = pages.page_tokens - begin % pages.page_tokens;
      const int64_t count = std::min(left, end - begin);
      visit(static_cast<const std::byte*>(cache_row(pages, *task.segment, begin)), count);
      begin += count;
    }
  }
  // Calls visit(cache row) for each.
  template <class Visit>
  static void each_row(const Task& task, const CachePages& pages, int64_t begin, int64_t end,
                       Visit visit) {
    const auto stride = static_cast<int64_t>(cache_row_bytes(pages));
    each_page(task, pages, begin, end, [&](const std::byte* row, int64_t count) {
      for (int64_t i = 0; i < count; ++i) visit(row + i * stride);
    });
  }

  NextRows look_ahead(const Task& task, const CacheColumns& columns, int64_t begin) const {
    NextRows ahead;
    if (columns.pages == nullptr) return ahead;
    const int64_t end = std::min(begin + kSpanTokens, visible(task));
    each_row(task, *columns.pages, begin, end,
             [&](const std::byte* row) { ahead.rows[ahead.count++] = row; });
    return ahead;
  }

  // The part of rows [begin, end) that belongs to the task's group number `group`, in f32.
  // Meanwhile the rows of the next span are called from memory, front to back over all groups of
  // the task: a group's part of a row is too short for the processor to foresee the next.
  void load_rows(const Task& task, int32_t group, const CacheColumns& columns, int64_t begin,
                 int64_t end, const NextRows& ahead, float* target) const {
    const CachePages& pages = *columns.pages;
    const PartForm form = part_form(pages);
    const auto bytes = static_cast<int64_t>(cache_row_bytes(pages)) / pages.parts;
    int64_t part = int64_t{group} * kSpanTokens;
    each_row(task, pages, begin, end, [&](const std::byte* row) {
      if (part / task.groups < ahead.count) {
        const std::byte* next =
            ahead.rows[part / task.groups] + (task.group + part % task.groups) * bytes;
        for (int64_t b = 0; b < bytes; b += kLineBytes) __builtin_prefetch(next + b);
      }
      ++part;
      kernels_.load_row(form, row + (task.group + group) * bytes, target);
      target += padded_width(columns.width);
    });
  }

  // Chunk `index` of the positions, as seen by every tile of the task.
  void chunk(const Task& task, int64_t index, const std::byte* queries, int thread,
             const Partial& result) {
    Scratch::Frame frame(context_.scratch[thread]);
    const int tiles = task.tiles();
    std::fill_n(result.contexts, context_floats(tiles), 0.0f);
    for (int tile = 0; tile < tiles; ++tile) {
      std::fill_n(result.states[tile].greatest, kTileLanes, -INFINITY);
      std::fill_n(result.states[tile].sum, kTileLanes, 0.0f);
    }
    if (direct_ != nullptr) {
      chunk_directly(task, index, queries, thread, result);
    } else {
      chunk_as_floats(task, index, reinterpret_cast<const float*>(queries), thread, result);
    }
  }

  // Rows become floats, a span at a time.
  void chunk_as_floats(const Task& task, int64_t index, const float* queries, int thread,
                       const Partial& result) {
    Scratch& scratch = context_.scratch[thread];
    const int64_t key_stride = padded_width(args_.keys.width);
    const int64_t value_stride = padded_width(args_.values.width);
    const bool apart = args_.values.pages != nullptr;
    auto* keys = scratch.take<float>(kSpanTokens * key_stride);
    auto* values = apart ? scratch.take<float>(kSpanTokens * value_stride) : keys;
    auto* scores = scratch.take<float>(task.group_tiles() * kTileScores);
    // The last span may be short, and whole blocks of tokens are scored.
    std::fill_n(keys, kSpanTokens * key_stride, 0.0f);
    const int64_t end = std::min((index + 1) * kChunkTokens, visible(task));
    for (int64_t begin = index * kChunkTokens; begin < end; begin += kSpanTokens) {
      const int64_t span_end = std::min(end, begin + kSpanTokens);
      const NextRows keys_ahead = look_ahead(task, args_.keys, begin + kSpanTokens);
      const NextRows values_ahead = look_ahead(task, args_.values, begin + kSpanTokens);
      for (int32_t group = 0; group < task.groups; ++group) {
        load_rows(task, group, args_.keys, begin, span_end, keys_ahead, keys);
        if (apart) load_rows(task, group, args_.values, begin, span_end, values_ahead, values);
        const int first = group * task.group_tiles();
        score(task, queries + first * tile_floats(), keys, static_cast<int>(span_end - begin),
              scores);
        for (int tile = 0; tile < task.group_tiles(); ++tile) {
          advance(task, first + tile, begin, scores + tile * kTileScores, values,
                  apart ? value_stride : key_stride, result);
        }
      }
    }
  }

  // Rows are read as they lie in the cache.
  void chunk_directly(const Task& task, int64_t index, const std::byte* queries, int thread,
                      const Partial& result) {
    Scratch& scratch = context_.scratch[thread];
    const bool apart = args_.values.pages != nullptr;
    const CachePages& pages = *args_.keys.pages;
    const auto key_stride = static_cast<int64_t>(cache_row_bytes(pages));
    const auto value_bytes =
        static_cast<int64_t>(cache_row_bytes(apart ? *args_.values.pages : pages));
    auto* zeros = scratch.take<std::byte>(value_bytes);
    std::fill_n(zeros, value_bytes, std::byte{0});
    // Blocks of tokens must be evenly spaced: where pages cut them, rows are copied together.
    const bool even = pages.page_tokens % kDirectBlock == 0;
    std::byte* copies = even ? nullptr : scratch.take<std::byte>(direct_->span * key_stride);
    auto* tiles = scratch.take<SpanTile>(task.group_tiles());
    auto* scores = scratch.take<float>(int64_t{task.group_tiles()} * direct_->span * kTileLanes);
    SpanRows keys, values;
    const int64_t end = std::min((index + 1) * kChunkTokens, visible(task));
    for (int64_t begin = index * kChunkTokens; begin < end; begin += direct_->span) {
      const auto tokens = static_cast<int>(std::min<int64_t>(end - begin, direct_->span));
      Ahead ahead;
      call_ahead(task, args_.keys, begin + direct_->span, &ahead);
      if (apart) call_ahead(task, args_.values, begin + direct_->span, &ahead);
      for (int32_t group = task.group; group < task.group + task.groups; ++group) {
        gather(task, args_.keys, group, begin, tokens, zeros, &keys);
        if (apart) gather(task, args_.values, group, begin, tokens, zeros, &values);
        const std::byte* const* value_rows = apart ? values.rows : keys.rows;
        if (!even) copy_rows(&keys, tokens, copies, key_stride);
        const int first = (group - task.group) * task.group_tiles();
        for (int i = 0; i < task.group_tiles(); ++i) {
          const int tile = first + i;
          tiles[i].queries = queries + tile * tile_bytes();
          tiles[i].scores = scores + int64_t{i} * direct_->span * kTileLanes;
          tiles[i].state = &result.states[tile];
          tiles[i].context = result.contexts + context_floats(tile);
          see(task, tile, begin, &tiles[i]);
        }
        // Scores and sums take about as long.
        const int64_t calls = int64_t{2} * (task.group + task.groups - group);
        ahead.share(calls);
        direct_->score(keys_, tiles, task.group_tiles(), keys.rows, key_stride, tokens, ahead);
        for (int i = 0; i < task.group_tiles(); ++i) {
          hide_first(task, first + i, begin, tiles[i].scores);
          if (tiles[i].tokens > 0) direct_->soften(values_, tiles[i], value_rows);
        }
        ahead.share(calls - 1);
        direct_->accumulate(args_.values.width, tiles, task.group_tiles(), value_rows, tokens,
                            ahead);
      }
    }
  }

  // What the task's groups have in the span that begins at `begin`. It may be another thread's, but
  // threads take chunks in order.
  void call_ahead(const Task& task, const CacheColumns& columns, int64_t begin,
                  Ahead* ahead) const {
    const CachePages& pages = *columns.pages;
    const auto stride = static_cast<int64_t>(cache_row_bytes(pages));
    const int64_t bytes = stride / pages.parts;
    const int64_t end = std::min(begin + direct_->span, visible(task));
    each_page(task, pages, begin, end, [&](const std::byte* row, int64_t count) {
      if (task.groups == pages.parts) return ahead->add(row, count * stride);
      for (int64_t i = 0; i < count; ++i) {
        ahead->add(row + i * stride + task.group * bytes, task.groups * bytes);
      }
    });
  }

  // The group's parts of rows [begin, begin + count), then `filler` up to a whole block.
  void gather(const Task& task, const CacheColumns& columns, int32_t group, int64_t begin,
              int64_t count, const std::byte* filler, SpanRows* result) const {
    const CachePages& pages = *columns.pages;
    const int64_t offset = group * (static_cast<int64_t>(cache_row_bytes(pages)) / pages.parts);
    const std::byte** target = result->rows;
    each_row(task, pages, begin, begin + count,
             [&](const std::byte* row) { *target++ = row + offset; });
    std::fill_n(target, kDirectBlock, filler);
  }

  void copy_rows(SpanRows* keys, int tokens, std::byte* copies, int64_t stride) const {
    const auto bytes = static_cast<int64_t>(cache_part_bytes(keys_.dtype, keys_.count, keys_.fine));
    for (int t = 0; t < tokens; ++t) {
      std::copy_n(keys->rows[t], bytes, copies + t * stride);
      keys->rows[t] = copies + t * stride;
    }
  }

  // What the lanes of a tile see of the span that begins at `begin`.
  void see(const Task& task, int tile, int64_t begin, SpanTile* result) const {
    result->lanes = task.lanes(tile);
    int64_t most = 0;
    for (int lane = 0; lane < kTileLanes; ++lane) {
      // A lane without a query sees all: what it computes is not used.
      int64_t seen = direct_->span;
      if (lane < result->lanes) {
        const int64_t last = position(task, task.first_query(tile) + lane);
        seen = std::clamp<int64_t>(last + 1 - begin, 0, direct_->span);
        most = std::max(most, seen);
      }
      result->visible[lane] = static_cast<float>(seen);
    }
    result->tokens = static_cast<int>(most);
  }

  // The tiles of one group.
  void score(const Task& task, const float* queries, const float* keys, int tokens,
             float* scores) const {
    const int64_t stride = padded_width(args_.keys.width);
    if (!by_rows_) {
      return kernels_.score(queries, task.group_tiles(), args_.keys.width, keys, stride, tokens,
                            scores);
    }
    for (int tile = 0; tile < task.group_tiles(); ++tile) {
      kernels_.score_rows(queries + tile * tile_floats(), task.lanes(tile), stride, keys, tokens,
                          scores + tile * kTileScores);
    }
  }

  // One tile takes in the span that begins at `begin`.
  void advance(const Task& task, int tile, int64_t begin, float* scores, const float* values,
               int64_t value_stride, const Partial& result) const {
    alignas(64) float visible[kTileLanes] = {};
    alignas(64) float shrink[kTileLanes];
    const int lanes = task.lanes(tile);
    int64_t tokens = 0;
    for (int lane = 0; lane < lanes; ++lane) {
      const int64_t last = position(task, task.first_query(tile) + lane);
      const int64_t seen = std::clamp<int64_t>(last + 1 - begin, 0, kSpanTokens);
      visible[lane] = static_cast<float>(seen);
      tokens = std::max(tokens, seen);
    }
    if (tokens == 0) return;
    const auto count = static_cast<int>(tokens);
    hide_first(task, tile, begin, scores);
    kernels_.soften(scores, count, visible, args_.scale, result.states[tile], shrink);
    kernels_.accumulate(scores, count, lanes, shrink, values, value_stride, args_.values.width,
                        result.contexts + context_floats(tile), context_stride());
  }

  void hide_first(const Task& task, int tile, int64_t begin, float* scores) const {
    if (!args_.skip_first || begin > 0) return;
    for (int lane = 0; lane < task.lanes(tile); ++lane) {
      if (position(task, task.first_query(tile) + lane) > 0) scores[lane] = -INFINITY;
    }
  }

  template <class Visit>
  static void each_lane(const Task& task, Visit visit) {
    for (int tile = 0; tile < task.tiles(); ++tile) {
      for (int lane = 0; lane < task.lanes(tile); ++lane) visit(tile, lane);
    }
  }

  void merge(const Task& task, const Partial& total, const Partial& later,
             const Shares& shares) const {
    for (int tile = 0; tile < task.tiles(); ++tile) {
      kernels_.merge(total.states[tile], later.states[tile], shares.keep + tile * kTileLanes,
                     shares.take + tile * kTileLanes);
    }
  }

  void merge_lane(int tile, int lane, const Partial& total, const Partial& later,
                  const Shares& shares) const {
    const int64_t row = int64_t{tile} * kTileLanes + lane;
    kernels_.merge_context(shares.keep[row], shares.take[row],
                           later.contexts + row * context_stride(), context_stride(),
                           total.contexts + row * context_stride());
  }

  void finish_lane(const Task& task, int tile, int lane, const Partial& total) const {
    const auto finish = direct_ != nullptr ? direct_->finish : kernels_.finish;
    finish(total.states[tile].sum[lane],
           total.contexts + (int64_t{tile} * kTileLanes + lane) * context_stride(),
           args_.values.width, lane_row(args_.out, task, tile, lane));
  }

  CpuContext& context_;
  const AttendArgs& args_;
  const AttentionKernels& kernels_;
  const PartForm keys_, values_;
  const DirectKernels* const direct_;
  const bool by_rows_;
  std::vector<Task> tasks_;
};

}  // namespace

void attend(CpuContext& context, const AttendArgs& args) { Attention(context, args).run(); }

const AttentionKernels& attention_kernels(Isa isa) {
  return isa != Isa::kAvx2 ? avx512::attention_kernels() : avx2::attention_kernels();
}

}  // namespace hadal::kernels::cpu
