// What hadal.yaml says of text that should not leave. The list of its fields is
// sensitivity_config.cc.
//
// Pure. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/field.h"

namespace hadal::gateway {

// A label of the operator's own.
struct SensitiveClass {
  std::string name;
  std::vector<std::string> keywords;
  std::vector<std::string> patterns;
  TextPairs headers;  // name, value; "*": any
  bool operator==(const SensitiveClass&) const = default;
};

struct SensitivityConfig {
  bool on = false;                     // the section is there
  std::vector<std::string> detectors;  // empty: all
  std::vector<SensitiveClass> classes;
  std::vector<std::string> mask;
  std::vector<std::string> allow;
  bool operator==(const SensitivityConfig&) const = default;
};

// Labels beside detectors and classes.
inline constexpr std::string_view kOpaque = "opaque";  // images, files, long base64, token ids
inline constexpr std::string_view kUnreadable = "unreadable";  // not JSON in UTF-8

Section<SensitivityConfig> sensitivity_section();
void check_sensitivity(ConfigReader& reader, SensitivityConfig* sensitivity);
std::vector<std::string> detectors_of(const SensitivityConfig& sensitivity);
// All labels that a request can get, for other sections that name some.
std::vector<std::string> known_labels(const SensitivityConfig& sensitivity);

}  // namespace hadal::gateway
