#include "hadal/net/multipart.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/base/rng.h"

namespace hadal::net {
namespace {

using ::testing::HasSubstr;

// Each part as "name|filename|type|body", or the error's words; the bytes fed `step` at a time.
std::string read(std::string_view boundary, std::string_view bytes, size_t step,
                 MultipartLimits limits = {}) {
  MultipartReader reader(boundary, limits);
  for (size_t at = 0; at < bytes.size(); at += step) {
    if (auto fed = reader.feed(bytes.substr(at, step)); !fed) return "error: " + fed.error().what;
  }
  auto parts = reader.finish();
  if (!parts) return "error: " + parts.error().what;
  std::string text;
  for (const FormPart& part : *parts) {
    text += fmt::format("[{}|{}|{}|{}]", part.name, part.filename.value_or("-"), part.content_type,
                        part.body);
  }
  return text;
}

// However it is cut, the same comes out.
std::string read(std::string_view boundary, std::string_view bytes, MultipartLimits limits = {}) {
  const std::string whole = read(boundary, bytes, bytes.size() + 1, limits);
  for (size_t step = 1; step <= 70; ++step) {
    const std::string cut = read(boundary, bytes, step, limits);
    // An error may be seen before another one that comes later in the form.
    EXPECT_EQ(cut, whole) << "in steps of " << step;
  }
  return whole;
}

std::string part(std::string_view disposition, std::string_view body,
                 std::string_view boundary = "b", std::string_view more = "") {
  return fmt::format("--{}\r\nContent-Disposition: form-data; {}\r\n{}\r\n{}\r\n", boundary,
                     disposition, more, body);
}

TEST(Multipart, ReadsAFormAsCurlAndTheClientsSendIt) {
  EXPECT_EQ(read("b", part("name=\"purpose\"", "batch") +
                          part("name=\"file\"; filename=\"in.jsonl\"", "{\"a\": 1}\n{}\n", "b",
                               "Content-Type: application/jsonl\r\n") +
                          "--b--\r\n"),
            "[purpose|-||batch][file|in.jsonl|application/jsonl|{\"a\": 1}\n{}\n]");
}

TEST(Multipart, OddForms) {
  struct Case {
    std::string what, boundary, bytes, wanted;
  };
  const std::string close = "--b--";
  const Case cases[] = {
      {"no parts", "b", "--b--", ""},
      {"text before and behind", "b", "hello\r\n" + part("name=a", "1") + close + "\r\nbye --b\r\n",
       "[a|-||1]"},
      {"an empty body", "b", part("name=a", "") + close, "[a|-||]"},
      {"no body at all", "b", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n--b--",
       "[a|-||]"},
      {"blanks behind the boundary", "b",
       "--b \t\r\nContent-Disposition:form-data;name=a\r\n\r\n1\r\n" + close, "[a|-||1]"},
      {"almost delimiters", "b",
       part("name=a", "\r\n--\r\n-b\r\n--\r--b\n--b\r\r\n-\r\n") + part("name=c", "--") + close,
       "[a|-||\r\n--\r\n-b\r\n--\r--b\n--b\r\r\n-\r\n][c|-||--]"},
      {"a boundary of dashes", "-----",
       part("name=a", "--\r\n---\r\n----", "-----") + "-----------", "[a|-||--\r\n---\r\n----]"},
      {"a boundary of every mark", "a'()+_,-./:=? z",
       part("name=a", "1", "a'()+_,-./:=? z") + "--a'()+_,-./:=? z--", "[a|-||1]"},
      {"a boundary that repeats itself", "aab",
       part("name=a", "aa\r\n--aa\r\n--aaab", "aab") + "--aab--", "[a|-||aa\r\n--aa\r\n--aaab]"},
      {"quoted names", "b", part(R"(name="a\"b;c=d\\e"; filename="C:\dir\f")", "1") + close,
       R"([a"b;c=d\e|C:\dir\f||1])"},
      {"bytes of every kind", "b", part("name=a", std::string("\0\xff\r\n\n\r", 6)) + close,
       std::string("[a|-||") + std::string("\0\xff\r\n\n\r", 6) + "]"},
      {"headers in capitals", "b",
       "--b\r\ncontent-DISPOSITION: FORM-data; NAME=\"a\"\r\nX-Other: y\r\n\r\n1\r\n" + close,
       "[a|-||1]"},
      {"the same name twice", "b", part("name=a", "1") + part("name=a", "2") + close,
       "[a|-||1][a|-||2]"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    EXPECT_EQ(read(one.boundary, one.bytes), one.wanted);
  }
}

TEST(Multipart, RefusesWhatIsNotAForm) {
  struct Case {
    std::string bytes, wanted;
  };
  const Case cases[] = {
      {"", "before its closing delimiter"},
      {"--b", "before its closing delimiter"},
      {"--b-", "before its closing delimiter"},
      {part("name=a", "1"), "before its closing delimiter"},
      {"--b\r\nContent-Disposition: form-data; name=a\r\n", "before its closing delimiter"},
      {"--bx\r\n", "in the middle of a line"},
      {part("name=a", "x\r\n--bc") + "--b--", "in the middle of a line"},
      {"--b\nContent-Disposition: form-data; name=a\n\n1\n--b--", "CRLF"},
      {"--b\r\n\r\n1\r\n--b--", "without a Content-Disposition"},
      {"--b\r\nContent-Type: x\r\n\r\n1\r\n--b--", "without a Content-Disposition"},
      {"--b\r\nno colon\r\n\r\n1\r\n--b--", "malformed header"},
      {"--b\r\n: x\r\n\r\n1\r\n--b--", "malformed header"},
      {"--b\r\nContent-Disposition: form-data; name=\"a\nb\"\r\n\r\n1\r\n--b--",
       "malformed header"},
      {part("filename=a", "1") + "--b--", "Content-Disposition is not"},
      {part("name=\"a", "1") + "--b--", "Content-Disposition is not"},
      {part("name=\"a\"b", "1") + "--b--", "Content-Disposition is not"},
      {part("name=a; name=b", "1") + "--b--", "Content-Disposition is not"},
      {part("name=a; x", "1") + "--b--", "Content-Disposition is not"},
      {"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--",
       "Content-Disposition is not"},
      {part("name=a", "1", "b", "Content-Transfer-Encoding: base64\r\n") + "--b--",
       "Content-Transfer-Encoding"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.bytes);
    EXPECT_THAT(read("b", one.bytes), HasSubstr(one.wanted));
  }
}

TEST(Multipart, HoldsItsLimits) {
  const MultipartLimits limits{.parts = 2, .head_bytes = 64, .body_bytes = 10};
  const std::string ten = part("name=a", "0123456789");
  EXPECT_EQ(read("b", ten + ten + "--b--", limits), "[a|-||0123456789][a|-||0123456789]");
  EXPECT_THAT(read("b", part("name=a", "0123456789x") + "--b--", limits),
              HasSubstr("'a' has more than 10 bytes"));
  EXPECT_THAT(read("b", ten + ten + ten + "--b--", limits), HasSubstr("more than 2 parts"));
  EXPECT_THAT(read("b", part("name=a", "1", "b", std::string(80, 'x') + ": y\r\n"), limits),
              HasSubstr("64 bytes of headers"));
  EXPECT_THAT(read("b", "--b" + std::string(100, ' ') + "\r\n", limits), HasSubstr("blanks"));
}

// Bodies made of pieces of delimiters, against what was put in.
TEST(Multipart, NestedPiecesOfDelimiters) {
  constexpr std::string_view kPieces[] = {"\r", "\n", "-", "--", "B", "BB", "\r\n", "\r\n-", "x"};
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Rng rng(seed);
    const std::string boundary = seed % 2 == 0 ? "BBC" : "-B-";
    std::string form, wanted;
    for (uint64_t i = rng.next() % 4; i > 0; --i) {
      std::string body;
      for (uint64_t n = rng.next() % 12; n > 0; --n) body += kPieces[rng.next() % 9];
      if ((body + "\r\n").find("\r\n--" + boundary) != std::string::npos) continue;
      if (body.starts_with("--" + boundary)) continue;
      form += part("name=a", body, boundary);
      wanted += "[a|-||" + body + "]";
    }
    form += "--" + boundary + "--";
    EXPECT_EQ(read(boundary, form, 1 + rng.next() % 9), wanted) << seed;
  }
}

TEST(Multipart, Boundaries) {
  EXPECT_EQ(*multipart_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(*multipart_boundary("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a b\""), "a b");
  EXPECT_EQ(*multipart_boundary("multipart/form-data; boundary=\"----=_x(1)\"; "), "----=_x(1)");
  EXPECT_EQ(multipart_boundary("multipart/form-data; boundary=" + std::string(70, 'x'))->size(),
            70u);
  for (const std::string bad :
       {"", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"a", "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=a\"b",
        "multipart/mixed; boundary=a", "multipart/form-data; boundary=\"a\tb\""}) {
    EXPECT_FALSE(multipart_boundary(bad)) << bad;
  }
  EXPECT_FALSE(multipart_boundary("multipart/form-data; boundary=" + std::string(71, 'x')));
}

}  // namespace
}  // namespace hadal::net
