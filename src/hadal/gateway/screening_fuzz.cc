// Any bytes as a request's body and as an answer: what is found lies within the body, what is
// masked is JSON as before, and an answer comes out the same however it is cut.
#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/check.h"
#include "hadal/gateway/masker.h"
#include "hadal/text/json_scan.h"

namespace {

using namespace hadal;
using namespace hadal::gateway;

const std::shared_ptr<const Screener>& screener() {
  static const std::shared_ptr<const Screener> kScreener = [] {
    SensitivityConfig config;
    config.on = true;
    config.classes.push_back({"word", {"top secret", "绝密"}, {"emp-\\d+"}, {}});
    config.mask = known_labels(config);
    return *Screener::make(config);
  }();
  return kScreener;
}

void check_request(std::string_view body) {
  net::HttpRequest request;
  request.body = body;
  const Screening seen = screener()->screen(request);
  size_t done = 0;
  for (const MaskSpan& span : seen.spans) {
    HADAL_CHECK(span.begin >= done && span.end > span.begin && span.end <= body.size());
    done = span.end;
  }
  if (seen.stays) return;
  const auto masked =
      std::make_shared<const Masked>(mask_body(body, seen.spans, screener()->labels()));
  HADAL_CHECK(is_json_object(masked->body), masked->body);
  const std::string restored = Restorer(masked).whole(masked->body);
  HADAL_CHECK(is_json_object(restored), restored);
}

std::string restored(std::string_view answer, size_t piece) {
  auto masked = std::make_shared<Masked>();
  masked->texts = {{"EMAIL_1", "a@b.example"}, {"KEY_1", "\"\\\n"}};
  Restorer restorer(masked);
  std::string out;
  for (size_t at = 0; at < answer.size(); at += piece) {
    out += restorer.push(answer.substr(at, piece));
  }
  return out + restorer.finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_request(text);
  const std::string whole = restored(text, size + 1);
  HADAL_CHECK(restored(text, 1) == whole);
  HADAL_CHECK(restored(text, 7) == whole);
  // Nothing but placeholders is touched.
  if (text.find("EMAIL_1") == std::string_view::npos &&
      text.find("KEY_1") == std::string_view::npos && text.find('\\') == std::string_view::npos) {
    HADAL_CHECK(whole == text);
  }
  return 0;
}
