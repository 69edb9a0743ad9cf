// What a writer that passes another's answer on needs of an exchange.
#include "hadal/net/exchange.h"

#include <gtest/gtest.h>

namespace hadal::net {
namespace {

class ExchangeTest : public ::testing::Test {
 protected:
  std::shared_ptr<Exchange> exchange_ = std::make_shared<Exchange>(100, [this] { ++wakes_; });
  std::optional<ResponseWriter> writer_{exchange_};
  int wakes_ = 0;
};

TEST_F(ExchangeTest, AnAnswerOfKnownLengthComesInPieces) {
  writer_->start_sized(200, {{"A", "b"}}, 6);
  Exchange::Taken taken = exchange_->take();
  ASSERT_TRUE(taken.head);
  EXPECT_FALSE(taken.head->streamed);
  EXPECT_EQ(taken.head->length, 6u);
  EXPECT_FALSE(taken.finished);
  EXPECT_TRUE(writer_->write("abc"));
  EXPECT_EQ(exchange_->take().bytes, "abc");
  EXPECT_TRUE(writer_->write("def"));
  writer_->finish();
  taken = exchange_->take();
  EXPECT_EQ(taken.bytes, "def");
  EXPECT_TRUE(taken.finished);
  EXPECT_FALSE(taken.abandoned);
}

TEST_F(ExchangeTest, AKnownLengthThatIsNotReachedIsNoWholeAnswer) {
  writer_->start_sized(200, {}, 6);
  EXPECT_TRUE(writer_->write("abc"));
  writer_.reset();
  EXPECT_TRUE(exchange_->take().abandoned);
}

TEST_F(ExchangeTest, RoomIsToldOnceWhenAllIsTaken) {
  int told = 0;
  writer_->start_stream(200, {});
  writer_->on_room([&] { ++told; });
  EXPECT_EQ(told, 1);  // nothing waits
  writer_->write("abc");
  EXPECT_EQ(writer_->waiting(), 3u);
  writer_->on_room([&] {
    EXPECT_EQ(writer_->waiting(), 0u);  // and it may ask: no lock is held
    ++told;
  });
  EXPECT_EQ(told, 1);
  exchange_->take();
  EXPECT_EQ(told, 2);
  exchange_->take();
  EXPECT_EQ(told, 2);
  writer_->finish();
}

TEST_F(ExchangeTest, NobodyIsToldOfRoomWhenTheClientHasGone) {
  int told = 0;
  writer_->start_stream(200, {});
  writer_->write("abc");
  writer_->on_room([&] { ++told; });
  exchange_->client_gone();
  exchange_->take();
  EXPECT_EQ(told, 0);
  EXPECT_FALSE(writer_->write("x"));
}

struct Seen final : AnswerTap {
  explicit Seen(std::string* text) : text(*text) {}
  void on_head(int status, const std::vector<Header>& headers) override {
    text += std::to_string(status) + std::string(find_header(headers, "a")) + ":";
  }
  void on_bytes(std::string_view bytes) override { text += bytes; }
  void on_client_left() override { text += '~'; }
  void on_end(bool whole) override { text += whole ? "|" : "!"; }
  std::string& text;
};

class TapTest : public ExchangeTest {
 protected:
  void SetUp() override {
    for (std::string& text : seen_) writer_->tap(std::make_shared<Seen>(&text));
  }
  void expect(const char* text) {
    for (const std::string& seen : seen_) EXPECT_EQ(seen, text);
  }
  std::string seen_[2];
};

TEST_F(TapTest, SeesAWholeAnswer) {
  writer_->respond(404, {{"A", "b"}}, "none");
  expect("404b:none|");
  exchange_->client_gone();
  expect("404b:none|");
}

TEST_F(TapTest, SeesAStreamWithoutItsHeartbeats) {
  writer_->start_stream(200, {}, {": beat\n\n", std::chrono::milliseconds(1)});
  exchange_->beat();
  writer_->write("ab");
  writer_->write("c");
  writer_->finish();
  expect("200:abc|");
}

TEST_F(TapTest, SeesTheStatusOfALateAnswer) {
  writer_->promise({}, {"\n", std::chrono::milliseconds(1)});
  exchange_->beat();
  writer_->respond(500, {}, "x");
  expect("500:x|");
}

TEST_F(TapTest, SeesThatTheClientLeft) {
  writer_->start_sized(200, {}, 10);
  writer_->write("ab");
  exchange_->client_gone();
  EXPECT_FALSE(writer_->write("c"));
  expect("200:ab~!");
  writer_.reset();
  expect("200:ab~!");
}

TEST_F(TapTest, SeesThatAnAnswerBrokeOffOrWasTooFast) {
  writer_->start_stream(200, {});
  writer_->write("ab");
  EXPECT_FALSE(writer_->write(std::string(101, 'x')));
  expect("200:ab~!");
}

TEST_F(TapTest, SeesAWriterThatGaveUp) {
  writer_.reset();
  expect("500:!");
}

TEST_F(ExchangeTest, ATapAfterTheClientIsToldAtOnce) {
  exchange_->client_gone();
  std::string seen;
  writer_->tap(std::make_shared<Seen>(&seen));
  EXPECT_EQ(seen, "~!");
  writer_->respond(200, {}, "x");
  EXPECT_EQ(seen, "~!");
}

}  // namespace
}  // namespace hadal::net
