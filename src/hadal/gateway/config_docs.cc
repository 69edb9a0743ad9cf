// The list of fields, as a schema for editors and as a page for people.
#include <fmt/format.h>

#include <set>

#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// Markdown's own marks mean nothing to an editor that shows a description.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '`') out += c;
  }
  return out;
}

class SchemaWriter {
 public:
  std::string write(const SectionInfo& root) {
    out_ =
        "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
        "  \"title\": \"hadal.yaml\",\n";
    object(root, 2);
    out_ += "\n}\n";
    return std::move(out_);
  }

 private:
  void line(int indent, std::string_view text) {
    out_.append(static_cast<size_t>(indent), ' ');
    out_ += text;
  }

  // The members of an object's schema, without braces around them.
  void object(const SectionInfo& info, int indent) {
    line(indent, "\"type\": \"object\",\n");
    line(indent, "\"additionalProperties\": false,\n");
    std::string required;
    for (const Field& field : info.fields()) {
      if (field.required) required += (required.empty() ? "" : ", ") + quoted(field.name);
    }
    if (!required.empty()) line(indent, "\"required\": [" + required + "],\n");
    line(indent, "\"properties\": {\n");
    bool first = true;
    for (const Field& field : info.fields()) {
      if (!first) out_ += ",\n";
      first = false;
      line(indent + 2, quoted(field.name) + ": {\n");
      line(indent + 4, "\"description\": " + quoted(plain(field.help)) + ",\n");
      if (!field.shown_default.empty() && field.default_is_value) {
        line(indent + 4, "\"default\": " + default_of(field) + ",\n");
      }
      type_of(field, indent + 4);
      out_ += "\n";
      line(indent + 2, "}");
    }
    out_ += "\n";
    line(indent, "}");
  }

  static std::string default_of(const Field& field) {
    const bool bare = field.kind == FieldKind::kInteger || field.kind == FieldKind::kNumber ||
                      field.kind == FieldKind::kBoolean;
    return bare ? field.shown_default : quoted(field.shown_default);
  }

  void type_of(const Field& field, int indent) {
    switch (field.kind) {
      case FieldKind::kText:
        return line(indent, R"("type": "string")");
      case FieldKind::kInteger:
        return line(indent,
                    fmt::format(R"("type": "integer", "minimum": {:.0f}, "maximum": {:.0f})",
                                field.minimum, field.maximum));
      case FieldKind::kNumber:
        return line(indent, fmt::format(R"("type": "number", "minimum": {}, "maximum": {})",
                                        field.minimum, field.maximum));
      case FieldKind::kBoolean:
        return line(indent, R"("type": "boolean")");
      case FieldKind::kDuration:
        return line(indent, R"("type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$")");
      case FieldKind::kBytes:
        return line(indent,
                    R"("type": ["string", "integer"], "pattern": "^[0-9]+([KMGT](iB)?)?$")");
      case FieldKind::kChoice: {
        std::string words;
        for (const std::string& word : field.choices) {
          words += (words.empty() ? "" : ", ") + quoted(word);
        }
        return line(indent, "\"enum\": [" + words + "]");
      }
      case FieldKind::kTexts:
        return line(indent, R"("type": "array", "items": {"type": "string"})");
      case FieldKind::kNumbers:
        line(indent, "\"type\": \"array\",\n");
        return line(indent,
                    fmt::format(R"("items": {{"type": "number", "minimum": {}, "maximum": {}}})",
                                field.minimum, field.maximum));
      case FieldKind::kTextMap:
        return line(indent, R"("type": "object", "additionalProperties": {"type": "string"})");
      case FieldKind::kSection:
        return object(*field.inner, indent);
      case FieldKind::kSections:
        line(indent, "\"type\": \"array\",\n");
        line(indent, "\"items\": {\n");
        object(*field.inner, indent + 2);
        out_ += "\n";
        return line(indent, "}");
      case FieldKind::kSectionMap:
        line(indent, "\"type\": \"object\",\n");
        line(indent, "\"additionalProperties\": {\n");
        line(indent + 2, "\"anyOf\": [{\"type\": \"string\"}, {\n");
        object(*field.inner, indent + 4);
        out_ += "\n";
        line(indent + 2, "}]\n");
        return line(indent, "}");
    }
  }

  std::string out_;
};

std::string shown_type(const Field& field) {
  const auto span = [](const std::string& least, const std::string& most) {
    return fmt::format("{} to {}", least, most);
  };
  const auto duration = [](double millis) {
    return duration_text(Millis(static_cast<int64_t>(millis)));
  };
  switch (field.kind) {
    case FieldKind::kText:
      return "text";
    case FieldKind::kInteger:
      return span(fmt::format("{:.0f}", field.minimum), fmt::format("{:.0f}", field.maximum));
    case FieldKind::kNumber:
      return span(fmt::format("{}", field.minimum), fmt::format("{}", field.maximum));
    case FieldKind::kBoolean:
      return "true, false";
    case FieldKind::kDuration:
      return "duration, " + span(duration(field.minimum), duration(field.maximum));
    case FieldKind::kBytes:
      return "size";
    case FieldKind::kChoice:
      return fmt::format("`{}`", fmt::join(field.choices, "`, `"));
    case FieldKind::kTexts:
      return "list of texts";
    case FieldKind::kNumbers:
      return fmt::format("list of {} to {}", field.minimum, field.maximum);
    case FieldKind::kTextMap:
      return "map, text to text";
    case FieldKind::kSection:
      return fmt::format("[{0}](#{0})", field.inner->title());
    case FieldKind::kSections:
      return fmt::format("list of [{0}](#{0})", field.inner->title());
    case FieldKind::kSectionMap:
      return fmt::format("map of [{0}](#{0})", field.inner->title());
  }
  return {};
}

void table(const SectionInfo& info, std::string* out) {
  *out += "| field | type, range | default | what |\n|---|---|---|---|\n";
  for (const Field& field : info.fields()) {
    std::string standard = field.shown_default;
    if (field.required) {
      standard = "**required**";
    } else if (!standard.empty() && field.default_is_value) {
      standard = "`" + standard + "`";
    }
    *out += fmt::format("| `{}` | {} | {} | {} |\n", field.name, shown_type(field), standard,
                        field.help);
  }
}

void sections(const SectionInfo& info, std::set<std::string>* seen, std::string* out) {
  for (const Field& field : info.fields()) {
    if (field.inner == nullptr || !seen->insert(field.inner->title()).second) continue;
    *out += fmt::format("\n## {}\n\n{}\n\n", field.inner->title(), field.inner->help());
    table(*field.inner, out);
    sections(*field.inner, seen, out);
  }
}

constexpr std::string_view kIntroduction = R"(# Configuration

<!-- Made by `hadal serve --print-config-docs` from the list of fields in the program; a test compares. -->

`hadal serve --config hadal.yaml` reads everything from one file:

```yaml
server:
  host: 0.0.0.0
  keys_file: keys.txt             # a key a line
backends:
  - name: here
    model: models/r1-qwen-1.5b.gguf
    names: [r1-small]
  - name: cloud
    url: https://api.deepseek.com/v1
    key_env: DEEPSEEK_API_KEY
    models: {deepseek-large: deepseek-chat}
aliases:
  gpt-4o-mini: r1-small           # a name for a name
  deepseek-chat: {model: r1-small, thinking: false}
  deepseek-reasoner: {model: r1-small, thinking: true}
```

- `hadal serve --config hadal.yaml --check` says whether the file is right, with line and column of
  everything that is not, and starts nothing. Exit status 0 or 2.
- `hadal serve --print-config-schema` prints a JSON Schema, which editors use to complete and check. Put
  `# yaml-language-server: $schema=FILE` in the first line of hadal.yaml.
- `kill -HUP` makes a running service read the file again. Requests under way end as they began; new
  ones see the new file. A file with a mistake changes nothing, and the log says what is wrong. What
  cannot change while running (address, local model) takes effect at the next start, and the log says so.
- Relative paths are taken from the file's folder. A request without a model name gets the first backend's.
- Of YAML: maps, lists and scalars in one document. A key given twice, an anchor or an alias (`&x`, `*x`) is
  an error. Durations are written `250ms`, `5s`, `2m`, `1h`, `1d`; sizes `512M`, `4G` (powers of 1024).
- `--config` goes with `--host` and `--port`, which then count more than the file. Every other flag has a
  field here.

## hadal.yaml

)";

}  // namespace

std::string config_schema() { return SchemaWriter().write(config_section()); }

std::string config_markdown() {
  std::string out(kIntroduction);
  table(config_section(), &out);
  std::set<std::string> seen;
  sections(config_section(), &seen, &out);
  return out;
}

}  // namespace hadal::gateway
