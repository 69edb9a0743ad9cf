// Reading what the kernel says about itself in /proc and /sys. Absent or odd files read as empty: a
// machine may not have them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::pseudo {

// The first line without its end; empty when there is none.
std::string line(const std::string& path);
// The value of the first "name : value" line, blanks trimmed; empty when there is none.
std::string field(const std::string& path, std::string_view name);
// The number that the line "name number" of a memory.stat or "name: number kB" of /proc/meminfo
// has.
std::optional<uint64_t> entry(const std::string& path, std::string_view name);
// A whole text as an unsigned decimal number.
std::optional<uint64_t> number(std::string_view text);

// The folders of this process's control group and of those above it, innermost first: version 2's
// when `controller` is empty, else version 1's of that controller. A container that was given its
// own group as the root of what it sees names a path that does not exist there; the folders that do
// are enough.
std::vector<std::string> cgroup_folders(const std::string& root, std::string_view controller);

}  // namespace hadal::pseudo
