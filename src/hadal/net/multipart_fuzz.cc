// libFuzzer: any bytes as a form. The first byte chooses the boundary, the second how the rest is
// cut: in one piece or in several the same must come out.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "hadal/base/check.h"
#include "hadal/net/multipart.h"

namespace {

using namespace hadal::net;

constexpr MultipartLimits kLimits{.parts = 4, .head_bytes = 200, .body_bytes = 1'000};
constexpr std::string_view kBoundaries[] = {"b", "--", "aab", "a'()+_,-./:=? z"};

std::string read(std::string_view boundary, std::string_view form, size_t step) {
  MultipartReader reader(boundary, kLimits);
  for (size_t at = 0; at < form.size(); at += step) {
    // Which of several errors is met first depends on the cut; that there is one does not.
    if (!reader.feed(form.substr(at, step))) return "error";
  }
  auto parts = reader.finish();
  if (!parts) return "error";
  HADAL_CHECK(parts->size() <= kLimits.parts);
  std::string text;
  for (const FormPart& part : *parts) {
    HADAL_CHECK(part.body.size() <= kLimits.body_bytes);
    text += part.name + '\0' + part.filename.value_or("\1") + '\0' + part.content_type + '\0' +
            part.body + '\0';
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view form(reinterpret_cast<const char*>(data) + 2, size - 2);
  static_cast<void>(multipart_boundary(form.substr(0, std::min<size_t>(form.size(), 128))));
  const std::string_view boundary = kBoundaries[data[0] % 4];
  const std::string whole = read(boundary, form, form.size() + 1);
  HADAL_CHECK(read(boundary, form, 1 + data[1] % 7) == whole);
  return 0;
}
