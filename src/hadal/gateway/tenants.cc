#include "hadal/gateway/tenants.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/base/ascii.h"
#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

constexpr std::string_view kFileTag = "file-";
constexpr size_t kFileTagDigits = 24;  // enough that nobody finds another key of the same

std::string file_tag(std::string_view key) {
  return std::string(kFileTag) + hex(sha256(key)).substr(0, kFileTagDigits);
}

bool allows(const std::vector<std::string>& models, std::string_view model) {
  return models.empty() || std::find(models.begin(), models.end(), model) != models.end();
}

}  // namespace

bool Caller::may_ask(std::string_view model) const {
  return allows(tenant->models, model) && allows(key.models, model);
}

std::string Caller::cache_scope(std::string_view asked) const {
  if (!isolated) return std::string(asked);
  // A tenant's name has no space, so that no name and no salt can make another's scope.
  return fmt::format("{} {}", tenant->shares_cache ? "" : tenant->name, asked);
}

std::string_view shown_key(const net::HttpRequest& request) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view given = request.header("authorization");
  const bool bearer = equal_in_any_case(given.substr(0, kBearer.size()), kBearer);
  // Anthropic's clients have a header of their own.
  return bearer ? given.substr(kBearer.size()) : request.header("x-api-key");
}

TenantPolicy::TenantPolicy(const std::vector<TenantConfig>& tenants,
                           std::vector<std::string> file_keys, std::shared_ptr<KeyStore> keys)
    : file_keys_(std::move(file_keys)), keys_(std::move(keys)) {
  for (const TenantConfig& tenant : tenants) {
    tenants_[tenant.name] = std::make_shared<const TenantConfig>(tenant);
  }
  auto& standard = tenants_[std::string(kDefaultTenant)];
  if (standard == nullptr) {
    auto made = std::make_shared<TenantConfig>();
    made->name = kDefaultTenant;
    standard = std::move(made);
  }
  default_caller_ =
      std::make_shared<const Caller>(Caller{standard, {}, !tenants.empty() || keys_ != nullptr});
}

const TenantConfig* TenantPolicy::find(std::string_view tenant) const {
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? nullptr : found->second.get();
}

void TenantPolicy::set_prices(const std::vector<PriceConfig>& prices) {
  for (const PriceConfig& price : prices) {
    prices_[price.model] = {price.input_hit, price.input_miss, price.output};
  }
}

Price TenantPolicy::price_of(std::string_view model) const {
  const auto found = prices_.find(model);
  return found == prices_.end() ? Price{} : found->second;
}

Result<std::shared_ptr<const Caller>> TenantPolicy::authenticate(const net::HttpRequest& request,
                                                                 int64_t now) const {
  if (!keyed()) return default_caller_;
  const std::string_view given = shown_key(request);
  bool known = false;
  for (const std::string& key : file_keys_) known |= equal_in_constant_time(given, key);
  if (known) return default_caller_;
  if (given.empty() || keys_ == nullptr) {
    return fail(Code::kUnauthorized,
                "a valid key is needed: send the header 'Authorization: Bearer KEY'");
  }
  auto found = keys_->authenticate(given, now);
  if (!found && found.error().code != Code::kUnauthorized) {
    return fail(Code::kUnavailable, "the store of keys cannot be read, try again later");
  }
  HADAL_TRY(KeyRecord key, std::move(found));
  return caller_of(std::move(key));
}

Result<std::shared_ptr<const Caller>> TenantPolicy::caller_of(KeyRecord key) const {
  const auto tenant = tenants_.find(key.tenant);
  if (tenant == tenants_.end()) {
    return fail(Code::kForbidden, fmt::format("the key {} belongs to the tenant '{}', which is not "
                                              "served here",
                                              key.id, key.tenant));
  }
  return std::make_shared<const Caller>(Caller{tenant->second, std::move(key), true});
}

std::string TenantPolicy::tag_of(const net::HttpRequest& request, const Caller& caller) const {
  if (!caller.key.id.empty()) return caller.key.id;
  return keyed() ? file_tag(shown_key(request)) : "";
}

Result<std::shared_ptr<const Caller>> TenantPolicy::restore(std::string_view tag,
                                                            int64_t now) const {
  std::shared_ptr<const Caller> caller;
  if (tag.empty() || tag.starts_with(kFileTag)) {
    const bool known =
        tag.empty() ? !keyed()
                    : std::any_of(file_keys_.begin(), file_keys_.end(),
                                  [&](const std::string& key) { return file_tag(key) == tag; });
    if (!known) return fail(Code::kUnauthorized, "the key is not known any more");
    caller = default_caller_;
  } else {
    if (keys_ == nullptr) return fail(Code::kUnauthorized, "the key is not known any more");
    auto found = keys_->find(tag, now);
    if (!found && found.error().code != Code::kUnauthorized) {
      return fail(Code::kUnavailable, "the store of keys cannot be read, try again later");
    }
    HADAL_TRY(KeyRecord key, std::move(found));
    HADAL_TRY(caller, caller_of(std::move(key)));
  }
  TenantConfig tenant = *caller->tenant;
  tenant.priority = kBackgroundPriority;
  Caller behind = *caller;
  behind.tenant = std::make_shared<const TenantConfig>(std::move(tenant));
  behind.background = true;
  return std::make_shared<const Caller>(std::move(behind));
}

}  // namespace hadal::gateway
