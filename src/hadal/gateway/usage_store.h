// Who used how much, on disk: for day and month limits that outlive a restart, and for accounts.
//
// An estimate is on the disk before its request is begun; settling replaces it by what was used.
// So a process that is killed forgets no use: what it had not settled stays at its estimate.
//
// Threads: any. Several processes may add to one file.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/database.h"
#include "hadal/gateway/limits.h"

namespace hadal::gateway {

// What one request adds. All may be negative but `requests`.
struct UsageChange {
  std::string tenant;
  std::string key;  // id; may be empty
  std::string model;
  int64_t day = 0;  // since 1970, UTC
  int64_t requests = 0;
  Tokens used;
  int64_t nanos = 0;  // money of `used`
  Cost held;          // estimates of requests that are not settled
};

struct UsageRow {
  std::string tenant;
  std::string key;
  std::string model;
  int64_t requests = 0;
  Tokens used;
  int64_t nanos = 0;
  Cost held;
};

class UsageStore {
 public:
  // Errors: see Database::open.
  static Result<std::unique_ptr<UsageStore>> open(const std::string& path);

  // All or nothing. kUnavailable: nothing was written.
  Status add(std::span<const UsageChange> changes);
  // Sums over days in [first, last], by tenant, key and model.
  Result<std::vector<UsageRow>> sums(int64_t first, int64_t last);

 private:
  explicit UsageStore(Database database) : database_(std::move(database)) {}
  Status prepare();
  Status add_one(const UsageChange& change);

  std::mutex mutex_;
  Database database_;  // before its statements
  Statement add_, sums_;
};

}  // namespace hadal::gateway
