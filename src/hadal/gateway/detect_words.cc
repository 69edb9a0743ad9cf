// Addresses and keys: what has a form that is made of letters.
#include <algorithm>
#include <array>

#include "hadal/gateway/detect_parts.h"

namespace hadal::gateway {
namespace {

// Bounds of what is looked at from one place, so that no text takes more than linear time.
constexpr size_t kSecretMax = 512, kDigitWithin = 200;
constexpr size_t kEmailLocalMax = 64, kEmailDomainMax = 255;  // RFC 5321, 4.5.3.1

bool is_local(char c) {
  return is_word(c) || std::string_view("._%+-'&!#$*=?^~").find(c) != std::string_view::npos;
}
bool is_domain(char c) { return is_word(c) || c == '-' || c == '.'; }
bool is_beyond_ascii(char c) { return static_cast<unsigned char>(c) >= 0x80; }
// Letters of alphabets have two bytes in UTF-8, Han characters three.
bool is_alphabet_lead(char c) {
  return static_cast<unsigned char>(c) >= 0xc3 && static_cast<unsigned char>(c) < 0xe0;
}

size_t local_begin(std::string_view text, size_t at) {
  const size_t least = at - std::min(at, kEmailLocalMax);
  size_t begin = at;
  while (begin > least) {
    if (is_local(text[begin - 1])) {
      --begin;
    } else if (begin >= least + 2 && is_alphabet_lead(text[begin - 2]) &&
               is_beyond_ascii(text[begin - 1])) {
      begin -= 2;
    } else {
      break;
    }
  }
  while (begin < at && !is_word(text[begin]) && !is_beyond_ascii(text[begin])) ++begin;
  if (begin < at) return begin;
  while (begin > least && is_beyond_ascii(text[begin - 1])) --begin;
  // Not in the middle of a character.
  while (begin < at && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) ++begin;
  return begin;
}

// With a dot in it and two letters behind the last one; 0: it is none.
size_t domain_end(std::string_view text, size_t begin, bool beyond_ascii) {
  size_t end = begin;
  while (end < text.size() && end - begin < kEmailDomainMax &&
         (is_domain(text[end]) || (beyond_ascii && is_beyond_ascii(text[end])))) {
    ++end;
  }
  while (end > begin && !is_word(text[end - 1]) && !is_beyond_ascii(text[end - 1])) --end;
  const std::string_view domain = text.substr(begin, end - begin);
  const size_t dot = domain.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 2 >= domain.size()) return 0;
  if (is_digit(domain.back())) return 0;
  return end;
}

struct KeyForm {
  std::string_view prefix;
  size_t least;             // characters behind it
  bool needs_digit = true;  // words with dashes look like some keys
};
// As their makers publish them for secret scanning.
constexpr KeyForm kKeyForms[] = {
    {"sk-", 16},        {"hk-", 40},      {"sk_live_", 16},    {"sk_test_", 16},
    {"rk_live_", 16},   {"pk_live_", 16}, {"AKIA", 16, false}, {"ASIA", 16, false},
    {"AKID", 16},       {"LTAI", 12},     {"AIza", 30},        {"ya29.", 20},
    {"GOCSPX-", 20},    {"ghp_", 30},     {"gho_", 30},        {"ghu_", 30},
    {"ghs_", 30},       {"ghr_", 30},     {"github_pat_", 30}, {"glpat-", 16},
    {"gldt-", 16},      {"xoxb-", 10},    {"xoxp-", 10},       {"xoxa-", 10},
    {"xoxr-", 10},      {"xoxs-", 10},    {"xapp-", 10},       {"hf_", 30, false},
    {"npm_", 30},       {"pypi-", 30},    {"SG.", 30},         {"dop_v1_", 40},
    {"eyJ", 20, false}, {"shpat_", 20},   {"sq0atp-", 20},     {"AGE-SECRET-KEY-", 40, false},
    {"nvapi-", 30},     {"gsk_", 30},     {"xai-", 30},        {"pplx-", 30},
    {"tskey-", 16},     {"hvs.", 20},
};

bool is_key_char(char c) {
  return is_word(c) || c == '-' || c == '_' || c == '.' || c == '+' || c == '/' || c == '=';
}

constexpr std::string_view kSecretNames[] = {
    "password", "passwd",     "pwd",         "passphrase", "secret",     "token",     "api_key",
    "apikey",   "api-key",    "secret_key",  "secretkey",  "access_key", "accesskey", "private_key",
    "auth_key", "credential", "credentials", "密码",       "口令",       "密钥",      "私钥",
};

bool ends_with_name(std::string_view before) {
  return std::any_of(std::begin(kSecretNames), std::end(kSecretNames), [&](std::string_view name) {
    return before.size() >= name.size() &&
           equal_in_any_case(before.substr(before.size() - name.size()), name);
  });
}

std::string_view trimmed_end(std::string_view text, std::string_view what) {
  while (!text.empty() && what.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

// What stands behind the name of something secret, from `begin` on.
void find_value(std::string_view text, size_t begin, std::vector<Found>* found) {
  constexpr std::string_view kBefore = " \t=>\"'`*", kNotIn = "\"'`,;<>(){}";
  while (begin < text.size() && kBefore.find(text[begin]) != std::string_view::npos) ++begin;
  size_t end = begin;
  while (end < text.size() && end - begin<kSecretMax&& static_cast<unsigned char>(text[end])> ' ' &&
         static_cast<unsigned char>(text[end]) < 0x7f &&
         kNotIn.find(text[end]) == std::string_view::npos) {
    ++end;
  }
  const std::string_view value = trimmed_end(text.substr(begin, end - begin), ".:!?");
  constexpr size_t kLeast = 6;
  // A word is more often a type or a remark than a password.
  const bool plain = std::all_of(value.begin(), value.end(),
                                 [](char c) { return is_letter(c) || c == '_' || c == '-'; });
  if (value.size() >= kLeast && !plain) {
    found->push_back({Finding::kKey, begin, begin + value.size()});
  }
}

// At ':' or '='.
void find_assigned(std::string_view text, size_t at, std::vector<Found>* found) {
  constexpr size_t kNameMax = 40;
  const size_t length = std::min(at, kNameMax);
  if (ends_with_name(trimmed_end(text.substr(at - length, length), " \t\"'`*)]"))) {
    find_value(text, at + 1, found);
  }
}

// At "://": name and password of somebody.
void find_url_secret(std::string_view text, size_t at, std::vector<Found>* found) {
  const size_t begin = at + 3;
  size_t end = begin, colon = 0;
  while (end < text.size() && static_cast<unsigned char>(text[end]) > ' ' && text[end] != '/' &&
         text[end] != '"' && text[end] != '@') {
    if (text[end] == ':') colon = end;
    ++end;
  }
  if (end < text.size() && text[end] == '@' && colon != 0 && end > colon + 1) {
    found->push_back({Finding::kKey, begin, end});
  }
}

// At "-----BEGIN". Returns where to go on.
size_t find_private_key(std::string_view text, size_t at, std::vector<Found>* found) {
  const std::string_view rest = text.substr(at);
  const size_t line = std::min(rest.find("-----", 11), rest.size());
  if (rest.substr(0, line).find("PRIVATE KEY") == std::string_view::npos) return at + 1;
  size_t end = rest.find("-----END", line);
  if (end != std::string_view::npos) {
    const size_t last = rest.find("-----", end + 8);
    end = last == std::string_view::npos ? rest.size() : last + 5;
  }
  end = at + std::min(end, rest.size());
  found->push_back({Finding::kKey, at, end});
  return end;
}

void find_prefixed(std::string_view text, size_t at, std::vector<Found>* found) {
  const std::string_view rest = text.substr(at);
  for (const KeyForm& form : kKeyForms) {
    if (!rest.starts_with(form.prefix)) continue;
    size_t end = form.prefix.size();
    bool digit = false;
    // Without a digit for so long it is none.
    while (end < rest.size() && is_key_char(rest[end]) && (digit || end < kDigitWithin)) {
      digit |= is_digit(rest[end++]);
    }
    while (end > form.prefix.size() && (rest[end - 1] == '.' || rest[end - 1] == '-')) --end;
    if (end < form.prefix.size() + form.least || (form.needs_digit && !digit)) continue;
    found->push_back({Finding::kKey, at, at + end});
    return;
  }
}

}  // namespace

void detect_email(std::string_view text, size_t at, std::vector<Found>* found) {
  const size_t begin = local_begin(text, at);
  if (begin == at) return;
  size_t end = domain_end(text, at + 1, false);
  if (end == 0) end = domain_end(text, at + 1, true);
  if (end != 0) found->push_back({Finding::kEmail, begin, end});
}

bool may_begin_key(char c) {
  if (c == ':' || c == '=' || c == '-' || c == '\xe5') return true;  // 密, 口
  return std::any_of(std::begin(kKeyForms), std::end(kKeyForms),
                     [c](const KeyForm& form) { return form.prefix[0] == c; });
}

size_t detect_key(std::string_view text, size_t at, std::vector<Found>* found) {
  const char c = text[at];
  const std::string_view rest = text.substr(at);
  if (c == '-') return rest.starts_with("-----BEGIN") ? find_private_key(text, at, found) : at + 1;
  if (c == ':' && rest.starts_with("://")) {
    find_url_secret(text, at, found);
  } else if (c == ':' || c == '=') {
    find_assigned(text, at, found);
  } else if (c == '\xe5') {
    // 密码是..., 密码为...
    constexpr size_t kHan = 3;
    const std::string_view verb = rest.substr(std::min(rest.size(), 2 * kHan), kHan);
    if ((verb == "是" || verb == "为") && ends_with_name(rest.substr(0, 2 * kHan))) {
      find_value(text, at + 3 * kHan, found);
    }
  } else if (at == 0 || !is_word(text[at - 1])) {
    find_prefixed(text, at, found);
  }
  return at + 1;
}

}  // namespace hadal::gateway
