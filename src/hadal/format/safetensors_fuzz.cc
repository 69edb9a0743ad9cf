// Any bytes as a safetensors file: refused in one line, or tensors that lie inside them, apart.
#include "hadal/base/check.h"
#include "hadal/format/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  auto tensors = hadal::parse_safetensors(bytes, "fuzz", 0);
  if (!tensors) {
    HADAL_CHECK(!tensors.error().what.empty());
    HADAL_CHECK(tensors.error().what.find('\n') == std::string::npos, tensors.error().what);
    return 0;
  }
  const std::byte* end = bytes.data();
  for (const hadal::TensorRecord& tensor : *tensors) {
    HADAL_CHECK(tensor.data.data() >= end && !tensor.shape.empty());
    end = tensor.data.data() + tensor.data.size();
    const auto elements = static_cast<uint64_t>(tensor.elements());
    HADAL_CHECK(tensor.data.size() == hadal::row_bytes(tensor.dtype, elements));
  }
  HADAL_CHECK(end <= bytes.data() + bytes.size());
  const hadal::TensorFile file({}, *std::move(tensors));
  return 0;
}
