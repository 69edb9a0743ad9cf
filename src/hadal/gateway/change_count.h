// A number that processes of one machine share, in a file of eight bytes that each maps: who
// changes what others have copies of counts it up, who has a copy looks whether it is still the
// same. Looking costs a load, no call of the system.
//
// Threads and processes: any. The file must not be truncated while it is in use.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "hadal/base/result.h"

namespace hadal::gateway {

class ChangeCount {
 public:
  // Makes the file, readable by its owner alone, if there is none. kUnavailable: it cannot be.
  static Result<ChangeCount> open(const std::string& path);
  ChangeCount(ChangeCount&& other) noexcept;
  ChangeCount& operator=(ChangeCount&& other) noexcept;
  ~ChangeCount();

  uint64_t now() const { return count_->load(std::memory_order_acquire); }
  void changed() { count_->fetch_add(1, std::memory_order_acq_rel); }

 private:
  using Count = std::atomic<uint64_t>;
  static_assert(Count::is_always_lock_free && sizeof(Count) == sizeof(uint64_t));
  explicit ChangeCount(Count* count) : count_(count) {}

  Count* count_ = nullptr;
};

}  // namespace hadal::gateway
