// Which built-in form a chat template is. Internal to text.
#pragma once

#include <string_view>

#include "hadal/base/result.h"
#include "hadal/text/chat.h"

namespace hadal {

struct DetectedChat {
  ChatForm form;
  ChatVariant variant;
};

// `source`: the Jinja text. kUnsupported names what it has that no form has.
Result<DetectedChat> detect_template(std::string_view source);

// The variant of a form's first official template, begin and end tokens included.
ChatVariant official_variant(ChatForm form);

}  // namespace hadal
