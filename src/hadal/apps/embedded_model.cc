#include "hadal/apps/embedded_model.h"

extern "C" {
extern const std::byte hadal_embedded_model_begin[];
extern const std::byte hadal_embedded_model_end[];
}

namespace hadal::apps {

std::span<const std::byte> embedded_model() {
  return {hadal_embedded_model_begin, hadal_embedded_model_end};
}

}  // namespace hadal::apps
