// API keys on disk. A key is "hk-ID-SECRET": ID finds its row and may be shown and logged, of
// SECRET (256 random bits) only the SHA-256 is kept, so whoever reads the file cannot ask with it.
//
// Every change is on the disk before its call returns. Threads: any. Several processes of a machine
// may share the file: a key made or revoked by one is so for all at their next request.
//
// A key that was just looked up is remembered, so that a request costs a hash and no call of the
// system: until any process changes keys through this class (which they tell each other by the file
// PATH-keys), and for two seconds at most, which covers a process killed between a change and
// telling of it, and changes made past this class.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/change_count.h"
#include "hadal/gateway/database.h"
#include "hadal/gateway/limits.h"

namespace hadal::gateway {

// Times in seconds since 1970.
struct KeyRecord {
  std::string id;
  std::string name;  // for people; may be empty
  std::string tenant;
  std::vector<std::string> models;  // empty: all that the tenant may ask
  int64_t created = 0;
  int64_t expires = 0;  // 0: never
  int64_t revoked = 0;  // 0: not
  LimitValues hard;
  LimitValues soft;
  bool operator==(const KeyRecord&) const = default;
};

struct NewKey {
  KeyRecord record;
  std::string text;  // "hk-ID-SECRET": never to be had again
};

inline constexpr size_t kKeyNameBytesMax = 256;
inline constexpr size_t kKeyModelsMax = 256;
inline constexpr std::string_view kKeyPrefix = "hk-";

class KeyStore {
 public:
  // Makes the file if there is none. Errors: see Database::open; kUnsupported: a newer Hadal's.
  static Result<std::unique_ptr<KeyStore>> open(const std::string& path);

  // Of `wanted` without id and times but `expires`. kInvalidInput: an empty tenant, a name that is
  // too long or not printable, an expiry in the past.
  Result<NewKey> create(KeyRecord wanted, int64_t now);
  // In the order of their making.
  Result<std::vector<KeyRecord>> list();
  // The record after it; revoking twice keeps the first time. kNotFound.
  Result<KeyRecord> revoke(std::string_view id, int64_t now);

  // A record by its id, for work in the name of a key that was shown before. kUnauthorized:
  // unknown, expired or revoked.
  Result<KeyRecord> find(std::string_view id, int64_t now);
  // kUnauthorized: not a key, an unknown, expired or revoked one; does not say which to a caller
  // without the secret. kUnavailable: the file cannot be read.
  Result<KeyRecord> authenticate(std::string_view text, int64_t now);

 private:
  explicit KeyStore(Database database) : database_(std::move(database)) {}
  Status prepare();

  // A row of the file as it was read.
  struct Known {
    std::string hash;
    KeyRecord record;
    int64_t read_at = 0;   // seconds since 1970
    uint64_t changes = 0;  // before it was read
  };
  Result<std::shared_ptr<const Known>> look_up(const std::string& id, int64_t now);

  std::optional<ChangeCount> changes_;  // none: nothing is remembered
  std::mutex known_mutex_;              // of known_ alone; never held beside mutex_
  std::unordered_map<std::string, std::shared_ptr<const Known>> known_;  // by id

  std::mutex mutex_;   // everything below
  Database database_;  // before its statements
  Statement insert_, list_, find_, revoke_;
};

}  // namespace hadal::gateway
