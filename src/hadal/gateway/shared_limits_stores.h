// Private to gateway: the stores that SharedLimits can be kept in, and what they have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "hadal/gateway/shared_limits.h"

namespace hadal::gateway {

// `process` tells leases of two gateways apart.
Result<std::unique_ptr<SharedLimits>> make_redis_limits(SharedLimits::Options options,
                                                        std::string process);
Result<std::unique_ptr<SharedLimits>> make_postgres_limits(SharedLimits::Options options,
                                                           std::string process);
Status check_redis_url(const std::string& url);
Status check_postgres_url(const std::string& url);

// What both stores answer to an admission, as numbers: {1, the store's second, then for each
// subject what was used with this request: minute, day, running, nanos of the month}, or
// {0, subject from 1, limit as in enum Limit, milliseconds to wait, whether it is impossible}.
// kUnavailable: something else.
Result<Admission> read_admission(std::span<const int64_t> numbers,
                                 std::span<const Subject> subjects, SharedLimits::Ticket* ticket);

// As many digits as it takes to read the same again.
std::string exact_text(double value);

}  // namespace hadal::gateway
