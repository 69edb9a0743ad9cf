// Who asks, and what they may: the first stage in the way of a request.
//
// A TenantPolicy is what one load of the configuration says; replaced as a whole, any thread. The
// KeyStore lives as long as the process.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/key_store.h"
#include "hadal/gateway/tenant_config.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

// Who a request is from. Immutable; shared with the request.
struct Caller {
  std::shared_ptr<const TenantConfig> tenant;
  KeyRecord key;  // id empty: asked with a key of keys_file, or without one where none is needed
  bool isolated = false;    // there are tenants to be kept apart
  bool background = false;  // everybody else goes first

  // Both lists must allow it; an empty one allows everything.
  bool may_ask(std::string_view model) const;
  // For the prefix cache: what the request says, where no other tenant's can be the same.
  std::string cache_scope(std::string_view asked) const;
};

// The key that a request shows: `Authorization: Bearer KEY`, or `x-api-key: KEY`. Empty: none.
std::string_view shown_key(const net::HttpRequest& request);

// Of requests in the background: behind every tenant's own, for the fair queue and for the engine.
inline constexpr int32_t kBackgroundPriority = 1'000'000;

class TenantPolicy {
 public:
  // `keys`: null without a store; then everybody may ask unless `file_keys` has some.
  TenantPolicy(const std::vector<TenantConfig>& tenants, std::vector<std::string> file_keys,
               std::shared_ptr<KeyStore> keys);

  // kUnauthorized, kForbidden: with words for the caller. kUnavailable: the store cannot be read.
  Result<std::shared_ptr<const Caller>> authenticate(const net::HttpRequest& request,
                                                     int64_t now) const;
  // What is kept of a caller's key, so that work can go on in its name when the request has ended:
  // the id of a key of the store, or a hash of one of `file_keys`; empty where none is needed.
  std::string tag_of(const net::HttpRequest& request, const Caller& caller) const;
  // That caller, in the background. Errors as of authenticate(): a key may be gone meanwhile.
  Result<std::shared_ptr<const Caller>> restore(std::string_view tag, int64_t now) const;
  bool keyed() const { return keys_ != nullptr || !file_keys_.empty(); }
  const TenantConfig* find(std::string_view tenant) const;
  // 0 for a model without one.
  Price price_of(std::string_view model) const;
  void set_prices(const std::vector<PriceConfig>& prices);  // before it is shared

 private:
  Result<std::shared_ptr<const Caller>> caller_of(KeyRecord key) const;

  std::map<std::string, std::shared_ptr<const TenantConfig>, std::less<>> tenants_;
  std::map<std::string, Price, std::less<>> prices_;
  const std::vector<std::string> file_keys_;
  const std::shared_ptr<KeyStore> keys_;
  std::shared_ptr<const Caller> default_caller_;
};

}  // namespace hadal::gateway
