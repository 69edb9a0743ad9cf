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

}  // namespace
}  // namespace hadal::net
