#include "hadal/gateway/audit_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/api/utf8.h"
#include "hadal/gateway/secret.h"
#include "hadal/text/json_scan.h"

namespace hadal::gateway {
namespace {

constexpr size_t kBeyondCut = 4'096;
constexpr std::string_view kContent[] = {"messages",
                                         "prompt",
                                         "input",
                                         "instructions",
                                         "system",
                                         "suffix",
                                         "tools",
                                         "user",
                                         "user_id",
                                         "metadata",
                                         "functions",
                                         "stop",
                                         "response_format",
                                         "text",
                                         "query",
                                         "logit_bias",
                                         "prediction",
                                         "documents",
                                         "safety_identifier"};

// The first JSON value of `text`, which is not empty and begins with it.
std::string_view first_value(std::string_view text) {
  JsonEnd end;
  for (size_t i = 0; i < text.size(); ++i) {
    const JsonEnd::Step step = end.push(text[i]);
    if (step == JsonEnd::Step::kLast) return text.substr(0, i + 1);
    if (step == JsonEnd::Step::kAfter) return text.substr(0, i);
  }
  return text;
}

}  // namespace

void FieldText::begin(std::string_view name) {
  if (!out_.empty()) out_ += ',';
  out_ += '"';
  out_ += name;
  out_ += "\":";
}

FieldText& FieldText::text(std::string_view name, std::string_view value) {
  if (value.empty()) return *this;
  begin(name);
  out_ += '"';
  append_json_escaped(api::valid_utf8(value), &out_);
  out_ += '"';
  return *this;
}

FieldText& FieldText::number(std::string_view name, int64_t value) {
  begin(name);
  out_ += std::to_string(value);
  return *this;
}

FieldText& FieldText::real(std::string_view name, double value) {
  begin(name);
  out_ += fmt::format("{:.9g}", value);
  return *this;
}

FieldText& FieldText::boolean(std::string_view name, bool value) {
  begin(name);
  out_ += value ? "true" : "false";
  return *this;
}

FieldText& FieldText::texts(std::string_view name, const std::vector<std::string>& values) {
  if (values.empty()) return *this;
  begin(name);
  out_ += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out_ += ',';
    out_ += '"';
    append_json_escaped(api::valid_utf8(values[i]), &out_);
    out_ += '"';
  }
  out_ += ']';
  return *this;
}

std::string parameters_hash(std::string_view body) {
  std::string_view rest = json_trimmed(body);
  if (!rest.starts_with('{') || !rest.ends_with('}')) return {};
  rest = json_trimmed(rest.substr(1, rest.size() - 2));
  std::vector<std::pair<std::string, std::string_view>> members;
  while (!rest.empty()) {
    if (rest.front() != '"') return {};
    const std::string_view name = first_value(rest);
    rest = json_trimmed(rest.substr(name.size()));
    if (name.size() < 2 || !rest.starts_with(':')) return {};
    rest = json_trimmed(rest.substr(1));
    if (rest.empty()) return {};
    const std::string_view value = first_value(rest);
    rest = json_trimmed(rest.substr(value.size()));
    std::string plain = json_unescaped(name.substr(1, name.size() - 2));
    if (std::find(std::begin(kContent), std::end(kContent), plain) == std::end(kContent)) {
      members.emplace_back(std::move(plain), json_trimmed(value));
    }
    if (rest.empty()) break;
    if (rest.front() != ',') return {};
    rest = json_trimmed(rest.substr(1));
  }
  std::sort(members.begin(), members.end());
  std::string all;
  for (const auto& [name, value] : members)
    all += fmt::format("{}:{}:{}\n", name.size(), name, value);
  return hex(sha256(all));
}

AuditContent parse_audit_content(std::string_view word) {
  if (word == "none") return AuditContent::kNone;
  if (word == "masked") return AuditContent::kMasked;
  if (word == "full") return AuditContent::kFull;
  return AuditContent::kHash;
}

ContentTap::ContentTap(AuditContent policy, size_t max) : policy_(policy), max_(max) {}

void ContentTap::add(std::string_view bytes) {
  if (policy_ == AuditContent::kNone) return;
  hash_.add(bytes);
  bytes_ += static_cast<int64_t>(bytes.size());
  if (policy_ == AuditContent::kHash) return;
  // More than is shown, so that the cut does not go through what is to be masked.
  const size_t wanted = max_ + kBeyondCut;
  if (kept_.size() < wanted) kept_ += bytes.substr(0, wanted - kept_.size());
}

void ContentTap::write(FieldText* fields, std::string_view prefix, const Masker& masker) {
  if (policy_ == AuditContent::kNone) return;
  const std::string name(prefix);
  fields->text(name + "_sha256", hex(hash_.finish()));
  fields->number(name + "_bytes", bytes_);
  // Without somebody who masks, nothing is shown rather than all.
  const bool masks = policy_ == AuditContent::kMasked;
  if (policy_ == AuditContent::kHash || (masks && !masker)) return;
  const std::string masked = masks ? masker(kept_) : std::string();
  const std::string_view shown = masks ? std::string_view(masked) : kept_;
  fields->text(name + "_text", shown.substr(0, max_));
  if (shown.size() > max_) fields->boolean(name + "_cut", true);
}

}  // namespace hadal::gateway
