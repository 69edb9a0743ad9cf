// Finds damage, not forgery: whoever can write a file can write its checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hadal {

// Depends on every byte, on their order and number, and on `seed`; two inputs that differ within
// one 8-byte word never agree. The same on every little-endian machine, about 8 bytes a cycle.
// Values are in files: a change of this function is a change of their formats.
uint64_t checksum64(std::span<const std::byte> bytes, uint64_t seed = 0);
uint64_t checksum64(std::string_view text, uint64_t seed = 0);

}  // namespace hadal
