// The seam between models and devices: pack weights, run operations. One implementation a device;
// the CPU has several, chosen at start by what the processor can do, and a scalar reference that is
// the specification of all.
//
// Threads: one thread at a time calls operations of one backend (it owns its scratch memory and
// uses the pool inside). pack_* may be called while no operation runs.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/kernels/op/attention.h"
#include "hadal/kernels/op/embed.h"
#include "hadal/kernels/op/ffn.h"
#include "hadal/kernels/op/linear.h"
#include "hadal/kernels/weights.h"

namespace hadal::kernels {

// Device memory for activations and caches; zero-filled, 64-byte aligned, freed with the object.
class Buffer {
 public:
  virtual ~Buffer() = default;
  std::byte* data() const { return data_; }
  uint64_t size() const { return size_; }

 protected:
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;  // "ref", "avx2", "avx512"
  virtual Device device() const = 0;

  // kExhausted when memory cannot be had.
  virtual Result<std::unique_ptr<Buffer>> allocate(uint64_t bytes) = 0;
  // kUnsupported names a type that this backend has no kernel for.
  // `memory`: where the packed bytes go, or are; null: memory of its own. Packing one source takes
  // at most one extent, of a size that depends on types and shapes alone.
  virtual Result<std::unique_ptr<Matrix>> pack(const MatrixSource& source,
                                               WeightMemory* memory) = 0;
  virtual Result<std::unique_ptr<Ffn>> pack_ffn(const MatrixSource& gate, const MatrixSource& up,
                                                const MatrixSource& down, WeightMemory* memory) = 0;
  Result<std::unique_ptr<Matrix>> pack(const MatrixSource& source) { return pack(source, nullptr); }
  Result<std::unique_ptr<Ffn>> pack_ffn(const MatrixSource& gate, const MatrixSource& up,
                                        const MatrixSource& down) {
    return pack_ffn(gate, up, down, nullptr);
  }
  // For MlaArgs::naive, from the packed matrices of k_up and v_up, which are not needed afterwards.
  // Null: this backend has no naive form. kExhausted when memory cannot be had.
  virtual Result<std::unique_ptr<Expansion>> pack_expansion(const Matrix& /*k_up*/,
                                                            const Matrix& /*v_up*/) {
    return std::unique_ptr<Expansion>();
  }
  // Name and version of the layout that a WeightMemory receives: equal names, equal bytes for equal
  // sources. Empty: this backend keeps sources as they are and uses no WeightMemory.
  virtual std::string_view weight_layout() const = 0;

  virtual void embed(const EmbedArgs& args) = 0;
  virtual void gather(const GatherArgs& args) = 0;
  virtual void rms_norm(const RmsNormArgs& args) = 0;
  virtual void linear(const LinearArgs& args) = 0;
  virtual void ffn(const FfnArgs& args) = 0;
  virtual void moe(const MoeArgs& args) = 0;
  virtual void mla(const MlaArgs& args) = 0;
  virtual void gqa(const GqaArgs& args) = 0;

  // Operations side by side: runs body(number, own) for numbers [0, count), count <= lanes(), each
  // on one thread, and mostly the same one for the same number. `own` runs operations on that
  // thread alone, with weights of this backend. What bodies write, no other may touch.
  virtual int lanes() const { return 1; }
  virtual void side_by_side(int count, const std::function<void(int number, Backend& own)>& body);
  // Bytes of weights that every lane can go through at the speed of a cache, step after step.
  virtual uint64_t cached_bytes() const { return 0; }
};

// The scalar specification: double accumulation, no blocking, weights decoded by tensor/quant.
std::unique_ptr<Backend> make_reference_backend();

// Names of the CPU implementations that this machine can run, best first; "ref" is the last.
std::vector<std::string_view> cpu_implementations(const CpuFeatures& features);
// `implementation` empty: the best. kUnsupported: an implementation that this machine lacks (says
// what is missing) or that does not exist (lists those that do). `pool` must outlive the backend.
Result<std::unique_ptr<Backend>> make_cpu_backend(std::string_view implementation,
                                                  const CpuFeatures& features, ThreadPool& pool);

}  // namespace hadal::kernels
