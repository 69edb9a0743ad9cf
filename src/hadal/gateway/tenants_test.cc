#include "hadal/gateway/tenants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kNow = 1'700'000'000;

net::HttpRequest request(std::vector<net::Header> headers) {
  return {"POST", "/", {}, std::move(headers), {}};
}
net::HttpRequest bearer(const std::string& key) {
  return request({{"Authorization", "Bearer " + key}});
}

TEST(ShownKey, BearerOrAnthropics) {
  EXPECT_EQ(shown_key(bearer("k")), "k");
  EXPECT_EQ(shown_key(request({{"authorization", "bEARER k"}})), "k");
  EXPECT_EQ(shown_key(request({{"x-api-key", "k"}})), "k");
  EXPECT_EQ(shown_key(request({{"Authorization", "Basic k"}, {"x-api-key", "k2"}})), "k2");
  for (const char* value : {"", "Bearer", "k", "Bear k"}) {
    EXPECT_EQ(shown_key(request({{"Authorization", value}})), "") << value;
  }
}

TEST(Tenants, WithoutKeysEverybodyIsTheDefault) {
  const TenantPolicy policy({}, {}, nullptr);
  EXPECT_FALSE(policy.keyed());
  const auto caller = *policy.authenticate(request({}), kNow);
  EXPECT_EQ(caller->tenant->name, "default");
  EXPECT_TRUE(caller->may_ask("anything"));
  EXPECT_EQ(caller->cache_scope("salt"), "salt");
}

class KeyedTenants : public ::testing::Test {
 protected:
  KeyedTenants() {
    keys_ = std::move(*KeyStore::open(folder_ + "/keys.db"));
    a_.name = "a";
    a_.models = {"small", "large"};
    b_.name = "b";
  }
  std::string make(const std::string& tenant, std::vector<std::string> models = {}) {
    KeyRecord record;
    record.tenant = tenant;
    record.models = std::move(models);
    return keys_->create(std::move(record), kNow)->text;
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  std::shared_ptr<KeyStore> keys_;
  TenantConfig a_, b_;
};

TEST_F(KeyedTenants, AKeyLeadsToItsTenant) {
  const TenantPolicy policy({a_, b_}, {"file"}, keys_);
  EXPECT_EQ((*policy.authenticate(bearer(make("a")), kNow))->tenant->name, "a");
  EXPECT_EQ((*policy.authenticate(bearer(make("default")), kNow))->tenant->name, "default");
  const auto file = *policy.authenticate(bearer("file"), kNow);
  EXPECT_EQ(file->tenant->name, "default");
  EXPECT_EQ(file->key.id, "");
  EXPECT_EQ(policy.authenticate(request({}), kNow).error().code, Code::kUnauthorized);
  EXPECT_EQ(policy.authenticate(bearer("fil"), kNow).error().code, Code::kUnauthorized);
  const auto gone = policy.authenticate(bearer(make("c")), kNow);
  EXPECT_EQ(gone.error().code, Code::kForbidden);
  EXPECT_THAT(gone.error().what, HasSubstr("'c'"));
}

TEST_F(KeyedTenants, BothListsOfModelsCount) {
  const TenantPolicy policy({a_, b_}, {}, keys_);
  const auto may = [&](const std::string& key, const char* model) {
    return (*policy.authenticate(bearer(key), kNow))->may_ask(model);
  };
  const std::string any = make("a"), narrow = make("a", {"small", "other"});
  EXPECT_TRUE(may(any, "small"));
  EXPECT_TRUE(may(any, "large"));
  EXPECT_FALSE(may(any, "other"));
  EXPECT_TRUE(may(narrow, "small"));
  EXPECT_FALSE(may(narrow, "large"));
  EXPECT_FALSE(may(narrow, "other")) << "the tenant's list bounds its keys'";
  EXPECT_TRUE(may(make("b"), "other"));
}

TEST_F(KeyedTenants, NoSaltMakesAnothersScope) {
  a_.shares_cache = false;
  TenantConfig open = b_;
  open.name = "open";
  open.shares_cache = true;
  TenantConfig open2 = open;
  open2.name = "open2";
  const TenantPolicy policy({a_, b_, open, open2}, {"file"}, keys_);
  std::set<std::string> scopes;
  const std::vector<std::string> salts = {"",    "a",  "b",        " ",    "a ",
                                          "b a", " a", "default ", "open "};
  for (const char* tenant : {"a", "b", "default", "open"}) {
    const auto caller = *policy.authenticate(bearer(make(tenant)), kNow);
    for (const std::string& salt : salts) scopes.insert(caller->cache_scope(salt));
  }
  EXPECT_EQ(scopes.size(), 4 * salts.size());
  const auto scope = [&](const std::string& key) {
    return (*policy.authenticate(bearer(key), kNow))->cache_scope("s");
  };
  EXPECT_EQ(scope(make("open")), scope(make("open2")));
  EXPECT_EQ(scope(make("a")), scope(make("a")));
  EXPECT_EQ(scope("file"), scope(make("default")));
}

TEST_F(KeyedTenants, AStoreThatCannotBeReadIsNotAWrongKey) {
  const std::string key = make("a");
  auto database = *Database::open(folder_ + "/keys.db", Sync::kPower);
  ASSERT_TRUE(database.execute("DROP TABLE api_keys"));
  const TenantPolicy policy({a_}, {}, keys_);
  const auto found = policy.authenticate(bearer(key), kNow);
  EXPECT_EQ(found.error().code, Code::kUnavailable);
  EXPECT_THAT(found.error().what, ::testing::Not(HasSubstr(folder_)));
}

std::string errors_of(const std::string& more) {
  const auto config = read_config("backends: [{name: a, model: m, names: [tiny]}]\n" + more,
                                  {[](const std::string& model) { return model; }});
  std::string text;
  if (!config) {
    for (const ConfigError& error : config.error()) text += error.what + "\n";
  }
  return text;
}

TEST(TenantConfiguration, WhatPointsNowhereIsRefused) {
  const std::string store = "store: {path: x.db}\n";
  EXPECT_EQ(errors_of(store + "prices: {tiny: {output: 1}}\naliases: {t: tiny}\n"
                              "tenants: {a: {models: [tiny, t], limits: {money_per_month: 3}}}\n"
                              "admin: {key_env: KEY}\n"),
            "");
  const std::pair<std::string, const char*> cases[] = {
      {"tenants: {a: {}}", "'store.path' is missing"},
      {store + "tenants: {a: {models: [tinny]}}", "did you mean 'tiny'?"},
      {store + "tenants: {'a b': {}}", "none of them a space"},
      {store + "tenants: {a: {limits: {tokens_per_hour: 1}}}", "there is no field"},
      {store + "tenants: {a: {limits: {tokens_per_day: -1}}}", "tokens_per_day"},
      {store + "tenants: {a: {weight: 0}}", "weight"},
      {store + "tenants: {a: {key_limits: {money_per_month: 1}}}", "'prices' is missing"},
      {store + "prices: {tinny: {output: 1}}", "did you mean 'tiny'?"},
      {store + "admin: {port: 1}", "'key_env' and 'key_file'"},
      {"admin: {key_env: KEY}", "'store.path' is missing"},
      {"store: {path: x, redis: 'http://h'}", "redis://"},
      {"store: {path: x, on_store_loss: ignore}", "local_share"},
  };
  for (const auto& [yaml, error] : cases) EXPECT_THAT(errors_of(yaml), HasSubstr(error)) << yaml;
}

TEST_F(KeyedTenants, WorkGoesOnInACallersNameUntilTheKeyIsGone) {
  a_.priority = 3;
  a_.weight = 2;
  const TenantPolicy policy({a_, b_}, {"file", "other"}, keys_);
  const std::string key = make("a", {"small"});
  const auto live = *policy.authenticate(bearer(key), kNow);
  const std::string tag = policy.tag_of(bearer(key), *live);
  const auto caller = *policy.restore(tag, kNow);
  EXPECT_TRUE(caller->background);
  EXPECT_FALSE(live->background);
  EXPECT_EQ(caller->tenant->priority, kBackgroundPriority);
  EXPECT_EQ(caller->tenant->weight, 2);
  EXPECT_EQ(caller->key, live->key);
  EXPECT_EQ(caller->cache_scope("s"), live->cache_scope("s"));
  EXPECT_TRUE(caller->may_ask("small"));
  EXPECT_FALSE(caller->may_ask("large"));
  ASSERT_TRUE(keys_->revoke(live->key.id, kNow));
  EXPECT_EQ(policy.restore(tag, kNow).error().code, Code::kUnauthorized);
  EXPECT_EQ(TenantPolicy({a_}, {}, nullptr).restore(tag, kNow).error().code, Code::kUnauthorized);
  EXPECT_EQ(policy.restore("0123456789ab", kNow).error().code, Code::kUnauthorized);
  EXPECT_EQ(policy.restore("", kNow).error().code, Code::kUnauthorized);

  std::set<std::string> tags;
  for (const char* one : {"file", "other"}) {
    const auto known = *policy.authenticate(bearer(one), kNow);
    const std::string file_tag = policy.tag_of(bearer(one), *known);
    EXPECT_EQ(file_tag.find(one, 5), std::string::npos);
    EXPECT_TRUE(policy.restore(file_tag, kNow));
    EXPECT_EQ(TenantPolicy({}, {"third"}, nullptr).restore(file_tag, kNow).error().code,
              Code::kUnauthorized);
    tags.insert(file_tag);
  }
  EXPECT_EQ(tags.size(), 2u);
}

TEST(Tenants, WithoutKeysEverybodysWorkIsOne) {
  const TenantPolicy policy({}, {}, nullptr);
  const auto caller = *policy.authenticate(bearer("whatever"), kNow);
  EXPECT_EQ(policy.tag_of(bearer("whatever"), *caller), "");
  EXPECT_TRUE((*policy.restore("", kNow))->background);
}

}  // namespace
}  // namespace hadal::gateway
