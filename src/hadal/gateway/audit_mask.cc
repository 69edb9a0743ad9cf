#include "hadal/gateway/audit_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "hadal/gateway/detect.h"
#include "hadal/gateway/json_text.h"

namespace hadal::gateway {

std::string mask_findings(std::string_view text) {
  const Detector detector(kAllFindings);
  TextReader reader;
  std::vector<Found> spans, found;
  for (const FoldedText& reading : reader.read_plain(text, 0)) {
    found.clear();
    detector.find(reading.text(), &found);
    for (const Found& one : found) {
      if (one.begin >= one.end) continue;
      spans.push_back({one.finding, reading.begin_of(one.begin), reading.end_of(one.end)});
    }
  }
  std::sort(spans.begin(), spans.end(), [](const Found& a, const Found& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  std::string masked;
  size_t at = 0;
  for (const Found& span : spans) {
    // One that overlaps the last only takes more away.
    if (span.begin >= at) {
      masked += text.substr(at, span.begin - at);
      masked += fmt::format("[{}]", finding_name(span.finding));
    }
    at = std::max(at, span.end);
  }
  masked += text.substr(std::min(at, text.size()));
  return masked;
}

}  // namespace hadal::gateway
