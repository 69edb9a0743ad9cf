// Private to format: reads little-endian values from bytes that may end anywhere.
#pragma once

#include <cstring>
#include <span>
#include <string>

#include "hadal/format/field_error.h"

namespace hadal {

class GgufCursor {
 public:
  GgufCursor(std::span<const std::byte> bytes, std::string_view file)
      : bytes_(bytes), file_(file) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }
  std::string_view file() const { return file_; }

  template <class T>
  Result<T> read(std::string_view field) {
    HADAL_TRY(const auto raw, take(sizeof(T), field));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  Result<std::span<const std::byte>> take(uint64_t count, std::string_view field) {
    if (count > left()) {
      return field_error(Code::kCorrupt, file_, field,
                         "the end of the file after " + std::to_string(left()) + " bytes",
                         std::to_string(count) + " bytes");
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  // A length, then that many bytes; valid while the file's bytes are.
  Result<std::string_view> text(std::string_view field, uint64_t size_max) {
    HADAL_TRY(const auto size, read<uint64_t>(field));
    if (size > size_max) {
      return field_error(Code::kTooLarge, file_, field,
                         "a string of " + std::to_string(size) + " bytes",
                         "at most " + std::to_string(size_max));
    }
    HADAL_TRY(const auto raw, take(size, field));
    return std::string_view(reinterpret_cast<const char*>(raw.data()), raw.size());
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view file_;
  uint64_t position_ = 0;
};

}  // namespace hadal
