#include "hadal/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "hadal/base/check.h"

namespace hadal {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(Code::kInvalidInput, std::to_string(value) + " is odd");
  return value / 2;
}

Status even(int value) {
  HADAL_TRY_VOID(half(value));
  return {};
}

Result<int> quarter(int value, int* halves) {
  HADAL_TRY(const int once, half(value));
  ++*halves;
  HADAL_TRY(const int twice, half(once));
  ++*halves;
  return twice;
}

TEST(Result, TryHandsOnTheFirstErrorUnchangedAndStops) {
  const struct {
    int value;
    int halves;
    std::string_view error;  // empty: value / 4
  } cases[] = {{8, 2, ""}, {0, 2, ""}, {6, 1, "3 is odd"}, {5, 0, "5 is odd"}};
  for (const auto& c : cases) {
    int halves = 0;
    const Result<int> result = quarter(c.value, &halves);
    EXPECT_EQ(halves, c.halves) << c.value;
    ASSERT_EQ(result.has_value(), c.error.empty()) << c.value;
    if (result) {
      EXPECT_EQ(*result, c.value / 4);
    } else {
      EXPECT_EQ(result.error().what, c.error);
      EXPECT_EQ(result.error().code, Code::kInvalidInput);
    }
  }
}

TEST(Result, TryVoidIsOneStatement) {
  const auto check = [](bool first, int value) -> Status {
    if (first)
      HADAL_TRY_VOID(even(value));
    else
      return fail(Code::kNotFound, "second");
    return {};
  };
  EXPECT_TRUE(check(true, 2));
  EXPECT_EQ(check(true, 3).error().what, "3 is odd");
  EXPECT_EQ(check(false, 2).error().code, Code::kNotFound);
}

TEST(Result, TryMovesWhatCannotBeCopied) {
  const auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(7); };
  const auto use = [&]() -> Result<int> {
    HADAL_TRY(const std::unique_ptr<int> value, make());
    return *value;
  };
  EXPECT_EQ(use().value(), 7);
}

TEST(Result, EveryCodeHasAName) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
    names.insert(code_name(static_cast<Code>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Code::kInternal) + 1);
  EXPECT_EQ(code_name(Code::kTooLarge), "too_large");
}

TEST(CheckDeathTest, SaysWhereWhatAndWith) {
  HADAL_CHECK(true);
  HADAL_CHECK(1 + 1 == 2, "never shown");
  EXPECT_DEATH(HADAL_CHECK(1 > 2), "hadal: bug: .*result_test.cc:[0-9]+: check failed: 1 > 2");
  EXPECT_DEATH(HADAL_CHECK(1 > 2, "row " + std::to_string(7)), "1 > 2: row 7");
}

TEST(CheckDeathTest, EvaluatesItsConditionOnce) {
  int calls = 0;
  HADAL_CHECK(++calls == 1);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace hadal
