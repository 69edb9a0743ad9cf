#include "hadal/gateway/semantic_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "hadal/gateway/semantic_words.h"
#include "hadal/text/fold.h"
#include "hadal/text/unicode.h"

namespace hadal::gateway {

using Part = MeaningToken::Part;

// A run of letters, a number, or one Han character.
struct Lexicon::Word {
  enum class Kind : uint8_t { kLetters, kDigits, kHan };
  std::u32string text;
  Kind kind = Kind::kLetters;
  bool capital = false;
  bool begins_sentence = false;
};

namespace {

std::string utf8(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) append_utf8(c, &out);
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool strip_ending(std::u32string* word, std::u32string_view ending, std::u32string_view instead) {
  if (!word->ends_with(ending) || word->size() < ending.size() + 3) return false;
  word->resize(word->size() - ending.size());
  word->append(instead);
  return true;
}

// English endings that leave the meaning: plural, -ing, -ed, final e. Others' words are too short
// on vowels to be mistaken for such.
std::u32string stem(std::u32string word) {
  strip_ending(&word, U"'s", U"");
  if (!strip_ending(&word, U"ies", U"y") && !strip_ending(&word, U"sses", U"ss") &&
      !strip_ending(&word, U"xes", U"x") && !strip_ending(&word, U"ches", U"ch") &&
      !strip_ending(&word, U"shes", U"sh")) {
    if (!word.ends_with(U"ss") && !word.ends_with(U"us") && !word.ends_with(U"is")) {
      strip_ending(&word, U"s", U"");
    }
  }
  const bool cut = strip_ending(&word, U"ing", U"") || strip_ending(&word, U"ed", U"");
  if (cut && word.size() >= 4 && word[word.size() - 1] == word[word.size() - 2] &&
      word.back() != U'l' && word.back() != U's') {
    word.pop_back();
  }
  if (word.size() > 4) strip_ending(&word, U"e", U"");
  return word;
}

constexpr std::pair<std::u32string_view, uint64_t> kNumberWords[] = {
    {U"zero", 0},     {U"one", 1},      {U"two", 2},        {U"three", 3},     {U"four", 4},
    {U"five", 5},     {U"six", 6},      {U"seven", 7},      {U"eight", 8},     {U"nine", 9},
    {U"ten", 10},     {U"eleven", 11},  {U"twelve", 12},    {U"thirteen", 13}, {U"fourteen", 14},
    {U"fifteen", 15}, {U"sixteen", 16}, {U"seventeen", 17}, {U"eighteen", 18}, {U"nineteen", 19},
    {U"twenty", 20},  {U"thirty", 30},  {U"forty", 40},     {U"fifty", 50},    {U"sixty", 60},
    {U"seventy", 70}, {U"eighty", 80},  {U"ninety", 90},    {U"first", 1},     {U"second", 2},
    {U"third", 3},    {U"fourth", 4},   {U"fifth", 5},      {U"sixth", 6},     {U"seventh", 7},
    {U"eighth", 8},   {U"ninth", 9},    {U"tenth", 10},     {U"eleventh", 11}, {U"twelfth", 12},
    {U"ii", 2},       {U"iii", 3},      {U"iv", 4},         {U"dozen", 12},    {U"twice", 2},
    {U"once", 1},
};
constexpr std::pair<std::u32string_view, uint64_t> kScaleWords[] = {
    {U"hundred", 100}, {U"thousand", 1'000}, {U"million", 1'000'000}, {U"billion", 1'000'000'000}};

template <size_t N>
std::optional<uint64_t> look_up(const std::pair<std::u32string_view, uint64_t> (&table)[N],
                                std::u32string_view word) {
  for (const auto& [text, value] : table) {
    if (text == word) return value;
  }
  return std::nullopt;
}

std::optional<uint64_t> han_digit(char32_t c) {
  constexpr std::u32string_view kDigits = U"零一二三四五六七八九";
  const size_t at = kDigits.find(c);
  if (at != std::u32string_view::npos) return at;
  if (c == U'〇') return 0;
  if (c == U'两') return 2;
  return std::nullopt;
}

std::optional<uint64_t> han_scale(char32_t c) {
  switch (c) {
    case U'十':
      return 10;
    case U'百':
      return 100;
    case U'千':
      return 1'000;
    case U'万':
      return 10'000;
    case U'亿':
      return 100'000'000;
    default:
      return std::nullopt;
  }
}

constexpr uint64_t kNumberMax = 1'000'000'000'000'000;

// "二〇二四" digit by digit, "三千五百" by its scales. The digits of it, or nothing: not a number,
// or one of no sensible size.
std::optional<std::string> han_number(std::u32string_view run) {
  const bool scaled = std::any_of(run.begin(), run.end(), [](char32_t c) { return han_scale(c); });
  if (!scaled) {
    std::string digits;
    for (const char32_t c : run) digits += std::to_string(*han_digit(c));
    return digits;
  }
  uint64_t total = 0, section = 0, digit = 0;
  bool has_digit = false;
  for (const char32_t c : run) {
    if (const auto value = han_digit(c)) {
      digit = *value;
      has_digit = true;
      continue;
    }
    const uint64_t scale = *han_scale(c);
    if (scale >= 10'000) {
      total = (total + section + digit) * scale;
      section = digit = 0;
      if (total > kNumberMax) return std::nullopt;
    } else {
      section += (has_digit ? digit : 1) * scale;
      digit = 0;
    }
    has_digit = false;
  }
  return std::to_string(total + section + digit);
}

}  // namespace

// Walks over a text once: characters to words, words to tokens.
class Lexicon::Reader {
 public:
  explicit Reader(std::string_view text) : chars_(fold_characters(text)) { split(); }

  const std::vector<Word>& words() const { return words_; }

  Meaning tokens(const Lexicon& lexicon) {
    for (at_ = 0; at_ < words_.size();) {
      if (take_form(lexicon) || take_number()) continue;
      const Word& word = words_[at_];
      if (word.kind == Word::Kind::kHan) {
        out_.push_back({utf8(word.text), Part::kHan});
      } else if (out_.empty() && is_command(word.text)) {
        out_.push_back({"", Part::kNothing});
      } else if (const auto known = lexicon.stems_.find(stem(word.text));
                 known != lexicon.stems_.end()) {
        out_.insert(out_.end(), known->second.begin(), known->second.end());
      } else {
        out_.push_back({utf8(stem(word.text)), Part::kWord, is_name(word)});
        out_.back().owner = word.text.ends_with(U"'s");
      }
      ++at_;
    }
    return std::move(out_);
  }

 private:
  void split() {
    bool sentence = true;
    for (size_t i = 0; i < chars_.size();) {
      const FoldedChar& c = chars_[i];
      switch (c.kind) {
        case FoldedChar::Kind::kHan:
          add({{c.c}, Word::Kind::kHan, false, sentence});
          sentence = false;
          ++i;
          break;
        case FoldedChar::Kind::kLetter:
          i = letters(i, sentence);
          sentence = false;
          break;
        case FoldedChar::Kind::kDigit:
          i = digits(i, sentence);
          sentence = false;
          break;
        default:
          if (c.c == U'%' || c.c == U'‰') add({U"percent", Word::Kind::kLetters});
          if (c.c == U'$') add({U"dollar", Word::Kind::kLetters});
          if (c.c == U'€') add({U"euro", Word::Kind::kLetters});
          if (c.c == U'.' || c.c == U'?' || c.c == U'!' || c.c == U':') sentence = true;
          ++i;
      }
    }
  }

  void add(Word word) { words_.push_back(std::move(word)); }
  bool is(size_t i, FoldedChar::Kind kind) const {
    return i < chars_.size() && chars_[i].kind == kind;
  }

  size_t letters(size_t i, bool sentence) {
    Word word{{}, Word::Kind::kLetters, chars_[i].was_upper, sentence};
    while (i < chars_.size()) {
      const char32_t c = chars_[i].c == U'’' ? U'\'' : chars_[i].c;
      const bool inside = c == U'\'' && is(i + 1, FoldedChar::Kind::kLetter);
      // C#, C++
      const bool sign = (c == U'#' || c == U'+') && !word.text.empty();
      if (!is(i, FoldedChar::Kind::kLetter) && !inside && !sign) break;
      word.text.push_back(c);
      ++i;
    }
    add(std::move(word));
    return i;
  }

  // 37.5, 1,000, 12:30; "2nd" without its ending.
  size_t digits(size_t i, bool sentence) {
    Word word{{}, Word::Kind::kDigits, false, sentence};
    while (i < chars_.size()) {
      const char32_t c = chars_[i].c;
      const bool digit = is(i, FoldedChar::Kind::kDigit);
      const bool joint =
          (c == U'.' || c == U':' || c == U',') && is(i + 1, FoldedChar::Kind::kDigit);
      if (!digit && !joint) break;
      if (c != U',') word.text.push_back(c);
      ++i;
    }
    constexpr std::array<std::u32string_view, 4> kOrdinal = {U"st", U"nd", U"rd", U"th"};
    if (is(i, FoldedChar::Kind::kLetter) && is(i + 1, FoldedChar::Kind::kLetter) &&
        !is(i + 2, FoldedChar::Kind::kLetter)) {
      const std::u32string ending = {chars_[i].c, chars_[i + 1].c};
      if (std::find(kOrdinal.begin(), kOrdinal.end(), ending) != kOrdinal.end()) i += 2;
    }
    add(std::move(word));
    return i;
  }

  // The longest form that begins here.
  bool take_form(const Lexicon& lexicon) {
    const auto found = lexicon.forms_.find(words_[at_].text);
    if (found == lexicon.forms_.end()) return false;
    for (const Form& form : found->second) {
      if (at_ + form.words.size() > words_.size()) continue;
      bool same = true;
      for (size_t i = 1; i < form.words.size() && same; ++i) {
        same = words_[at_ + i].text == form.words[i];
      }
      if (!same) continue;
      if (at_ == 0 && asks_yes_or_no(form)) out_.push_back({"yesno", Part::kKind});
      if (commands(form)) {
        at_ += form.words.size();
        return true;
      }
      out_.insert(out_.end(), form.tokens.begin(), form.tokens.end());
      at_ += form.words.size();
      return true;
    }
    return false;
  }

  // "Is it ok to ...", but not "Can you tell me ...".
  bool asks_yes_or_no(const Form& form) const {
    constexpr std::u32string_view kFirst[] = {U"is",  U"are",  U"am",  U"was",  U"were",
                                              U"do",  U"does", U"did", U"can",  U"could",
                                              U"may", U"will", U"has", U"have", U"should"};
    return std::find(std::begin(kFirst), std::end(kFirst), form.words[0]) != std::end(kFirst) &&
           std::find(form.words.begin(), form.words.end(), U"you") == form.words.end();
  }

  // "Calculate 3 + 4" asks what "3 + 4" does; "how do I calculate" does not.
  bool commands(const Form& form) const {
    const bool first = std::all_of(out_.begin(), out_.end(), [](const MeaningToken& token) {
      return token.part == Part::kNothing;
    });
    return first && form.tokens[0].part == Part::kMeaning &&
           (form.tokens[0].text == "calculate" || form.tokens[0].text == "计算");
  }

  bool take_number() {
    const Word& word = words_[at_];
    if (word.kind == Word::Kind::kDigits) {
      out_.push_back({utf8(word.text), Part::kNumber});
      ++at_;
      scale_by_han();
      return true;
    }
    return word.kind == Word::Kind::kHan ? take_han_number() : take_number_words();
  }

  // "3万"
  void scale_by_han() {
    if (at_ >= words_.size() || words_[at_].kind != Word::Kind::kHan) return;
    const auto scale = han_scale(words_[at_].text[0]);
    const std::string& digits = out_.back().text;
    if (!scale || digits.size() > 6 || digits.find_first_not_of("0123456789") != digits.npos)
      return;
    out_.back().text = std::to_string(std::stoull(digits) * *scale);
    ++at_;
  }

  bool take_han_number() {
    std::u32string run;
    for (size_t i = at_; i < words_.size() && words_[i].kind == Word::Kind::kHan; ++i) {
      const char32_t c = words_[i].text[0];
      if (!han_digit(c) && !han_scale(c)) break;
      run.push_back(c);
    }
    if (run.empty() || run.size() > 32) return false;
    const auto value = han_number(run);
    if (!value) return false;
    out_.push_back({*value, Part::kNumber, false, run == U"一"});
    at_ += run.size();
    return true;
  }

  // "two hundred and five" is not read as one number, "twenty five" is.
  bool take_number_words() {
    auto value = look_up(kNumberWords, words_[at_].text);
    const bool one = words_[at_].text == U"one";
    if (!value && look_up(kScaleWords, words_[at_].text)) {
      value = 1;
    } else if (value) {
      ++at_;
    } else {
      return false;
    }
    const bool tens = *value >= 20 && *value % 10 == 0;
    if (tens && at_ < words_.size()) {
      const auto ones = look_up(kNumberWords, words_[at_].text);
      if (ones && *ones > 0 && *ones < 10) {
        *value += *ones;
        ++at_;
      }
    }
    bool scaled = false;
    while (at_ < words_.size() && *value < kNumberMax / 1'000'000'000) {
      const auto scale = look_up(kScaleWords, words_[at_].text);
      if (!scale) break;
      *value *= *scale;
      scaled = true;
      ++at_;
    }
    out_.push_back({std::to_string(*value), Part::kNumber, false, one && !scaled});
    return true;
  }

  static bool is_command(std::u32string_view word) {
    constexpr std::u32string_view kCommands[] = {U"tell",    U"give",     U"show", U"name",
                                                 U"explain", U"describe", U"say"};
    return std::find(std::begin(kCommands), std::end(kCommands), word) != std::end(kCommands);
  }
  bool is_name(const Word& word) const { return word.capital && !word.begins_sentence; }

  std::vector<FoldedChar> chars_;
  std::vector<Word> words_;
  size_t at_ = 0;
  Meaning out_;
};

Lexicon::Lexicon() {
  add_list(english_words());
  add_list(chinese_words());
  for (auto& [first, forms] : forms_) {
    std::stable_sort(forms.begin(), forms.end(),
                     [](const Form& a, const Form& b) { return a.words.size() > b.words.size(); });
  }
}

void Lexicon::add_list(std::string_view list) {
  while (!list.empty()) {
    const size_t end = std::min(list.find('\n'), list.size());
    std::string_view line = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    const size_t colon = line.find(": ");
    if (colon == std::string_view::npos) continue;
    std::vector<MeaningToken> tokens;
    std::string_view names = line.substr(0, colon);
    while (!names.empty()) {
      const size_t space = std::min(names.find(' '), names.size());
      const std::string_view name = names.substr(0, space);
      names.remove_prefix(std::min(space + 1, names.size()));
      constexpr std::string_view kSigns = "~?!>#=";
      constexpr Part kParts[] = {Part::kNothing, Part::kKind, Part::kNot,
                                 Part::kRole,    Part::kUnit, Part::kMeaning};
      tokens.push_back({std::string(name.substr(1)), kParts[kSigns.find(name[0])]});
    }
    std::string_view forms = line.substr(colon + 2);
    while (!forms.empty()) {
      const size_t comma = std::min(forms.find(','), forms.size());
      add_form(trim(forms.substr(0, comma)), tokens);
      forms.remove_prefix(std::min(comma + 1, forms.size()));
    }
  }
}

void Lexicon::add_form(std::string_view form, const std::vector<MeaningToken>& tokens) {
  Form added;
  const Reader reader(form);
  for (const Word& word : reader.words()) added.words.push_back(word.text);
  added.tokens = tokens;
  if (added.words.empty()) {
    mistakes_.push_back(fmt::format("'{}' has no words", form));
    return;
  }
  std::vector<Form>& known = forms_[added.words[0]];
  for (const Form& other : known) {
    if (other.words == added.words) mistakes_.push_back(fmt::format("'{}' twice", form));
  }
  if (added.words.size() == 1 && added.words[0].size() > 3) {
    // A short stem is another word's: wins, wine.
    const std::u32string ending = stem(added.words[0]);
    if (ending.size() > 3) stems_.try_emplace(ending, tokens);
  }
  known.push_back(std::move(added));
}

Meaning Lexicon::read(std::string_view question) const { return Reader(question).tokens(*this); }

}  // namespace hadal::gateway
