#include "hadal/kv/disk_format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"

namespace hadal::kv {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

constexpr uint64_t kSegmentMagic = 0x314B53'49444B56ull;  // changes with the format
constexpr uint64_t kPageMagic = 0x3145474150'564Bull;

struct SegmentFields {
  uint64_t hash = 0;  // of all bytes behind it
  uint64_t magic = 0;
  uint64_t page_bytes = 0;
  uint32_t block_tokens = 0;
  uint32_t slots = 0;
  uint32_t space_size = 0;
  uint32_t zero = 0;
};
static_assert(sizeof(SegmentFields) == 40);
static_assert(sizeof(SegmentFields) + kSpaceBytesMax <= kSegmentHeaderBytes);

struct PageFields {
  uint64_t hash = 0;  // of all bytes behind it
  uint64_t magic = 0;
  PageId id, parent;
  uint64_t born = 0;
  uint64_t page_hash = 0;
  uint32_t scope_size = 0;
  uint32_t tokens = 0;
};
static_assert(sizeof(PageFields) == 72);

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

void seal(std::span<std::byte> bytes) {
  const uint64_t hash = hash64(bytes.subspan(sizeof hash));
  std::memcpy(bytes.data(), &hash, sizeof hash);
}

bool sealed(std::span<const std::byte> bytes) {
  uint64_t hash = 0;
  std::memcpy(&hash, bytes.data(), sizeof hash);
  return hash == hash64(bytes.subspan(sizeof hash));
}

bool in_range(const SegmentHeader& header) {
  return header.block_tokens >= 1 && header.block_tokens <= kDiskBlockTokensMax &&
         header.page_bytes >= 1 && header.page_bytes <= kPageBytesMax && header.slots >= 1 &&
         header.slots <= kSegmentSlotsMax && header.space.size() <= kSpaceBytesMax;
}

}  // namespace

uint64_t SegmentHeader::header_bytes() const {
  return round_up(sizeof(PageFields) + block_tokens * sizeof(int32_t) + kDiskScopeBytesMax, 64);
}
uint64_t SegmentHeader::page_stride() const { return round_up(page_bytes, 4'096); }
uint64_t SegmentHeader::pages_at() const { return round_up(header_at(slots), 4'096); }

std::vector<std::byte> encode_segment(const SegmentHeader& header) {
  HADAL_CHECK(in_range(header));
  std::vector<std::byte> bytes(kSegmentHeaderBytes);
  const SegmentFields fields{.magic = kSegmentMagic,
                             .page_bytes = header.page_bytes,
                             .block_tokens = header.block_tokens,
                             .slots = header.slots,
                             .space_size = static_cast<uint32_t>(header.space.size())};
  std::memcpy(bytes.data(), &fields, sizeof fields);
  std::memcpy(bytes.data() + sizeof fields, header.space.data(), header.space.size());
  seal(bytes);
  return bytes;
}

std::optional<SegmentHeader> decode_segment(std::span<const std::byte> bytes) {
  if (bytes.size() < kSegmentHeaderBytes) return std::nullopt;
  bytes = bytes.first(kSegmentHeaderBytes);
  SegmentFields fields;
  std::memcpy(&fields, bytes.data(), sizeof fields);
  if (fields.magic != kSegmentMagic || fields.space_size > kSpaceBytesMax || !sealed(bytes)) {
    return std::nullopt;
  }
  SegmentHeader header{
      .space = std::string(reinterpret_cast<const char*>(bytes.data()) + sizeof fields,
                           fields.space_size),
      .block_tokens = fields.block_tokens,
      .page_bytes = fields.page_bytes,
      .slots = fields.slots};
  if (!in_range(header)) return std::nullopt;
  return header;
}

std::vector<std::byte> encode_page(const PageHeader& header, const SegmentHeader& segment) {
  HADAL_CHECK(header.tokens.size() == segment.block_tokens);
  HADAL_CHECK(header.scope.size() <= kDiskScopeBytesMax);
  std::vector<std::byte> bytes(segment.header_bytes());
  const PageFields fields{.magic = kPageMagic,
                          .id = header.id,
                          .parent = header.parent,
                          .born = header.born,
                          .page_hash = header.page_hash,
                          .scope_size = static_cast<uint32_t>(header.scope.size()),
                          .tokens = segment.block_tokens};
  std::byte* to = bytes.data();
  std::memcpy(to, &fields, sizeof fields);
  to += sizeof fields;
  std::memcpy(to, header.tokens.data(), header.tokens.size() * sizeof(int32_t));
  to += header.tokens.size() * sizeof(int32_t);
  std::memcpy(to, header.scope.data(), header.scope.size());
  seal(bytes);
  return bytes;
}

PageState decode_page(std::span<const std::byte> bytes, const SegmentHeader& segment,
                      PageHeader* header) {
  const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
  if (std::ranges::all_of(bytes, is_zero)) return PageState::kFree;
  if (bytes.size() < segment.header_bytes()) return PageState::kDamaged;
  bytes = bytes.first(segment.header_bytes());
  PageFields fields;
  std::memcpy(&fields, bytes.data(), sizeof fields);
  if (fields.magic != kPageMagic || fields.tokens != segment.block_tokens ||
      fields.scope_size > kDiskScopeBytesMax || fields.id == PageId{} || !sealed(bytes)) {
    return PageState::kDamaged;
  }
  header->id = fields.id;
  header->parent = fields.parent;
  header->born = fields.born;
  header->page_hash = fields.page_hash;
  const std::byte* from = bytes.data() + sizeof fields;
  header->tokens.resize(fields.tokens);
  std::memcpy(header->tokens.data(), from, fields.tokens * sizeof(int32_t));
  from += fields.tokens * sizeof(int32_t);
  header->scope.assign(reinterpret_cast<const char*>(from), fields.scope_size);
  return PageState::kHeld;
}

}  // namespace hadal::kv
