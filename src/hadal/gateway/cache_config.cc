#include "hadal/gateway/cache_config.h"

namespace hadal::gateway {
namespace {

Section<SemanticConfig> semantic_section() {
  Section<SemanticConfig> section(
      "semantic",
      "Answers for questions that ask the same in other words; see [caches](caches.md) for how "
      "good "
      "its judgement is. System prompt, history, tools and parameters must be equal.");
  section
      .choice("mode", &SemanticConfig::mode, {"off", "dry-run", "on"},
              "`dry-run`: only say, in a header and a metric, what would have been answered")
      .number("threshold", &SemanticConfig::threshold, {0, 1}, "least similarity")
      .choice("guard", &SemanticConfig::guard, {"words", "facts"},
              "what else must agree: every word that says something, or numbers, names, negations, "
              "opposites and directions")
      .integer("entries", &SemanticConfig::entries, {1, 1'000'000}, "questions kept, in memory")
      .boolean("multi_turn", &SemanticConfig::multi_turn,
               "also for conversations with earlier answers in them");
  return section;
}

}  // namespace

Section<CacheConfig> cache_section() {
  Section<CacheConfig> section("cache",
                               "Answers given again instead of computed again. Each key has a "
                               "cache of its own. `disk` takes "
                               "effect at the next start, the rest at once.");
  section.boolean("enabled", &CacheConfig::enabled, "whether answers are kept at all")
      .choice(
          "answers", &CacheConfig::answers, {"deterministic", "all"},
          "`deterministic`: of requests with temperature 0, or, for a local model, a seed; others "
          "when they ask for it with `x-hadal-cache: on`")
      .duration("ttl", &CacheConfig::ttl, Millis(1'000), Millis(365LL * 24 * 3600 * 1000),
                "how long an answer is given again")
      .bytes("memory", &CacheConfig::memory, "bytes of answers in memory")
      .bytes("entry_max", &CacheConfig::entry_max, "bytes of one; longer ones are not kept")
      .text("disk", &CacheConfig::disk, "SQLite file that keeps them over restarts", {"none"})
      .bytes("disk_max", &CacheConfig::disk_max, "bytes of answers in that file")
      .integer("epoch", &CacheConfig::epoch, {0, 1'000'000'000},
               "another number here makes all that was kept invalid")
      .inside("semantic", &CacheConfig::semantic, semantic_section(),
              "the same question in other words");
  return section;
}

}  // namespace hadal::gateway
