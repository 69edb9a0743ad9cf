// What hadal.yaml says of the cache of answers.
#pragma once

#include <cstdint>
#include <string>

#include "hadal/gateway/field.h"

namespace hadal::gateway {

struct SemanticConfig {
  std::string mode = "off";  // off, dry-run, on
  double threshold = 0.85;
  std::string guard = "words";  // words, facts
  int32_t entries = 10'000;
  bool multi_turn = false;
  bool operator==(const SemanticConfig&) const = default;
};

struct CacheConfig {
  bool enabled = false;
  std::string answers = "deterministic";  // deterministic, all
  Millis ttl{24LL * 3600 * 1000};
  uint64_t memory = 64ull << 20;
  uint64_t entry_max = 512ull << 10;
  std::string disk;
  uint64_t disk_max = 1ull << 30;
  int32_t epoch = 0;
  SemanticConfig semantic;
  bool operator==(const CacheConfig&) const = default;
};

Section<CacheConfig> cache_section();

}  // namespace hadal::gateway
