// SQLite, as the gateway's stores use it: one connection, prepared statements only, errors as
// Result. No text from outside ever becomes part of a statement: there is no way to pass it but
// bind().
//
// Threads: a Database and its statements belong to one thread at a time; its users hold a lock.
// Several processes may have the same file open.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hadal/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace hadal::gateway {

class Database;

// One run of a prepared statement: bind in order, step, read columns. The end of its life resets
// the statement for the next run.
class Run {
 public:
  explicit Run(Database& database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run();

  Run& bind(int64_t value);
  Run& bind(int32_t value) { return bind(static_cast<int64_t>(value)); }
  Run& bind(double value);
  Run& bind(std::string_view value);

  // True: a row can be read. False: the end.
  Result<bool> step();
  // To the end, for a statement that gives no rows.
  Status done();

  // Columns from 0, of the current row.
  int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;

 private:
  Database& database_;
  sqlite3_stmt* const statement_;
  int bound_ = 0;
};

class Statement {
 public:
  Statement() = default;
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

 private:
  friend class Database;
  sqlite3_stmt* handle_ = nullptr;
};

enum class Sync : uint8_t {
  kPower,    // a commit survives a loss of power: waits for the disk
  kProcess,  // ... survives kill -9, and a loss of power takes the last seconds, whole transactions
};

class Database {
 public:
  // Makes the file, readable by its owner alone, if there is none. WAL; a writer waits 5 s at most
  // for another process's. kUnavailable: cannot be opened. kCorrupt: is not a database.
  static Result<Database> open(const std::string& path, Sync sync);
  Database(Database&& other) noexcept;
  Database& operator=(Database&& other) noexcept;
  ~Database();

  // Text of ours, several statements.
  Status execute(const char* sql);
  // One statement. It must go before the database does.
  Result<Statement> prepare(const char* sql);
  Run run(Statement& statement) { return Run(*this, statement.handle_); }
  int64_t changes() const;  // rows that the last statement wrote
  const std::string& path() const { return path_; }

 private:
  friend class Run;
  Database() = default;
  tl::unexpected<Error> error(int status) const;

  sqlite3* handle_ = nullptr;
  std::string path_;
};

// The tables of one store. Several stores may share a file.
struct Tables {
  std::string_view name;  // of the store: `<name>_version` holds the number of the form in the file
  int64_t version = 1;    // of the form that `sql` makes
  const char* sql = "";   // makes what is missing
};
// All or nothing. kUnsupported: the file has a later form, and stays as it is.
Status make_tables(Database& database, const Tables& tables);

// begin(); ...; commit(). Rolled back unless committed. Takes the write lock at once, so that what
// it read is still so when it writes.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Status commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

}  // namespace hadal::gateway
