// What secrets are made of and compared with.
//
// Pure apart from random_bytes(). Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

namespace hadal::gateway {

using Digest = std::array<uint8_t, 32>;

// SHA-256 (FIPS 180-4).
Digest sha256(std::string_view bytes);
// The same of bytes that come in pieces. One thread.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  Digest finish();  // once

 private:
  struct State;
  std::unique_ptr<State> state_;
};
// Lower case, two digits a byte.
std::string hex(std::string_view bytes);
inline std::string hex(const Digest& digest) {
  return hex(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}
// From the operating system's generator for keys. kUnavailable: it gives none.
Result<std::string> random_bytes(size_t count);
// Takes the same time whatever the two share; only whether their lengths differ shows.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace hadal::gateway
