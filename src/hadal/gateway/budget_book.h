// What backends may cost in a month. A request that could exceed the budget is not begun: what it
// may cost at most is held first, in one statement that counts everything held and spent, and
// settled by what it did cost. So requests at the same time, and processes that share the file,
// never exceed it together. What a process that was killed had held stays held.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "hadal/base/result.h"
#include "hadal/gateway/database.h"

namespace hadal::gateway {

class BudgetBook {
 public:
  // Errors: see Database::open.
  static Result<std::shared_ptr<BudgetBook>> open(const std::string& path);

  // `month` as in calendar.h, money in billionths (limits.h). False: it does not fit under `limit`.
  Result<bool> hold(const std::string& backend, int64_t month, int64_t nanos, int64_t limit);
  // `held` of hold() becomes `spent`.
  Status settle(const std::string& backend, int64_t month, int64_t held, int64_t spent);
  struct State {
    int64_t spent = 0, held = 0;
  };
  Result<State> state(const std::string& backend, int64_t month);

 private:
  explicit BudgetBook(Database database) : database_(std::move(database)) {}
  Status prepare();

  std::mutex mutex_;
  Database database_;  // before its statements
  Statement begin_, hold_, settle_, state_;
};

// One request's share. Settles itself when it goes: as if all of it were spent, unless settle() was
// called, since nobody knows what the upstream bills.
class BudgetHold {
 public:
  BudgetHold(std::shared_ptr<BudgetBook> book, std::string backend, int64_t month, int64_t nanos)
      : book_(std::move(book)), backend_(std::move(backend)), month_(month), held_(nanos) {}
  ~BudgetHold();
  BudgetHold(const BudgetHold&) = delete;
  BudgetHold& operator=(const BudgetHold&) = delete;
  // Once; later calls do nothing. False: could not be written, and what was held stays held.
  bool settle(int64_t spent);

 private:
  const std::shared_ptr<BudgetBook> book_;
  const std::string backend_;
  const int64_t month_;
  const int64_t held_;
  bool settled_ = false;
};

}  // namespace hadal::gateway
