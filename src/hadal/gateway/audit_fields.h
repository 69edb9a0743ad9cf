// What an audit record says, as members of a JSON object.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/secret.h"

namespace hadal::gateway {

// Members one after another, "\"a\":\"b\",\"n\":1". Texts may hold any bytes; what is not UTF-8
// becomes U+FFFD. Names are ours.
class FieldText {
 public:
  // Nothing for an empty text.
  FieldText& text(std::string_view name, std::string_view value);
  FieldText& number(std::string_view name, int64_t value);
  FieldText& real(std::string_view name, double value);
  FieldText& boolean(std::string_view name, bool value);
  // Nothing for an empty list.
  FieldText& texts(std::string_view name, const std::vector<std::string>& values);
  std::string take() { return std::move(out_); }
  const std::string& view() const { return out_; }

 private:
  void begin(std::string_view name);
  std::string out_;
};

// SHA-256, in hexadecimal digits, of what a request asks for beside its content: its members but
// for messages, prompts, instructions, tools, users and the like, in the order of their names, as
// written. Empty: the body is no JSON object.
std::string parameters_hash(std::string_view body);

enum class AuditContent : uint8_t { kNone, kHash, kMasked, kFull };
AuditContent parse_audit_content(std::string_view word);  // kHash for any other

// A text without what is sensitive in it. `text`: any bytes.
using Masker = std::function<std::string(std::string_view text)>;

// Sees a content pass and keeps what a record may need of it.
class ContentTap {
 public:
  // `max`: bytes that a record shows.
  ContentTap(AuditContent policy, size_t max);
  void add(std::string_view bytes);
  // `prefix`_sha256 and `prefix`_bytes of the whole, and, where the policy has it, `prefix`_text,
  // cut after `max` bytes with `prefix`_cut. Once.
  void write(FieldText* fields, std::string_view prefix, const Masker& masker);
  size_t kept() const { return kept_.size(); }

 private:
  const AuditContent policy_;
  const size_t max_;
  Sha256 hash_;
  int64_t bytes_ = 0;
  std::string kept_;
};

}  // namespace hadal::gateway
