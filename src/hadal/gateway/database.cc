#include "hadal/gateway/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

namespace hadal::gateway {
namespace {

constexpr int kBusyMillis = 5'000;

Code code_of(int status) {
  switch (status & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return Code::kCorrupt;
    default:
      return Code::kUnavailable;
  }
}

// SQLite would make the file as the process's mask says, and the file's rights are its log's, too.
// One that is there is not touched: closing a descriptor of it would drop the locks that SQLite
// holds on it in this process (fcntl(2)), and another process would take the log away.
Status make_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 && errno == EEXIST) return {};
  if (file < 0) {
    return fail(Code::kUnavailable, fmt::format("'{}': {}", path, std::strerror(errno)));
  }
  ::close(file);
  return {};
}

// Where several connections do it first at once SQLite does not wait by itself: it sees that
// waiting for one that waits in turn would never end.
int enter_wal(sqlite3* handle) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMillis);
  for (;;) {
    const int status = sqlite3_exec(handle, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    if ((status & 0xff) != SQLITE_BUSY || std::chrono::steady_clock::now() >= end) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace

Run::~Run() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Run& Run::bind(int64_t value) {
  sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}
Run& Run::bind(double value) {
  sqlite3_bind_double(statement_, ++bound_, value);
  return *this;
}
Run& Run::bind(std::string_view value) {
  sqlite3_bind_text64(statement_, ++bound_, value.data(), value.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
  return *this;
}

Result<bool> Run::step() {
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) return false;
  return database_.error(status);
}

Status Run::done() {
  HADAL_TRY(const bool row, step());
  static_cast<void>(row);
  return {};
}

int64_t Run::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Run::real(int column) const { return sqlite3_column_double(statement_, column); }
std::string Run::text(int column) const {
  const auto data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (data == nullptr) return {};
  return {data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Statement::Statement(Statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
Statement& Statement::operator=(Statement&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}
Statement::~Statement() { sqlite3_finalize(handle_); }

Database::Database(Database&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}
Database& Database::operator=(Database&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(path_, other.path_);
  return *this;
}
Database::~Database() { sqlite3_close_v2(handle_); }

tl::unexpected<Error> Database::error(int status) const {
  return fail(code_of(status), fmt::format("'{}': {}", path_, sqlite3_errmsg(handle_)));
}

Result<Database> Database::open(const std::string& path, Sync sync) {
  HADAL_TRY_VOID(make_private(path));
  Database database;
  database.path_ = path;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (const int status = sqlite3_open_v2(path.c_str(), &database.handle_, flags, nullptr);
      status != SQLITE_OK) {
    return database.error(status);
  }
  sqlite3_busy_timeout(database.handle_, kBusyMillis);
  // A statement that is text of somebody else's would still find nothing to call.
  sqlite3_db_config(database.handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database.handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  if (const int status = enter_wal(database.handle_); status != SQLITE_OK) {
    return database.error(status);
  }
  HADAL_TRY_VOID(database.execute(sync == Sync::kPower ? "PRAGMA synchronous = FULL"
                                                       : "PRAGMA synchronous = NORMAL"));
  return database;
}

Status Database::execute(const char* sql) {
  if (const int status = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
      status != SQLITE_OK) {
    return error(status);
  }
  return {};
}

Result<Statement> Database::prepare(const char* sql) {
  Statement statement;
  if (const int status = sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                            &statement.handle_, nullptr);
      status != SQLITE_OK) {
    return error(status);
  }
  return statement;
}

int64_t Database::changes() const { return sqlite3_changes64(handle_); }

Status make_tables(Database& database, const Tables& tables) {
  const std::string version = fmt::format("{}_version", tables.name);
  HADAL_TRY(Transaction transaction, Transaction::begin(database));
  HADAL_TRY_VOID(database.execute(
      fmt::format("CREATE TABLE IF NOT EXISTS {}(version INTEGER NOT NULL) STRICT", version)
          .c_str()));
  int64_t found = 0;
  {
    HADAL_TRY(
        Statement greatest,
        database.prepare(fmt::format("SELECT coalesce(max(version), 0) FROM {}", version).c_str()));
    Run run = database.run(greatest);
    HADAL_TRY(const bool row, run.step());
    if (row) found = run.integer(0);
  }
  if (found > tables.version) {
    return fail(
        Code::kUnsupported,
        fmt::format("'{}': the tables of '{}' have form {}, this program knows forms up to {}",
                    database.path(), tables.name, found, tables.version));
  }
  HADAL_TRY_VOID(database.execute(tables.sql));
  if (found == 0) {
    HADAL_TRY_VOID(database.execute(
        fmt::format("INSERT INTO {} VALUES ({})", version, tables.version).c_str()));
  }
  return transaction.commit();
}

Result<Transaction> Transaction::begin(Database& database) {
  HADAL_TRY_VOID(database.execute("BEGIN IMMEDIATE"));
  return Transaction(&database);
}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  // It is not committed, whether or not this succeeds.
  static_cast<void>(database_->execute("ROLLBACK"));
}

Status Transaction::commit() {
  HADAL_TRY_VOID(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace hadal::gateway
