#include "hadal/kernels/backend.h"

#include <cstring>
#include <new>
#include <utility>

#include "hadal/kernels/ref/ops.h"
#include "hadal/kernels/ref/weights.h"

namespace hadal::kernels {
namespace ref {
namespace {

constexpr std::align_val_t kAlignment{64};

class RefBuffer final : public Buffer {
 public:
  RefBuffer(std::byte* data, uint64_t size) {
    data_ = data;
    size_ = size;
    std::memset(data_, 0, size_);
  }
  RefBuffer(const RefBuffer&) = delete;
  RefBuffer& operator=(const RefBuffer&) = delete;
  ~RefBuffer() override { ::operator delete(data_, kAlignment); }
};

class RefBackend final : public Backend {
 public:
  std::string_view name() const override { return "ref"; }
  Device device() const override { return Device::kCpu; }

  Result<std::unique_ptr<Buffer>> allocate(uint64_t bytes) override {
    void* data = ::operator new(bytes, kAlignment, std::nothrow);
    if (data == nullptr) {
      return fail(Code::kExhausted,
                  "no memory for a buffer of " + std::to_string(bytes) + " bytes");
    }
    return std::make_unique<RefBuffer>(static_cast<std::byte*>(data), bytes);
  }
  Result<std::unique_ptr<Matrix>> pack(const MatrixSource& source, WeightMemory*) override {
    return RefMatrix::make(source);
  }
  Result<std::unique_ptr<Ffn>> pack_ffn(const MatrixSource& gate, const MatrixSource& up,
                                        const MatrixSource& down, WeightMemory*) override {
    return RefFfn::make(gate, up, down);
  }
  std::string_view weight_layout() const override { return ""; }

  void embed(const EmbedArgs& args) override { ref::embed(args); }
  void gather(const GatherArgs& args) override { ref::gather(args); }
  void rms_norm(const RmsNormArgs& args) override { ref::rms_norm(args); }
  void linear(const LinearArgs& args) override { ref::linear(args); }
  void ffn(const FfnArgs& args) override { ref::ffn(args); }
  void moe(const MoeArgs& args) override { ref::moe(args); }
  void mla(const MlaArgs& args) override { ref::mla(args); }
  void gqa(const GqaArgs& args) override { ref::gqa(args); }
};

}  // namespace
}  // namespace ref

void Backend::side_by_side(int count, const std::function<void(int, Backend&)>& body) {
  for (int i = 0; i < count; ++i) body(i, *this);
}

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ref::RefBackend>(); }

}  // namespace hadal::kernels
