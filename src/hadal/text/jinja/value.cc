#include "hadal/text/jinja/value.h"

#include <algorithm>
#include <functional>

#include "hadal/text/jinja/object.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

constexpr size_t kIndexedFrom = 16;  // below, comparing all keys is faster than hashing one
constexpr size_t kKeyTupleMax = 16;

void add_span(std::vector<Span>* spans, Span span) {
  if (span.begin == span.end) return;
  if (!spans->empty() && spans->back().end == span.begin) {
    spans->back().end = span.end;
  } else {
    spans->push_back(span);
  }
}

size_t key_hash(const Value& key) {
  switch (key.kind()) {
    case Value::Kind::kString:
      return std::hash<std::string>()(key.text());
    case Value::Kind::kBool:
    case Value::Kind::kInt:
    case Value::Kind::kFloat:
      return std::hash<double>()(key.as_double());
    case Value::Kind::kTuple: {
      size_t hash = 17;
      for (const Value& item : key.items()) hash = hash * 1000003 + key_hash(item);
      return hash;
    }
    default:
      return 1;
  }
}

bool is_scalar_key(const Value& value) { return !value.is_sequence() && !value.is_dict(); }

}  // namespace

Str Str::slice(size_t begin, size_t end) const {
  Str out;
  out.markup = markup;
  out.append(*this, begin, end);
  return out;
}

void Str::append(std::string_view own) { text.append(own); }

void Str::append(const Str& other) { append(other, 0, other.text.size()); }

void Str::append(const Str& other, size_t begin, size_t end) {
  const size_t base = text.size();
  text.append(other.text, begin, end - begin);
  auto at = std::ranges::partition_point(other.foreign,
                                         [begin](const Span& span) { return span.end <= begin; });
  for (; at != other.foreign.end() && at->begin < end; ++at) {
    const size_t from = std::max(at->begin, begin);
    const size_t to = std::min(at->end, end);
    add_span(&foreign, {base + from - begin, base + to - begin});
  }
}

Value Value::none() {
  Value out;
  out.kind_ = Kind::kNone;
  return out;
}

Value Value::boolean(bool value) {
  Value out;
  out.kind_ = Kind::kBool;
  out.int_ = value ? 1 : 0;
  return out;
}

Value Value::integer(int64_t value) {
  Value out;
  out.kind_ = Kind::kInt;
  out.int_ = value;
  return out;
}

Value Value::number(double value) {
  Value out;
  out.kind_ = Kind::kFloat;
  out.float_ = value;
  return out;
}

Value Value::string(std::string text) {
  Str out;
  out.text = is_valid_utf8(text) ? std::move(text) : replace_ill_formed(text);
  return str(std::move(out));
}

Value Value::foreign(std::string text) {
  Str out;
  out.text = is_valid_utf8(text) ? std::move(text) : replace_ill_formed(text);
  if (!out.text.empty()) out.foreign.push_back({0, out.text.size()});
  return str(std::move(out));
}

Value Value::str(Str text) {
  Value out;
  out.kind_ = Kind::kString;
  out.heap_ = std::make_shared<Str>(std::move(text));
  return out;
}

Value Value::list(std::vector<Value> items) {
  auto heap = std::make_shared<List>();
  for (const Value& item : items) heap->depth = std::max(heap->depth, item.depth() + 1);
  heap->items = std::move(items);
  Value out;
  out.kind_ = Kind::kList;
  out.heap_ = std::move(heap);
  return out;
}

Value Value::tuple(std::vector<Value> items) {
  Value out = list(std::move(items));
  out.kind_ = Kind::kTuple;
  return out;
}

Value Value::dict(Dict items) {
  Value out;
  out.kind_ = Kind::kDict;
  out.heap_ = std::make_shared<Dict>(std::move(items));
  return out;
}

Value Value::object(std::shared_ptr<Object> object) {
  Value out;
  out.kind_ = Kind::kObject;
  out.heap_ = std::move(object);
  return out;
}

Value Value::undefined(std::string message) {
  Value out;
  out.heap_ = std::make_shared<std::string>(std::move(message));
  return out;
}

double Value::as_double() const {
  return kind_ == Kind::kFloat ? float_ : static_cast<double>(int_);
}

const std::vector<Value>& Value::items() const {
  return static_cast<const List*>(heap_.get())->items;
}
const Dict& Value::as_dict() const { return *static_cast<const Dict*>(heap_.get()); }
Object& Value::as_object() const { return *static_cast<Object*>(heap_.get()); }
std::shared_ptr<Object> Value::shared_object() const {
  return std::static_pointer_cast<Object>(heap_);
}

const std::string& Value::undefined_message() const {
  static const std::string kNameless = "a value is undefined";
  return heap_ == nullptr ? kNameless : *static_cast<const std::string*>(heap_.get());
}

Str* Value::unique_str() {
  return kind_ == Kind::kString && heap_.use_count() == 1 ? static_cast<Str*>(heap_.get())
                                                          : nullptr;
}

int Value::depth() const {
  switch (kind_) {
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<const List*>(heap_.get())->depth;
    case Kind::kDict:
      return as_dict().depth();
    case Kind::kObject:
      return as_object().depth;
    default:
      return 0;
  }
}

size_t Dict::position(const Value& key) const {
  if (index_.empty()) {
    for (size_t i = 0; i < items_.size(); ++i) {
      if (same_key(items_[i].first, key)) return i;
    }
    return items_.size();
  }
  const auto [begin, end] = index_.equal_range(key_hash(key));
  for (auto at = begin; at != end; ++at) {
    if (same_key(items_[at->second].first, key)) return at->second;
  }
  return items_.size();
}

void Dict::set(Value key, Value value) {
  depth_ = std::max({depth_, key.depth() + 1, value.depth() + 1});
  const size_t at = position(key);
  if (at < items_.size()) {
    items_[at].second = std::move(value);
    return;
  }
  items_.emplace_back(std::move(key), std::move(value));
  if (items_.size() == kIndexedFrom) {
    for (uint32_t i = 0; i < items_.size(); ++i) index_.emplace(key_hash(items_[i].first), i);
  } else if (items_.size() > kIndexedFrom) {
    index_.emplace(key_hash(items_.back().first), static_cast<uint32_t>(items_.size() - 1));
  }
}

const Value* Dict::find(const Value& key) const {
  const size_t at = position(key);
  return at < items_.size() ? &items_[at].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (!index_.empty()) return find(Value::string(std::string(key)));
  for (const auto& [name, value] : items_) {
    if (name.is_string() && name.text() == key) return &value;
  }
  return nullptr;
}

bool is_key(const Value& value) {
  if (value.kind() == Value::Kind::kTuple) {
    return value.items().size() <= kKeyTupleMax &&
           std::ranges::all_of(value.items(), is_scalar_key);
  }
  return is_scalar_key(value);
}

bool same_key(const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return a.text() == b.text();
  if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.kind() != b.kind()) return false;
  if (a.kind() == Value::Kind::kTuple) {
    return std::ranges::equal(a.items(), b.items(), same_key);
  }
  return a.is_none() || a.is_undefined() || a.identity() == b.identity();
}

}  // namespace hadal::jinja
