// What requests may use and what they have used: the stage behind authentication. Charges an
// estimate before a request begins and settles it by what it used, against the limits of its
// tenant and of its key, in this process or in a store that several gateways share, and keeps
// accounts on disk.
//
// One for the process, whatever configurations come and go. Threads: any. admit() may wait for the
// stores (one round trip, one write); settling a Permit waits for nobody.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/log.h"
#include "hadal/base/result.h"
#include "hadal/gateway/limit_book.h"
#include "hadal/gateway/shared_limits.h"
#include "hadal/gateway/tenants.h"
#include "hadal/gateway/usage_store.h"
#include "hadal/net/message.h"
#include "hadal/obs/registry.h"

namespace hadal::gateway {

struct MeterAsk {
  std::shared_ptr<const Caller> caller;
  std::string model;  // a backend's name, not an alias
  Price price;
  int64_t prompt_tokens = 0;
  std::optional<int64_t> answer_tokens;  // the most it can be; none: the tenant's estimate
};

// Why a request is not admitted.
struct MeterRefusal {
  Code code = Code::kExhausted;  // kExhausted, kTooLarge (the request alone is over), kUnavailable
  std::string what;              // for the caller
  std::string limit;             // "tokens_per_day"; empty: the store is gone
  int64_t retry_after = 1;       // seconds
};

class Metering;

// One admitted request. Settles itself with nothing used when it goes before settle() was called.
class Permit {
 public:
  ~Permit();
  Permit(const Permit&) = delete;
  Permit& operator=(const Permit&) = delete;
  // Once; later calls do nothing. A permit of an ask without tokens, as for an answer of the cache,
  // is written a moment later (kBehind), with many others: a process that is killed forgets those.
  void settle(const Tokens& used);
  // Soft limits that this request is over, for its answer.
  const std::vector<net::Header>& headers() const { return headers_; }
  const Caller& caller() const { return *ask_.caller; }
  const Cost& estimate() const { return estimate_; }

 private:
  friend class Metering;
  Permit() = default;

  std::shared_ptr<Metering> metering_;
  MeterAsk ask_;
  std::vector<Subject> subjects_;
  Cost estimate_;
  Moment admitted_;
  std::optional<SharedLimits::Ticket> ticket_;  // admitted by the shared store
  bool held_ = false;                           // its estimate is in the usage store
  std::vector<net::Header> headers_;
  bool settled_ = false;
};

struct MeteringOptions {
  std::string usage_path = {};  // empty: no accounts, and limits forget everything at the end
  std::string shared = {};      // see SharedLimits::Options::url; empty: limits are this process's
  Nanos shared_timeout = std::chrono::milliseconds(200);
  bool refuse_on_loss = true;
  double local_share = 0.5;
};
MeteringOptions metering_options(const StoreConfig& store);

class Metering : public std::enable_shared_from_this<Metering> {
 public:
  // Reads what this day and month have used so far. A shared store that cannot be reached is no
  // error. `clock` must outlive every permit.
  static Result<std::shared_ptr<Metering>> make(MeteringOptions options,
                                                std::shared_ptr<obs::Registry> registry,
                                                const Clock& clock, LogSink log);
  ~Metering();  // writes what is settled

  tl::expected<std::shared_ptr<Permit>, MeterRefusal> admit(MeterAsk ask);

  enum class Shared : uint8_t { kNone, kUp, kLost };
  Shared shared() const;
  // Whether admit() may wait for another server, whatever is asked.
  bool is_shared() const { return shared_ != nullptr; }
  // Whether admit() may wait for a disk or another server.
  bool asks_stores() const { return usage_ != nullptr || shared_ != nullptr; }
  UsageStore* usage() { return usage_.get(); }  // null: no accounts
  // Waits until everything settled so far is written.
  void flush();

 private:
  // What the worker does for a permit that has ended.
  struct Settled {
    std::vector<Subject> subjects;
    Cost estimate, actual;
    std::optional<SharedLimits::Ticket> ticket;
    std::vector<UsageChange> changes;
    // Day and month of it were charged here alone, and the shared store does not know yet.
    bool unshared = false;
    int64_t admitted = 0;  // unix seconds
  };
  struct Running {
    std::vector<Subject> subjects;
    SharedLimits::Ticket ticket;
  };

  Metering(MeteringOptions options, std::shared_ptr<obs::Registry> registry, const Clock& clock,
           LogSink log);
  friend class Permit;
  Moment now() const { return {clock_.now(), clock_.unix_seconds()}; }
  Status restore();
  MeterRefusal refusal(const MeterAsk& ask, const OverLimit& over);
  tl::unexpected<MeterRefusal> store_lost(const MeterAsk& ask, const char* what);
  std::optional<Admission> admit_shared(Permit* permit);
  Admission admit_local(const Permit& permit);
  void take_back(const Permit& permit);
  void settle(Permit* permit, const Tokens& used);
  void count(const MeterAsk& ask, const Tokens& used, int64_t nanos);

  void work();
  void write(std::vector<Settled> batch);
  void keep_connected(Nanos now);

  const MeteringOptions options_;
  const Clock& clock_;
  const LogSink log_;
  const std::shared_ptr<obs::Registry> registry_;
  obs::Family<obs::Counter>&requests_, &tokens_, &money_, &refusals_, &soft_;
  obs::Gauge* up_ = nullptr;
  obs::Counter& failed_writes_;
  std::unique_ptr<UsageStore> usage_;
  std::unique_ptr<SharedLimits> shared_;

  std::mutex book_mutex_;
  LimitBook book_;

  std::mutex mutex_;  // everything below
  std::condition_variable wake_, idle_;
  std::vector<Settled> settled_;
  bool urgent_ = false;                     // some of settled_ should not wait for others
  std::map<std::string, Running> running_;  // by lease
  std::map<std::string, Cost> unshared_;    // the worker's, by subject
  int64_t unshared_month_ = 0;
  Nanos next_connect_{0}, next_renew_{0};  // the worker's
  bool told_lost_ = false;                 // the worker's
  bool busy_ = false, ended_ = false;
  std::thread worker_;
};

}  // namespace hadal::gateway
