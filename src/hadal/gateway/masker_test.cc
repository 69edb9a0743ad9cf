#include "hadal/gateway/masker.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hadal/base/rng.h"
#include "hadal/text/json_scan.h"

namespace hadal::gateway {
namespace {

std::shared_ptr<const Screener> masking() {
  SensitivityConfig config;
  config.on = true;
  config.mask = detectors_of(config);
  return *Screener::make(config);
}

Masked mask(const std::string& body) {
  const auto screener = masking();
  net::HttpRequest request;
  request.body = body;
  const Screening seen = screener->screen(request);
  EXPECT_FALSE(seen.stays) << seen.reason << " " << body;
  return mask_body(body, seen.spans, screener->labels());
}

std::string said(std::string_view content) {
  std::string body = R"({"messages":[{"role":"user","content":")";
  append_json_escaped(content, &body);
  return body + "\"}]}";
}

TEST(Masker, PutsPlaceholdersThatStayTheSame) {
  EXPECT_EQ(mask(said("a@b.com and c@d.com, again a@b.com")).body,
            said("⟦EMAIL_1⟧ and ⟦EMAIL_2⟧, again ⟦EMAIL_1⟧"));
  EXPECT_EQ(mask(said("13800138000 a@b.com")).body, said("⟦PHONE_1⟧ ⟦EMAIL_1⟧"));
  // One that is there already is left to who wrote it.
  EXPECT_EQ(mask(said("⟦EMAIL_1⟧ a@b.com")).body, said("⟦EMAIL_1⟧ ⟦EMAIL_2⟧"));
  EXPECT_EQ(mask(R"({"prompt":"\u27e6EMAIL_1\u27e7 a@b.com"})").body,
            R"({"prompt":"\u27e6EMAIL_1\u27e7 ⟦EMAIL_2⟧"})");
  EXPECT_EQ(mask(R"({"prompt":"\u0061@b.com"})").body, R"({"prompt":"⟦EMAIL_1⟧"})");
}

std::string restored(const std::string& body, const std::string& answer) {
  return Restorer(std::make_shared<const Masked>(mask(body))).whole(answer);
}

TEST(Masker, RestoresWholeAnswers) {
  const std::string body = said("a@b.com");
  EXPECT_EQ(restored(body, R"({"x" : "to ⟦EMAIL_1⟧!", "n":1.0})"),
            R"({"x" : "to a@b.com!", "n":1.0})");
  EXPECT_EQ(restored(body, R"({"x":"\u27e6EMAIL_1\u27E7"})"), R"({"x":"a@b.com"})");
  EXPECT_EQ(restored(body, R"({"x":"⟦EMAIL_2⟧ ⟦⟦EMAIL_1⟧ ⟦EMAIL_1"})"),
            R"({"x":"⟦EMAIL_2⟧ ⟦a@b.com ⟦EMAIL_1"})");
  EXPECT_EQ(restored(body, R"({"arguments":"{\"to\":\"\\u27e6EMAIL_1\\u27e7\"}"})"),
            R"({"arguments":"{\"to\":\"a@b.com\"}"})");
  EXPECT_EQ(restored(body, R"({"input":{"⟦EMAIL_1⟧":1}})"), R"({"input":{"a@b.com":1}})");
  EXPECT_EQ(restored(body, "no JSON: ⟦EMAIL_1⟧"), "no JSON: a@b.com");
  EXPECT_EQ(restored(body, "\xff⟦EMAIL_1⟧\xe2"),
            "\xff"
            "a@b.com\xe2");
}

// What must be escaped is, once in text and twice in a tool's arguments.
TEST(Masker, EscapesWhatItPutsBack) {
  const std::string key = "-----BEGIN PRIVATE KEY-----\n\"MII\\abc\"\n-----END PRIVATE KEY-----";
  std::string once, twice;
  append_json_escaped(key, &once);
  append_json_escaped(once, &twice);
  EXPECT_EQ(restored(said(key), R"({"content":"⟦KEY_1⟧"})"), R"({"content":")" + once + "\"}");
  EXPECT_EQ(restored(said(key), R"({"arguments":"{\"k\":\"⟦KEY_1⟧\"}"})"),
            R"({"arguments":"{\"k\":\")" + twice + R"(\"}"})");
  // It came in arguments, and goes back into text.
  const std::string call = R"({"arguments":"{\"k\":\")" + twice + R"(\"}"})";
  EXPECT_EQ(restored(call, R"({"content":"⟦KEY_1⟧"})"), R"({"content":")" + once + "\"}");
  EXPECT_EQ(restored(call, mask(call).body), call);
}

TEST(Masker, HoldsNothingBackForLong) {
  Restorer restorer(std::make_shared<const Masked>(mask(said("a@b.com"))));
  EXPECT_EQ(restorer.push("data: {\"t\":\"abc\"}\n"), "data: {\"t\":\"abc\"}\n");
  EXPECT_EQ(restorer.push("\n"), "\n");
  EXPECT_EQ(restorer.push("data: {\"t\":\"x⟦\"}\n\n"), "");
  EXPECT_EQ(restorer.push("data: {\"t\":\"EMAIL\"}\n\n"), "");
  EXPECT_EQ(restorer.push("data: {\"t\":\"s\"}\n"),
            "data: {\"t\":\"x⟦\"}\n\ndata: {\"t\":\"EMAIL\"}\n\ndata: {\"t\":\"s\"}\n");
  EXPECT_EQ(restorer.push("data: {\"t\":\"x⟦\"}\n"), "");
  EXPECT_EQ(restorer.push("data: [DONE]\n"), "data: {\"t\":\"x⟦\"}\ndata: [DONE]\n");
  std::string held, out;
  for (int i = 0; i < 10'000; ++i) {
    const std::string line =
        i == 0 ? "data: {\"t\":\"⟦\"}\n" : "data: {\"other\":\"xxxxxxxxxx\"}\n";
    held += line;
    out += restorer.push(line);
    ASSERT_LE(held.size() - out.size(), Restorer::kHeldMax + 100);
  }
  EXPECT_EQ(out + restorer.finish(), held);
}

TEST(Masker, PassesLinesWithoutEnd) {
  Restorer restorer(std::make_shared<const Masked>(mask(said("a@b.com"))));
  const std::string piece(1u << 20, 'x');
  size_t out = 0;
  for (int i = 0; i < 20; ++i) out += restorer.push(piece).size();
  EXPECT_GT(out, 10u << 20);
  out += restorer.push("\ndata: {\"t\":\"⟦EMAIL_1⟧\"}\n").size() + restorer.finish().size();
  EXPECT_EQ(out, (20u << 20) + std::string("\ndata: {\"t\":\"a@b.com\"}\n").size());
}

// ---- random texts, random cuts ----

class Dice {
 public:
  explicit Dice(uint64_t seed) : rng_(seed) {}
  size_t below(size_t n) { return static_cast<size_t>(rng_.next() % n); }
  template <class List>
  auto& of(List& list) {
    return list[below(std::size(list))];
  }

 private:
  Rng rng_;
};

std::string digits(Dice& dice, size_t count) {
  std::string text;
  while (text.size() < count) text += static_cast<char>('0' + dice.below(10));
  return text;
}

std::string random_secret(Dice& dice) {
  switch (dice.below(5)) {
    case 0:
      return "user" + digits(dice, 6) + "@mail.example.com";
    case 1:
      return "139" + digits(dice, 8);
    case 2: {
      std::string card = "62" + digits(dice, 13);
      for (char last = '0';; ++last) {
        if (is_bank_card(card + last)) return card + last;
      }
    }
    case 3: {
      const std::string id = "11010519491231" + digits(dice, 3);
      for (const char last : std::string("0123456789X")) {
        if (is_id_card(id + last)) return id + last;
      }
      return id;
    }
    default:
      return "sk-" + digits(dice, 24);
  }
}

std::string random_words(Dice& dice) {
  static constexpr const char* kWords[] = {"say ", "你好 ", "\"quoted\" ", "a\\b ",      "line\n",
                                           "⟦x⟧ ", "😀 ",    "2025-11-22 ", "{\"a\":1} ", "\t"};
  std::string text;
  for (size_t i = dice.below(6); i > 0; --i) text += dice.of(kWords);
  return text;
}

// As a server may: plain or with escapes.
std::string json_string(Dice& dice, std::string_view text) {
  std::string plain;
  append_json_escaped(text, &plain);
  if (dice.below(2) == 0) return plain;
  std::string out;
  for (size_t at = 0; at < plain.size();) {
    if (plain.compare(at, 3, "⟦") == 0 || plain.compare(at, 3, "⟧") == 0) {
      out += plain.compare(at, 3, "⟦") == 0 ? "\\u27e6" : "\\u27e7";
      at += 3;
    } else {
      out += plain[at++];
    }
  }
  return out;
}

std::vector<std::string> cut(Dice& dice, const std::string& text) {
  std::vector<std::string> pieces;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1 + dice.below(dice.below(4) == 0 ? 30 : 4);
    while (at + length < text.size() && (text[at + length] & 0xc0) == 0x80) ++length;
    pieces.push_back(text.substr(at, length));
    at += length;
  }
  return pieces;
}

// The text of a channel, out of a stream that this test made.
std::string text_of(const std::string& stream, const std::string& head) {
  std::string text;
  for (size_t at = stream.find(head); at != std::string::npos; at = stream.find(head, at)) {
    at += head.size();
    size_t end = at;
    while (stream[end] != '"') end += stream[end] == '\\' ? 2 : 1;
    text += stream.substr(at, end - at);
    at = end;
  }
  return json_unescaped(text);
}

TEST(MaskerRandom, NothingLeavesAndEverythingComesBack) {
  for (uint64_t seed = 0; seed < 2'000; ++seed) {
    Dice dice(seed);
    std::string text;
    std::vector<std::string> secrets;
    for (size_t i = 1 + dice.below(6); i > 0; --i) {
      secrets.push_back(random_secret(dice));
      text += random_words(dice) + secrets.back() + " ";
    }
    const auto masked = std::make_shared<const Masked>(mask(said(text)));
    for (const std::string& secret : secrets) {
      ASSERT_EQ(masked->body.find(secret), std::string::npos) << "seed " << seed << ": " << secret;
    }
    ASSERT_TRUE(is_json(masked->body)) << "seed " << seed;
    // The cloud's model says it again, in two choices that take turns, and as arguments of a tool.
    const std::string heard = json_unescaped(std::string_view(masked->body).substr(39));
    const std::string echo = heard.substr(0, heard.size() - 4);
    const std::string whole = Restorer(masked).whole("{\"c\":\"" + json_string(dice, echo) + "\"}");
    ASSERT_EQ(json_unescaped(std::string_view(whole).substr(6, whole.size() - 8)), text)
        << "seed " << seed;
    std::string arguments = "{\"x\":\"";
    append_json_escaped(echo, &arguments);
    arguments += "\"}";
    std::vector<std::string> left[3] = {cut(dice, echo), cut(dice, echo), cut(dice, arguments)};
    const std::string heads[3] = {R"(data: {"choices":[{"index":0,"delta":{"content":")",
                                  R"(data: {"choices":[{"delta":{"content":")",
                                  R"(data: {"choices":[{"index":2,"delta":{"arguments":")"};
    const std::string tails[3] = {"\"}}]}\n\n", "\"},\"index\":1}]}\r\n\r\n", "\"}}]}\n\n"};
    std::string stream;
    size_t next[3] = {0, 0, 0};
    while (next[0] < left[0].size() || next[1] < left[1].size() || next[2] < left[2].size()) {
      const size_t channel = dice.below(3);
      if (next[channel] == left[channel].size()) continue;
      if (dice.below(8) == 0) stream += ": still here\n\n";
      stream += heads[channel] + json_string(dice, left[channel][next[channel]++]) + tails[channel];
    }
    stream += "data: [DONE]\n\n";
    Restorer restorer(masked);
    std::string out;
    for (size_t at = 0; at < stream.size();) {
      const size_t length = 1 + dice.below(80);
      out += restorer.push(std::string_view(stream).substr(at, length));
      at += length;
    }
    out += restorer.finish();
    ASSERT_EQ(text_of(out, heads[0]), text) << "seed " << seed;
    ASSERT_EQ(text_of(out, heads[1]), text) << "seed " << seed;
    std::string wanted = "{\"x\":\"";
    append_json_escaped(text, &wanted);
    ASSERT_EQ(text_of(out, heads[2]), wanted + "\"}") << "seed " << seed;
    ASSERT_EQ(std::count(out.begin(), out.end(), '\n'),
              std::count(stream.begin(), stream.end(), '\n'));
  }
}

}  // namespace
}  // namespace hadal::gateway
