#include "hadal/gateway/database.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/batch_store.h"
#include "hadal/gateway/budget_book.h"
#include "hadal/gateway/key_store.h"
#include "hadal/gateway/rollout_store.h"
#include "hadal/gateway/usage_store.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPairs = "CREATE TABLE IF NOT EXISTS pairs(a INTEGER, b INTEGER) STRICT";

class TablesTest : public ::testing::Test {
 protected:
  Database open() { return Database::open(path_, Sync::kProcess).value(); }
  int64_t number(const char* sql) {
    Database database = open();
    Statement statement = database.prepare(sql).value();
    gateway::Run run = database.run(statement);
    return run.step().value() ? run.integer(0) : -1;
  }

  const hadal::testing::TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/store.sqlite";
};

TEST_F(TablesTest, AreMadeOnceAndKeepTheirRows) {
  for (int round = 0; round < 2; ++round) {
    Database database = open();
    ASSERT_TRUE(make_tables(database, {"pairs", 3, kPairs}));
    ASSERT_TRUE(database.execute("INSERT INTO pairs VALUES (1, 2)"));
  }
  EXPECT_EQ(number("SELECT count(*) FROM pairs"), 2);
  EXPECT_EQ(number("SELECT version FROM pairs_version"), 3);
  EXPECT_EQ(number("SELECT count(*) FROM pairs_version"), 1);
}

TEST_F(TablesTest, OfALaterFormAreRefusedAndLeftAlone) {
  {
    Database database = open();
    ASSERT_TRUE(make_tables(database, {"pairs", 2, "CREATE TABLE other(a INTEGER) STRICT"}));
    const Status made = make_tables(database, {"pairs", 1, kPairs});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Code::kUnsupported);
    EXPECT_THAT(made.error().what, HasSubstr("'pairs' have form 2"));
    EXPECT_THAT(made.error().what, HasSubstr(path_));
  }
  EXPECT_EQ(number("SELECT count(*) FROM sqlite_master WHERE name = 'pairs'"), 0);
  EXPECT_EQ(number("SELECT max(version) FROM pairs_version"), 2);
}

TEST_F(TablesTest, ThatCannotBeMadeLeaveNothing) {
  Database database = open();
  EXPECT_FALSE(make_tables(
      database, {"pairs", 1, "CREATE TABLE first(a INTEGER) STRICT; CREATE TABEL second(a)"}));
  EXPECT_EQ(number("SELECT count(*) FROM sqlite_master"), 0);
  EXPECT_TRUE(make_tables(database, {"pairs", 1, kPairs}));
}

// Every store says so of its own tables, by whatever name it calls them.
TEST_F(TablesTest, EveryStoreRefusesALaterForm) {
  const std::string folder = path_ + "-batches/";
  ASSERT_TRUE(BatchStore::open(folder));
  ASSERT_TRUE(KeyStore::open(path_));
  ASSERT_TRUE(UsageStore::open(path_));
  ASSERT_TRUE(RolloutStore::open(path_));
  ASSERT_TRUE(BudgetBook::open(path_));
  const auto raise = [](const std::string& file, const char* name) {
    Database database = Database::open(file, Sync::kProcess).value();
    return database.execute(fmt::format("UPDATE {}_version SET version = 99", name).c_str());
  };
  for (const char* name : {"api_keys", "api_usage", "rollouts", "backend_budget"}) {
    ASSERT_TRUE(raise(path_, name)) << name;
  }
  ASSERT_TRUE(raise(folder + "batches.db", "batches"));
  const auto refused = [](const auto& opened) {
    return !opened && opened.error().code == Code::kUnsupported;
  };
  EXPECT_TRUE(refused(KeyStore::open(path_)));
  EXPECT_TRUE(refused(UsageStore::open(path_)));
  EXPECT_TRUE(refused(RolloutStore::open(path_)));
  EXPECT_TRUE(refused(BudgetBook::open(path_)));
  EXPECT_TRUE(refused(BatchStore::open(folder)));
}

}  // namespace
}  // namespace hadal::gateway
