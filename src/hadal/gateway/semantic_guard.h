// Whether two questions can have one answer, whatever their similarity says. Vectors of whole
// sentences hardly move when a number, a name or a "not" changes; the answer does.
//
// Pure, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "hadal/gateway/semantic_text.h"

namespace hadal::gateway {

enum class Objection : uint8_t {
  kNone,
  kNumber,    // another number, or the same of another unit
  kNegation,  // more negations here than there
  kKind,      // who and when, how and whether
  kName,
  kOpposite,   // before and after, largest and smallest
  kDirection,  // the same words in other roles: from here to there
  kWord,       // a word that says something has no counterpart
};
std::string_view objection_name(Objection objection);

enum class GuardLevel : uint8_t {
  // Numbers, units, negations, names, opposites, directions, and a single word in another's place.
  // For vectors that know what words mean.
  kFacts,
  // Each word that says something needs its counterpart, too. For vectors made of letters.
  kWords,
};

// Symmetric.
Objection objection(const Meaning& a, const Meaning& b, GuardLevel level);

}  // namespace hadal::gateway
