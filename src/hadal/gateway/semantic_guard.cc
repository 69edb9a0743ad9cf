#include "hadal/gateway/semantic_guard.h"

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hadal/gateway/semantic_words.h"

namespace hadal::gateway {
namespace {

using Part = MeaningToken::Part;
using Words = std::set<std::string>;

// What of `a` is not in `b`.
Words without(const Words& a, const Words& b) {
  Words rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(rest, rest.end()));
  return rest;
}

// A meaning by its parts.
struct Parts {
  explicit Parts(const Meaning& meaning) {
    for (size_t i = 0; i < meaning.size(); ++i) {
      const MeaningToken& token = meaning[i];
      if (token.part == Part::kNot) ++negations;
      if (token.part == Part::kKind && token.text != "what") kinds.insert(token.text);
      if (token.part == Part::kKind && token.text == "what") asks_what = true;
      if (token.part == Part::kKind && token.text == "count") add_role(meaning, i);
      if (token.part == Part::kNothing && !token.text.empty()) tenses.insert(token.text);
      owners |= token.owner;
      if (token.name) names.insert(token.text);
      if (token.part == Part::kNumber) add_number(meaning, i);
      if (token.part == Part::kRole) add_role(meaning, i);
      if (token.part == Part::kHan && i > 0 && meaning[i - 1].part == Part::kHan) {
        pairs.insert(meaning[i - 1].text + token.text);
      }
      if (token.is_content() || token.part == Part::kNumber) order.push_back(token.text);
      if (token.is_content()) content.insert(token.text);
    }
    if (kinds.size() > 1) kinds.erase("yesno");
    // What one needs to do and how one does it are the same question; whether one needs to is not.
    if (kinds.count("yesno") == 0) content.erase("need");
  }

  void add_number(const Meaning& meaning, size_t i) {
    ++(meaning[i].only_one ? ones : numbers)[meaning[i].text];
    if (i + 1 < meaning.size() && meaning[i + 1].part == Part::kUnit) {
      measures.insert(meaning[i].text + " " + meaning[i + 1].text);
    }
  }

  // The next word that says something; of Han characters without a word, two.
  void add_role(const Meaning& meaning, size_t i) {
    std::string next;
    for (size_t at = i + 1; at < meaning.size(); ++at) {
      const MeaningToken& token = meaning[at];
      if (token.part == Part::kRole) break;
      if (!token.is_content() && token.part != Part::kNumber) continue;
      next = token.text;
      if (token.part == Part::kHan && at + 1 < meaning.size() &&
          meaning[at + 1].part == Part::kHan) {
        next += meaning[at + 1].text;
      }
      break;
    }
    if (!next.empty()) roles[meaning[i].text].insert(next);
  }

  bool mentions(const std::string& word) const {
    return content.count(word) > 0 || pairs.count(word) > 0 ||
           std::find(order.begin(), order.end(), word) != order.end();
  }

  int negations = 0;
  bool asks_what = false;
  bool owners = false;
  Words kinds, names, content, pairs, measures, tenses;
  std::map<std::string, int> numbers, ones;
  std::map<std::string, Words> roles;
  std::vector<std::string> order;
};

// "One" may be missing, but not in another number's place.
bool same_numbers(const Parts& a, const Parts& b) {
  if (a.numbers != b.numbers) {
    auto all_a = a.numbers, all_b = b.numbers;  // "1" and "one"
    for (const auto& [text, count] : a.ones) all_a[text] += count;
    for (const auto& [text, count] : b.ones) all_b[text] += count;
    if (all_a != all_b) return false;
  }
  return a.measures.empty() || b.measures.empty() || a.measures == b.measures;
}

bool same_kind(const Parts& a, const Parts& b) {
  if (a.kinds == b.kinds) return true;
  if (!a.kinds.empty() && !b.kinds.empty()) return false;
  const Parts& said = a.kinds.empty() ? b : a;
  const Parts& unsaid = a.kinds.empty() ? a : b;
  for (const std::string& kind : said.kinds) {
    const bool counts = kind == "count" || kind == "long" || kind == "often";
    const bool open = kind == "how" || kind == "yesno";
    if (!counts && !(open && !unsaid.asks_what)) return false;
  }
  return true;
}

// Whether a word plays another part: what one comes from there, one goes to here; or two have
// changed places.
bool swaps_roles(const Parts& a, const Parts& b) {
  for (const auto& [role, here] : a.roles) {
    const auto same = b.roles.find(role);
    const Words there = same != b.roles.end() ? same->second : Words();
    for (const std::string& mine : without(here, there)) {
      if (!b.mentions(mine)) continue;
      for (const std::string& theirs : without(there, here)) {
        if (a.mentions(theirs)) return true;
      }
      for (const auto& [other, words] : b.roles) {
        const auto back = a.roles.find(other);
        if (other == role || words.count(mine) == 0) continue;
        if (back == a.roles.end() || back->second.count(mine) == 0) return true;
      }
    }
  }
  return false;
}

// "Dogs chase cats", "cats chase dogs": what stood before a word stands behind it, and the other
// way round. "Insurance covers damage", "damage is covered by insurance": the same, and right.
bool reverses(const Parts& a, const Parts& b) {
  if (a.owners || b.owners) return false;  // "Europe's highest mountain"
  const bool passive_a = a.roles.count("by") > 0, passive_b = b.roles.count("by") > 0;
  if (passive_a != passive_b) return a.order == b.order;
  if (a.order.size() != b.order.size() || a.order == b.order) return false;
  size_t front = 0, back = 0;
  const size_t size = a.order.size();
  while (a.order[front] == b.order[front]) ++front;
  while (a.order[size - 1 - back] == b.order[size - 1 - back]) ++back;
  const std::vector<std::string> x(a.order.begin() + static_cast<ptrdiff_t>(front),
                                   a.order.end() - static_cast<ptrdiff_t>(back));
  const std::vector<std::string> y(b.order.begin() + static_cast<ptrdiff_t>(front),
                                   b.order.end() - static_cast<ptrdiff_t>(back));
  constexpr size_t kOrderMax = 48;
  if (x.size() > kOrderMax) return true;
  // x = left middle right, y = right middle left.
  for (size_t left = 1; left + 1 < x.size(); ++left) {
    for (size_t right = 1; left + right < x.size(); ++right) {
      const size_t middle = x.size() - left - right;
      const auto part = [](const std::vector<std::string>& words, size_t from, size_t count) {
        return std::span(words).subspan(from, count);
      };
      if (std::ranges::equal(part(x, 0, left), part(y, right + middle, left)) &&
          std::ranges::equal(part(x, left, middle), part(y, right, middle)) &&
          std::ranges::equal(part(x, left + middle, right), part(y, 0, right))) {
        return true;
      }
    }
  }
  return false;
}

bool same_time(const Parts& a, const Parts& b) {
  return a.tenses.empty() || b.tenses.empty() ||
         !without(a.tenses, without(a.tenses, b.tenses)).empty();
}

bool has_opposites(const Parts& a, const Parts& b) {
  for (const auto& [one, other] : opposites()) {
    const std::string x(one), y(other);
    const bool ax = a.mentions(x), ay = a.mentions(y), bx = b.mentions(x), by = b.mentions(y);
    if ((ax && !ay && by && !bx) || (ay && !ax && bx && !by)) return true;
  }
  return false;
}

// Two sentences that are one but for a word or two: whatever these are, they are the point.
bool substitutes(const Parts& a, const Parts& b) {
  const size_t shorter = std::min(a.order.size(), b.order.size());
  size_t front = 0, back = 0;
  while (front < shorter && a.order[front] == b.order[front]) ++front;
  while (back < shorter - front &&
         a.order[a.order.size() - 1 - back] == b.order[b.order.size() - 1 - back]) {
    ++back;
  }
  const size_t left_a = a.order.size() - front - back, left_b = b.order.size() - front - back;
  return left_a > 0 && left_b > 0 && front + back > 0 &&
         std::max(left_a, left_b) <= std::max<size_t>(front + back, 3);
}

// Characters that no list knows must stand together as they did: 蜂蜜 is not 蜜蜂.
bool same_pairs(const Parts& a, const Parts& b) {
  const size_t most = std::max(a.pairs.size(), b.pairs.size());
  const size_t shared = a.pairs.size() - without(a.pairs, b.pairs).size();
  return shared * 2 >= most;
}

}  // namespace

std::string_view objection_name(Objection objection) {
  constexpr std::string_view kNames[] = {"none", "number",   "negation",  "kind",
                                         "name", "opposite", "direction", "word"};
  return kNames[static_cast<size_t>(objection)];
}

Objection objection(const Meaning& first, const Meaning& second, GuardLevel level) {
  const Parts a(first), b(second);
  if (a.order.empty() || b.order.empty()) return Objection::kWord;  // "Who are you?"
  if (!same_numbers(a, b)) return Objection::kNumber;
  if (a.negations != b.negations) return Objection::kNegation;
  if (has_opposites(a, b)) return Objection::kOpposite;
  if (swaps_roles(a, b) || reverses(a, b)) return Objection::kDirection;
  if (!same_kind(a, b) || !same_time(a, b)) return Objection::kKind;
  // A name at the beginning of a sentence looks like any word there.
  for (const std::string& name : a.names) {
    if (!b.mentions(name)) return Objection::kName;
  }
  for (const std::string& name : b.names) {
    if (!a.mentions(name)) return Objection::kName;
  }
  if (level == GuardLevel::kWords) {
    if (a.content != b.content || !same_pairs(a, b)) return Objection::kWord;
  } else if (substitutes(a, b)) {
    return Objection::kWord;
  }
  return Objection::kNone;
}

}  // namespace hadal::gateway
