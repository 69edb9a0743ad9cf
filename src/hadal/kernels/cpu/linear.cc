// Norms, projections and rows by number.
#include <algorithm>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"
#include "hadal/kernels/cpu/store.h"
#include "hadal/kernels/cpu/tiles.h"
#include "hadal/kernels/cpu/units.h"

namespace hadal::kernels::cpu {
namespace {

bool overlap(ConstView a, ConstView b) {
  return a.data < b.data + b.rows * b.stride && b.data < a.data + a.rows * a.stride;
}

// So that pieces of several matrices in a row begin at an even panel of each.
int64_t with_partner(int64_t panels) { return (panels + 1) / 2 * 2; }

// Panels [begin, end) of one projection, all rows.
void project(const KernelTable& kernels, const Projection& projection, const Batch& batch,
             int64_t begin, int64_t end) {
  const PanelMatrix& matrix = of(*projection.weight).part(0);
  for (int64_t t = 0; t < batch.tiles(); ++t) {
    const Tile tile = batch.tile(t);
    const std::byte* next = t + 1 < batch.tiles() ? matrix.panel(begin) : nullptr;
    project_panels(kernels, matrix, begin, end, next, tile, [&](const float* acc, int64_t panel) {
      store_panel(kernels, acc, tile.columns, panel, projection.bias, projection.add,
                  t * kTileColumns, projection.out);
    });
  }
}

// What threads found of LinearArgs::greatest in their panels.
class GreatestRows {
 public:
  GreatestRows(CpuContext& context, const LinearArgs& args)
      : kernels_(context.kernels), args_(args), rows_(args.x.rows) {
    if (args.greatest == nullptr) return;
    const int64_t line = 64 / sizeof(Greatest);
    stride_ = (rows_ + line - 1) / line * line;  // threads keep to their own lines
    count_ = context.pool.threads() * stride_;
    found_ = context.shared.take<Greatest>(count_);
    std::fill_n(found_, count_, Greatest{});
  }

  // Panels [begin, end) of the first projection are there.
  void look(int64_t begin, int64_t end, int thread) {
    if (found_ == nullptr) return;
    const View& out = args_.projections[0].out;
    const int64_t first = begin * kPanelRows;
    const int64_t count = std::min(end * kPanelRows, out.cols) - first;
    for (int64_t r = 0; r < rows_; ++r) {
      kernels_.greatest(out.row(r) + first, count, first, found_ + thread * stride_ + r);
    }
  }

  void finish() {
    if (found_ == nullptr) return;
    for (int64_t r = 0; r < rows_; ++r) {
      Greatest best;
      for (int64_t i = r; i < count_; i += stride_) {
        const Greatest& found = found_[i];
        const bool first = found.value == best.value && found.index < best.index;
        if (found.value > best.value || first) best = found;
      }
      args_.greatest[r] = best;
    }
  }

 private:
  const KernelTable& kernels_;
  const LinearArgs& args_;
  const int64_t rows_;
  int64_t stride_ = 0, count_ = 0;
  Greatest* found_ = nullptr;  // [threads][stride_]
};

}  // namespace

void embed(CpuContext& context, const EmbedArgs& args) {
  const PackedMatrix& table = of(*args.table);
  HADAL_CHECK(args.out.cols == table.cols());
  HADAL_CHECK(args.out.rows == static_cast<int64_t>(args.tokens.size()));
  context.pool.parallel_for(args.tokens.size(), 4, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      table.decode_row(0, args.tokens[i], args.out.row(static_cast<int64_t>(i)));
    }
  });
}

void gather(CpuContext& context, const GatherArgs& args) {
  HADAL_CHECK(args.out.cols == args.x.cols);
  HADAL_CHECK(args.out.rows == static_cast<int64_t>(args.rows.size()));
  context.pool.parallel_for(args.rows.size(), 64, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      HADAL_CHECK(args.rows[i] >= 0 && args.rows[i] < args.x.rows);
      std::copy_n(args.x.row(args.rows[i]), args.x.cols, args.out.row(static_cast<int64_t>(i)));
    }
  });
}

void rms_norm(CpuContext& context, const RmsNormArgs& args) {
  HADAL_CHECK(args.out.cols == args.x.cols && args.out.rows == args.x.rows);
  for_rows(context.pool, args.x.rows, args.x.cols, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      context.kernels.rms_norm_row(args.x.row(r), args.weight, args.eps, args.x.cols,
                                   args.out.row(r));
    }
  });
}

void linear(CpuContext& context, const LinearArgs& args) {
  HADAL_CHECK(args.projection_count >= 1 && args.projection_count <= 4);
  if (args.x.rows == 0) return;
  Batch::Needs needs;
  int64_t panels = 0;
  uint64_t bytes = 0;
  for (int i = 0; i < args.projection_count; ++i) {
    const Projection& projection = args.projections[i];
    const PanelMatrix& matrix = of(*projection.weight).part(0);
    HADAL_CHECK(matrix.cols == args.x.cols && matrix.rows == projection.out.cols);
    HADAL_CHECK(projection.out.rows == args.x.rows);
    needs.add(context.kernels, matrix);
    needs.copy |= overlap(projection.out, args.x);
    panels += with_partner(matrix.panels());
    bytes += matrix.panel_bytes * static_cast<uint64_t>(matrix.panels());
  }

  const Scratch::Frame frame(context.shared);
  Batch batch(context.shared, args.x, args.norm_weight, args.norm_eps, needs);
  for_rows(context.pool, args.x.rows, args.x.cols, [&](int64_t begin, int64_t end, int thread) {
    batch.prepare(context.kernels, context.scratch[thread], begin, end);
  });

  PanelRun run{panels, bytes / static_cast<uint64_t>(panels), piece_bytes(batch.tiles())};
  run.work = streamed_bytes(bytes, args.x.rows);
  GreatestRows greatest(context, args);
  for_panels(context.pool, run, [&](int64_t begin, int64_t end, int thread) {
    for (int i = 0; i < args.projection_count && end > 0; ++i) {
      const int64_t count = of(*args.projections[i].weight).part(0).panels();
      if (begin < count) {
        project(context.kernels, args.projections[i], batch, begin, std::min(end, count));
        if (i == 0) greatest.look(begin, std::min(end, count), thread);
      }
      begin = std::max<int64_t>(0, begin - with_partner(count));
      end -= with_partner(count);
    }
  });
  greatest.finish();
}

}  // namespace hadal::kernels::cpu
