// The flags that serve, ask and chat share, and how every command reads its line.
#pragma once

#include <cstdint>
#include <string>

#include "hadal/apps/runtime.h"
#include "hadal/base/result.h"

namespace CLI {
class App;
}

namespace hadal::apps {

inline constexpr int kUsageError = 2;  // exit status of a line that makes no sense

// "512M", "4G", "4GiB" (powers of 1024), "1000000".
Result<uint64_t> parse_bytes(const std::string& text);

// Text of a size flag lands here until check_runtime_flags() has read it.
struct RuntimeFlags {
  RuntimeOptions options;
  std::string kv_memory;
  std::string kv_disk_max;
  std::string pack_cache_max;
};
void add_runtime_flags(CLI::App& app, RuntimeFlags* flags);
void add_pack_cache_flags(CLI::App& app, RuntimeOptions* options);  // some of them
void add_kv_type_flag(CLI::App& app, RuntimeOptions* options);
void add_mla_prefill_flag(CLI::App& app, RuntimeOptions* options);

// Parses, and answers --help. Nonzero or zero: exit with it; -1: go on. Unknown and repeated flags
// and bad values are errors with one line on stderr.
int parse_line(CLI::App& app, RuntimeFlags* flags, int argc, char** argv);

}  // namespace hadal::apps
