// The files of the prefix cache on disk, as bytes. Little-endian, as the machines that write them.
//
//   [0, 4096)        segment header: what all pages of the file share
//   [4096, ...)      `slots` page headers of header_bytes() each
//   (to 4096)
//   [pages_at(), ..) `slots` pages of page_stride() each
//
// A slot is free or holds one page: the rows of one cache block, opaque here. Its header says which
// tokens the page stands for and has a checksum of itself and one of the page. A slot is
// overwritten page first, header last, without syncing: whatever a crash leaves is the old page,
// the new one, or something that a checksum refuses.
//
// Decoding takes any bytes and never reads outside of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hadal::kv {

inline constexpr uint64_t kSegmentHeaderBytes = 4'096;
inline constexpr size_t kSpaceBytesMax = 3'072;
inline constexpr size_t kDiskScopeBytesMax = 1'024;
inline constexpr uint32_t kDiskBlockTokensMax = 1'024;
inline constexpr uint64_t kPageBytesMax = uint64_t{1} << 32;
inline constexpr uint32_t kSegmentSlotsMax = 1u << 20;

struct SegmentHeader {
  std::string space;          // whose pages: model, numerics, layout. At most kSpaceBytesMax
  uint32_t block_tokens = 0;  // [1, kDiskBlockTokensMax]
  uint64_t page_bytes = 0;    // [1, kPageBytesMax]
  uint32_t slots = 0;         // [1, kSegmentSlotsMax]
  bool operator==(const SegmentHeader&) const = default;

  uint64_t header_bytes() const;
  uint64_t page_stride() const;
  uint64_t header_at(uint32_t slot) const { return kSegmentHeaderBytes + slot * header_bytes(); }
  uint64_t pages_at() const;
  uint64_t page_at(uint32_t slot) const { return pages_at() + slot * page_stride(); }
  uint64_t file_bytes() const { return page_at(slots); }
};

std::vector<std::byte> encode_segment(const SegmentHeader& header);  // kSegmentHeaderBytes
// Nothing: not such a header, another version, or damaged.
std::optional<SegmentHeader> decode_segment(std::span<const std::byte> bytes);

// Never used twice: `epoch` is drawn anew by each process, `number` counts in it. So a page that
// names its parent means that very page, not another one that took its place. {0, 0}: none.
struct PageId {
  uint64_t epoch = 0;
  uint64_t number = 0;
  bool operator==(const PageId&) const = default;
};

struct PageHeader {
  PageId id;
  PageId parent;                // of the page with the tokens before; none: the first of a prompt
  uint64_t born = 0;            // order of writing over all time; a parent's is smaller
  uint64_t page_hash = 0;       // of the page's bytes, seeded by hash_seed()
  std::string scope;            // of a first page; else empty. At most kDiskScopeBytesMax
  std::vector<int32_t> tokens;  // [block_tokens]
  bool operator==(const PageHeader&) const = default;

  // A page that lies under another page's header is refused even if the two are equal.
  uint64_t hash_seed() const { return id.epoch ^ id.number; }
};

// header_bytes() of the segment.
std::vector<std::byte> encode_page(const PageHeader& header, const SegmentHeader& segment);

enum class PageState : uint8_t { kFree, kHeld, kDamaged };
// `bytes`: header_bytes() of them, or fewer where the file ends.
PageState decode_page(std::span<const std::byte> bytes, const SegmentHeader& segment,
                      PageHeader* header);

}  // namespace hadal::kv
