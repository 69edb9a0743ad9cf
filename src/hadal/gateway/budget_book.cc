#include "hadal/gateway/budget_book.h"

#include <algorithm>

namespace hadal::gateway {
namespace {

constexpr const char* kSchema = R"(
  CREATE TABLE IF NOT EXISTS backend_budget(
    backend TEXT NOT NULL, month INTEGER NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(backend, month)
  ) STRICT, WITHOUT ROWID;
)";
constexpr const char* kBegin =
    "INSERT INTO backend_budget(backend, month) VALUES (?,?) ON CONFLICT DO NOTHING";
constexpr const char* kHold =
    "UPDATE backend_budget SET held = held + ?1 "
    "WHERE backend = ?2 AND month = ?3 AND spent + held + ?1 <= ?4";
constexpr const char* kSettle =
    "UPDATE backend_budget SET held = max(held - ?, 0), spent = spent + ? "
    "WHERE backend = ? AND month = ?";
constexpr const char* kState =
    "SELECT spent, held FROM backend_budget WHERE backend = ? AND month = ?";

}  // namespace

Result<std::shared_ptr<BudgetBook>> BudgetBook::open(const std::string& path) {
  HADAL_TRY(Database database, Database::open(path, Sync::kProcess));
  std::shared_ptr<BudgetBook> book(new BudgetBook(std::move(database)));
  HADAL_TRY_VOID(book->prepare());
  return book;
}

Status BudgetBook::prepare() {
  HADAL_TRY_VOID(make_tables(database_, {"backend_budget", 1, kSchema}));
  HADAL_TRY(begin_, database_.prepare(kBegin));
  HADAL_TRY(hold_, database_.prepare(kHold));
  HADAL_TRY(settle_, database_.prepare(kSettle));
  HADAL_TRY(state_, database_.prepare(kState));
  return {};
}

Result<bool> BudgetBook::hold(const std::string& backend, int64_t month, int64_t nanos,
                              int64_t limit) {
  std::lock_guard lock(mutex_);
  HADAL_TRY_VOID(database_.run(begin_).bind(backend).bind(month).done());
  HADAL_TRY_VOID(database_.run(hold_).bind(nanos).bind(backend).bind(month).bind(limit).done());
  return database_.changes() == 1;
}

Status BudgetBook::settle(const std::string& backend, int64_t month, int64_t held, int64_t spent) {
  std::lock_guard lock(mutex_);
  return database_.run(settle_).bind(held).bind(spent).bind(backend).bind(month).done();
}

Result<BudgetBook::State> BudgetBook::state(const std::string& backend, int64_t month) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(state_);
  run.bind(backend).bind(month);
  HADAL_TRY(const bool row, run.step());
  if (!row) return State{};
  return State{run.integer(0), run.integer(1)};
}

BudgetHold::~BudgetHold() { settle(held_); }

bool BudgetHold::settle(int64_t spent) {
  if (std::exchange(settled_, true)) return true;
  return book_->settle(backend_, month_, held_, std::max<int64_t>(spent, 0)).has_value();
}

}  // namespace hadal::gateway
