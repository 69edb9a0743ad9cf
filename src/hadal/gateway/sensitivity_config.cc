#include "hadal/gateway/sensitivity_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/gateway/detect.h"
#include "hadal/gateway/detect_parts.h"
#include "hadal/text/pattern.h"

namespace hadal::gateway {
namespace {

constexpr size_t kClassNameMax = 32;  // it is part of a placeholder
constexpr size_t kKeywordMin = 2, kKeywordMax = 256;

bool has(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

Section<SensitiveClass> class_section() {
  Section<SensitiveClass> section("classes",
                                  "Labels of your own. A request gets one when a keyword or "
                                  "pattern is in its text, or a header "
                                  "says so. Names: small letters, digits and `_`, 32 at most.");
  section
      .texts("keywords", &SensitiveClass::keywords,
             "words or phrases of 2 to 256 bytes; case and width of letters do not matter",
             {"none"})
      .texts("patterns", &SensitiveClass::patterns,
             "regular expressions (PCRE2, case does not matter). A search that takes too long "
             "counts as a match that cannot be masked",
             {"none"})
      .text_map("headers", &SensitiveClass::headers,
                "a request's headers that say it: `{x-data-class: confidential}`; `*`: any value",
                {"none"});
  return section;
}

void check_class(ConfigReader& reader, const SensitiveClass& one) {
  const std::string path = "sensitivity.classes." + one.name;
  const bool good_name =
      !one.name.empty() && one.name.size() <= kClassNameMax && !is_digit(one.name[0]) &&
      std::all_of(one.name.begin(), one.name.end(),
                  [](char c) { return is_digit(c) || c == '_' || (c >= 'a' && c <= 'z'); });
  if (!good_name) {
    reader.fault(path, "a class's name has 1 to 32 small letters, digits and '_', a letter first");
  }
  if (finding_from_name(one.name) || one.name == kOpaque || one.name == kUnreadable) {
    reader.fault(path, fmt::format("'{}' is a label of its own already", one.name));
  }
  for (const std::string& word : one.keywords) {
    if (word.size() >= kKeywordMin && word.size() <= kKeywordMax) continue;
    reader.fault(path + ".keywords", "a keyword has 2 to 256 bytes");
  }
  for (const std::string& pattern : one.patterns) {
    if (auto made = Pattern::make(pattern, true); !made) {
      reader.fault(path + ".patterns", made.error().what);
    }
  }
  if (one.keywords.empty() && one.patterns.empty() && one.headers.empty()) {
    reader.fault(path, "one of 'keywords', 'patterns' and 'headers' is needed");
  }
}

void check_labels(ConfigReader& reader, const std::string& path,
                  const std::vector<std::string>& labels, const std::vector<std::string>& known) {
  for (const std::string& label : labels) {
    if (has(known, label)) continue;
    const std::string near = nearest_name(label, known);
    reader.fault(path, fmt::format("there is no label '{}'{}", label.substr(0, 64),
                                   near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
}

}  // namespace

Section<SensitivityConfig> sensitivity_section() {
  Section<SensitivityConfig> section(
      "sensitivity",
      "What is looked for in the whole text of every request. A request in which something is "
      "found "
      "stays with the local model and with backends that are `trusted`, and is refused when none "
      "of "
      "them can answer, unless the label is in `mask` or `allow`. See hybrid.md.");
  section
      .texts("detectors", &SensitivityConfig::detectors,
             "of `id_card`, `phone`, `bank_card`, `email`, `key`", {"all of them"})
      .map("classes", &SensitivityConfig::classes, &SensitiveClass::name, "", class_section(),
           "labels of your own")
      .texts(
          "mask", &SensitivityConfig::mask,
          "labels whose text is replaced by placeholders before a request goes to a backend that "
          "is not trusted, and put back in the answer",
          {"none"})
      .texts("allow", &SensitivityConfig::allow,
             "labels that are only noted. `opaque`: images, files, long base64 and token ids, into "
             "which nobody looks",
             {"none"});
  return section;
}

std::vector<std::string> detectors_of(const SensitivityConfig& sensitivity) {
  if (!sensitivity.detectors.empty()) return sensitivity.detectors;
  std::vector<std::string> all;
  for (size_t i = 0; i < kFindings; ++i) all.emplace_back(finding_name(static_cast<Finding>(i)));
  return all;
}

std::vector<std::string> known_labels(const SensitivityConfig& sensitivity) {
  std::vector<std::string> known = detectors_of(sensitivity);
  for (const SensitiveClass& one : sensitivity.classes) known.push_back(one.name);
  known.emplace_back(kOpaque);
  known.emplace_back(kUnreadable);
  return known;
}

void check_sensitivity(ConfigReader& reader, SensitivityConfig* sensitivity) {
  sensitivity->on = reader.was_given("sensitivity");
  for (const std::string& name : sensitivity->detectors) {
    if (finding_from_name(name)) continue;
    reader.fault("sensitivity.detectors",
                 fmt::format("there is no detector '{}'", name.substr(0, 64)));
  }
  for (const SensitiveClass& one : sensitivity->classes) check_class(reader, one);
  const std::vector<std::string> known = known_labels(*sensitivity);
  check_labels(reader, "sensitivity.mask", sensitivity->mask, known);
  check_labels(reader, "sensitivity.allow", sensitivity->allow, known);
  for (const std::string& label : sensitivity->mask) {
    if (label == kOpaque || label == kUnreadable) {
      reader.fault("sensitivity.mask", fmt::format("'{}' has no text to replace", label));
    }
    if (has(sensitivity->allow, label)) {
      reader.fault("sensitivity.allow", fmt::format("'{}' is in 'mask', too", label));
    }
  }
  if (has(sensitivity->allow, kUnreadable)) {
    reader.fault("sensitivity.allow", "what cannot be read is never sent on");
  }
}

}  // namespace hadal::gateway
