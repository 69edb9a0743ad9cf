// libFuzzer: any bytes as an answer, cut by the fuzzer. The events must be those of the whole text,
// and without a call nothing of the text may be missing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/text/parse_answer.h"

namespace {

using hadal::AnswerEvent;

std::vector<AnswerEvent> parse(const hadal::AnswerFormat& format, std::string_view text, bool cut,
                               size_t piece) {
  hadal::AnswerParser parser(format);
  std::vector<AnswerEvent> events;
  const auto take = [&events](const std::vector<AnswerEvent>& more) {
    for (const AnswerEvent& event : more) append_event(event, &events);
  };
  while (!text.empty()) {
    const size_t n = std::min(piece, text.size());
    take(parser.push(text.substr(0, n)));
    text.remove_prefix(n);
  }
  take(parser.finish(cut));
  return events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  hadal::AnswerFormat format;
  format.tools = static_cast<hadal::ToolForm>(data[0] % 7);
  format.reasons = (data[0] & 0x40) != 0;
  format.inside_reasoning = (data[0] & 0x80) != 0;
  format.tool_names = {"get", "put"};
  const bool cut = (data[1] & 1) != 0;
  const size_t piece = 1 + data[1] / 2;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = parse(format, text, cut, text.size());
  HADAL_CHECK(parse(format, text, cut, piece) == whole);
  std::string content;
  bool calls = format.reasons;
  for (const AnswerEvent& event : whole) {
    calls |= event.kind == AnswerEvent::Kind::kCallBegin;
    content += event.text;
  }
  HADAL_CHECK(calls || content == text);
  return 0;
}
