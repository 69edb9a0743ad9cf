// What string methods and filters have in common.
#include <fmt/core.h>

#include <algorithm>

#include "hadal/text/jinja/methods.h"

namespace hadal::jinja {
namespace {

constexpr size_t kNowhere = std::string::npos;

Value piece(const Str& text, size_t begin, size_t end, Budget& budget) {
  return make_str(text.slice(begin, end), budget);
}

// The text built from pieces of `from`, each mapped, keeps origins piece by piece.
template <class Map>
Value mapped(const Str& from, Budget& budget, const Map& map) {
  Str out;
  out.markup = from.markup;
  size_t at = 0;
  const auto run = [&](size_t end, bool foreign) {
    const size_t begin = out.text.size();
    while (at < end) {
      map(at, &out.text);
      at += code_point_at(from.text, at).length;
    }
    if (foreign && out.text.size() > begin) out.foreign.push_back({begin, out.text.size()});
  };
  for (const Span& span : from.foreign) {
    run(span.begin, false);
    run(span.end, true);
  }
  run(from.text.size(), false);
  return make_str(std::move(out), budget);
}

}  // namespace

Value stripped(const Str& text, const Str* chars, Side side, Budget& budget) {
  const std::string_view all = text.text;
  size_t begin = 0;
  size_t end = all.size();
  const auto strips = [&](size_t at) {
    if (chars == nullptr) return space_length(all.substr(at)) > 0;
    return chars->text.find(all.substr(at, code_point_at(all, at).length)) != kNowhere;
  };
  if ((static_cast<int>(side) & static_cast<int>(Side::kLeft)) != 0) {
    while (begin < end && strips(begin)) begin += code_point_at(all, begin).length;
  }
  if ((static_cast<int>(side) & static_cast<int>(Side::kRight)) != 0) {
    while (end > begin) {
      const size_t last = character_before(all, end);
      if (!strips(last)) break;
      end = last;
    }
  }
  if (chars != nullptr) budget.work((begin + all.size() - end) * (chars->text.size() / 32));
  return piece(text, begin, end, budget);
}

Value replaced(const Str& text, const Str& from, const Str& to, int64_t count, Budget& budget) {
  Str out;
  out.markup = text.markup;
  budget.work(text.text.size() / 16);
  size_t at = 0;
  const auto put = [&](size_t end) {
    out.append(text, at, end);
    out.append(to);
    budget.made(to.text.size() + end - at);
    at = end;
    --count;
  };
  if (from.text.empty()) {
    // Before each character and behind the last.
    for (size_t i = 0; count != 0; i += code_point_at(text.text, i).length) {
      put(i);
      if (i == text.text.size()) break;
    }
  } else {
    for (size_t hit = 0; count != 0; at = hit + from.text.size()) {
      hit = text.text.find(from.text, at);
      if (hit == kNowhere) break;
      put(hit);
    }
  }
  out.append(text, std::min(at, text.text.size()), text.text.size());
  return make_str(std::move(out), budget);
}

Value cased(const Str& text, Case wanted, Budget& budget) {
  return mapped(text, budget,
                [&](size_t at, std::string* out) { append_case(text.text, at, wanted, out); });
}

Value capitalized(const Str& text, Budget& budget) {
  return mapped(text, budget, [&](size_t at, std::string* out) {
    append_case(text.text, at, at == 0 ? Case::kTitle : Case::kLower, out);
  });
}

Value centered(const Str& text, int64_t width, Budget& budget) {
  const auto count = static_cast<int64_t>(character_count(text.text));
  Str out;
  out.markup = text.markup;
  const int64_t pad = std::max<int64_t>(width - count, 0);
  const int64_t left = pad / 2 + (pad & width & 1);
  budget.made(static_cast<uint64_t>(pad));
  out.append(std::string(static_cast<size_t>(left), ' '));
  out.append(text);
  out.append(std::string(static_cast<size_t>(pad - left), ' '));
  return make_str(std::move(out), budget);
}

std::vector<Value> split_lines(const Str& text, bool keep_ends, Budget& budget) {
  std::vector<Value> out;
  const std::string_view all = text.text;
  for (size_t begin = 0; begin < all.size();) {
    size_t end = begin;
    size_t line_break = 0;
    while (end < all.size() && (line_break = line_break_length(all.substr(end))) == 0) {
      end += code_point_at(all, end).length;
    }
    budget.items(1);
    out.push_back(piece(text, begin, keep_ends ? end + line_break : end, budget));
    begin = end + line_break;
  }
  return out;
}

std::vector<Value> split_space(const Str& text, int64_t limit, bool from_right, Budget& budget) {
  const std::string_view all = text.text;
  std::vector<Value> out;
  const auto add = [&](size_t begin, size_t end) {
    budget.items(1);
    out.push_back(piece(text, begin, end, budget));
  };
  budget.work(all.size() / 16);
  if (!from_right) {
    for (size_t at = all.size() - left_stripped(all).size(); at < all.size();) {
      if (limit-- == 0) {
        add(at, all.size());
        break;
      }
      size_t end = at;
      while (end < all.size() && space_length(all.substr(end)) == 0) {
        end += code_point_at(all, end).length;
      }
      add(at, end);
      at = all.size() - left_stripped(all.substr(end)).size();
    }
    return out;
  }
  for (size_t end = right_stripped(all).size(); end > 0;) {
    if (limit-- == 0) {
      add(0, end);
      break;
    }
    size_t begin = end;
    while (begin > 0) {
      const size_t last = character_before(all, begin);
      if (space_length(all.substr(last)) > 0) break;
      begin = last;
    }
    add(begin, end);
    end = right_stripped(all.substr(0, begin)).size();
  }
  std::ranges::reverse(out);
  return out;
}

std::vector<Value> split_at(const Str& text, const Str& separator, int64_t limit, bool from_right,
                            Budget& budget) {
  if (separator.text.empty()) raise("empty separator");
  budget.work(text.text.size() / 16);
  std::vector<Value> out;
  const auto add = [&](size_t begin, size_t end) {
    budget.items(1);
    out.push_back(piece(text, begin, end, budget));
  };
  const size_t width = separator.text.size();
  if (!from_right) {
    size_t at = 0;
    for (; limit != 0; --limit) {
      const size_t hit = text.text.find(separator.text, at);
      if (hit == kNowhere) break;
      add(at, hit);
      at = hit + width;
    }
    add(at, text.text.size());
    return out;
  }
  size_t end = text.text.size();
  for (; limit != 0 && end >= width; --limit) {
    const size_t hit = text.text.rfind(separator.text, end - width);
    if (hit == kNowhere) break;
    add(hit + width, end);
    end = hit;
  }
  add(0, end);
  std::ranges::reverse(out);
  return out;
}

Value joined(const Str& separator, const Value& items, bool convert, Budget& budget) {
  Str out;
  out.markup = separator.markup;
  Iterator walk(items, budget);
  bool first = true;
  int64_t index = 0;
  for (Value item; walk.next(&item); ++index) {
    if (!first) out.append(separator);
    first = false;
    budget.made(separator.text.size());
    if (item.is_string()) {
      budget.made(item.text().size());
      out.append(item.as_str());
    } else if (convert) {
      out.append(to_str(item, budget));
    } else {
      raise(
          fmt::format("sequence item {}: expected str instance, {} found", index, type_name(item)));
    }
  }
  return make_str(std::move(out), budget);
}

Value escaped(const Value& value, Budget& budget) {
  if (value.is_string() && value.as_str().markup) return value;
  const Str text = to_str(value, budget);
  Value out = mapped(text, budget, [&](size_t at, std::string* to) {
    switch (text.text[at]) {
      case '&':
        return static_cast<void>(to->append("&amp;"));
      case '<':
        return static_cast<void>(to->append("&lt;"));
      case '>':
        return static_cast<void>(to->append("&gt;"));
      case '\'':
        return static_cast<void>(to->append("&#39;"));
      case '"':
        return static_cast<void>(to->append("&#34;"));
      default:
        to->append(text.text, at, code_point_at(text.text, at).length);
    }
  });
  out.unique_str()->markup = true;
  return out;
}

}  // namespace hadal::jinja
