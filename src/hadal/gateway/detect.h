// Finds what should not leave in a text: numbers with their checksums, addresses, keys. Rules, no
// model: each is a few comparisons a byte, and what they miss is in docs/hybrid.md.
//
// All read a folded text (json_text.h). Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace hadal::gateway {

enum class Finding : uint8_t {
  kIdCard,    // of the People's Republic of China, 18 characters: GB 11643-1999 (ISO 7064 MOD 11-2)
  kPhone,     // Chinese mobile and fixed numbers, +COUNTRY ..., 3-3-4 of North America
  kBankCard,  // ISO/IEC 7812: length, issuer's first digits, Luhn
  kEmail,
  kKey,  // API keys by their makers' prefixes, JSON web tokens, private keys, `password: ...`
};
inline constexpr size_t kFindings = 5;

// "id_card", "phone", "bank_card", "email", "key".
std::string_view finding_name(Finding finding);
std::optional<Finding> finding_from_name(std::string_view name);

struct Found {
  Finding finding = Finding::kKey;
  size_t begin = 0;  // bytes of the text
  size_t end = 0;
  bool operator==(const Found&) const = default;
};

// A set of findings: bit `1 << finding`.
using Findings = uint32_t;
inline constexpr Findings kAllFindings = (1u << kFindings) - 1;
constexpr Findings only(Finding finding) { return 1u << static_cast<unsigned>(finding); }

class Detector {
 public:
  explicit Detector(Findings wanted);
  Findings wanted() const { return wanted_; }
  // Appends all that is found, in no certain order; the same bytes may be found as several things.
  void find(std::string_view text, std::vector<Found>* found) const;

 private:
  enum class Begins : uint8_t { kNothing, kNumber, kEmail, kKey };
  Findings wanted_;
  std::array<Begins, 256> begins_{};  // what may begin at a byte
};

// For tests and for who checks a number that is already in hand. Digits only, ID: 'X' last.
bool is_id_card(std::string_view digits);
bool is_bank_card(std::string_view digits);

}  // namespace hadal::gateway
