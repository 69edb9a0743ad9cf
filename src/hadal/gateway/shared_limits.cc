#include "hadal/gateway/shared_limits.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/gateway/secret.h"
#include "hadal/gateway/shared_limits_stores.h"

namespace hadal::gateway {
namespace {

constexpr size_t kNumbersOfRefusal = 5, kNumbersOfSubject = 4, kNumbersBefore = 2;

std::optional<OverLimit> read_refusal(std::span<const int64_t> numbers,
                                      std::span<const Subject> subjects) {
  if (numbers.size() != kNumbersOfRefusal || numbers[1] < 1 ||
      numbers[1] > static_cast<int64_t>(subjects.size())) {
    return {};
  }
  OverLimit refused;
  const Subject& subject = subjects[static_cast<size_t>(numbers[1] - 1)];
  refused.limit = static_cast<Limit>(std::clamp<int64_t>(numbers[2], 0, kLimits - 1));
  refused.subject = subject.name;
  refused.allowed = limit_value(subject.hard, refused.limit);
  refused.retry_after = std::chrono::milliseconds(numbers[3]);
  refused.impossible = numbers[4] != 0;
  return refused;
}

}  // namespace

std::string exact_text(double value) { return fmt::format("{:.17g}", value); }

Result<Admission> read_admission(std::span<const int64_t> numbers,
                                 std::span<const Subject> subjects, SharedLimits::Ticket* ticket) {
  const auto odd = [] {
    return fail(Code::kUnavailable, "the store of limits answered something else");
  };
  Admission admission;
  if (numbers.empty()) return odd();
  if (numbers[0] != 1) {
    admission.refused = read_refusal(numbers, subjects);
    if (!admission.refused) return odd();
    return admission;
  }
  if (numbers.size() != kNumbersBefore + kNumbersOfSubject * subjects.size()) return odd();
  ticket->second = numbers[1];
  for (size_t i = 0; i < subjects.size(); ++i) {
    const LimitValues& soft = subjects[i].soft;
    const auto used = numbers.subspan(kNumbersBefore + kNumbersOfSubject * i, kNumbersOfSubject);
    const auto check = [&](Limit limit, int64_t count, double per_unit) {
      const double allowed = limit_value(soft, limit);
      if (allowed > 0 && static_cast<double>(count) > allowed * per_unit) {
        admission.soft.push_back({limit, subjects[i].name, allowed, Nanos(1), false});
      }
    };
    check(Limit::kTokensPerMinute, used[0], 1);
    check(Limit::kTokensPerDay, used[1], 1);
    check(Limit::kConcurrent, used[2], 1);
    check(Limit::kMoneyPerMonth, used[3], kNanosPerUnit);
  }
  return admission;
}

bool SharedLimits::is_postgres(std::string_view url) {
  return url.starts_with("postgres://") || url.starts_with("postgresql://");
}

Status SharedLimits::check_url(const std::string& url) {
  return is_postgres(url) ? check_postgres_url(url) : check_redis_url(url);
}

Result<std::unique_ptr<SharedLimits>> SharedLimits::make(Options options) {
  HADAL_TRY(const std::string random, random_bytes(8));
  return is_postgres(options.url) ? make_postgres_limits(std::move(options), hex(random))
                                  : make_redis_limits(std::move(options), hex(random));
}

// As an admission without limits that is settled at its estimate.
Status SharedLimits::charge(const std::string& subject, const Cost& cost, int64_t unix_seconds) {
  const Subject one{subject, subject, {}, {}};
  Ticket ticket;
  HADAL_TRY(const Admission admission, admit({&one, 1}, cost, unix_seconds, &ticket));
  static_cast<void>(admission);
  return settle({&one, 1}, cost, cost, ticket);
}

}  // namespace hadal::gateway
