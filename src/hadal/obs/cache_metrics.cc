#include "hadal/obs/cache_metrics.h"

#include <string>
#include <utility>

namespace hadal {

CacheMetrics::CacheMetrics(std::shared_ptr<obs::Registry> registry)
    : registry_(std::move(registry)),
      asked_(registry_->counter("hadal_cache_requests_total",
                                "Requests by what the cache of answers had: memory, disk, joined "
                                "(one under way), semantic, miss, bypass",
                                {"result"})),
      saved_(registry_
                 ->counter("hadal_cache_saved_tokens_total",
                           "Generated tokens that were in answers given again")
                 .with()),
      would_(registry_
                 ->counter("hadal_cache_semantic_dry_run_total",
                           "Requests that the semantic cache would have answered")
                 .with()),
      invalidated_(
          registry_->counter("hadal_cache_invalidated_total", "Answers forgotten on demand")
              .with()),
      objected_(registry_->counter(
          "hadal_cache_semantic_objections_total",
          "Similar questions that the guard kept from being answered alike", {"objection"})),
      entries_(registry_->gauge("hadal_cache_entries", "Answers in memory").with()),
      bytes_(registry_->gauge("hadal_cache_bytes", "Bytes of answers in memory").with()),
      questions_(registry_->gauge("hadal_cache_semantic_questions", "Questions that can be found")
                     .with()) {}

void CacheMetrics::asked(std::string_view result) {
  asked_.with({std::string(result)}).increment();
}
void CacheMetrics::saved(int64_t tokens) { saved_.increment(static_cast<double>(tokens)); }
void CacheMetrics::invalidated(uint64_t answers) {
  invalidated_.increment(static_cast<double>(answers));
}
void CacheMetrics::would_answer() { would_.increment(); }
void CacheMetrics::objected(std::string_view objection) {
  objected_.with({std::string(objection)}).increment();
}
void CacheMetrics::holds(uint64_t entries, uint64_t bytes, uint64_t questions) {
  entries_.set(static_cast<double>(entries));
  bytes_.set(static_cast<double>(bytes));
  questions_.set(static_cast<double>(questions));
}

}  // namespace hadal
