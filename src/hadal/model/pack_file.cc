#include "hadal/model/pack_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/base/checksum.h"

namespace hadal {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::array<char, 8> kMagic = {'H', 'A', 'D', 'A', 'L', 'P', 'A', 'K'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kLarge = 16 * kHugePage;  // from here on at most 1/16 is lost to alignment
constexpr uint64_t kChunk = 4 * kHugePage;   // of writing and of checksums
constexpr uint32_t kTextMax = 64u << 10;
constexpr uint32_t kExtentsMax = 1u << 20;

struct FixedHeader {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t header_bytes = 0;
  uint64_t header_checksum = 0;
  uint64_t file_bytes = 0;
  uint32_t extents = 0;
  std::array<uint32_t, 4> text_bytes = {};
  uint32_t reserved = 0;
};
static_assert(sizeof(FixedHeader) == 56 && sizeof(PackExtent) == 32);

constexpr std::array kTexts = {&PackKey::source, &PackKey::identity, &PackKey::family,
                               &PackKey::recipe};

constexpr uint64_t rounded(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

uint64_t header_bytes(const PackKey& key, size_t extents) {
  uint64_t bytes = sizeof(FixedHeader) + extents * sizeof(PackExtent);
  for (const auto text : kTexts) bytes += (key.*text).size();
  return bytes;
}

// Places extents of `sizes` behind a header; returns where the last ends.
uint64_t place(uint64_t header, std::span<const uint64_t> sizes, std::vector<PackExtent>* extents) {
  uint64_t end = header;
  for (const uint64_t bytes : sizes) {
    const uint64_t offset = rounded(end, bytes >= kLarge ? kHugePage : kPage);
    extents->push_back({offset, bytes, 0, 0});
    end = offset + bytes;
  }
  return end;
}

std::string encode(const PackHeader& header) {
  FixedHeader fixed;
  fixed.header_bytes = static_cast<uint32_t>(header_bytes(header.key, header.extents.size()));
  fixed.file_bytes = header.file_bytes;
  fixed.extents = static_cast<uint32_t>(header.extents.size());
  std::string body;
  for (size_t i = 0; i < kTexts.size(); ++i) {
    const std::string& text = header.key.*kTexts[i];
    fixed.text_bytes[i] = static_cast<uint32_t>(text.size());
    body += text;
  }
  body.append(reinterpret_cast<const char*>(header.extents.data()),
              header.extents.size() * sizeof(PackExtent));
  const auto joined = [&] {
    return std::string(reinterpret_cast<const char*>(&fixed), sizeof(fixed)) + body;
  };
  fixed.header_checksum = checksum64(joined());
  return joined();
}

tl::unexpected<Error> corrupt(const std::string& path, const std::string& what) {
  return fail(Code::kCorrupt, path + ": " + what);
}
tl::unexpected<Error> corrupt(const std::string& path, const char* field, uint64_t found,
                              uint64_t expected) {
  return corrupt(path, std::string(field) + ": found " + std::to_string(found) + ", expected " +
                           std::to_string(expected));
}

void for_chunks(ThreadPool* pool, uint64_t bytes, const std::function<void(size_t chunk)>& body) {
  const auto count = static_cast<size_t>((bytes + kChunk - 1) / kChunk);
  if (pool == nullptr) {
    for (size_t i = 0; i < count; ++i) body(i);
    return;
  }
  pool->parallel_for(count, 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) body(i);
  });
}

std::span<const std::byte> chunk_of(std::span<const std::byte> bytes, size_t index) {
  const uint64_t begin = index * kChunk;
  return bytes.subspan(begin, std::min<uint64_t>(kChunk, bytes.size() - begin));
}

uint64_t ends_checksum(std::span<const std::byte> bytes) {
  const size_t size = std::min<size_t>(bytes.size(), kPage);
  return checksum64(bytes.last(size), checksum64(bytes.first(size)));
}

uint64_t joined_checksum(const std::vector<uint64_t>& sums) {
  return checksum64(std::as_bytes(std::span(sums)));
}

uint64_t whole_checksum(std::span<const std::byte> bytes, ThreadPool* pool) {
  std::vector<uint64_t> sums((bytes.size() + kChunk - 1) / kChunk);
  for_chunks(pool, bytes.size(), [&](size_t i) { sums[i] = checksum64(chunk_of(bytes, i)); });
  return joined_checksum(sums);
}

}  // namespace

uint64_t PackKey::checksum() const {
  uint64_t sum = 0;
  for (const auto text : kTexts) sum = checksum64(this->*text, sum);
  return sum;
}

Result<PackHeader> parse_pack_header(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string& path = file.path();
  FixedHeader fixed;
  if (bytes.size() < sizeof(fixed)) return corrupt(path, "shorter than a header");
  std::memcpy(&fixed, bytes.data(), sizeof(fixed));
  if (fixed.magic != kMagic) return corrupt(path, "not a file of packed weights");
  if (fixed.version != kVersion) return corrupt(path, "version", fixed.version, kVersion);
  uint64_t expected = sizeof(fixed) + uint64_t{fixed.extents} * sizeof(PackExtent);
  for (const uint32_t size : fixed.text_bytes) expected += size;
  if (fixed.header_bytes != expected) {
    return corrupt(path, "header bytes", fixed.header_bytes, expected);
  }
  if (bytes.size() < expected) return corrupt(path, "file bytes", bytes.size(), expected);
  std::string header(reinterpret_cast<const char*>(bytes.data()), expected);
  constexpr size_t kChecksumAt = 16;
  std::memset(header.data() + kChecksumAt, 0, sizeof(uint64_t));
  if (checksum64(header) != fixed.header_checksum) return corrupt(path, "the header is damaged");
  if (fixed.file_bytes != bytes.size()) {
    return corrupt(path, "file bytes", bytes.size(), fixed.file_bytes);
  }

  PackHeader parsed;
  parsed.file_bytes = fixed.file_bytes;
  size_t at = sizeof(fixed);
  for (size_t i = 0; i < kTexts.size(); ++i) {
    parsed.key.*kTexts[i] = header.substr(at, fixed.text_bytes[i]);
    at += fixed.text_bytes[i];
  }
  parsed.extents.resize(fixed.extents);
  if (fixed.extents > 0) {
    std::memcpy(parsed.extents.data(), header.data() + at, fixed.extents * sizeof(PackExtent));
  }
  return parsed;
}

Result<kernels::WeightMemory::Extent> PackPlan::take(uint64_t bytes) {
  sizes_.push_back(bytes);
  return Extent{nullptr, true};
}

uint64_t PackPlan::bytes() const {
  return std::accumulate(sizes_.begin(), sizes_.end(), uint64_t{0});
}

Result<std::unique_ptr<PackReader>> PackReader::open(const std::string& path, const PackKey& key,
                                                     std::span<const uint64_t> sizes, bool verify,
                                                     ThreadPool* pool) {
  HADAL_TRY(MappedFile file, MappedFile::open_huge(path));
  HADAL_TRY(PackHeader header, parse_pack_header(file));
  if (header.key != key) return corrupt(path, "holds the weights of another model or layout");
  // A header with a right checksum may still lie: its extents must be where they belong.
  std::vector<PackExtent> extents;
  const uint64_t end = place(header_bytes(key, sizes.size()), sizes, &extents);
  if (header.extents.size() != extents.size()) {
    return corrupt(path, "extents", header.extents.size(), extents.size());
  }
  for (size_t i = 0; i < extents.size(); ++i) {
    const PackExtent &found = header.extents[i], &expected = extents[i];
    if (found.offset != expected.offset) {
      return corrupt(path, "an extent's offset", found.offset, expected.offset);
    }
    if (found.bytes != expected.bytes) {
      return corrupt(path, "an extent's bytes", found.bytes, expected.bytes);
    }
  }
  if (file.bytes().size() != end) return corrupt(path, "file bytes", file.bytes().size(), end);
  auto reader = std::unique_ptr<PackReader>(new PackReader(std::move(file), std::move(header)));
  HADAL_TRY_VOID(reader->check_content(verify, pool));
  return reader;
}

Status PackReader::check_content(bool verify, ThreadPool* pool) const {
  for (size_t i = 0; i < header_.extents.size(); ++i) {
    const PackExtent& extent = header_.extents[i];
    const std::span<const std::byte> bytes = file_.bytes().subspan(extent.offset, extent.bytes);
    if (ends_checksum(bytes) != extent.ends_checksum ||
        (verify && whole_checksum(bytes, pool) != extent.checksum)) {
      return corrupt(path(), "extent " + std::to_string(i) + " is damaged");
    }
  }
  return {};
}

Result<kernels::WeightMemory::Extent> PackReader::take(uint64_t bytes) {
  // open() compared all sizes with a walk through the same model.
  HADAL_CHECK(next_ < header_.extents.size() && header_.extents[next_].bytes == bytes, path());
  const std::byte* data = file_.bytes().data() + header_.extents[next_++].offset;
  return Extent{const_cast<std::byte*>(data), true};  // packed: nobody writes
}

PackWriter::PackWriter(PendingFile file, PackHeader header, std::unique_ptr<kernels::Buffer> memory,
                       ThreadPool* pool)
    : file_(std::move(file)), header_(std::move(header)), memory_(std::move(memory)), pool_(pool) {}

Result<std::unique_ptr<PackWriter>> PackWriter::make(PendingFile file, PackKey key,
                                                     std::span<const uint64_t> sizes,
                                                     kernels::Backend& backend, ThreadPool* pool) {
  for (const auto text : kTexts) {
    if ((key.*text).size() > kTextMax) return fail(Code::kTooLarge, "a path too long to be kept");
  }
  if (sizes.empty() || sizes.size() > kExtentsMax) {
    return fail(Code::kTooLarge, "a model of too many matrices");
  }
  PackHeader header;
  header.key = std::move(key);
  header.file_bytes = place(header_bytes(header.key, sizes.size()), sizes, &header.extents);
  HADAL_TRY_VOID(file.reserve(header.file_bytes));
  HADAL_TRY(auto memory, backend.allocate(*std::max_element(sizes.begin(), sizes.end())));
  return std::unique_ptr<PackWriter>(
      new PackWriter(std::move(file), std::move(header), std::move(memory), pool));
}

Result<kernels::WeightMemory::Extent> PackWriter::take(uint64_t bytes) {
  if (status_) status_ = flush();
  if (!status_) return fail(status_.error());
  HADAL_CHECK(next_ < header_.extents.size() && header_.extents[next_].bytes == bytes);
  ++next_;
  pending_ = true;
  return Extent{memory_->data(), false};
}

Status PackWriter::flush() {
  if (!std::exchange(pending_, false)) return {};
  PackExtent& extent = header_.extents[next_ - 1];
  const std::span<const std::byte> bytes(memory_->data(), extent.bytes);
  const size_t chunks = (bytes.size() + kChunk - 1) / kChunk;
  std::vector<uint64_t> sums(chunks);
  std::vector<Status> written(chunks);
  for_chunks(pool_, bytes.size(), [&](size_t i) {
    const std::span<const std::byte> chunk = chunk_of(bytes, i);
    sums[i] = checksum64(chunk);
    written[i] = file_.write(extent.offset + i * kChunk, chunk);
  });
  extent.ends_checksum = ends_checksum(bytes);
  extent.checksum = joined_checksum(sums);
  for (Status& status : written) HADAL_TRY_VOID(std::move(status));
  return {};
}

Status PackWriter::commit() {
  HADAL_TRY_VOID(status_);
  HADAL_TRY_VOID(flush());
  HADAL_CHECK(next_ == header_.extents.size());
  const std::string header = encode(header_);
  HADAL_TRY_VOID(file_.write(0, std::as_bytes(std::span(header.data(), header.size()))));
  return file_.commit();
}

}  // namespace hadal
