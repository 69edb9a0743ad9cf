#include "hadal/gateway/detect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hadal/gateway/json_text.h"

namespace hadal::gateway {
namespace {

// What is found in a text, as "name:the document's bytes", without what lies inside of another find
// of the same name.
std::vector<std::string> found_in(std::string_view text, Findings wanted = kAllFindings) {
  TextReader reader;
  std::vector<std::string> all;
  for (const FoldedText& reading : reader.read_plain(text, 0)) {
    std::vector<Found> found;
    Detector(wanted).find(reading.text(), &found);
    for (const Found& one : found) {
      const size_t begin = reading.begin_of(one.begin), end = reading.end_of(one.end);
      std::string shown(finding_name(one.finding));
      shown += ":";
      shown += text.substr(begin, end - begin);
      if (std::find(all.begin(), all.end(), shown) == all.end()) all.push_back(shown);
    }
  }
  return all;
}

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

struct Case {
  const char* text;
  const char* found;  // "name:bytes"; empty: nothing
};

class DetectCase : public testing::TestWithParam<Case> {};

TEST_P(DetectCase, FindsIt) {
  const Case& one = GetParam();
  if (*one.found == '\0') {
    EXPECT_THAT(found_in(one.text), IsEmpty());
  } else {
    EXPECT_THAT(found_in(one.text), Contains(std::string(one.found)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Numbers, DetectCase,
    testing::Values(
        // The standard's own example number.
        Case{"身份证11010519491231002X。", "id_card:11010519491231002X"},
        Case{"11010519491231002x", "id_card:11010519491231002x"},
        Case{"110105 19491231 002X", "id_card:110105 19491231 002X"},
        Case{"1 1 0 1 0 5 1 9 4 9 1 2 3 1 0 0 2 X", "id_card:1 1 0 1 0 5 1 9 4 9 1 2 3 1 0 0 2 X"},
        Case{"440524188001010014 is his", "id_card:440524188001010014"},
        Case{"１１０１０５１９４９１２３１００２Ｘ",
             "id_card:１１０１０５１９４９１２３１００２Ｘ"},
        Case{"110105194912310021", ""},  // checksum
        Case{"440524188013010014", ""},  // a thirteenth month
        Case{"x13800138000", "phone:13800138000"}, Case{"电话13800138000联系", "phone:13800138000"},
        Case{"138-0013-8000", "phone:138-0013-8000"}, Case{"138 0013 8000", "phone:138 0013 8000"},
        Case{"1-3-8-0-0-1-3-8-0-0-0", "phone:1-3-8-0-0-1-3-8-0-0-0"},
        Case{"+86 138 0013 8000", "phone:138 0013 8000"},
        Case{"8613800138000", "phone:8613800138000"},
        Case{"一三八零零一三八零零零", "phone:一三八零零一三八零零零"},
        Case{"幺叁8〇零1三八000", "phone:幺叁8〇零1三八000"},
        Case{"１３８００１３８０００", "phone:１３８００１３８０００"},
        Case{"13800\xe2\x80\x8b"
             "138000",
             "phone:13800\xe2\x80\x8b"
             "138000"},
        Case{"+44 20 7946 0958", "phone:44 20 7946 0958"},
        Case{"+1 (415) 555-2671", "phone:1 (415) 555-2671"},
        Case{"415-555-2671", "phone:415-555-2671"}, Case{"010-65529988", "phone:010-65529988"},
        Case{"0755 8888 6666", "phone:0755 8888 6666"}, Case{"400-820-8820", "phone:400-820-8820"},
        Case{"12345678901", ""},   // no mobile number begins so
        Case{"138001380001", ""},  // a digit too many
        Case{"2+12345678 equals", ""}, Case{"2025-11-22 14:30:00.123456", ""},
        Case{"1700000000000", ""}, Case{"192.168.100.200", ""},
        Case{"4111111111111111", "bank_card:4111111111111111"},
        Case{"4111 1111 1111 1111", "bank_card:4111 1111 1111 1111"},
        Case{"4111-1111 1111-1111", "bank_card:4111-1111 1111-1111"},
        Case{"card 4111 1111 1111 1111 12/29 123", "bank_card:4111 1111 1111 1111"},
        Case{"3782 822463 10005", "bank_card:3782 822463 10005"},
        Case{"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "bank_card:4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"},
        Case{"6222021234567890128", "bank_card:6222021234567890128"},
        Case{"6222021234567890129", ""}, Case{"6222 0212 3456 7890 123", ""},
        Case{"4111111111111112", ""}, Case{"3333333333333333", ""}, Case{"20251122143000", ""}));

INSTANTIATE_TEST_SUITE_P(
    Words, DetectCase,
    testing::Values(
        Case{"mail bob.smith+x@mail.example.com.", "email:bob.smith+x@mail.example.com"},
        Case{"邮箱是bob@example.com，谢谢", "email:bob@example.com"},
        Case{"<müller@web.de>", "email:müller@web.de"},
        Case{"ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "email:ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ"},
        Case{"张三@例子.中国", "email:张三@例子.中国"}, Case{"@app.route", ""},
        Case{"a @ b.com", ""}, Case{"x@localhost", ""}, Case{"v@1.2.3.4", ""},
        Case{"use sk-0123456789abcdef0123 now", "key:sk-0123456789abcdef0123"},
        Case{"task-0123456789abcdef0123", ""}, Case{"sk-learn-is-a-library-for", ""},
        Case{"AKIAIOSFODNN7EXAMPLE", "key:AKIAIOSFODNN7EXAMPLE"},
        Case{"ghp_0123456789abcdefghijABCDEFGHIJ012345",
             "key:ghp_0123456789abcdefghijABCDEFGHIJ012345"},
        Case{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk",
             "key:eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijk"},
        Case{"password: hunter22!", "key:hunter22"},
        Case{"PASSWORD=\"p4ss-word\"", "key:p4ss-word"},
        Case{"'api_key': 'abc123def456'", "key:abc123def456"},
        Case{"密码是abc12345。", "key:abc12345"}, Case{"密码：abc12345", "key:abc12345"},
        Case{"password: required", ""}, Case{"token: string", ""}, Case{"a = b", ""},
        Case{"postgres://app:s3cret@db/x", "key:app:s3cret"}, Case{"https://example.com:80/x", ""},
        Case{"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY----- x",
             "key:-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"},
        Case{"-----BEGIN PRIVATE KEY-----\nMIIabc", "key:-----BEGIN PRIVATE KEY-----\nMIIabc"},
        Case{"-----BEGIN CERTIFICATE-----\nMIIabc\n-----END CERTIFICATE-----", ""}));

// A reading resolves escapes that are left: JSON inside of JSON.
INSTANTIATE_TEST_SUITE_P(
    Escapes, DetectCase,
    testing::Values(Case{R"({"p":"\u0031\u0033800138000"})", R"(phone:\u0031\u0033800138000)"},
                    Case{R"({\"p\":\"\\u0031\\u0033800138000\"})",
                         R"(phone:\\u0031\\u0033800138000)"},
                    Case{R"(call\n13800138000\nnow)", "phone:13800138000"},
                    // As text, the digits stand there; as an escape, they would not.
                    Case{R"(\u13800138000)", "phone:13800138000"}));

TEST(Detect, FindsSeveralAtOnce) {
  EXPECT_THAT(found_in("bob@example.com 13800138000 bob@example.com"),
              ElementsAre("email:bob@example.com", "phone:13800138000"));
}

TEST(Detect, LooksForWhatIsWantedOnly) {
  const char* text = "bob@example.com 13800138000 4111111111111111 password: abc12345";
  EXPECT_THAT(found_in(text, only(Finding::kPhone)), ElementsAre("phone:13800138000"));
  EXPECT_THAT(found_in(text, only(Finding::kBankCard)), ElementsAre("bank_card:4111111111111111"));
  EXPECT_THAT(found_in(text, 0), IsEmpty());
}

// Megabytes that begin something at every place: none takes more than linear time.
TEST(Detect, TakesTextThatNeverEnds) {
  for (const char* part : {"5 ", "12 ", "1234 ", "5", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ",
                           "sk-", "password=", "a@", "://", "@a.", "eyJ."}) {
    std::string text;
    while (text.size() < (1u << 20)) text += part;
    std::vector<Found> found;
    Detector(kAllFindings).find(text, &found);
    EXPECT_LE(found.size(), text.size()) << part;
  }
}

TEST(Detect, NamesAreKnown) {
  for (size_t i = 0; i < kFindings; ++i) {
    const auto finding = static_cast<Finding>(i);
    EXPECT_EQ(finding_from_name(finding_name(finding)), finding);
  }
  EXPECT_FALSE(finding_from_name("passport"));
}

}  // namespace
}  // namespace hadal::gateway
