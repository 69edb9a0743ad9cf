#include "hadal/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/core.h>
#include <pcre2.h>

#include <algorithm>
#include <utility>

namespace hadal {
namespace {

// Steps of backtracking; about a tenth of a second at the very worst.
constexpr uint32_t kStepsMax = 1'000'000;
constexpr uint32_t kHeapKibMax = 16u << 10;

struct MatchDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};

}  // namespace

struct Pattern::Program {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  ~Program() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

Pattern::Pattern(std::unique_ptr<Program> code) : code_(std::move(code)) {}
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Result<Pattern> Pattern::make(std::string_view expression, bool ignore_case) {
  int error = 0;
  PCRE2_SIZE at = 0;
  auto made = std::make_unique<Program>();
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                           (ignore_case ? static_cast<uint32_t>(PCRE2_CASELESS) : 0u);
  made->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                             options, &error, &at, nullptr);
  if (made->code == nullptr) {
    PCRE2_UCHAR words[256] = {};
    pcre2_get_error_message(error, words, sizeof(words));
    return fail(Code::kInvalidInput, fmt::format("{} at byte {} of the expression",
                                                 reinterpret_cast<const char*>(words), at));
  }
  made->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(made->context, kStepsMax);
  pcre2_set_heap_limit(made->context, kHeapKibMax);
  // Without a machine for it the expression is interpreted, to the same effect.
  static_cast<void>(pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE));
  return Pattern(std::move(made));
}

Pattern::Search Pattern::find(std::string_view text, size_t from, Match* match) const {
  if (from > text.size()) return Search::kNo;
  const std::unique_ptr<pcre2_match_data, MatchDeleter> data(
      pcre2_match_data_create_from_pattern(code_->code, nullptr));
  const int found =
      pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                  from > 0 ? PCRE2_NO_UTF_CHECK : 0u, data.get(), code_->context);
  if (found == PCRE2_ERROR_NOMATCH) return Search::kNo;
  if (found < 0) return Search::kGaveUp;
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data.get());
  *match = {offsets[0], std::max(offsets[0], offsets[1])};
  return Search::kFound;
}

}  // namespace hadal
