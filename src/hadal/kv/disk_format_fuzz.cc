// Any bytes as a segment file of the disk cache: what is accepted is exactly what would be written.
// Every input is tried as it is, and with the checksums made right, so that what lies behind them
// is reached.
#include <algorithm>
#include <cstring>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"
#include "hadal/kv/disk_format.h"

namespace {

using namespace hadal;
using namespace hadal::kv;

std::vector<std::byte> sealed(std::span<const std::byte> bytes) {
  std::vector<std::byte> copy(bytes.begin(), bytes.end());
  if (copy.size() < sizeof(uint64_t)) return copy;
  const uint64_t hash = hash64(std::span(copy).subspan(sizeof hash));
  std::memcpy(copy.data(), &hash, sizeof hash);
  return copy;
}

void try_page(std::span<const std::byte> bytes, const SegmentHeader& segment) {
  PageHeader page;
  if (decode_page(bytes, segment, &page) != PageState::kHeld) return;
  HADAL_CHECK(page.tokens.size() == segment.block_tokens && page.id != PageId{});
  HADAL_CHECK(page.scope.size() <= kDiskScopeBytesMax);
  PageHeader again;
  const auto written = encode_page(page, segment);
  HADAL_CHECK(decode_page(written, segment, &again) == PageState::kHeld && again == page);
}

void try_segment(std::span<const std::byte> bytes, std::span<const std::byte> rest) {
  const auto header = decode_segment(bytes);
  if (!header) return;
  HADAL_CHECK(decode_segment(encode_segment(*header)) == header);
  HADAL_CHECK(header->page_at(header->slots - 1) + header->page_bytes <= header->file_bytes());
  const size_t size = std::min<size_t>(rest.size(), header->header_bytes());
  try_page(rest.first(size), *header);
  try_page(sealed(rest.first(size)), *header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const size_t first = std::min<size_t>(size, kSegmentHeaderBytes);
  try_segment(bytes.first(first), bytes.subspan(first));
  try_segment(sealed(bytes.first(first)), bytes.subspan(first));
  const SegmentHeader segment{.space = "", .block_tokens = 4, .page_bytes = 64, .slots = 1};
  try_page(bytes, segment);
  try_page(sealed(bytes.first(std::min<size_t>(size, segment.header_bytes()))), segment);
  return 0;
}
