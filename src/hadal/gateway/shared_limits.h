// Limits that several gateways keep together, in Redis or PostgreSQL: one script or function there
// admits or refuses a request, so that what all of them admit never passes a limit (as LimitBook
// says for one process). Seconds and minutes are of the store's own clock; days and months of the
// gateways'.
//
// Blocks for one round trip, at most the timeout. After a failure every call fails at once until
// reconnect() has succeeded, so that a store that is gone costs nobody's time but that call's.
//
// Threads: any; calls wait for each other. The process must ignore SIGPIPE.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/gateway/limit_book.h"

namespace hadal::gateway {

class SharedLimits {
 public:
  struct Options {
    // redis://[:PASSWORD@]HOST[:PORT][/DATABASE], unix:///PATH (a Redis), or
    // postgresql://[USER[:PASSWORD]@][HOST][:PORT][/DATABASE][?PARAMETERS]
    std::string url;
    Nanos timeout = std::chrono::milliseconds(200);
    // A request whose gateway is gone counts as running for so long.
    Nanos lease = std::chrono::seconds(60);
  };
  // What the store says of an admission, and needs back to settle it.
  struct Ticket {
    std::string lease;
    int64_t day = 0, month = 0;  // as in limit_book.h
    int64_t second = 0;          // by the store's clock
  };

  // kInvalidInput: not such a URL. kUnsupported: PostgreSQL's client library is not installed. Does
  // not connect.
  static Result<std::unique_ptr<SharedLimits>> make(Options options);
  static Status check_url(const std::string& url);
  static bool is_postgres(std::string_view url);
  virtual ~SharedLimits() = default;

  // kUnavailable: the store is gone, and whether this was charged is not known; a charge without
  // an answer ends with its lease, its day and month, at the latest.
  virtual Result<Admission> admit(std::span<const Subject> subjects, const Cost& estimate,
                                  int64_t unix_seconds, Ticket* ticket) = 0;
  virtual Status settle(std::span<const Subject> subjects, const Cost& estimate, const Cost& actual,
                        const Ticket& ticket) = 0;
  // Keeps running requests counted. Every third of a lease.
  virtual Status renew(std::span<const Subject> subjects, const Ticket& ticket) = 0;
  // Adds to day and month what was admitted without the store.
  Status charge(const std::string& subject, const Cost& cost, int64_t unix_seconds);

  virtual bool connected() const = 0;
  virtual Status reconnect() = 0;
};

}  // namespace hadal::gateway
