// The words whose part in a question is known, English and Chinese: what may differ between two
// ways of asking one thing, what means the same, and what turns a question into another.
//
// Each list is text, a class a line: "name: form, form, ...". A form is a word or several, in the
// folded form of text/fold.h. The first character of a name says what the class is:
//   ~  says nothing: articles, "please", "请问"
//   ?  kind of question: who, when, why, ...
//   !  negation
//   >  puts what follows into a role: from, to, than, 从, 比
//   #  unit
//   =  meaning; forms of one class are the same
// A name may have several parts, "?what =price": the form stands for all of them.
#pragma once

#include <span>
#include <string_view>
#include <utility>

namespace hadal::gateway {

std::string_view english_words();
std::string_view chinese_words();

// Words of which one instead of the other makes another question, by the names of their classes or
// as they are. For a reader who knows no more than similarity; see Guard.
std::span<const std::pair<std::string_view, std::string_view>> opposites();

}  // namespace hadal::gateway
