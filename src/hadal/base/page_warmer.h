// Brings a mapped file's pages into memory behind the back of those who use them, so that nobody
// waits for them one by one, in order, and only while `idle` says so: reading ahead would take the
// disk and a core from whoever is at work.
//
// Threads: has one of its own; `idle` and `log` are called from it. The destructor waits for the
// piece under way.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>

#include "hadal/base/clock.h"
#include "hadal/base/file.h"
#include "hadal/base/log.h"

namespace hadal {

class PageWarmer {
 public:
  struct Options {
    size_t piece_bytes = size_t{32} << 20;
    Nanos poll = std::chrono::milliseconds(50);  // until idle is asked again
    Nanos report = std::chrono::seconds(5);      // between lines in the log
  };

  // `file` and `clock` must outlive this.
  PageWarmer(const MappedFile& file, std::function<bool()> idle, const Clock& clock, LogSink log,
             Options options);
  ~PageWarmer();
  PageWarmer(const PageWarmer&) = delete;
  PageWarmer& operator=(const PageWarmer&) = delete;

  // Until every page was mapped once, or the destructor. For tests and benchmarks.
  void wait();

 private:
  void run();
  bool stopped(Nanos wait);
  void report(size_t left, bool finished);

  const MappedFile& file_;
  const std::function<bool()> idle_;
  const Clock& clock_;
  const LogSink log_;
  const Options options_;
  Nanos begun_{0}, reported_{0};
  size_t from_disk_ = 0;  // bytes

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false, done_ = false;
  std::thread thread_;  // last: runs as soon as it is made
};

}  // namespace hadal
