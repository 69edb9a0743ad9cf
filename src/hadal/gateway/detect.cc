#include "hadal/gateway/detect.h"

#include <array>

#include "hadal/gateway/detect_parts.h"

namespace hadal::gateway {
namespace {

constexpr std::array<std::string_view, kFindings> kNames = {"id_card", "phone", "bank_card",
                                                            "email", "key"};
constexpr Findings kNumbers =
    only(Finding::kIdCard) | only(Finding::kPhone) | only(Finding::kBankCard);

}  // namespace

std::string_view finding_name(Finding finding) { return kNames[static_cast<size_t>(finding)]; }

std::optional<Finding> finding_from_name(std::string_view name) {
  for (size_t i = 0; i < kFindings; ++i) {
    if (kNames[i] == name) return static_cast<Finding>(i);
  }
  return {};
}

Detector::Detector(Findings wanted) : wanted_(wanted) {
  for (size_t i = 0; i < begins_.size(); ++i) {
    const char c = static_cast<char>(i);
    if (is_digit(c) && (wanted & kNumbers) != 0) begins_[i] = Begins::kNumber;
    if (c == '@' && (wanted & only(Finding::kEmail)) != 0) begins_[i] = Begins::kEmail;
    if (may_begin_key(c) && (wanted & only(Finding::kKey)) != 0) begins_[i] = Begins::kKey;
  }
}

void Detector::find(std::string_view text, std::vector<Found>* found) const {
  for (size_t at = 0; at < text.size();) {
    switch (begins_[static_cast<unsigned char>(text[at])]) {
      case Begins::kNothing:
        break;
      case Begins::kNumber:
        at = detect_numbers(text, at, wanted_, found);
        continue;
      case Begins::kEmail:
        detect_email(text, at, found);
        break;
      case Begins::kKey:
        at = detect_key(text, at, found);
        continue;
    }
    ++at;
  }
}

}  // namespace hadal::gateway
