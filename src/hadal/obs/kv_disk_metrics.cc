#include "hadal/obs/kv_disk_metrics.h"

#include <utility>

#include "hadal/obs/registry.h"

namespace hadal {

struct KvDiskMetrics::Impl {
  Impl(std::shared_ptr<obs::Registry> shared, std::string name)
      : registry(std::move(shared)), model_name(std::move(name)) {}

  obs::Counter& counter(const char* name, const char* help) const {
    return registry->counter(name, help, {"model_name"}).with({model_name});
  }
  obs::Gauge& gauge(const char* name, const char* help) const {
    return registry->gauge(name, help, {"model_name"}).with({model_name});
  }
  obs::Counter& error(const char* kind) const {
    return registry
        ->counter("hadal_kv_disk_errors_total",
                  "Pages lost to the disk, by kind: read, write, damaged (refused by a checksum).",
                  {"kind", "model_name"})
        .with({kind, model_name});
  }

  std::shared_ptr<obs::Registry> registry;
  std::string model_name;
  obs::Gauge& pages = gauge("hadal_kv_disk_pages", "Cache pages on disk.");
  obs::Gauge& bytes = gauge("hadal_kv_disk_bytes", "Bytes of the disk cache's files.");
  obs::Counter& hits =
      counter("hadal_kv_disk_hits_total", "Cache pages brought back from disk into memory.");
  obs::Counter& read = counter("hadal_kv_disk_read_bytes_total", "Bytes of those pages.");
  obs::Counter& written = counter("hadal_kv_disk_written_bytes_total", "Bytes of pages written.");
  obs::Counter& evictions =
      counter("hadal_kv_disk_evictions_total", "Pages that made room for others on disk.");
  obs::Counter& skips =
      counter("hadal_kv_disk_skipped_total",
              "Pages that were not written because the disk was behind or paused after an error.");
  obs::Counter& read_errors = error("read");
  obs::Counter& write_errors = error("write");
  obs::Counter& damages = error("damaged");
};

KvDiskMetrics::KvDiskMetrics(const std::string& model_name,
                             std::shared_ptr<obs::Registry> registry) {
  if (registry == nullptr) registry = std::make_shared<obs::Registry>();
  impl_ = std::make_unique<Impl>(std::move(registry), model_name);
}
KvDiskMetrics::~KvDiskMetrics() = default;

void KvDiskMetrics::held(int64_t pages, uint64_t bytes) {
  impl_->pages.set(static_cast<double>(pages));
  impl_->bytes.set(static_cast<double>(bytes));
}
void KvDiskMetrics::read_page(uint64_t bytes) {
  impl_->hits.increment();
  impl_->read.increment(static_cast<double>(bytes));
}
void KvDiskMetrics::written_page(uint64_t bytes) {
  impl_->written.increment(static_cast<double>(bytes));
}
void KvDiskMetrics::evicted() { impl_->evictions.increment(); }
void KvDiskMetrics::skipped() { impl_->skips.increment(); }
void KvDiskMetrics::read_error() { impl_->read_errors.increment(); }
void KvDiskMetrics::write_error() { impl_->write_errors.increment(); }
void KvDiskMetrics::damaged(int64_t pages) { impl_->damages.increment(static_cast<double>(pages)); }

}  // namespace hadal
