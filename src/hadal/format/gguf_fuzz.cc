// Any bytes as a GGUF: refused in one line, or a model whose every tensor lies inside them.
#include "hadal/base/check.h"
#include "hadal/format/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto model = hadal::parse_gguf(bytes, "fuzz");
  if (!model) {
    HADAL_CHECK(!model.error().what.empty());
    HADAL_CHECK(model.error().what.find('\n') == std::string::npos, model.error().what);
    return 0;
  }
  uint64_t total = 0;
  for (const hadal::TensorRecord& tensor : model->tensors.tensors()) {
    HADAL_CHECK(tensor.data.data() >= bytes.data());
    HADAL_CHECK(tensor.data.data() + tensor.data.size() <= bytes.data() + bytes.size());
    const auto row = static_cast<uint64_t>(tensor.shape.back());
    const uint64_t rows = static_cast<uint64_t>(tensor.elements()) / row;
    HADAL_CHECK(tensor.data.size() == rows * hadal::row_bytes(tensor.dtype, row));
    HADAL_CHECK(model->tensors.find(tensor.name) == &tensor);
    total += tensor.data.size();
  }
  HADAL_CHECK(total <= size);
  const auto vocab = hadal::gguf_vocab(model->meta);
  if (vocab) HADAL_CHECK(vocab->types.size() == vocab->tokens.size());
  return 0;
}
