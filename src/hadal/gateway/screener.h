// Looks through a request before anybody decides where it goes: what is found in it, whether it may
// leave, and what must be masked if it does.
//
// All text counts: every string, key and number of the body, whatever field it is in, as JSON gives
// it and with escapes that are left resolved, pieces of text also joined; the query; and headers.
// What cannot be read may not leave.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/detect.h"
#include "hadal/gateway/keyword_index.h"
#include "hadal/gateway/sensitivity_config.h"
#include "hadal/net/message.h"
#include "hadal/text/pattern.h"

namespace hadal::gateway {

// Bytes of the body to be replaced.
struct MaskSpan {
  size_t begin = 0;
  size_t end = 0;
  uint32_t label = 0;   // of Screener::labels()
  bool nested = false;  // inside of JSON that is inside of a string: a tool's arguments
  bool operator==(const MaskSpan&) const = default;
};

struct Screening {
  std::vector<std::string> labels;  // each once, in the order of Screener::labels()
  bool stays = false;               // only to trusted backends
  std::string reason;               // why it stays: a label and where; never the text itself
  std::vector<MaskSpan> spans;      // rising, apart from each other
};

class Screener {
 public:
  // `config` has passed check_sensitivity().
  static Result<std::shared_ptr<const Screener>> make(const SensitivityConfig& config);

  Screening screen(const net::HttpRequest& request) const;
  const std::vector<std::string>& labels() const { return labels_; }

  // The headers that a backend that is not trusted gets to see.
  static bool passes(std::string_view header);

 private:
  enum class Policy : uint8_t { kStays, kMasked, kAllowed };
  struct PatternOf {
    Pattern pattern;
    uint32_t label;
  };
  struct HeaderOf {
    std::string name, value;
    uint32_t label;
  };
  class Pass;

  explicit Screener(Findings findings) : detector_(findings) {}
  uint32_t label(std::string_view name);

  Detector detector_;
  KeywordIndex keywords_;
  std::vector<PatternOf> patterns_;
  std::vector<HeaderOf> headers_;
  std::vector<std::string> labels_;  // those of Finding first
  std::vector<Policy> policies_;
  uint32_t opaque_ = 0, unreadable_ = 0;
};

}  // namespace hadal::gateway
