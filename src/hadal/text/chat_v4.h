// DeepSeek V4's way of writing a conversation, as a template for models whose file has none.
// Internal to text.
#pragma once

#include <string_view>

namespace hadal {

std::string_view deepseek_v4_template();

}  // namespace hadal
