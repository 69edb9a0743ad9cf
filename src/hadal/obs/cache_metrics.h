// What the cache of answers counts.
//
// Threads: every member may be called from any thread at any time.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "hadal/obs/registry.h"

namespace hadal {

class CacheMetrics {
 public:
  explicit CacheMetrics(std::shared_ptr<obs::Registry> registry);

  // One of a fixed set: memory, disk, joined, semantic, miss, bypass.
  void asked(std::string_view result);
  void saved(int64_t tokens);
  void invalidated(uint64_t answers);
  void would_answer();                        // the semantic cache, in a dry run
  void objected(std::string_view objection);  // its guard
  void holds(uint64_t entries, uint64_t bytes, uint64_t questions);

 private:
  const std::shared_ptr<obs::Registry> registry_;
  obs::Family<obs::Counter>& asked_;
  obs::Counter& saved_;
  obs::Counter& would_;
  obs::Counter& invalidated_;
  obs::Family<obs::Counter>& objected_;
  obs::Gauge& entries_;
  obs::Gauge& bytes_;
  obs::Gauge& questions_;
};

}  // namespace hadal
