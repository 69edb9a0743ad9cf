// Part of a limit that several connections share, held while it is needed.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace hadal::net {

// Bytes counted in `used`, given back on destruction. `used` must outlive this.
class Reservation {
 public:
  explicit Reservation(std::atomic<size_t>* used) : used_(used) {}
  Reservation(Reservation&& other) noexcept
      : used_(other.used_), held_(std::exchange(other.held_, 0)) {}
  Reservation& operator=(Reservation&&) = delete;
  ~Reservation() { used_->fetch_sub(held_); }
  // False when all together are now over `limit`; the bytes are held all the same.
  bool grow(size_t bytes, size_t limit) {
    held_ += bytes;
    return used_->fetch_add(bytes) + bytes <= limit;
  }

 private:
  std::atomic<size_t>* used_;
  size_t held_ = 0;
};

}  // namespace hadal::net
