// Texts for the audit record without what the detectors find in them.
//
// Pure. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace hadal::gateway {

// Each finding (detect.h), however it is written, is replaced by its name: "[email]". `text`: any
// bytes, JSON too.
std::string mask_findings(std::string_view text);

}  // namespace hadal::gateway
