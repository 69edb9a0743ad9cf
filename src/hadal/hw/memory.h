// How much memory this process may have: the machine's, or what its container was given.
//
// Threads: pure functions of the machine; any thread may call them.
#pragma once

#include <cstdint>
#include <string>

namespace hadal {

struct MemoryInfo {
  uint64_t total = 0;  // bytes: physical, or the least limit of the control groups around us
  uint64_t available =
      0;  // bytes that can be taken now without swapping, caches given back; <= total
  bool limited = false;  // a control group's limit (version 1 or 2) is below what the machine has
};

// `root` stands for "/": a test reads another machine's /proc and /sys. Zeroes when nothing is
// known.
MemoryInfo memory_info(const std::string& root = "/");

}  // namespace hadal
