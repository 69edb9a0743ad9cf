#include "hadal/gateway/field.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace hadal::gateway {
namespace {

struct Unit {
  std::string_view name;
  int64_t millis;
};
constexpr std::array<Unit, 5> kUnits = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};

// Edits (a letter put in, left out, changed, or swapped with its neighbour) from one to the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> edits(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        edits[i][j] = i + j;
        continue;
      }
      const size_t changed = edits[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      edits[i][j] = std::min({edits[i - 1][j] + 1, edits[i][j - 1] + 1, changed});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        edits[i][j] = std::min(edits[i][j], edits[i - 2][j - 2] + 1);
      }
    }
  }
  return edits[a.size()][b.size()];
}

template <class T>
bool read_whole(std::string_view text, T* value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && rest == text.data() + text.size();
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  if (name.size() > 64) return {};
  std::string best;
  size_t least = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t edits = distance(name, candidate);
    if (edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

std::string duration_text(Millis value) {
  for (const Unit& unit : kUnits) {
    if (value.count() != 0 && value.count() % unit.millis == 0) {
      return fmt::format("{}{}", value.count() / unit.millis, unit.name);
    }
  }
  return "0s";
}

std::optional<Millis> parse_duration(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  int64_t count = 0;
  if (!read_whole(text.substr(0, digits), &count)) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (text.substr(digits) != unit.name) continue;
    if (count > std::numeric_limits<int64_t>::max() / unit.millis) return std::nullopt;
    return Millis(count * unit.millis);
  }
  return std::nullopt;
}

std::string bytes_text(uint64_t value) {
  constexpr std::string_view kLetters = "TGMK";
  for (size_t i = 0; i < kLetters.size(); ++i) {
    const int shift = 10 * static_cast<int>(kLetters.size() - i);
    if (value != 0 && value % (1ull << shift) == 0) {
      return fmt::format("{}{}", value >> shift, kLetters[i]);
    }
  }
  return std::to_string(value);
}

std::optional<uint64_t> parse_size(std::string_view text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string unit(text.substr(digits));
  if (unit.ends_with("iB")) unit.resize(unit.size() - 2);
  const size_t letter = unit.empty() ? 0 : std::string_view("KMGT").find(unit) + 1;
  uint64_t count = 0;
  if (unit.size() > 1 || (letter == 0 && !unit.empty())) return std::nullopt;
  if (!read_whole(text.substr(0, digits), &count)) return std::nullopt;
  const int shift = 10 * static_cast<int>(letter);
  if (count > (std::numeric_limits<uint64_t>::max() >> shift)) return std::nullopt;
  return count << shift;
}

const Field* SectionInfo::find(std::string_view name) const {
  for (const Field& field : fields_) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

void ConfigReader::fault(Position at, std::string what) {
  if (errors_.size() < kErrorsMax) errors_.push_back({at, std::move(what)});
}

Position ConfigReader::place(std::string path) const {
  for (;;) {
    if (const auto found = places_.find(path); found != places_.end()) return found->second;
    const size_t cut = path.find_last_of(".[");
    if (cut == std::string::npos) return {1, 1};
    path.resize(cut);
  }
}

void ConfigReader::fault(const std::string& path, const std::string& what) {
  fault(place(path), fmt::format("{}: {}", path, what));
}

bool ConfigReader::is_kind(const YamlNode& node, const std::string& path, YamlNode::Kind kind,
                           std::string_view wanted) {
  if (node.kind == kind) return true;
  fault(node.at, fmt::format("{}: found {}, expected {}", path, describe(node), wanted));
  return false;
}

void ConfigReader::section(const SectionInfo& info, const YamlNode& node, const std::string& path,
                           void* object) {
  const std::string shown = path.empty() ? "the configuration" : path;
  const std::string prefix = path.empty() ? "" : path + ".";
  if (!places_.count(path)) remember(path, node.at);
  if (!is_kind(node, shown, YamlNode::Kind::kMap, "a map of fields")) return;
  std::vector<std::string> known;
  for (const Field& field : info.fields()) known.push_back(field.name);
  for (const YamlMember& member : node.members) {
    const Field* field = info.find(member.key);
    if (field == nullptr) {
      const std::string near = nearest_name(member.key, known);
      fault(member.at,
            fmt::format("{}: there is no field '{}'{}", shown, member.key.substr(0, 64),
                        near.empty() ? "; known: " + fmt::format("{}", fmt::join(known, ", "))
                                     : "; did you mean '" + near + "'?"));
      continue;
    }
    remember(prefix + field->name, member.at);
    if (member.value.kind == YamlNode::Kind::kNull) continue;  // as if it were not there
    field->read(*this, member.value, prefix + field->name, object);
  }
  for (const Field& field : info.fields()) {
    if (field.required && !was_given(prefix + field.name)) {
      fault(node.at, fmt::format("{}: '{}' is missing", shown, field.name));
    }
  }
}

void ConfigReader::text(const YamlNode& node, const std::string& path, std::string* target) {
  if (is_kind(node, path, YamlNode::Kind::kScalar, "a text")) *target = node.text;
}

void ConfigReader::boolean(const YamlNode& node, const std::string& path, bool* target) {
  if (!is_kind(node, path, YamlNode::Kind::kScalar, "true or false")) return;
  if (node.quoted || (node.text != "true" && node.text != "false")) {
    return fault(node.at, fmt::format("{}: found {}{}, expected true or false", path,
                                      node.quoted ? "the text " : "", describe(node)));
  }
  *target = node.text == "true";
}

void ConfigReader::integer(const Field& field, const YamlNode& node, const std::string& path,
                           int64_t* target) {
  const std::string wanted =
      fmt::format("a whole number from {:.0f} to {:.0f}", field.minimum, field.maximum);
  if (!is_kind(node, path, YamlNode::Kind::kScalar, wanted)) return;
  int64_t value = 0;
  if (node.quoted || !read_whole(std::string_view(node.text), &value) ||
      static_cast<double>(value) < field.minimum || static_cast<double>(value) > field.maximum) {
    return fault(node.at, fmt::format("{}: found {}{}, expected {}", path,
                                      node.quoted ? "the text " : "", describe(node), wanted));
  }
  *target = value;
}

void ConfigReader::number(const Field& field, const YamlNode& node, const std::string& path,
                          double* target) {
  const std::string wanted = fmt::format("a number from {} to {}", field.minimum, field.maximum);
  if (!is_kind(node, path, YamlNode::Kind::kScalar, wanted)) return;
  double value = 0;
  if (node.quoted || !read_whole(std::string_view(node.text), &value) || !std::isfinite(value) ||
      value < field.minimum || value > field.maximum) {
    return fault(node.at, fmt::format("{}: found {}{}, expected {}", path,
                                      node.quoted ? "the text " : "", describe(node), wanted));
  }
  *target = value;
}

void ConfigReader::duration(const Field& field, const YamlNode& node, const std::string& path,
                            Millis* target) {
  const auto shown = [](double value) {
    return duration_text(Millis(static_cast<int64_t>(value)));
  };
  const std::string wanted = fmt::format("a duration from {} to {}, such as 5s or 250ms",
                                         shown(field.minimum), shown(field.maximum));
  if (!is_kind(node, path, YamlNode::Kind::kScalar, wanted)) return;
  const auto value = parse_duration(node.text);
  if (!value || static_cast<double>(value->count()) < field.minimum ||
      static_cast<double>(value->count()) > field.maximum) {
    return fault(node.at, fmt::format("{}: found {}, expected {}", path, describe(node), wanted));
  }
  *target = *value;
}

void ConfigReader::bytes(const YamlNode& node, const std::string& path, uint64_t* target) {
  constexpr std::string_view kWanted = "a size such as 512M or 4G";
  if (!is_kind(node, path, YamlNode::Kind::kScalar, kWanted)) return;
  const auto value = parse_size(node.text);
  if (!value) {
    return fault(node.at, fmt::format("{}: found {}, expected {}", path, describe(node), kWanted));
  }
  *target = *value;
}

void ConfigReader::choice(const Field& field, const YamlNode& node, const std::string& path,
                          std::string* target) {
  const std::string wanted = fmt::format("one of {}", fmt::join(field.choices, ", "));
  if (!is_kind(node, path, YamlNode::Kind::kScalar, wanted)) return;
  if (std::find(field.choices.begin(), field.choices.end(), node.text) == field.choices.end()) {
    return fault(node.at, fmt::format("{}: found {}, expected {}", path, describe(node), wanted));
  }
  *target = node.text;
}

void ConfigReader::texts(const YamlNode& node, const std::string& path,
                         std::vector<std::string>* target) {
  if (!is_kind(node, path, YamlNode::Kind::kList, "a list of texts")) return;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", path, i);
    remember(where, node.items[i].at);
    if (is_kind(node.items[i], where, YamlNode::Kind::kScalar, "a text")) {
      target->push_back(node.items[i].text);
    }
  }
}

void ConfigReader::numbers(const Field& field, const YamlNode& node, const std::string& path,
                           std::vector<double>* target) {
  if (!is_kind(node, path, YamlNode::Kind::kList, "a list of numbers")) return;
  target->clear();
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", path, i);
    remember(where, node.items[i].at);
    double value = 0;
    number(field, node.items[i], where, &value);
    target->push_back(value);
  }
}

void ConfigReader::text_map(const YamlNode& node, const std::string& path, TextPairs* target) {
  if (!is_kind(node, path, YamlNode::Kind::kMap, "a map from text to text")) return;
  for (const YamlMember& member : node.members) {
    const std::string where = path + "." + member.key;
    remember(where, member.at);
    if (is_kind(member.value, where, YamlNode::Kind::kScalar, "a text")) {
      target->emplace_back(member.key, member.value.text);
    }
  }
}

}  // namespace hadal::gateway
