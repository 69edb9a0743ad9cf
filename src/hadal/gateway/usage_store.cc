#include "hadal/gateway/usage_store.h"

namespace hadal::gateway {
namespace {

constexpr const char* kSchema = R"(
  CREATE TABLE IF NOT EXISTS api_usage(
    day INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL, model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    input_hit INTEGER NOT NULL, input_miss INTEGER NOT NULL, output INTEGER NOT NULL,
    nanos INTEGER NOT NULL, held_tokens INTEGER NOT NULL, held_nanos INTEGER NOT NULL,
    PRIMARY KEY(day, tenant, key, model)
  ) STRICT, WITHOUT ROWID;
)";
constexpr const char* kAdd = R"(
  INSERT INTO api_usage VALUES (?,?,?,?,?,?,?,?,?,?,?)
  ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, input_hit = input_hit + excluded.input_hit,
    input_miss = input_miss + excluded.input_miss, output = output + excluded.output,
    nanos = nanos + excluded.nanos, held_tokens = held_tokens + excluded.held_tokens,
    held_nanos = held_nanos + excluded.held_nanos
)";
constexpr const char* kSums = R"(
  SELECT tenant, key, model, sum(requests), sum(input_hit), sum(input_miss), sum(output),
         sum(nanos), sum(held_tokens), sum(held_nanos)
  FROM api_usage WHERE day BETWEEN ? AND ? GROUP BY tenant, key, model
)";

}  // namespace

Result<std::unique_ptr<UsageStore>> UsageStore::open(const std::string& path) {
  HADAL_TRY(Database database, Database::open(path, Sync::kProcess));
  std::unique_ptr<UsageStore> store(new UsageStore(std::move(database)));
  HADAL_TRY_VOID(store->prepare());
  return store;
}

Status UsageStore::prepare() {
  HADAL_TRY_VOID(make_tables(database_, {"api_usage", 1, kSchema}));
  HADAL_TRY(add_, database_.prepare(kAdd));
  HADAL_TRY(sums_, database_.prepare(kSums));
  return {};
}

Status UsageStore::add_one(const UsageChange& change) {
  Run run = database_.run(add_);
  run.bind(change.day).bind(change.tenant).bind(change.key).bind(change.model);
  run.bind(change.requests);
  run.bind(change.used.input_hit).bind(change.used.input_miss).bind(change.used.output);
  return run.bind(change.nanos).bind(change.held.tokens).bind(change.held.nanos).done();
}

Status UsageStore::add(std::span<const UsageChange> changes) {
  std::lock_guard lock(mutex_);
  if (changes.size() == 1) return add_one(changes.front());
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  for (const UsageChange& change : changes) HADAL_TRY_VOID(add_one(change));
  return transaction.commit();
}

Result<std::vector<UsageRow>> UsageStore::sums(int64_t first, int64_t last) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(sums_);
  run.bind(first).bind(last);
  std::vector<UsageRow> rows;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return rows;
    rows.push_back({run.text(0),
                    run.text(1),
                    run.text(2),
                    run.integer(3),
                    {run.integer(4), run.integer(5), run.integer(6)},
                    run.integer(7),
                    {run.integer(8), run.integer(9)}});
  }
}

}  // namespace hadal::gateway
