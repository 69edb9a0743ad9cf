#include "hadal/hw/memory.h"

#include <algorithm>

#include "hadal/hw/pseudo_file.h"

namespace hadal {
namespace {

// What one version of control groups calls its files.
struct GroupFiles {
  const char* controller;
  const char* limit;
  const char* usage;
  const char* reclaimable;  // in memory.stat: file pages that nobody used lately
};

constexpr GroupFiles kVersions[] = {
    {"", "/memory.max", "/memory.current", "inactive_file"},
    {"memory", "/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"},
};

void apply_limits(const std::string& root, const GroupFiles& files, MemoryInfo* info) {
  for (const std::string& folder : pseudo::cgroup_folders(root, files.controller)) {
    // "max", and version 1's number near 2^63, limit nothing: neither is below the total.
    const auto limit = pseudo::number(pseudo::line(folder + files.limit));
    if (!limit || *limit >= info->total) continue;
    info->total = *limit;
    info->limited = true;
  }
  for (const std::string& folder : pseudo::cgroup_folders(root, files.controller)) {
    const auto limit = pseudo::number(pseudo::line(folder + files.limit));
    const auto usage = pseudo::number(pseudo::line(folder + files.usage));
    if (!limit || !usage) continue;
    const uint64_t cached = pseudo::entry(folder + "/memory.stat", files.reclaimable).value_or(0);
    const uint64_t used = *usage - std::min(*usage, cached);
    info->available = std::min(info->available, *limit - std::min(*limit, used));
  }
}

}  // namespace

MemoryInfo memory_info(const std::string& root) {
  const std::string meminfo = root + "proc/meminfo";
  MemoryInfo info;
  info.total = pseudo::entry(meminfo, "MemTotal").value_or(0);
  info.available = pseudo::entry(meminfo, "MemAvailable").value_or(info.total);
  for (const GroupFiles& files : kVersions) apply_limits(root, files, &info);
  info.available = std::min(info.available, info.total);
  return info;
}

}  // namespace hadal
