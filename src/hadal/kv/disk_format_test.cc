#include "hadal/kv/disk_format.h"

#include <gtest/gtest.h>

#include <numeric>

namespace hadal::kv {
namespace {

SegmentHeader segment() {
  return {.space = "some model", .block_tokens = 32, .page_bytes = 995'328, .slots = 77};
}

PageHeader page() {
  PageHeader header{.id = {5, 6},
                    .parent = {3, 4},
                    .born = 9,
                    .page_hash = 0x123456789abcdef,
                    .scope = std::string("ten\0ant", 7),
                    .tokens = std::vector<int32_t>(32)};
  std::iota(header.tokens.begin(), header.tokens.end(), -3);
  return header;
}

TEST(DiskFormat, ReadsWhatItWrote) {
  for (const size_t size : {size_t{0}, size_t{1}, kSpaceBytesMax}) {
    SegmentHeader header = segment();
    header.space.assign(size, 'x');
    const auto bytes = encode_segment(header);
    EXPECT_EQ(bytes.size(), kSegmentHeaderBytes);
    EXPECT_EQ(decode_segment(bytes), header);
  }
  for (const size_t size : {size_t{0}, size_t{1}, kDiskScopeBytesMax}) {
    PageHeader header = page();
    header.scope.assign(size, 'x');
    const auto bytes = encode_page(header, segment());
    EXPECT_EQ(bytes.size(), segment().header_bytes());
    PageHeader read;
    EXPECT_EQ(decode_page(bytes, segment(), &read), PageState::kHeld);
    EXPECT_EQ(read, header);
  }
}

TEST(DiskFormat, PlacesDoNotOverlap) {
  for (const uint32_t tokens : {1u, 7u, 32u, 1'024u}) {
    for (const uint64_t bytes : {uint64_t{1}, uint64_t{4'095}, uint64_t{4'096}, kPageBytesMax}) {
      for (const uint32_t slots : {1u, 3u, 100u, kSegmentSlotsMax}) {
        const SegmentHeader s{
            .space = "", .block_tokens = tokens, .page_bytes = bytes, .slots = slots};
        EXPECT_EQ(s.header_at(0), kSegmentHeaderBytes);
        EXPECT_LE(s.header_at(slots - 1) + s.header_bytes(), s.pages_at());
        EXPECT_LE(s.page_at(slots - 1) + bytes, s.file_bytes());
        EXPECT_LT(s.file_bytes(), uint64_t{1} << 53);
      }
    }
  }
}

TEST(DiskFormat, RefusesEveryChangedBit) {
  auto bytes = encode_segment(segment());
  for (size_t bit = 0; bit < bytes.size() * 8; bit += 3) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    ASSERT_FALSE(decode_segment(bytes)) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  bytes = encode_page(page(), segment());
  PageHeader read;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    ASSERT_EQ(decode_page(bytes, segment(), &read), PageState::kDamaged) << bit;
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
  EXPECT_EQ(decode_page(bytes, segment(), &read), PageState::kHeld);
}

TEST(DiskFormat, RefusesShortOnesAndKnowsFreeOnes) {
  const auto bytes = encode_page(page(), segment());
  PageHeader read;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const PageState state = decode_page(std::span(bytes).first(size), segment(), &read);
    ASSERT_EQ(state, size == 0 ? PageState::kFree : PageState::kDamaged) << size;
  }
  EXPECT_EQ(decode_page(std::vector<std::byte>(bytes.size()), segment(), &read), PageState::kFree);
  const auto whole = encode_segment(segment());
  EXPECT_FALSE(decode_segment(std::span(whole).first(kSegmentHeaderBytes - 1)));
  EXPECT_FALSE(decode_segment({}));
  EXPECT_FALSE(decode_segment(std::vector<std::byte>(kSegmentHeaderBytes)));
  // A page of another block size.
  SegmentHeader other = segment();
  other.block_tokens = 31;
  EXPECT_EQ(decode_page(bytes, other, &read), PageState::kDamaged);
}

}  // namespace
}  // namespace hadal::kv
