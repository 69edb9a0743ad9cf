// The model that is compiled into the program.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace hadal::apps {

inline constexpr std::string_view kEmbeddedModelName = "hadal-tiny";

// A GGUF; empty in a build without one. Lives as long as the program.
std::span<const std::byte> embedded_model();

}  // namespace hadal::apps
