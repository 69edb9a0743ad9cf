#include "hadal/text/pre_tokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/core.h>
#include <pcre2.h>

#include <algorithm>
#include <span>
#include <string>

namespace hadal {
namespace {

// The expressions are the models' own (the pre_tokenizer entries of their tokenizer.json, also
// listed in llama.cpp's llama-vocab.cpp), with three changes that do not change a match:
// - \s is spelled out as Unicode's White_Space, which Oniguruma and llama.cpp use; PCRE2's own \s
// also
//   holds U+180E.
// - deepseek-llm's "\s+$" must begin at the beginning of a run of spaces and never backs off. It
// finds
//   the same match, and a megabyte of spaces takes linear instead of quadratic time.
// - In deepseek-llm and deepseek-coder the ranges that enclose a Unicode space (U+0800 to U+4E00,
// and
//   U+3000 to U+3002) leave it out. llama.cpp replaces such spaces before it matches, so there they
//   end a run; GGUF files are read by that convention.
// Contents of bracket classes. White_Space; then Letter, Mark, Number, Punctuation and Symbol,
// which for PCRE2 10.42 are those of Unicode 14: what 15.0 and 15.1 added stands beside them,
// because the models' own tokenizers and llama.cpp have it.
#define WS                                                                              \
  R"(\x{09}-\x{0d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f})" \
  R"(\x{205f}\x{3000})"
#define LETTER                                                                                   \
  R"(\p{L}\x{11240}\x{11f02}\x{11f04}-\x{11f10}\x{11f12}-\x{11f33}\x{1342f}\x{13441}-\x{13446})" \
  R"(\x{1b132}\x{1b155}\x{1df25}-\x{1df2a}\x{1e030}-\x{1e06d}\x{1e4d0}-\x{1e4eb}\x{2b739})"      \
  R"(\x{2ebf0}-\x{2ee5d}\x{31350}-\x{323af}\x{1123f})"
#define MARK                                                                                         \
  R"(\p{M}\x{cf3}\x{ece}\x{10efd}-\x{10eff}\x{11241}\x{11f00}\x{11f01}\x{11f03}\x{11f34}-\x{11f3a})" \
  R"(\x{11f3e}-\x{11f42}\x{13440}\x{13447}-\x{13455}\x{1e08f}\x{1e4ec}-\x{1e4ef})"
#define NUMBER R"(\p{N}\x{11f50}-\x{11f59}\x{1d2c0}-\x{1d2d3}\x{1e4f0}-\x{1e4f9})"
#define PUNCTUATION R"(\p{P}\x{11b00}-\x{11b09}\x{11f43}-\x{11f4f})"
#define SYMBOL                                                                                       \
  R"(\p{S}\x{2ffc}-\x{2fff}\x{31ef}\x{1f6dc}\x{1f774}-\x{1f776}\x{1f77b}-\x{1f77f}\x{1f7d9})"        \
  R"(\x{1fa75}-\x{1fa77}\x{1fa87}\x{1fa88}\x{1faad}-\x{1faaf}\x{1fabb}-\x{1fabd}\x{1fabf}\x{1face})" \
  R"(\x{1facf}\x{1fada}\x{1fadb}\x{1fae8}\x{1faf7}\x{1faf8})"

constexpr const char* kDeepseekLlm[] = {
    "[\\r\\n]",
    // Letters with case, of every script that has it.
    "[" WS
    "]?["
    R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386})"
    R"(\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f})"
    R"(\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba})"
    R"(\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15})"
    R"(\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b})"
    R"(\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4})"
    R"(\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3})"
    R"(\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
    R"(\x{1e900}-\x{1e943})"
    "]+",
    "[" WS
    "]?"
    R"([!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3001}-\x{3002}]+)",
    "(?<![" WS "])[" WS "]++$",
    R"([\x{0800}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e})"
    R"(\x{2060}-\x{2fff}\x{3001}-\x{9fa5}\x{ac00}-\x{d7ff}]+)",
    "[" NUMBER "]+",
};

constexpr const char* kDeepseekCoder[] = {
    "[\\r\\n]",
    "[" WS "]?[" LETTER "]+",
    "[" WS "]?[" PUNCTUATION "]+",
    R"([\x{0800}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e})"
    R"(\x{2060}-\x{2fff}\x{3001}-\x{9fa5}\x{ac00}-\x{d7ff}]+)",
    "[" NUMBER "]",
};

// The end that DeepSeek-V3, Qwen2 and Llama-3 share: lines, then spaces, the last of which stays
// with the word that follows.
#define LINES_AND_SPACES "[" WS "]*[\\r\\n]+|[" WS "]+(?![^" WS "])|[" WS "]+"

constexpr const char* kDeepseekV3[] = {
    "[" NUMBER "]{1,3}",
    R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
    R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n)" LETTER PUNCTUATION SYMBOL "]?[" LETTER MARK
    "]+|"
    " ?[" PUNCTUATION SYMBOL "]+[\\r\\n]*|" LINES_AND_SPACES,
};

#define CONTRACTIONS "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|"

constexpr const char* kQwen2[] = {
    CONTRACTIONS R"([^\r\n)" LETTER NUMBER "]?[" LETTER "]+|[" NUMBER
                 "]|"
                 " ?[^" WS LETTER NUMBER "]+[\\r\\n]*|" LINES_AND_SPACES,
};

constexpr const char* kLlamaBpe[] = {
    CONTRACTIONS R"([^\r\n)" LETTER NUMBER "]?[" LETTER "]+|[" NUMBER
                 "]{1,3}|"
                 " ?[^" WS LETTER NUMBER "]+[\\r\\n]*|" LINES_AND_SPACES,
};

#undef CONTRACTIONS
#undef LINES_AND_SPACES
#undef SYMBOL
#undef PUNCTUATION
#undef NUMBER
#undef MARK
#undef LETTER
#undef WS

std::span<const char* const> expressions(PreTokenizer kind) {
  switch (kind) {
    case PreTokenizer::kDeepseekLlm:
      return kDeepseekLlm;
    case PreTokenizer::kDeepseekCoder:
      return kDeepseekCoder;
    case PreTokenizer::kDeepseekV3:
      return kDeepseekV3;
    case PreTokenizer::kQwen2:
      return kQwen2;
    case PreTokenizer::kLlamaBpe:
      return kLlamaBpe;
  }
  return {};
}

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDeleter {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Expression = std::unique_ptr<pcre2_code, CodeDeleter>;
using Match = std::unique_ptr<pcre2_match_data, MatchDeleter>;

}  // namespace

struct PreTokenizerRegex::Impl {
  std::vector<Expression> codes;

  void split(size_t level, std::string_view text, pcre2_match_data* match,
             std::vector<size_t>* lengths) const {
    if (level == codes.size()) {
      lengths->push_back(text.size());
      return;
    }
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    size_t done = 0;
    while (done < text.size()) {
      // Every other outcome than a match (a limit, say) leaves the rest whole: no byte is lost.
      const int found = pcre2_match(codes[level].get(), subject, text.size(), done,
                                    PCRE2_NO_UTF_CHECK, match, nullptr);
      if (found <= 0) break;
      const size_t* at = pcre2_get_ovector_pointer(match);
      const size_t begin = at[0];
      const size_t end = at[1];
      if (end <= begin) break;  // no expression matches nothing
      if (begin > done) split(level + 1, text.substr(done, begin - done), match, lengths);
      split(level + 1, text.substr(begin, end - begin), match, lengths);
      done = end;
    }
    if (done < text.size()) split(level + 1, text.substr(done), match, lengths);
  }
};

PreTokenizerRegex::PreTokenizerRegex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PreTokenizerRegex::PreTokenizerRegex(PreTokenizerRegex&&) noexcept = default;
PreTokenizerRegex& PreTokenizerRegex::operator=(PreTokenizerRegex&&) noexcept = default;
PreTokenizerRegex::~PreTokenizerRegex() = default;

Result<PreTokenizerRegex> PreTokenizerRegex::make(PreTokenizer kind) {
  auto impl = std::make_unique<Impl>();
  for (const std::string_view expression : expressions(kind)) {
    int error = 0;
    size_t offset = 0;
    Expression code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()),
                                  expression.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY,
                                  &error, &offset, nullptr));
    if (!code) {
      return fail(Code::kInternal,
                  fmt::format("pre-tokenizer expression: PCRE2 error {} at {}", error, offset));
    }
    // Without JIT the interpreter gives the same matches, more slowly.
    static_cast<void>(pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE));
    impl->codes.push_back(std::move(code));
  }
  return PreTokenizerRegex(std::move(impl));
}

void PreTokenizerRegex::split(std::string_view text, std::vector<size_t>* lengths) const {
  if (text.empty()) return;
  const Match match(pcre2_match_data_create(1, nullptr));
  if (!match) {
    lengths->push_back(text.size());
    return;
  }
  impl_->split(0, text, match.get(), lengths);
}

}  // namespace hadal
