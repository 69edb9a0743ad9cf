// SharedLimits in Redis: one script a call.
#include <fmt/format.h>
#include <hiredis/hiredis.h>
#include <sys/time.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <mutex>

#include "hadal/gateway/calendar.h"
#include "hadal/gateway/shared_limits_stores.h"

namespace hadal::gateway {
namespace {

// KEYS: one a subject. ARGV: tokens, nanos, lease id, lease ms, day, month, milliseconds to the end
// of each, then for each subject rate, burst, minute, day, concurrent, nanos a month (0: no such
// limit).
//
// Answers {1, second, then for each subject what was used with this request: minute,
// day, running, month}, or {0, subject, limit, milliseconds to wait, impossible}. Limits in the
// order of enum Limit.
constexpr const char* kAdmit = R"(
local now = redis.call('TIME')
local second = tonumber(now[1])
local ms = second * 1000 + math.floor(tonumber(now[2]) / 1000)
local day, months = ARGV[5], ARGV[6]
local tokens, nanos = tonumber(ARGV[1]), tonumber(ARGV[2])
local worst = nil
local state = {}
local function over(subject, limit, wait, impossible)
  if not worst or (impossible and worst[4] == 0) or
     (wait > worst[3] and (impossible or worst[4] == 0)) then
    worst = {subject, limit, math.max(1, math.ceil(wait)), impossible and 1 or 0}
  end
end
for i, key in ipairs(KEYS) do
  local at = 8 + (i - 1) * 6
  local rate, burst, minute = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local per_day, running, money = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  local s = {}
  state[i] = s
  if rate > 0 then
    local bucket = redis.call('HMGET', key .. ':rate', 'level', 'ms')
    s.level = burst
    if bucket[1] then
      local gained = math.max(0, ms - tonumber(bucket[2])) * rate / 1000
      s.level = math.min(burst, tonumber(bucket[1]) + gained)
    end
    if s.level < 1 - 1e-9 then over(i, 0, (1 - s.level) / rate * 1000, false) end
  end
  local slots = redis.call('HGETALL', key .. ':minute')
  s.sum = 0
  local kept, gone = {}, {}
  for j = 1, #slots, 2 do
    local slot = tonumber(slots[j])
    if slot >= second - 60 then
      s.sum = s.sum + tonumber(slots[j + 1])
      kept[#kept + 1] = {slot, tonumber(slots[j + 1])}
    else
      gone[#gone + 1] = slots[j]
    end
  end
  if #gone > 0 then redis.call('HDEL', key .. ':minute', unpack(gone)) end
  if minute > 0 and s.sum + tokens > minute then
    table.sort(kept, function(a, b) return a[1] < b[1] end)
    local sum, wait = s.sum, 61
    for _, slot in ipairs(kept) do
      sum = sum - slot[2]
      if sum + tokens <= minute then
        wait = slot[1] + 61 - second
        break
      end
    end
    over(i, 1, wait * 1000, tokens > minute)
  end
  s.day = tonumber(redis.call('GET', key .. ':day:' .. day) or 0)
  if per_day > 0 and s.day + tokens > per_day then
    over(i, 2, tonumber(ARGV[7]), tokens > per_day)
  end
  redis.call('ZREMRANGEBYSCORE', key .. ':running', '-inf', ms)
  s.running = redis.call('ZCARD', key .. ':running')
  if running > 0 and s.running >= running then over(i, 3, 1000, false) end
  s.month = tonumber(redis.call('GET', key .. ':month:' .. months) or 0)
  if money > 0 and s.month + nanos > money then
    over(i, 4, tonumber(ARGV[8]), nanos > money)
  end
end
if worst then return {0, worst[1], worst[2], worst[3], worst[4]} end
local answer = {1, second}
for i, key in ipairs(KEYS) do
  local at = 8 + (i - 1) * 6
  local s = state[i]
  if s.level then
    redis.call('HSET', key .. ':rate', 'level', tostring(s.level - 1), 'ms', ms)
    redis.call('PEXPIRE', key .. ':rate', math.ceil(tonumber(ARGV[at + 2]) / tonumber(ARGV[at + 1]) * 1000) + 1000)
  end
  redis.call('HINCRBY', key .. ':minute', second, tokens)
  redis.call('EXPIRE', key .. ':minute', 62)
  redis.call('INCRBY', key .. ':day:' .. day, tokens)
  redis.call('EXPIRE', key .. ':day:' .. day, 172800)
  redis.call('INCRBY', key .. ':month:' .. months, nanos)
  redis.call('EXPIRE', key .. ':month:' .. months, 40 * 86400)
  redis.call('ZADD', key .. ':running', ms + tonumber(ARGV[4]), ARGV[3])
  redis.call('PEXPIRE', key .. ':running', tonumber(ARGV[4]) + 1000)
  answer[#answer + 1] = s.sum + tokens
  answer[#answer + 1] = s.day + tokens
  answer[#answer + 1] = s.running + 1
  answer[#answer + 1] = s.month + nanos
end
return answer
)";

// KEYS: one a subject. ARGV: lease id, day, month, second, tokens and nanos to add.
constexpr const char* kSettle = R"(
local now = tonumber(redis.call('TIME')[1])
local tokens, nanos = tonumber(ARGV[5]), tonumber(ARGV[6])
local slot = tonumber(ARGV[4])
if tokens > 0 then slot = now end
for _, key in ipairs(KEYS) do
  redis.call('ZREM', key .. ':running', ARGV[1])
  if slot >= now - 60 then
    redis.call('HINCRBY', key .. ':minute', slot, tokens)
    redis.call('EXPIRE', key .. ':minute', 62)
  end
  local day = ARGV[2]
  redis.call('INCRBY', key .. ':day:' .. day, tokens)
  redis.call('EXPIRE', key .. ':day:' .. day, 172800)
  redis.call('INCRBY', key .. ':month:' .. ARGV[3], nanos)
  redis.call('EXPIRE', key .. ':month:' .. ARGV[3], 40 * 86400)
end
return 1
)";

// KEYS: one a subject. ARGV: lease id, lease ms.
constexpr const char* kRenew = R"(
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key .. ':running', ms + tonumber(ARGV[2]), ARGV[1])
  redis.call('PEXPIRE', key .. ':running', tonumber(ARGV[2]) + 1000)
end
return 1
)";

struct Address {
  std::string host, path, password;
  int port = 6379;
  int database = 0;
};

bool read_number(std::string_view text, int least, int most, int* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && *value >= least &&
         *value <= most;
}

Result<Address> parse_address(std::string_view url) {
  const auto bad = [&] {
    return fail(Code::kInvalidInput,
                "expected redis://[:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH");
  };
  Address address;
  if (url.starts_with("unix://")) {
    address.path = url.substr(7);
    if (!address.path.starts_with('/')) return bad();
    return address;
  }
  if (!url.starts_with("redis://")) return bad();
  url.remove_prefix(8);
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) {
    if (url[0] != ':') return bad();
    address.password = url.substr(1, at - 1);
    url.remove_prefix(at + 1);
  }
  if (const size_t slash = url.find('/'); slash != std::string_view::npos) {
    const std::string_view number = url.substr(slash + 1);
    if (!number.empty() && !read_number(number, 0, 1'000'000, &address.database)) return bad();
    url = url.substr(0, slash);
  }
  const size_t colon = url.rfind(':');
  if (colon != std::string_view::npos && !url.ends_with(']')) {
    if (!read_number(url.substr(colon + 1), 1, 65'535, &address.port)) return bad();
    url = url.substr(0, colon);
  }
  if (url.starts_with('[') && url.ends_with(']')) url = url.substr(1, url.size() - 2);
  if (url.empty()) return bad();
  address.host = url;
  return address;
}

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;
using Reply = std::unique_ptr<redisReply, FreeReply>;

class RedisLimits final : public SharedLimits {
 public:
  RedisLimits(Options options, Address address, std::string process)
      : options_(std::move(options)), address_(std::move(address)), process_(std::move(process)) {}

  Result<Admission> admit(std::span<const Subject> subjects, const Cost& estimate,
                          int64_t unix_seconds, Ticket* ticket) override;
  Status settle(std::span<const Subject> subjects, const Cost& estimate, const Cost& actual,
                const Ticket& ticket) override;
  Status renew(std::span<const Subject> subjects, const Ticket& ticket) override;
  bool connected() const override { return connected_; }
  Status reconnect() override;

 private:
  std::string lease_ms() const {
    return std::to_string(
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.lease).count());
  }
  // With the lock held.
  Result<Reply> command(const std::vector<std::string>& words);
  Result<Reply> script(const char* text, std::span<const Subject> subjects,
                       const std::vector<std::string>& values);

  const Options options_;
  const Address address_;
  const std::string process_;  // so that leases of two gateways differ
  std::atomic<bool> connected_{false};
  std::mutex mutex_;
  Context context_;
  uint64_t leases_ = 0;
};

Result<Reply> RedisLimits::command(const std::vector<std::string>& words) {
  if (context_ == nullptr) return fail(Code::kUnavailable, "the store of limits is gone");
  std::vector<const char*> data;
  std::vector<size_t> sizes;
  for (const std::string& word : words) {
    data.push_back(word.data());
    sizes.push_back(word.size());
  }
  Reply reply(static_cast<redisReply*>(
      redisCommandArgv(context_.get(), static_cast<int>(words.size()), data.data(), sizes.data())));
  if (reply == nullptr) {
    const std::string what = fmt::format("the store of limits: {}", context_->errstr);
    context_.reset();
    connected_ = false;
    return fail(Code::kUnavailable, what);
  }
  if (reply->type == REDIS_REPLY_ERROR) {
    return fail(Code::kUnavailable,
                fmt::format("the store of limits: {}", std::string_view(reply->str, reply->len)));
  }
  return reply;
}

Result<Reply> RedisLimits::script(const char* text, std::span<const Subject> subjects,
                                  const std::vector<std::string>& values) {
  std::vector<std::string> words = {"EVAL", text, std::to_string(subjects.size())};
  for (const Subject& subject : subjects) words.push_back("hadal:" + subject.id);
  words.insert(words.end(), values.begin(), values.end());
  auto reply = command(words);
  // A store that answers but refuses to work (read-only, out of memory) is gone as well.
  if (!reply) {
    context_.reset();
    connected_ = false;
  }
  return reply;
}

Result<Admission> RedisLimits::admit(std::span<const Subject> subjects, const Cost& estimate,
                                     int64_t unix_seconds, Ticket* ticket) {
  std::lock_guard lock(mutex_);
  ticket->day = day_of(unix_seconds);
  ticket->month = month_of(unix_seconds);
  ticket->lease = fmt::format("{}-{}", process_, ++leases_);
  std::vector<std::string> values = {
      std::to_string(estimate.tokens), std::to_string(estimate.nanos), ticket->lease, lease_ms(),
      std::to_string(ticket->day),     std::to_string(ticket->month)};
  const int64_t day_end = (ticket->day + 1) * 86'400 - unix_seconds;
  const int64_t month_end = month_begin(ticket->month + 1) - unix_seconds;
  values.push_back(std::to_string(day_end * 1'000));
  values.push_back(std::to_string(month_end * 1'000));
  for (const Subject& subject : subjects) {
    const LimitValues& hard = subject.hard;
    values.push_back(exact_text(hard.requests_per_second));
    values.push_back(exact_text(LimitBook::burst_of(hard)));
    values.push_back(std::to_string(hard.tokens_per_minute));
    values.push_back(std::to_string(hard.tokens_per_day));
    values.push_back(std::to_string(hard.concurrent));
    values.push_back(exact_text(hard.money_per_month * kNanosPerUnit));
  }
  HADAL_TRY(const Reply reply, script(kAdmit, subjects, values));
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < reply->elements && reply->type == REDIS_REPLY_ARRAY; ++i) {
    numbers.push_back(reply->element[i]->integer);
  }
  return read_admission(numbers, subjects, ticket);
}

Status RedisLimits::settle(std::span<const Subject> subjects, const Cost& estimate,
                           const Cost& actual, const Ticket& ticket) {
  std::lock_guard lock(mutex_);
  HADAL_TRY_VOID(
      script(kSettle, subjects,
             {ticket.lease, std::to_string(ticket.day), std::to_string(ticket.month),
              std::to_string(ticket.second), std::to_string(actual.tokens - estimate.tokens),
              std::to_string(actual.nanos - estimate.nanos)}));
  return {};
}

Status RedisLimits::renew(std::span<const Subject> subjects, const Ticket& ticket) {
  std::lock_guard lock(mutex_);
  HADAL_TRY_VOID(script(kRenew, subjects, {ticket.lease, lease_ms()}));
  return {};
}

Status RedisLimits::reconnect() {
  std::lock_guard lock(mutex_);
  if (context_ != nullptr) return {};
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(options_.timeout).count();
  const timeval timeout = {micros / 1'000'000, micros % 1'000'000};
  context_.reset(address_.path.empty()
                     ? redisConnectWithTimeout(address_.host.c_str(), address_.port, timeout)
                     : redisConnectUnixWithTimeout(address_.path.c_str(), timeout));
  if (context_ == nullptr || context_->err != 0) {
    const std::string what = context_ == nullptr ? "no memory" : context_->errstr;
    context_.reset();
    return fail(Code::kUnavailable, "the store of limits: " + what);
  }
  redisSetTimeout(context_.get(), timeout);
  const auto say = [&](const std::vector<std::string>& words) -> Status {
    auto reply = command(words);
    if (reply) return {};
    context_.reset();
    return fail(std::move(reply.error()));
  };
  if (!address_.password.empty()) HADAL_TRY_VOID(say({"AUTH", address_.password}));
  if (address_.database != 0) {
    HADAL_TRY_VOID(say({"SELECT", std::to_string(address_.database)}));
  }
  HADAL_TRY_VOID(say({"PING"}));
  connected_ = true;
  return {};
}

}  // namespace

Status check_redis_url(const std::string& url) {
  HADAL_TRY(const Address address, parse_address(url));
  static_cast<void>(address);
  return {};
}

Result<std::unique_ptr<SharedLimits>> make_redis_limits(SharedLimits::Options options,
                                                        std::string process) {
  HADAL_TRY(Address address, parse_address(options.url));
  return std::make_unique<RedisLimits>(std::move(options), std::move(address), std::move(process));
}

}  // namespace hadal::gateway
