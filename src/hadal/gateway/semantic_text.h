// A question as the semantic cache reads it: words in a common form, each with its part. English
// and Chinese words by the lists of semantic_words.h; any other script by its words or characters.
//
// Threads: a Lexicon is immutable; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hadal::gateway {

struct MeaningToken {
  enum class Part : uint8_t {
    kNothing,  // may be there or not
    kKind,     // of question: who, when, how, ...
    kNot,
    kRole,  // puts its neighbours into roles: from, than
    kUnit,
    kMeaning,  // a word of the lists
    kNumber,   // as digits
    kWord,     // a word that no list knows, without its ending
    kHan,      // a character that no list knows
  };
  std::string text;
  Part part = Part::kWord;
  bool name = false;      // written with a capital inside a sentence, or in another script's text
  bool only_one = false;  // "one", "一": often no more than an article
  bool owner = false;     // "Europe's"
  bool operator==(const MeaningToken&) const = default;
  // Must be in both of two questions that mean the same.
  bool is_content() const {
    return part == Part::kUnit || part == Part::kMeaning || part == Part::kWord ||
           part == Part::kHan;
  }
};

using Meaning = std::vector<MeaningToken>;

class Lexicon {
 public:
  Lexicon();

  Meaning read(std::string_view question) const;
  // Forms that stand in the lists twice, or that their own reading would never find.
  const std::vector<std::string>& mistakes() const { return mistakes_; }

 private:
  struct Form {
    std::vector<std::u32string> words;  // Han: one, of all its characters
    std::vector<MeaningToken> tokens;
  };
  struct Word;
  class Reader;

  void add_list(std::string_view list);
  void add_form(std::string_view form, const std::vector<MeaningToken>& tokens);

  // By the first word or the first character; longest first.
  std::unordered_map<std::u32string, std::vector<Form>> forms_;
  std::unordered_map<std::u32string, std::vector<MeaningToken>> stems_;
  std::vector<std::string> mistakes_;
};

}  // namespace hadal::gateway
