// For format's tests: files byte by byte, also wrong ones, and a folder that goes away.
#pragma once

#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace hadal::testing {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hadal-format-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  std::string write(std::string_view name, std::string_view content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return *this / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Value kinds in a GGUF.
enum Kind : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// A GGUF written field by field, so that a test can put anything anywhere.
class GgufBytes {
 public:
  GgufBytes& raw(std::string_view text) {
    text_ += text;
    return *this;
  }
  template <class T>
  GgufBytes& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& text(std::string_view value) { return put<uint64_t>(value.size()).raw(value); }
  GgufBytes& header(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    return raw("GGUF").put(version).put(tensors).put(keys);
  }
  template <class T>
  GgufBytes& key(std::string_view name, Kind kind, T value) {
    return text(name).put<uint32_t>(kind).put(value);
  }
  GgufBytes& key(std::string_view name, std::string_view value) {
    return text(name).put<uint32_t>(kString).text(value);
  }
  GgufBytes& array(std::string_view name, Kind kind, uint64_t count) {
    return text(name).put<uint32_t>(kArray).put<uint32_t>(kind).put(count);
  }
  GgufBytes& strings(std::string_view name, std::initializer_list<std::string_view> values) {
    array(name, kString, values.size());
    for (const std::string_view value : values) text(value);
    return *this;
  }
  // Dimensions innermost first, as in the file.
  GgufBytes& tensor(std::string_view name, std::initializer_list<uint64_t> extents, uint32_t type,
                    uint64_t offset) {
    text(name).put(static_cast<uint32_t>(extents.size()));
    for (const uint64_t extent : extents) put(extent);
    return put(type).put(offset);
  }
  GgufBytes& data(uint64_t size, uint64_t alignment = 32) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment);
    for (uint64_t i = 0; i < size; ++i) text_ += static_cast<char>(i);
    return *this;
  }
  const std::string& bytes() const { return text_; }

 private:
  std::string text_;
};

}  // namespace hadal::testing
