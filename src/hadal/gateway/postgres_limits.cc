// SharedLimits in PostgreSQL: one call of a function for each call here, and so one round trip.
#include <dlfcn.h>
#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>

#include "hadal/gateway/calendar.h"
#include "hadal/gateway/postgres_schema.h"
#include "hadal/gateway/shared_limits_stores.h"

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Making tables and functions, when another gateway does so too.
constexpr milliseconds kSetUpTime{5'000};
constexpr const char* kAdmitName = "hadal_admit";
constexpr const char* kSettleName = "hadal_settle";
constexpr const char* kRenewName = "hadal_renew";

constexpr const char* kLibrary = "libpq.so.5";

template <class Function>
bool take(void* handle, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(handle, name));
  return *function != nullptr;
}

// PostgreSQL's own client library, loaded when a configuration names such a store: it brings TLS,
// Kerberos and LDAP libraries with it, which a program that runs where it is copied cannot have
// linked in. Only what is used here; each as in libpq-fe.h.
class PostgresLibrary {
 public:
  // kUnsupported: it is not installed. It stays loaded: OpenSSL, which comes with it, leaves
  // something to do at a thread's end.
  static Result<std::shared_ptr<const PostgresLibrary>> load();
  PostgresLibrary(const PostgresLibrary&) = delete;
  PostgresLibrary& operator=(const PostgresLibrary&) = delete;

#define HADAL_PQ(name) decltype(&::PQ##name) name = nullptr
  HADAL_PQ(conninfoParse);
  HADAL_PQ(conninfoFree);
  HADAL_PQ(freemem);
  HADAL_PQ(connectStart);
  HADAL_PQ(connectPoll);
  HADAL_PQ(status);
  HADAL_PQ(socket);
  HADAL_PQ(errorMessage);
  HADAL_PQ(finish);
  HADAL_PQ(sendQuery);
  HADAL_PQ(sendPrepare);
  HADAL_PQ(sendQueryPrepared);
  HADAL_PQ(flush);
  HADAL_PQ(setnonblocking);
  HADAL_PQ(consumeInput);
  HADAL_PQ(isBusy);
  HADAL_PQ(getResult);
  HADAL_PQ(resultStatus);
  HADAL_PQ(resultErrorMessage);
  HADAL_PQ(ntuples);
  HADAL_PQ(nfields);
  HADAL_PQ(getvalue);
  HADAL_PQ(clear);
  HADAL_PQ(setNoticeProcessor);
#undef HADAL_PQ

 private:
  explicit PostgresLibrary(void* handle) : handle_(handle) {}
  bool take_all();
  void* const handle_;
};

Result<std::shared_ptr<const PostgresLibrary>> PostgresLibrary::load() {
  void* const handle = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return fail(
        Code::kUnsupported,
        fmt::format("PostgreSQL's client library {} cannot be loaded (Debian: libpq5)", kLibrary));
  }
  std::shared_ptr<PostgresLibrary> library(new PostgresLibrary(handle));
  if (!library->take_all()) {
    return fail(Code::kUnsupported, fmt::format("{} is too old", kLibrary));
  }
  return library;
}

bool PostgresLibrary::take_all() {
#define HADAL_PQ(name) take(handle_, "PQ" #name, &name)
  return HADAL_PQ(conninfoParse) && HADAL_PQ(conninfoFree) && HADAL_PQ(freemem) &&
         HADAL_PQ(connectStart) && HADAL_PQ(connectPoll) && HADAL_PQ(status) && HADAL_PQ(socket) &&
         HADAL_PQ(errorMessage) && HADAL_PQ(finish) && HADAL_PQ(sendQuery) &&
         HADAL_PQ(sendPrepare) && HADAL_PQ(sendQueryPrepared) && HADAL_PQ(flush) &&
         HADAL_PQ(setnonblocking) && HADAL_PQ(consumeInput) && HADAL_PQ(isBusy) &&
         HADAL_PQ(getResult) && HADAL_PQ(resultStatus) && HADAL_PQ(resultErrorMessage) &&
         HADAL_PQ(ntuples) && HADAL_PQ(nfields) && HADAL_PQ(getvalue) && HADAL_PQ(clear) &&
         HADAL_PQ(setNoticeProcessor);
#undef HADAL_PQ
}

class Connection {
 public:
  Connection(std::shared_ptr<const PostgresLibrary> pq, PGconn* handle)
      : pq_(std::move(pq)), handle_(handle) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    clear();
    pq_->finish(handle_);
  }

  PGconn* handle() const { return handle_; }
  Status connect(milliseconds timeout);
  // After something was sent: its last result, all of it read.
  Result<PGresult*> result(milliseconds timeout);
  tl::unexpected<Error> failed(std::string_view what) const {
    std::string text(what);
    while (text.ends_with('\n')) text.pop_back();
    return fail(Code::kUnavailable, "the store of limits: " + text);
  }
  tl::unexpected<Error> failed() const { return failed(pq_->errorMessage(handle_)); }

 private:
  // False: the time is over.
  bool wait(short events, steady_clock::time_point until) const;
  void clear() {
    if (result_ != nullptr) pq_->clear(result_);
    result_ = nullptr;
  }

  const std::shared_ptr<const PostgresLibrary> pq_;
  PGconn* const handle_;
  PGresult* result_ = nullptr;
};

bool Connection::wait(short events, steady_clock::time_point until) const {
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) return false;
    pollfd one = {pq_->socket(handle_), events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Status Connection::connect(milliseconds timeout) {
  const auto until = steady_clock::now() + timeout;
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;
  while (next != PGRES_POLLING_OK) {
    if (next == PGRES_POLLING_FAILED || pq_->status(handle_) == CONNECTION_BAD) return failed();
    if (!wait(next == PGRES_POLLING_READING ? POLLIN : POLLOUT, until)) {
      return failed("no connection in time");
    }
    next = pq_->connectPoll(handle_);
  }
  if (pq_->setnonblocking(handle_, 1) != 0) return failed();
  return {};
}

Result<PGresult*> Connection::result(milliseconds timeout) {
  const auto until = steady_clock::now() + timeout;
  clear();
  for (bool sent = false;;) {
    if (!sent) {
      const int left = pq_->flush(handle_);
      if (left < 0) return failed();
      sent = left == 0;
    }
    while (sent && pq_->isBusy(handle_) == 0) {
      PGresult* const next = pq_->getResult(handle_);
      if (next == nullptr) {
        if (result_ == nullptr) return failed("no answer");
        return result_;
      }
      clear();
      result_ = next;
      const auto status = pq_->resultStatus(next);
      if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        return failed(pq_->resultErrorMessage(next));
      }
    }
    if (!wait(static_cast<short>(POLLIN | (sent ? 0 : POLLOUT)), until)) {
      return failed("no answer in time");
    }
    if (pq_->consumeInput(handle_) == 0) return failed();
  }
}

// An array as PostgreSQL reads it. Quoted, as a subject's name has any characters.
std::string array_text(std::span<const Subject> subjects) {
  std::string text = "{";
  for (const Subject& subject : subjects) {
    if (text.size() > 1) text += ',';
    text += '"';
    for (const char c : subject.id) {
      if (c == '"' || c == '\\') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

std::string limits_text(std::span<const Subject> subjects) {
  std::string text = "{";
  for (const Subject& subject : subjects) {
    const LimitValues& hard = subject.hard;
    if (text.size() > 1) text += ',';
    text += fmt::format("{},{},{},{},{},{}", exact_text(hard.requests_per_second),
                        exact_text(LimitBook::burst_of(hard)), hard.tokens_per_minute,
                        hard.tokens_per_day, hard.concurrent,
                        exact_text(hard.money_per_month * kNanosPerUnit));
  }
  return text + "}";
}

std::vector<int64_t> numbers_in(std::string_view text) {
  std::vector<int64_t> numbers;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    const auto [end, error] =
        std::from_chars(at, text.data() + text.size(), numbers.emplace_back());
    if (error != std::errc()) return {};
    at = end + 1;
  }
  return numbers;
}

class PostgresLimits final : public SharedLimits {
 public:
  PostgresLimits(std::shared_ptr<const PostgresLibrary> pq, Options options, std::string process)
      : pq_(std::move(pq)), options_(std::move(options)), process_(std::move(process)) {}

  Result<Admission> admit(std::span<const Subject> subjects, const Cost& estimate,
                          int64_t unix_seconds, Ticket* ticket) override;
  Status settle(std::span<const Subject> subjects, const Cost& estimate, const Cost& actual,
                const Ticket& ticket) override;
  Status renew(std::span<const Subject> subjects, const Ticket& ticket) override;
  bool connected() const override { return connected_; }
  Status reconnect() override;

 private:
  milliseconds timeout() const {
    return std::max(milliseconds(1), std::chrono::ceil<milliseconds>(options_.timeout));
  }
  std::string lease_ms() const {
    return std::to_string(std::chrono::duration_cast<milliseconds>(options_.lease).count());
  }
  // One for requests that wait for it, one for what is told afterwards, so that neither waits for
  // the other.
  struct Line {
    std::mutex mutex;
    std::unique_ptr<Connection> connection;
  };
  // A store that answers but refuses to work is gone as well.
  Result<std::string> call(Line& line, const char* name, const std::vector<std::string>& values);
  Status connect(Line& line) const;
  Result<PGresult*> say(Connection& connection, const std::string& text, milliseconds time) const;
  Status prepare(Connection& connection) const;

  const std::shared_ptr<const PostgresLibrary> pq_;
  const Options options_;
  const std::string process_;  // so that leases of two gateways differ
  std::atomic<bool> connected_{false};
  std::atomic<uint64_t> leases_{0};
  Line admits_, settles_;
};

Result<std::string> PostgresLimits::call(Line& line, const char* name,
                                         const std::vector<std::string>& values) {
  std::lock_guard lock(line.mutex);
  if (line.connection == nullptr || !connected_)
    return fail(Code::kUnavailable, "the store of limits is gone");
  std::vector<const char*> data;
  for (const std::string& value : values) data.push_back(value.c_str());
  const int sent =
      pq_->sendQueryPrepared(line.connection->handle(), name, static_cast<int>(data.size()),
                             data.data(), nullptr, nullptr, 0);
  Result<PGresult*> result =
      sent == 1 ? line.connection->result(timeout()) : Result<PGresult*>(line.connection->failed());
  if (result && pq_->ntuples(*result) == 1 && pq_->nfields(*result) == 1) {
    return std::string(pq_->getvalue(*result, 0, 0));
  }
  if (result && pq_->ntuples(*result) == 0) return std::string();
  connected_ = false;
  Error error = result ? Error{Code::kUnavailable, "the store of limits answered something else"}
                       : std::move(result.error());
  line.connection.reset();
  return fail(std::move(error));
}

Result<Admission> PostgresLimits::admit(std::span<const Subject> subjects, const Cost& estimate,
                                        int64_t unix_seconds, Ticket* ticket) {
  ticket->day = day_of(unix_seconds);
  ticket->month = month_of(unix_seconds);
  ticket->lease = fmt::format("{}-{}", process_, ++leases_);
  const int64_t day_left = (ticket->day + 1) * 86'400 - unix_seconds;
  const int64_t month_left = month_begin(ticket->month + 1) - unix_seconds;
  HADAL_TRY(const std::string text,
            call(admits_, kAdmitName,
                 {std::to_string(estimate.tokens), std::to_string(estimate.nanos), ticket->lease,
                  lease_ms(), std::to_string(ticket->day), std::to_string(ticket->month),
                  std::to_string(day_left * 1'000), std::to_string(month_left * 1'000),
                  array_text(subjects), limits_text(subjects)}));
  return read_admission(numbers_in(text), subjects, ticket);
}

Status PostgresLimits::settle(std::span<const Subject> subjects, const Cost& estimate,
                              const Cost& actual, const Ticket& ticket) {
  HADAL_TRY_VOID(
      call(settles_, kSettleName,
           {ticket.lease, std::to_string(ticket.day), std::to_string(ticket.month),
            std::to_string(ticket.second), std::to_string(actual.tokens - estimate.tokens),
            std::to_string(actual.nanos - estimate.nanos), array_text(subjects)}));
  return {};
}

Status PostgresLimits::renew(std::span<const Subject> subjects, const Ticket& ticket) {
  HADAL_TRY_VOID(call(settles_, kRenewName, {ticket.lease, lease_ms(), array_text(subjects)}));
  return {};
}

Result<PGresult*> PostgresLimits::say(Connection& connection, const std::string& text,
                                      milliseconds time) const {
  if (pq_->sendQuery(connection.handle(), text.c_str()) != 1) return connection.failed();
  return connection.result(time);
}

// Limits are counters: losing the last moments of them when the store's machine fails is less than
// every request's waiting for its disk. What was sent and not waited for must end by itself.
Status PostgresLimits::prepare(Connection& connection) const {
  HADAL_TRY_VOID(say(connection,
                     "SET synchronous_commit = off; SET client_min_messages = error;"
                     "SET default_transaction_isolation = 'read committed'",
                     timeout()));
  HADAL_TRY(PGresult* const there, say(connection, kPostgresIsThere, timeout()));
  if (pq_->ntuples(there) == 0) {
    HADAL_TRY_VOID(say(connection, kPostgresSchema, std::max(timeout(), kSetUpTime)));
  }
  for (const auto& [name, text] :
       {std::pair(kAdmitName, kPostgresAdmit), std::pair(kSettleName, kPostgresSettle),
        std::pair(kRenewName, kPostgresRenew)}) {
    if (pq_->sendPrepare(connection.handle(), name, text, 0, nullptr) != 1) {
      return connection.failed();
    }
    HADAL_TRY_VOID(connection.result(timeout()));
  }
  HADAL_TRY_VOID(
      say(connection, fmt::format("SET statement_timeout = {}", timeout().count()), timeout()));
  return {};
}

Status PostgresLimits::reconnect() {
  if (connected_) return {};
  for (Line* line : {&admits_, &settles_}) {
    std::lock_guard lock(line->mutex);
    line->connection.reset();  // what broke one has broken the other
    HADAL_TRY_VOID(connect(*line));
  }
  connected_ = true;
  return {};
}

Status PostgresLimits::connect(Line& line) const {
  PGconn* const handle = pq_->connectStart(options_.url.c_str());
  if (handle == nullptr) return fail(Code::kUnavailable, "the store of limits: no memory");
  auto connection = std::make_unique<Connection>(pq_, handle);
  pq_->setNoticeProcessor(
      handle, [](void*, const char*) {}, nullptr);
  HADAL_TRY_VOID(connection->connect(timeout()));
  HADAL_TRY_VOID(prepare(*connection));
  line.connection = std::move(connection);
  return {};
}

}  // namespace

Status check_postgres_url(const std::string& url) {
  auto library = PostgresLibrary::load();
  if (!library) return {};  // a file may be checked where it is not used
  const PostgresLibrary& pq = **library;
  char* what = nullptr;
  PQconninfoOption* const fields = pq.conninfoParse(url.c_str(), &what);
  if (fields != nullptr) {
    pq.conninfoFree(fields);
    return {};
  }
  pq.freemem(what);  // it may show the password
  return fail(Code::kInvalidInput,
              "expected postgresql://[USER[:PASSWORD]@][HOST][:PORT][/DATABASE][?PARAMETERS]");
}

Result<std::unique_ptr<SharedLimits>> make_postgres_limits(SharedLimits::Options options,
                                                           std::string process) {
  HADAL_TRY_VOID(check_postgres_url(options.url));
  HADAL_TRY(auto library, PostgresLibrary::load());
  return std::make_unique<PostgresLimits>(std::move(library), std::move(options),
                                          std::move(process));
}

}  // namespace hadal::gateway
