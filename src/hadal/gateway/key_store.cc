#include "hadal/gateway/key_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

constexpr size_t kIdBytes = 6;
constexpr size_t kSecretBytes = 32;
constexpr size_t kIdDigits = 2 * kIdBytes;
constexpr size_t kTextSize = kKeyPrefix.size() + kIdDigits + 1 + 2 * kSecretBytes;
constexpr int64_t kKnownSeconds = 1;  // by whole seconds: less than two
constexpr size_t kKnownMax = 10'000;

constexpr const char* kSchema = R"(
  CREATE TABLE IF NOT EXISTS api_keys(
    id TEXT PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL,
    models TEXT NOT NULL,
    created INTEGER NOT NULL, expires INTEGER NOT NULL, revoked INTEGER NOT NULL,
    hard_requests REAL NOT NULL, hard_burst INTEGER NOT NULL, hard_minute INTEGER NOT NULL,
    hard_day INTEGER NOT NULL, hard_concurrent INTEGER NOT NULL, hard_money REAL NOT NULL,
    soft_requests REAL NOT NULL, soft_burst INTEGER NOT NULL, soft_minute INTEGER NOT NULL,
    soft_day INTEGER NOT NULL, soft_concurrent INTEGER NOT NULL, soft_money REAL NOT NULL
  ) STRICT;
)";
// All but the hash, in the order of read_row() and bind_row().
#define HADAL_KEY_COLUMNS                                                                        \
  "id, name, tenant, models, created, expires, revoked, hard_requests, hard_burst, "             \
  "hard_minute, hard_day, hard_concurrent, hard_money, soft_requests, soft_burst, soft_minute, " \
  "soft_day, soft_concurrent, soft_money"
constexpr int kHashColumn = 19;

LimitValues read_limits(const Run& run, int first) {
  return {
      run.real(first),        static_cast<int32_t>(run.integer(first + 1)), run.integer(first + 2),
      run.integer(first + 3), static_cast<int32_t>(run.integer(first + 4)), run.real(first + 5)};
}

KeyRecord read_row(const Run& run) {
  KeyRecord record;
  record.id = run.text(0);
  record.name = run.text(1);
  record.tenant = run.text(2);
  const std::string models = run.text(3);  // each ends with a line's end
  for (size_t at = 0; at < models.size();) {
    const size_t end = std::min(models.find('\n', at), models.size());
    record.models.push_back(models.substr(at, end - at));
    at = end + 1;
  }
  record.created = run.integer(4);
  record.expires = run.integer(5);
  record.revoked = run.integer(6);
  record.hard = read_limits(run, 7);
  record.soft = read_limits(run, 13);
  return record;
}

void bind_limits(Run& run, const LimitValues& limits) {
  for_each_limit(limits, [&](std::string_view, auto value) { run.bind(value); });
}

bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7f;
  });
}

bool limits_make_sense(const LimitValues& limits) {
  bool sensible = true;
  for_each_limit(limits, [&](std::string_view, auto value) {
    sensible = sensible && value >= 0 && static_cast<double>(value) <= kLimitMax;
  });
  return sensible;
}

Status check(const KeyRecord& wanted, int64_t now) {
  const auto bad = [](const std::string& what) { return fail(Code::kInvalidInput, what); };
  if (wanted.tenant.empty()) return bad("the tenant is missing");
  if (wanted.name.size() > kKeyNameBytesMax || !is_printable(wanted.name)) {
    return bad(fmt::format("a key's name has at most {} bytes, all printable", kKeyNameBytesMax));
  }
  if (!is_printable(wanted.tenant)) return bad("a tenant's name is printable");
  if (wanted.models.size() > kKeyModelsMax) {
    return bad(fmt::format("found {} models, a key names at most {}", wanted.models.size(),
                           kKeyModelsMax));
  }
  for (const std::string& model : wanted.models) {
    if (model.empty() || !is_printable(model)) return bad("a model's name is printable");
  }
  if (wanted.expires != 0 && wanted.expires <= now) return bad("the key would be expired already");
  if (!limits_make_sense(wanted.hard) || !limits_make_sense(wanted.soft)) {
    return bad(fmt::format("a limit lies in 0 to {:g}", kLimitMax));
  }
  return {};
}

Result<KeyRecord> usable(const KeyRecord& record, int64_t now) {
  if (record.revoked != 0) return fail(Code::kUnauthorized, "the key has been revoked");
  if (record.expires != 0 && record.expires <= now) {
    return fail(Code::kUnauthorized, "the key has expired");
  }
  return record;
}

tl::unexpected<Error> unknown_key() { return fail(Code::kUnauthorized, "the key is not known"); }

}  // namespace

Result<std::unique_ptr<KeyStore>> KeyStore::open(const std::string& path) {
  HADAL_TRY(Database database, Database::open(path, Sync::kPower));
  std::unique_ptr<KeyStore> store(new KeyStore(std::move(database)));
  HADAL_TRY_VOID(store->prepare());
  if (auto changes = ChangeCount::open(path + "-keys")) store->changes_ = std::move(*changes);
  return store;
}

Status KeyStore::prepare() {
  HADAL_TRY_VOID(make_tables(database_, {"api_keys", 1, kSchema}));
  HADAL_TRY(insert_, database_.prepare("INSERT INTO api_keys(" HADAL_KEY_COLUMNS ", hash) VALUES "
                                       "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  HADAL_TRY(list_, database_.prepare("SELECT " HADAL_KEY_COLUMNS
                                     " FROM api_keys ORDER BY created, rowid"));
  HADAL_TRY(find_,
            database_.prepare("SELECT " HADAL_KEY_COLUMNS ", hash FROM api_keys WHERE id = ?"));
  HADAL_TRY(revoke_,
            database_.prepare("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked = 0"));
  return {};
}

Result<NewKey> KeyStore::create(KeyRecord wanted, int64_t now) {
  HADAL_TRY_VOID(check(wanted, now));
  HADAL_TRY(const std::string random, random_bytes(kIdBytes + kSecretBytes));
  wanted.id = hex(std::string_view(random).substr(0, kIdBytes));
  wanted.created = now;
  wanted.revoked = 0;
  std::string text =
      fmt::format("{}{}-{}", kKeyPrefix, wanted.id, hex(std::string_view(random).substr(kIdBytes)));
  std::string models;
  for (const std::string& model : wanted.models) models += model + '\n';
  std::lock_guard lock(mutex_);
  Run run = database_.run(insert_);
  run.bind(wanted.id).bind(wanted.name).bind(wanted.tenant).bind(models);
  run.bind(wanted.created).bind(wanted.expires).bind(wanted.revoked);
  bind_limits(run, wanted.hard);
  bind_limits(run, wanted.soft);
  run.bind(hex(sha256(text)));
  HADAL_TRY_VOID(run.done());
  if (changes_) changes_->changed();
  return NewKey{std::move(wanted), std::move(text)};
}

Result<std::vector<KeyRecord>> KeyStore::list() {
  std::lock_guard lock(mutex_);
  Run run = database_.run(list_);
  std::vector<KeyRecord> records;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return records;
    records.push_back(read_row(run));
  }
}

Result<KeyRecord> KeyStore::revoke(std::string_view id, int64_t now) {
  std::lock_guard lock(mutex_);
  {
    Run run = database_.run(revoke_);
    HADAL_TRY_VOID(run.bind(now).bind(id).done());
  }
  if (changes_) changes_->changed();
  Run run = database_.run(find_);
  HADAL_TRY(const bool row, run.bind(id).step());
  if (!row) {
    return fail(Code::kNotFound, fmt::format("there is no key '{}'", id.substr(0, 64)));
  }
  return read_row(run);
}

// Null: there is none. An id that is not there is not remembered, as anybody can make them up.
Result<std::shared_ptr<const KeyStore::Known>> KeyStore::look_up(const std::string& id,
                                                                 int64_t now) {
  // Before the file is read: a change while it is makes what was read old at once.
  const uint64_t changes = changes_ ? changes_->now() : 0;
  if (changes_) {
    std::lock_guard lock(known_mutex_);
    const auto found = known_.find(id);
    if (found != known_.end()) {
      const int64_t age = now - found->second->read_at;
      if (found->second->changes == changes && age >= 0 && age <= kKnownSeconds) {
        return found->second;
      }
      known_.erase(found);
    }
  }
  auto known = std::make_shared<Known>();
  {
    std::lock_guard lock(mutex_);
    Run run = database_.run(find_);
    HADAL_TRY(const bool row, run.bind(id).step());
    if (!row) return std::shared_ptr<const Known>();
    *known = {run.text(kHashColumn), read_row(run), now, changes};
  }
  if (changes_) {
    std::lock_guard lock(known_mutex_);
    if (known_.size() >= kKnownMax) known_.clear();
    known_[id] = known;
  }
  return std::shared_ptr<const Known>(std::move(known));
}

Result<KeyRecord> KeyStore::authenticate(std::string_view text, int64_t now) {
  const size_t dash = kKeyPrefix.size() + kIdDigits;
  if (text.size() != kTextSize || !text.starts_with(kKeyPrefix) || text[dash] != '-') {
    return unknown_key();
  }
  const std::string given = hex(sha256(text));
  HADAL_TRY(const auto known, look_up(std::string(text.substr(kKeyPrefix.size(), kIdDigits)), now));
  if (known == nullptr || !equal_in_constant_time(given, known->hash)) return unknown_key();
  // Who has the secret may know what became of it.
  return usable(known->record, now);
}

Result<KeyRecord> KeyStore::find(std::string_view id, int64_t now) {
  HADAL_TRY(const auto known, look_up(std::string(id), now));
  return known == nullptr ? unknown_key() : usable(known->record, now);
}

}  // namespace hadal::gateway
