#include "hadal/base/page_warmer.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

namespace hadal {
namespace {

std::string gigabytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f GB", static_cast<double>(bytes) * 1e-9);
  return text;
}

}  // namespace

PageWarmer::PageWarmer(const MappedFile& file, std::function<bool()> idle, const Clock& clock,
                       LogSink log, Options options)
    : file_(file),
      idle_(std::move(idle)),
      clock_(clock),
      log_(std::move(log)),
      options_(options),
      begun_(clock.now()),
      reported_(begun_),
      thread_([this] { run(); }) {}

PageWarmer::~PageWarmer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PageWarmer::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_ || stop_; });
}

bool PageWarmer::stopped(Nanos wait) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, wait, [this] { return stop_; });
}

void PageWarmer::report(size_t left, bool finished) {
  const Nanos now = clock_.now();
  if (!finished && now - reported_ < options_.report) return;
  reported_ = now;
  const size_t size = file_.bytes().size();
  char seconds[32];
  std::snprintf(seconds, sizeof(seconds), "%.1f s", to_seconds(now - begun_));
  log_to(log_, LogLevel::kInfo,
         "weights in memory: " + gigabytes(size - left) + " of " + gigabytes(size) + " after " +
             seconds + ", " + gigabytes(from_disk_) + " of them from the disk");
}

void PageWarmer::run() {
  const size_t size = file_.bytes().size();
  for (size_t at = 0; at < size; at += options_.piece_bytes) {
    while (!idle_()) {
      if (stopped(options_.poll)) return;
    }
    if (stopped(Nanos(0))) return;
    const size_t bytes = std::min(options_.piece_bytes, size - at);
    if (!file_.resident(at, bytes)) from_disk_ += bytes;
    file_.populate(at, bytes);
    report(size - at - bytes, false);
  }
  report(0, true);
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_all();
}

}  // namespace hadal
