#include "hadal/gateway/rollout_probe.h"

#include <fmt/format.h>

#include "hadal/base/file.h"
#include "hadal/gateway/field.h"
#include "hadal/text/pattern.h"

namespace hadal::gateway {
namespace {

Section<Probe> probe_section() {
  Section<Probe> section("probe", "");
  section.text("prompt", &Probe::prompt, "")
      .required()
      .text("contains", &Probe::contains, "")
      .text("exact", &Probe::exact, "")
      .text("regex", &Probe::regex, "")
      .integer("max_tokens", &Probe::max_tokens, {1, 100'000}, "");
  return section;
}

bool is_found(const std::string& expression, std::string_view text) {
  const auto pattern = Pattern::make(expression, false);
  Pattern::Match match;
  return pattern && pattern->find(text, 0, &match) == Pattern::Search::kFound;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

Result<std::vector<Probe>> read_probes(std::string_view yaml) {
  auto tree = parse_yaml(yaml);
  ConfigErrors errors;
  std::vector<Probe> probes;
  if (!tree) {
    errors = std::move(tree.error());
  } else {
    ConfigReader reader;
    const Section<Probe> section = probe_section();
    if (reader.is_kind(*tree, "probes", YamlNode::Kind::kList, "a list of questions")) {
      for (size_t i = 0; i < tree->items.size() && i <= kProbesMax; ++i) {
        const std::string path = fmt::format("[{}]", i);
        Probe probe;
        reader.section(section, tree->items[i], path, &probe);
        if (!probe.contains.empty() + !probe.exact.empty() + !probe.regex.empty() != 1) {
          reader.fault(path, "one of 'contains', 'exact' and 'regex' is needed");
        }
        if (auto good = Pattern::make(probe.regex, false); !good) {
          reader.fault(path + ".regex", good.error().what);
        }
        probes.push_back(std::move(probe));
      }
      if (probes.empty()) reader.fault(tree->at, "there must be one question at least");
      if (probes.size() > kProbesMax) {
        reader.fault(tree->at, fmt::format("more than {} questions", kProbesMax));
      }
    }
    errors = reader.take_errors();
  }
  if (errors.empty()) return probes;
  return fail(Code::kInvalidInput, error_lines(errors));
}

Result<std::vector<Probe>> load_probes(const std::string& path) {
  if (path.empty()) return std::vector<Probe>();
  HADAL_TRY(const std::string text, read_file(path, 4u << 20));
  auto probes = read_probes(text);
  if (!probes) return fail(Code::kInvalidInput, path + ":" + probes.error().what);
  return probes;
}

bool passes(const Probe& probe, std::string_view answer) {
  if (!probe.exact.empty()) return trimmed(answer) == trimmed(probe.exact);
  if (!probe.contains.empty()) return answer.find(probe.contains) != std::string_view::npos;
  return is_found(probe.regex, answer);
}

std::string probe_body(const Probe& probe, std::string_view model) {
  return fmt::format(
      R"({{"model":{},"messages":[{{"role":"user","content":{}}}],"temperature":0,"max_tokens":{}}})",
      quoted(model), quoted(probe.prompt), probe.max_tokens);
}

}  // namespace hadal::gateway
