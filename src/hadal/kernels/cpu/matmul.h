// The CPU's matrices, and the context that its operations share.
//
// Panels: 16 consecutive rows of a matrix stand side by side, block of columns after block of
// columns, so that one vector holds 16 outputs, no horizontal sums are needed, and a thread reads
// one sequential stream. Forms of panels: panel.h.
//
// Batch rule: an output is one float accumulator (two in the float forms: even and odd columns)
// that takes its blocks of columns (super-blocks in Q2_K to Q6_K, whose sums within are exact) in
// ascending order, whatever the number of rows, threads or the instruction set.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/kernels/backend.h"
#include "hadal/kernels/cpu/scratch.h"
#include "hadal/kernels/weights.h"
#include "hadal/tensor/view.h"

namespace hadal::kernels::cpu {

enum class Isa : uint8_t { kAvx2, kAvx512, kAvx512Bf16 };
struct KernelTable;  // kernels.h: the functions compiled for one instruction set
struct PanelMatrix;  // panel.h: one matrix in panels
class PanelMemory;   // panel.h

struct CpuContext {
  // bf16_dots: the processor has AVX-512-BF16 besides.
  CpuContext(ThreadPool& threads, Isa set, bool bf16_dots = false);
  CpuContext(const CpuContext&) = delete;
  CpuContext& operator=(const CpuContext&) = delete;

  ThreadPool& pool;
  const Isa isa;
  const bool bf16_dots;
  const KernelTable& kernels;
  std::vector<Scratch> scratch;  // [pool.threads()], each for its thread alone
  Scratch shared;  // for the calling thread, outside the pool: memory that all threads see
};

class PackedMatrix final : public Matrix {
 public:
  ~PackedMatrix() override;
  static Result<std::unique_ptr<PackedMatrix>> make(const MatrixSource& source, ThreadPool& pool,
                                                    WeightMemory* memory = nullptr);

  const PanelMatrix& part(int64_t index) const;
  // target[0, cols) = row `row` of part `part`, as the kernels see it.
  void decode_row(int64_t part, int64_t row, float* target) const;

 private:
  explicit PackedMatrix(const MatrixSource& source);
  std::unique_ptr<PanelMemory> memory_;  // null when packed into a WeightMemory
  std::vector<PanelMatrix> parts_;
  std::vector<std::vector<float>> scales_;  // FP8
};

// Gate and up panel by panel in one stream, then down: an expert is one extent of memory.
class PackedFfn final : public Ffn {
 public:
  ~PackedFfn() override;
  static Result<std::unique_ptr<PackedFfn>> make(const MatrixSource& gate, const MatrixSource& up,
                                                 const MatrixSource& down, ThreadPool& pool,
                                                 WeightMemory* memory = nullptr);

  const PanelMatrix& gate(int64_t index) const;
  const PanelMatrix& up(int64_t index) const;
  const PanelMatrix& down(int64_t index) const;

 private:
  PackedFfn(int64_t count, int64_t hidden, int64_t inner);
  std::unique_ptr<PanelMemory> memory_;  // null when packed into a WeightMemory
  std::vector<PanelMatrix> gate_, up_, down_;
  std::vector<std::vector<float>> scales_;  // FP8, of all three
};

// A matrix packed by another backend is a bug of the caller: checked.
const PackedMatrix& of(const Matrix& matrix);
const PackedFfn& of(const Ffn& ffn);

// out = (add ? out : 0) + x W^T with part `part` of `matrix`: x [n, cols], out [n, rows].
// Serial; runs on pool thread `thread` (0 outside the pool), whose scratch it uses. Row i of `out`
// is the same bits for every n. Quantised weights meet x rounded to int8: ActBlock
// and ActQuarter in kernels.h.
void multiply(CpuContext& context, int thread, const PackedMatrix& matrix, int64_t part,
              ConstView x, View out, bool add);

// The operations of op/*.h.
void embed(CpuContext& context, const EmbedArgs& args);
void gather(CpuContext& context, const GatherArgs& args);
void rms_norm(CpuContext& context, const RmsNormArgs& args);
void linear(CpuContext& context, const LinearArgs& args);
void ffn(CpuContext& context, const FfnArgs& args);
void moe(CpuContext& context, const MoeArgs& args);
// In attention*.cc.
void mla(CpuContext& context, const MlaArgs& args);
void gqa(CpuContext& context, const GqaArgs& args);

}  // namespace hadal::kernels::cpu
