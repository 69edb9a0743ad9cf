// The CPU backend: which implementations there are, and what each needs.
#include "hadal/kernels/backend.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/kernels/cpu/attention_naive.h"
#include "hadal/kernels/cpu/matmul.h"
#include "hadal/kernels/cpu/panel.h"

namespace hadal::kernels {
namespace cpu {
namespace {

// Half of a last-level cache of today's processors: the other half is for activations, and others.
constexpr uint64_t kCachedBytes = uint64_t{16} << 20;

class CpuBuffer final : public Buffer {
 public:
  CpuBuffer(std::unique_ptr<PanelMemory> memory, uint64_t bytes) : memory_(std::move(memory)) {
    data_ = memory_->data();
    size_ = bytes;
  }

 private:
  std::unique_ptr<PanelMemory> memory_;
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(ThreadPool& pool, Isa isa, bool bf16_dots);
  ~CpuBackend() override;

  std::string_view name() const override { return context_.kernels.name; }
  Device device() const override { return Device::kCpu; }

  Result<std::unique_ptr<Buffer>> allocate(uint64_t bytes) override {
    std::unique_ptr<PanelMemory> memory = PanelMemory::make(bytes);
    if (memory == nullptr) {
      return fail(Code::kExhausted,
                  "no memory for a buffer of " + std::to_string(bytes) + " bytes");
    }
    return std::make_unique<CpuBuffer>(std::move(memory), bytes);
  }
  Result<std::unique_ptr<Matrix>> pack(const MatrixSource& source, WeightMemory* memory) override {
    return PackedMatrix::make(source, context_.pool, memory);
  }
  Result<std::unique_ptr<Ffn>> pack_ffn(const MatrixSource& gate, const MatrixSource& up,
                                        const MatrixSource& down, WeightMemory* memory) override {
    return PackedFfn::make(gate, up, down, context_.pool, memory);
  }
  Result<std::unique_ptr<Expansion>> pack_expansion(const Matrix& k_up,
                                                    const Matrix& v_up) override {
    if (context_.isa == Isa::kAvx2) return std::unique_ptr<Expansion>();
    return PackedExpansion::make(context_, of(k_up), of(v_up));
  }
  std::string_view weight_layout() const override { return kPanelLayout; }

  void embed(const EmbedArgs& args) override { cpu::embed(context_, args); }
  void gather(const GatherArgs& args) override { cpu::gather(context_, args); }
  void rms_norm(const RmsNormArgs& args) override { cpu::rms_norm(context_, args); }
  void linear(const LinearArgs& args) override { cpu::linear(context_, args); }
  void ffn(const FfnArgs& args) override { cpu::ffn(context_, args); }
  void moe(const MoeArgs& args) override { cpu::moe(context_, args); }
  void mla(const MlaArgs& args) override { cpu::mla(context_, args); }
  void gqa(const GqaArgs& args) override { cpu::gqa(context_, args); }

  int lanes() const override { return std::max(1, static_cast<int>(lanes_.size())); }
  uint64_t cached_bytes() const override { return kCachedBytes; }
  void side_by_side(int count, const std::function<void(int, Backend&)>& body) override;

 private:
  struct Lane;

  CpuContext context_;
  std::vector<std::unique_ptr<Lane>> lanes_;  // [pool.threads()]; none where that is 1
};

struct CpuBackend::Lane {
  Lane(Isa isa, bool bf16_dots) : backend(alone, isa, bf16_dots) {}
  ThreadPool alone{1};
  CpuBackend backend;
};

CpuBackend::CpuBackend(ThreadPool& pool, Isa isa, bool bf16_dots) : context_(pool, isa, bf16_dots) {
  for (int i = 0; i < pool.threads() && pool.threads() > 1; ++i) {
    lanes_.push_back(std::make_unique<Lane>(isa, bf16_dots));
  }
}

CpuBackend::~CpuBackend() = default;

void CpuBackend::side_by_side(int count, const std::function<void(int, Backend&)>& body) {
  if (lanes_.empty()) return Backend::side_by_side(count, body);
  HADAL_CHECK(count <= lanes());
  context_.pool.parallel_for(static_cast<size_t>(count), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) body(static_cast<int>(i), lanes_[i]->backend);
  });
}

struct Need {
  bool CpuFeatures::*feature;
  std::string_view name;
};

constexpr std::array kAvx2Needs = {
    Need{&CpuFeatures::avx2, "avx2"},
    Need{&CpuFeatures::fma, "fma"},
    Need{&CpuFeatures::f16c, "f16c"},
};
constexpr std::array kAvx512Needs = {
    Need{&CpuFeatures::avx2, "avx2"},         Need{&CpuFeatures::fma, "fma"},
    Need{&CpuFeatures::f16c, "f16c"},         Need{&CpuFeatures::avx512f, "avx512f"},
    Need{&CpuFeatures::avx512bw, "avx512bw"}, Need{&CpuFeatures::avx512vl, "avx512vl"},
    Need{&CpuFeatures::avx512dq, "avx512dq"}, Need{&CpuFeatures::avx512_vnni, "avx512_vnni"},
};

constexpr std::array kAvx512Bf16Needs = {
    Need{&CpuFeatures::avx2, "avx2"},
    Need{&CpuFeatures::fma, "fma"},
    Need{&CpuFeatures::f16c, "f16c"},
    Need{&CpuFeatures::avx512f, "avx512f"},
    Need{&CpuFeatures::avx512bw, "avx512bw"},
    Need{&CpuFeatures::avx512vl, "avx512vl"},
    Need{&CpuFeatures::avx512dq, "avx512dq"},
    Need{&CpuFeatures::avx512_vnni, "avx512_vnni"},
    Need{&CpuFeatures::avx512_bf16, "avx512_bf16"},
};

struct Implementation {
  std::string_view name;
  std::span<const Need> needs;
  std::unique_ptr<Backend> (*make)(ThreadPool& pool, const CpuFeatures& features);
};

// Best first. The reference runs everywhere.
constexpr std::array kImplementations = {
    Implementation{"avx512", kAvx512Needs,
                   [](ThreadPool& pool, const CpuFeatures& features) -> std::unique_ptr<Backend> {
                     return std::make_unique<CpuBackend>(pool, Isa::kAvx512, features.avx512_bf16);
                   }},
    Implementation{"avx2", kAvx2Needs,
                   [](ThreadPool& pool, const CpuFeatures&) -> std::unique_ptr<Backend> {
                     return std::make_unique<CpuBackend>(pool, Isa::kAvx2, false);
                   }},
    Implementation{
        "ref", {}, [](ThreadPool&, const CpuFeatures&) { return make_reference_backend(); }},
};

// Rounds more than the others do, so it is never the one that nobody asked for.
constexpr Implementation kRounding{
    "avx512bf16", kAvx512Bf16Needs,
    [](ThreadPool& pool, const CpuFeatures&) -> std::unique_ptr<Backend> {
      return std::make_unique<CpuBackend>(pool, Isa::kAvx512Bf16, true);
    }};

// Comma-separated names of what is missing; empty: it runs here.
std::string missing(const Implementation& implementation, const CpuFeatures& features) {
  std::string names;
  for (const Need& need : implementation.needs) {
    if (features.*need.feature) continue;
    if (!names.empty()) names += ", ";
    names += need.name;
  }
  return names;
}

}  // namespace
}  // namespace cpu

std::vector<std::string_view> cpu_implementations(const CpuFeatures& features) {
  std::vector<std::string_view> names;
  for (const cpu::Implementation& implementation : cpu::kImplementations) {
    if (cpu::missing(implementation, features).empty()) names.push_back(implementation.name);
  }
  return names;
}

Result<std::unique_ptr<Backend>> make_cpu_backend(std::string_view implementation,
                                                  const CpuFeatures& features, ThreadPool& pool) {
  std::string known;
  std::vector<const cpu::Implementation*> candidates;
  for (const cpu::Implementation& one : cpu::kImplementations) candidates.push_back(&one);
  candidates.push_back(&cpu::kRounding);
  for (const cpu::Implementation* candidate : candidates) {
    const std::string lacking = cpu::missing(*candidate, features);
    if (implementation.empty() && lacking.empty()) return candidate->make(pool, features);
    if (implementation == candidate->name) {
      if (lacking.empty()) return candidate->make(pool, features);
      return fail(Code::kUnsupported, "this machine cannot run the CPU implementation '" +
                                          std::string(implementation) + "': it lacks " + lacking);
    }
    known += (known.empty() ? "" : ", ") + std::string(candidate->name);
  }
  return fail(Code::kUnsupported,
              "no CPU implementation '" + std::string(implementation) + "'; there are: " + known);
}

}  // namespace hadal::kernels
