// JSON as Python's json module writes and reads it.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "hadal/text/jinja/filters.h"
#include "hadal/text/jinja/python_text.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

using Kind = Value::Kind;

class Writer {
 public:
  Writer(const Bound& bound, Budget& budget) : budget_(budget) {
    ensure_ascii_ = bound.flag(0);
    if (bound.has(1) && !bound[1].is_none()) set_indent(bound[1]);
    if (indent_) item_separator_ = ",";
    if (bound.has(2) && !bound[2].is_none()) set_separators(bound[2]);
    sort_keys_ = bound.flag(3);
  }

  void write(const Value& value, int depth) {
    budget_.work();
    const size_t before = out_.text.size();
    switch (value.kind()) {
      case Kind::kNone:
        out_.append("null");
        break;
      case Kind::kBool:
        out_.append(value.as_int() != 0 ? "true" : "false");
        break;
      case Kind::kInt:
        out_.append(std::to_string(value.as_int()));
        break;
      case Kind::kFloat:
        out_.append(real(value.as_double()));
        break;
      case Kind::kString:
        string(value.as_str());
        break;
      case Kind::kList:
      case Kind::kTuple:
        return array(value.items(), depth);
      case Kind::kDict:
        return object(value.as_dict(), depth);
      default:
        if (value.kind() == Kind::kObject && value.as_object().kind == Object::Kind::kGroup) {
          return array(static_cast<const Group&>(value.as_object()).pair, depth);
        }
        raise(fmt::format("Object of type {} is not JSON serializable", type_name(value)));
    }
    budget_.made(out_.text.size() - before);
  }

  Str take() { return std::move(out_); }

 private:
  void set_indent(const Value& value) {
    if (value.is_string()) {
      indent_ = value.text();
      return;
    }
    const int64_t width = to_index(value);
    budget_.made(static_cast<uint64_t>(std::max<int64_t>(width, 0)));
    indent_ = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }

  void set_separators(const Value& value) {
    const std::vector<Value> both = to_list(value, budget_);
    if (both.size() != 2 || !both[0].is_string() || !both[1].is_string()) {
      raise("separators must be two strings");
    }
    item_separator_ = both[0].text();
    key_separator_ = both[1].text();
  }

  static std::string real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return float_repr(value);
  }

  void string(const Str& text) {
    Str json;
    append_json_string(text.text, ensure_ascii_, &json.text);
    if (text.is_foreign()) json.foreign.push_back({0, json.text.size()});
    out_.append(json);
  }

  void separate(bool first, int depth) {
    budget_.made(item_separator_.size() +
                 (indent_ ? indent_->size() * static_cast<size_t>(depth) + 1 : 0));
    if (!first) out_.append(item_separator_);
    if (indent_) line(depth);
  }

  void line(int depth) {
    out_.append("\n");
    for (int i = 0; i < depth; ++i) out_.append(*indent_);
  }

  void array(const std::vector<Value>& items, int depth) {
    out_.append("[");
    for (size_t i = 0; i < items.size(); ++i) {
      separate(i == 0, depth + 1);
      write(items[i], depth + 1);
    }
    if (indent_ && !items.empty()) line(depth);
    out_.append("]");
  }

  void object(const Dict& dict, int depth) {
    std::vector<const Dict::Item*> items;
    for (const Dict::Item& item : dict.items()) items.push_back(&item);
    if (sort_keys_) {
      std::stable_sort(items.begin(), items.end(), [this](const auto* a, const auto* b) {
        return less(a->first, b->first, "<", budget_);
      });
    }
    out_.append("{");
    for (size_t i = 0; i < items.size(); ++i) {
      separate(i == 0, depth + 1);
      key(items[i]->first);
      out_.append(key_separator_);
      write(items[i]->second, depth + 1);
    }
    if (indent_ && !items.empty()) line(depth);
    out_.append("}");
  }

  void key(const Value& value) {
    if (value.is_string()) return string(value.as_str());
    Str text;
    if (value.kind() == Kind::kFloat) {
      text.append(real(value.as_double()));
    } else if (value.kind() == Kind::kBool) {
      text.append(value.as_int() != 0 ? "true" : "false");
    } else if (value.is_none()) {
      text.append("null");
    } else if (value.kind() == Kind::kInt) {
      text.append(std::to_string(value.as_int()));
    } else {
      raise(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(value)));
    }
    string(text);
  }

  Budget& budget_;
  bool ensure_ascii_ = false;
  bool sort_keys_ = false;
  std::optional<std::string> indent_;
  std::string item_separator_ = ", ";
  std::string key_separator_ = ": ";
  Str out_;
};

class Reader {
 public:
  Reader(const Str& text, Budget& budget)
      : text_(text.text), foreign_(text.is_foreign()), budget_(budget) {}

  Value run() {
    const Value out = value(0);
    spaces();
    if (at_ < text_.size()) bad("extra data");
    return out;
  }

 private:
  [[noreturn]] void bad(const char* what) const {
    raise(fmt::format("not JSON: {} at byte {}", what, at_));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void spaces() {
    while (at_ < text_.size() &&
           std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }
  bool skip(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  Value value(int depth) {
    if (depth > budget_.limits().value_depth) Budget::over("nesting of lists and dictionaries");
    budget_.work();
    spaces();
    if (peek() == '"') return string();
    if (skip("{")) return object(depth);
    if (skip("[")) return array(depth);
    if (skip("true")) return Value::boolean(true);
    if (skip("false")) return Value::boolean(false);
    if (skip("null")) return Value::none();
    if (skip("NaN")) return Value::number(std::nan(""));
    if (skip("Infinity")) return Value::number(HUGE_VAL);
    if (skip("-Infinity")) return Value::number(-HUGE_VAL);
    return number();
  }

  Value array(int depth) {
    std::vector<Value> items;
    spaces();
    if (skip("]")) return make_list({}, budget_);
    while (true) {
      budget_.items(1);
      items.push_back(value(depth + 1));
      spaces();
      if (skip("]")) return make_list(std::move(items), budget_);
      if (!skip(",")) bad("expected ',' or ']'");
    }
  }

  Value object(int depth) {
    Dict dict;
    spaces();
    if (skip("}")) return make_dict({}, budget_);
    while (true) {
      spaces();
      if (peek() != '"') bad("expected a name in double quotes");
      Value key = string();
      spaces();
      if (!skip(":")) bad("expected ':'");
      set_item(&dict, std::move(key), value(depth + 1), budget_);
      spaces();
      if (skip("}")) return make_dict(std::move(dict), budget_);
      if (!skip(",")) bad("expected ',' or '}'");
    }
  }

  Value number() {
    const size_t begin = at_;
    const auto digits = [this] {
      const size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      return at_ - first;
    };
    if (peek() == '-') ++at_;
    const size_t whole = at_;
    if (digits() == 0) bad("expected a value");
    if (text_[whole] == '0') at_ = whole + 1;
    bool is_real = false;
    if (const size_t before = at_; peek() == '.') {
      ++at_;
      is_real = digits() > 0;
      if (!is_real) at_ = before;
    }
    if (const size_t before = at_; peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (digits() > 0) {
        is_real = true;
      } else {
        at_ = before;
      }
    }
    const std::string_view token = text_.substr(begin, at_ - begin);
    if (is_real) {
      double out = 0;
      const auto parsed = std::from_chars(token.data(), token.data() + token.size(), out);
      if (parsed.ec == std::errc::result_out_of_range) {
        out =
            token.find("e-") == std::string_view::npos && token.find("E-") == std::string_view::npos
                ? std::copysign(HUGE_VAL, token[0] == '-' ? -1 : 1)
                : 0;
      }
      return Value::number(out);
    }
    int64_t out = 0;
    const auto parsed = std::from_chars(token.data(), token.data() + token.size(), out);
    if (parsed.ec == std::errc()) return Value::integer(out);
    double beyond = 0;  // of 64 bits: the nearest number that there is
    std::from_chars(token.data(), token.data() + token.size(), beyond);
    return Value::number(beyond);
  }

  Value string() {
    ++at_;
    std::string out;
    while (true) {
      if (at_ >= text_.size()) bad("unterminated string");
      const char c = text_[at_];
      if (c == '"') break;
      if (static_cast<uint8_t>(c) < 0x20) bad("control character in a string");
      ++at_;
      if (c == '\\') {
        escape(&out);
      } else {
        out.push_back(c);
      }
    }
    ++at_;
    budget_.made(out.size() + sizeof(Str));
    return foreign_ ? Value::foreign(std::move(out)) : Value::string(std::move(out));
  }

  void escape(std::string* out) {
    constexpr std::string_view kFrom = "\"\\/bfnrt";
    constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
    const char c = peek();
    ++at_;
    if (c != 'u') {
      const size_t known = kFrom.find(c);
      if (c == '\0' || known == std::string_view::npos) bad("invalid escape");
      out->push_back(kTo[known]);
      return;
    }
    uint32_t unit = hexadecimal();
    if (unit >= 0xD800 && unit < 0xDC00 && text_.substr(at_).starts_with("\\u")) {
      const size_t before = at_;
      at_ += 2;
      const uint32_t low = hexadecimal();
      if (low >= 0xDC00 && low < 0xE000) {
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
      } else {
        at_ = before;
      }
    }
    append_utf8(unit >= 0xD800 && unit < 0xE000 ? 0xFFFD : unit, out);  // half a pair has no UTF-8
  }

  uint32_t hexadecimal() {
    uint32_t out = 0;
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
    if (digits.size() != 4 || parsed.ec != std::errc() || parsed.ptr != digits.data() + 4)
      bad("invalid \\u escape");
    at_ += 4;
    return out;
  }

  std::string_view text_;
  bool foreign_;
  Budget& budget_;
  size_t at_ = 0;
};

}  // namespace

Value to_json(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  Writer writer(bound, budget);
  writer.write(value, 0);
  return make_str(writer.take(), budget);
}

Value from_json(const Value& value, const Arguments& arguments, Budget& budget) {
  const Bound bound("from_json", arguments, {});
  if (!value.is_string()) {
    raise(fmt::format("the JSON object must be str, bytes or bytearray, not {}", type_name(value)));
  }
  return Reader(value.as_str(), budget).run();
}

}  // namespace hadal::jinja
