// The list of fields that a configuration has. One entry a field: name, type, range, default and
// help. Loading, the JSON Schema and the documentation are all made from it, so they cannot differ.
//
// A Section<T> binds fields to the members of a struct; defaults are what T{} holds.
//
// Pure: no I/O. Sections are immutable once built; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hadal/gateway/yaml_tree.h"

namespace hadal::gateway {

using Millis = std::chrono::milliseconds;
using TextPairs = std::vector<std::pair<std::string, std::string>>;

enum class FieldKind : uint8_t {
  kText,
  kInteger,
  kNumber,
  kBoolean,
  kDuration,  // 250ms, 5s, 2m, 1h, 1d
  kBytes,     // 512M, 4G: powers of 1024
  kChoice,    // one of a few words
  kTexts,     // a list of texts
  kNumbers,   // a list of numbers
  kTextMap,   // a map from text to text
  kSection,
  kSections,    // a list of sections
  kSectionMap,  // a map from a name to a section
};

class SectionInfo;
class ConfigReader;

struct Field {
  std::string name;
  FieldKind kind = FieldKind::kText;
  std::string help;
  std::string shown_default = {};  // as YAML, or words; empty: none
  bool default_is_value = true;    // ... or words
  bool required = false;
  double minimum = 0, maximum = 0;  // kInteger, kNumber, kNumbers; kDuration: milliseconds
  std::vector<std::string> choices = {};
  std::shared_ptr<const SectionInfo> inner = nullptr;  // of the last three kinds; several fields
                                                       // may be sections of one kind
  std::string shorthand = {};  // kSectionMap: the inner field that a scalar alone stands for
  std::function<void(ConfigReader&, const YamlNode&, const std::string& path, void* object)> read =
      nullptr;
};

class SectionInfo {
 public:
  SectionInfo(std::string title, std::string help)
      : title_(std::move(title)), help_(std::move(help)) {}
  const std::string& title() const { return title_; }
  const std::string& help() const { return help_; }
  const std::vector<Field>& fields() const { return fields_; }
  const Field* find(std::string_view name) const;

 protected:
  std::vector<Field> fields_;

 private:
  std::string title_;
  std::string help_;
};

// Reads a tree into structs. Collects everything that is wrong, and where each given value stands.
class ConfigReader {
 public:
  static constexpr size_t kErrorsMax = 20;

  void section(const SectionInfo& info, const YamlNode& node, const std::string& path,
               void* object);
  void fault(Position at, std::string what);
  // At the place of "backends[1].weight", or of the nearest thing around it that was given.
  void fault(const std::string& path, const std::string& what);
  bool was_given(const std::string& path) const { return places_.count(path) > 0; }
  Position place(std::string path) const;
  void remember(const std::string& path, Position at) { places_[path] = at; }
  ConfigErrors take_errors() { return std::move(errors_); }

  // Each reports what is wrong and leaves `target` as it is.
  void text(const YamlNode& node, const std::string& path, std::string* target);
  void boolean(const YamlNode& node, const std::string& path, bool* target);
  void integer(const Field& field, const YamlNode& node, const std::string& path, int64_t* target);
  void number(const Field& field, const YamlNode& node, const std::string& path, double* target);
  void duration(const Field& field, const YamlNode& node, const std::string& path, Millis* target);
  void bytes(const YamlNode& node, const std::string& path, uint64_t* target);
  void choice(const Field& field, const YamlNode& node, const std::string& path,
              std::string* target);
  void texts(const YamlNode& node, const std::string& path, std::vector<std::string>* target);
  void numbers(const Field& field, const YamlNode& node, const std::string& path,
               std::vector<double>* target);
  void text_map(const YamlNode& node, const std::string& path, TextPairs* target);
  bool is_kind(const YamlNode& node, const std::string& path, YamlNode::Kind kind,
               std::string_view wanted);

 private:
  ConfigErrors errors_;
  std::map<std::string, Position> places_;
};

// "5s", "250ms": the largest unit that says it exactly.
std::string duration_text(Millis value);
std::optional<Millis> parse_duration(std::string_view text);
std::string bytes_text(uint64_t value);
std::optional<uint64_t> parse_size(std::string_view text);
// The known name that `name` was probably meant to be; empty when none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

struct Range {
  double minimum;
  double maximum;
};
// A default in words, where the struct's own value only means "not said".
struct Unset {
  const char* words = nullptr;
};

template <class T>
class Section final : public SectionInfo {
 public:
  using SectionInfo::SectionInfo;

  Section& text(std::string name, std::string T::*member, std::string help, Unset unset = {}) {
    return add({std::move(name), FieldKind::kText, std::move(help), defaults_.*member}, unset,
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) { r.text(n, path, &(object->*member)); });
  }
  Section& choice(std::string name, std::string T::*member, std::vector<std::string> choices,
                  std::string help, Unset unset = {}) {
    Field field{std::move(name), FieldKind::kChoice, std::move(help), defaults_.*member};
    field.choices = std::move(choices);
    return add(std::move(field), unset,
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) { r.choice(f, n, path, &(object->*member)); });
  }
  template <class Int>
  Section& integer(std::string name, Int T::*member, Range range, std::string help,
                   Unset unset = {}) {
    Field field{std::move(name), FieldKind::kInteger, std::move(help),
                std::to_string(defaults_.*member)};
    field.minimum = range.minimum;
    field.maximum = range.maximum;
    return add(std::move(field), unset,
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) {
                 int64_t value = static_cast<int64_t>(object->*member);
                 r.integer(f, n, path, &value);
                 object->*member = static_cast<Int>(value);
               });
  }
  Section& number(std::string name, double T::*member, Range range, std::string help,
                  Unset unset = {});
  Section& boolean(std::string name, bool T::*member, std::string help) {
    return add({std::move(name), FieldKind::kBoolean, std::move(help),
                defaults_.*member ? "true" : "false"},
               {},
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) { r.boolean(n, path, &(object->*member)); });
  }
  Section& boolean(std::string name, std::optional<bool> T::*member, std::string help,
                   Unset unset) {
    return add({std::move(name), FieldKind::kBoolean, std::move(help)}, unset,
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) {
                 bool value = false;
                 const bool scalar = n.kind == YamlNode::Kind::kScalar;
                 r.boolean(n, path, &value);
                 if (scalar) object->*member = value;
               });
  }
  Section& duration(std::string name, Millis T::*member, Millis least, Millis most,
                    std::string help) {
    Field field{std::move(name), FieldKind::kDuration, std::move(help),
                duration_text(defaults_.*member)};
    field.minimum = static_cast<double>(least.count());
    field.maximum = static_cast<double>(most.count());
    return add(std::move(field), {},
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) { r.duration(f, n, path, &(object->*member)); });
  }
  Section& bytes(std::string name, uint64_t T::*member, std::string help, Unset unset = {}) {
    return add({std::move(name), FieldKind::kBytes, std::move(help), bytes_text(defaults_.*member)},
               unset,
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) { r.bytes(n, path, &(object->*member)); });
  }
  Section& texts(std::string name, std::vector<std::string> T::*member, std::string help,
                 Unset unset = {}) {
    return add({std::move(name), FieldKind::kTexts, std::move(help)}, unset,
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) { r.texts(n, path, &(object->*member)); });
  }
  Section& numbers(std::string name, std::vector<double> T::*member, Range range, std::string help,
                   Unset unset = {}) {
    Field field{std::move(name), FieldKind::kNumbers, std::move(help)};
    field.minimum = range.minimum;
    field.maximum = range.maximum;
    return add(std::move(field), unset,
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) { r.numbers(f, n, path, &(object->*member)); });
  }
  Section& text_map(std::string name, TextPairs T::*member, std::string help, Unset unset = {}) {
    return add({std::move(name), FieldKind::kTextMap, std::move(help)}, unset,
               [member](ConfigReader& r, const Field&, const YamlNode& n, const std::string& path,
                        T* object) { r.text_map(n, path, &(object->*member)); });
  }
  template <class Inner>
  Section& inside(std::string name, Inner T::*member, Section<Inner> inner, std::string help) {
    Field field{std::move(name), FieldKind::kSection, std::move(help)};
    field.inner = std::make_shared<const Section<Inner>>(std::move(inner));
    return add(std::move(field), {},
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) { r.section(*f.inner, n, path, &(object->*member)); });
  }
  template <class Inner>
  Section& list(std::string name, std::vector<Inner> T::*member, Section<Inner> inner,
                std::string help) {
    Field field{std::move(name), FieldKind::kSections, std::move(help)};
    field.inner = std::make_shared<const Section<Inner>>(std::move(inner));
    return add(std::move(field), {},
               [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                        T* object) {
                 if (!r.is_kind(n, path, YamlNode::Kind::kList, "a list")) return;
                 for (size_t i = 0; i < n.items.size(); ++i) {
                   Inner one;
                   r.section(*f.inner, n.items[i], path + "[" + std::to_string(i) + "]", &one);
                   (object->*member).push_back(std::move(one));
                 }
               });
  }
  // `key`: where an entry's name goes. A scalar alone is read as the inner field `shorthand`.
  template <class Inner>
  Section& map(std::string name, std::vector<Inner> T::*member, std::string Inner::*key,
               std::string shorthand, Section<Inner> inner, std::string help) {
    Field field{std::move(name), FieldKind::kSectionMap, std::move(help)};
    field.inner = std::make_shared<const Section<Inner>>(std::move(inner));
    field.shorthand = std::move(shorthand);
    return add(std::move(field), {},
               [member, key](ConfigReader& r, const Field& f, const YamlNode& n,
                             const std::string& path, T* object) {
                 if (!r.is_kind(n, path, YamlNode::Kind::kMap, "a map")) return;
                 for (const YamlMember& entry : n.members) {
                   Inner one;
                   one.*key = entry.key;
                   const std::string where = path + "." + entry.key;
                   r.remember(where, entry.at);
                   if (entry.value.kind == YamlNode::Kind::kScalar && !f.shorthand.empty()) {
                     f.inner->find(f.shorthand)->read(r, entry.value, where, &one);
                   } else {
                     r.section(*f.inner, entry.value, where, &one);
                   }
                   (object->*member).push_back(std::move(one));
                 }
               });
  }
  // Of the field added last.
  Section& required() {
    fields_.back().required = true;
    fields_.back().shown_default.clear();
    return *this;
  }

 private:
  template <class Read>
  Section& add(Field field, Unset unset, Read read) {
    if (unset.words != nullptr) {
      field.shown_default = unset.words;
      field.default_is_value = false;
    }
    // The closure has the field's rules without pointing into the vector that it lies in.
    Field rules = field;
    field.read = [rules, read](ConfigReader& reader, const YamlNode& node, const std::string& path,
                               void* object) {
      read(reader, rules, node, path, static_cast<T*>(object));
    };
    fields_.push_back(std::move(field));
    return *this;
  }

  const T defaults_{};
};

template <class T>
Section<T>& Section<T>::number(std::string name, double T::*member, Range range, std::string help,
                               Unset unset) {
  std::string shown = std::to_string(defaults_.*member);
  shown.erase(shown.find_last_not_of('0') + 1);
  if (shown.ends_with('.')) shown.pop_back();
  Field field{std::move(name), FieldKind::kNumber, std::move(help), std::move(shown)};
  field.minimum = range.minimum;
  field.maximum = range.maximum;
  return add(std::move(field), unset,
             [member](ConfigReader& r, const Field& f, const YamlNode& n, const std::string& path,
                      T* object) { r.number(f, n, path, &(object->*member)); });
}

}  // namespace hadal::gateway
