#include "hadal/gateway/tenant_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/gateway/shared_limits.h"

namespace hadal::gateway {

namespace {

using std::chrono::seconds;

Section<LimitValues> limit_section() {
  Section<LimitValues> section(
      "limits",
      "Each 0: no such limit. Soft limits are only reported, in the answer's header "
      "`X-Hadal-Soft-Limit` and in `hadal_soft_limit_total`.");
  section
      .number("requests_per_second", &LimitValues::requests_per_second, {0, 1e9},
              "the mean rate, see `burst`")
      .integer("burst", &LimitValues::burst, {0, 1e9}, "requests at once after a pause",
               {"one second's"})
      .integer("tokens_per_minute", &LimitValues::tokens_per_minute, {0, kLimitMax},
               "of prompts and answers, in any 60 s")
      .integer("tokens_per_day", &LimitValues::tokens_per_day, {0, kLimitMax},
               "the same, from midnight UTC")
      .integer("concurrent", &LimitValues::concurrent, {0, 1e9}, "requests under way")
      .number("money_per_month", &LimitValues::money_per_month, {0, 1e9},
              "by `prices`, from the first, midnight UTC");
  return section;
}

}  // namespace

Section<PriceConfig> price_section() {
  Section<PriceConfig> section("prices",
                               "What a million tokens of a model cost, in the currency of "
                               "`money_per_month`. An alias costs what its model does.");
  section
      .number("input_hit", &PriceConfig::input_hit, {0, 1e6},
              "of a prompt, found in the prefix cache")
      .number("input_miss", &PriceConfig::input_miss, {0, 1e6}, "of a prompt, the rest")
      .number("output", &PriceConfig::output, {0, 1e6}, "of an answer, thinking included");
  return section;
}

Section<QueueConfig> queue_section() {
  Section<QueueConfig> section(
      "queue",
      "Requests that wait for the local model, in a fair order: of those with the lowest "
      "`priority`, tenants share the model's tokens by their `weight`.");
  section
      .integer("in_flight", &QueueConfig::in_flight, {0, 65'536},
               "requests that the model has at once; the others wait here", {"its `max_sequences`"})
      .integer("waiting", &QueueConfig::waiting, {0, 1'000'000},
               "of all tenants together; more are answered 429");
  return section;
}

Section<StoreConfig> store_section() {
  Section<StoreConfig> section(
      "store",
      "What must survive a restart. With `path`, who asks needs a key: one of the store's "
      "(`hadal keys create`) or of `server.keys_file`. A change takes effect at the next start.");
  section
      .text("path", &StoreConfig::path, "SQLite file with keys and usage; made when there is none",
            {"none"})
      .text(
          "redis", &StoreConfig::redis,
          "`redis://[:PASSWORD@]HOST[:PORT][/DATABASE]` or `unix:///PATH`: limits are kept there, "
          "by all gateways that name it",
          {"none: in this process"})
      .duration("redis_timeout", &StoreConfig::redis_timeout, Millis(1), seconds(10),
                "for an answer of Redis")
      .text("postgres", &StoreConfig::postgres,
            "`postgresql://[USER[:PASSWORD]@][HOST][:PORT][/DATABASE][?PARAMETERS]`: the same in "
            "PostgreSQL, where tables and functions `hadal_limits*` are made; one of `redis` and "
            "`postgres`",
            {"none"})
      .duration("postgres_timeout", &StoreConfig::postgres_timeout, Millis(1), seconds(10),
                "for an answer of PostgreSQL")
      .choice("on_store_loss", &StoreConfig::on_store_loss, {"refuse", "local_share"},
              "while that store is gone, or usage cannot be written: answer 503 to who has limits, "
              "or go "
              "on within `local_share` of each")
      .number("local_share", &StoreConfig::local_share, {0.001, 1},
              "what one gateway grants alone; one divided by their number keeps the sum");
  return section;
}

Section<AdminConfig> admin_section() {
  Section<AdminConfig> section("admin",
                               "The operator's endpoints, on a port of their own. Off without a "
                               "key. A change of address takes effect at the next start.");
  section.text("host", &AdminConfig::host, "address to listen on")
      .integer("port", &AdminConfig::port, {0, 65'535}, "0: any free one")
      .text("key_env", &AdminConfig::key_env, "environment variable with the admin key", {"none"})
      .text("key_file", &AdminConfig::key_file, "file with that key, read at start and reload",
            {"none"})
      .inside("tls", &AdminConfig::tls, tls_section(), "as `server.tls`, for this port");
  return section;
}

Section<TenantConfig> tenant_section() {
  Section<TenantConfig> section(
      "tenants",
      "Who shares the service. A key of the store belongs to one; who asks without such a key is "
      "`default`, which need not be listed. A key whose tenant is not listed here is refused.");
  section
      .texts("models", &TenantConfig::models, "models and aliases that its keys may ask", {"all"})
      .inside("limits", &TenantConfig::limits, limit_section(), "of all its keys together")
      .inside("soft_limits", &TenantConfig::soft_limits, limit_section(), "the same, only reported")
      .inside("key_limits", &TenantConfig::key_limits, limit_section(),
              "of each key that was made without limits of its own")
      .inside("key_soft_limits", &TenantConfig::key_soft_limits, limit_section(),
              "the same, only reported")
      .integer("answer_estimate", &TenantConfig::answer_estimate, {1, 1e6},
               "tokens of an answer charged in advance when the request has no `max_tokens`")
      .number("weight", &TenantConfig::weight, {0.001, 1'000},
              "its share of the local model when not everybody can be answered at once")
      .integer("priority", &TenantConfig::priority, {-1'000, 1'000},
               "who waits with a higher one is answered only when nobody waits with a lower one")
      .choice("audit_content", &TenantConfig::audit_content, {"none", "hash", "masked", "full"},
              "what the audit record holds of its requests and answers", {"`audit.content`"})
      .boolean("shares_cache", &TenantConfig::shares_cache,
               "its prompts and those of other tenants that say so find each other's cached "
               "prefixes, which can tell who has asked the same");
  return section;
}

void check_tenants(ConfigReader& reader, const std::vector<TenantConfig>& tenants,
                   const StoreConfig& store, const std::vector<std::string>& served) {
  for (const TenantConfig& tenant : tenants) {
    const std::string path = "tenants." + tenant.name;
    if (tenant.name.empty() || tenant.name.size() > 64 ||
        std::any_of(tenant.name.begin(), tenant.name.end(),
                    [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; })) {
      reader.fault(path, "a tenant's name has 1 to 64 bytes, none of them a space");
    }
    if (store.path.empty() && tenant.name != kDefaultTenant) {
      reader.fault(path, "nobody can have its keys: 'store.path' is missing");
    }
    for (size_t i = 0; i < tenant.models.size(); ++i) {
      const std::string& model = tenant.models[i];
      if (std::find(served.begin(), served.end(), model) != served.end()) continue;
      const std::string near = nearest_name(model, served);
      reader.fault(path + ".models",
                   fmt::format("no backend or alias is called '{}'{}", model.substr(0, 128),
                               near.empty() ? "" : "; did you mean '" + near + "'?"));
    }
  }
}

void check_store(ConfigReader& reader, const StoreConfig& store) {
  if (!store.redis.empty() && !store.postgres.empty()) {
    reader.fault("store.postgres", "limits are kept in one place: 'store.redis' is there, too");
  }
  const auto check = [&](const char* path, const std::string& url, bool is_postgres) {
    if (url.empty()) return;
    auto good = SharedLimits::check_url(url);
    if (good && is_postgres != SharedLimits::is_postgres(url)) {
      good = fail(Code::kInvalidInput, "this is the other one's URL");
    }
    if (!good) reader.fault(path, good.error().what);
  };
  check("store.redis", store.redis, false);
  check("store.postgres", store.postgres, true);
}

void check_prices(ConfigReader& reader, const std::vector<PriceConfig>& prices,
                  const std::vector<TenantConfig>& tenants,
                  const std::vector<std::string>& served) {
  for (const PriceConfig& price : prices) {
    if (std::find(served.begin(), served.end(), price.model) != served.end()) continue;
    const std::string near = nearest_name(price.model, served);
    reader.fault("prices." + price.model,
                 fmt::format("no backend serves this name{}",
                             near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  if (!prices.empty()) return;
  for (const TenantConfig& tenant : tenants) {
    const std::pair<const char*, const LimitValues*> kinds[] = {
        {"limits", &tenant.limits},
        {"soft_limits", &tenant.soft_limits},
        {"key_limits", &tenant.key_limits},
        {"key_soft_limits", &tenant.key_soft_limits}};
    for (const auto& [name, limits] : kinds) {
      if (limits->money_per_month <= 0) continue;
      reader.fault(fmt::format("tenants.{}.{}.money_per_month", tenant.name, name),
                   "nothing costs anything: 'prices' is missing");
    }
  }
}

void check_admin(ConfigReader& reader, const AdminConfig& admin, const StoreConfig& store) {
  if (!reader.was_given("admin")) return;
  if (admin.key_env.empty() == admin.key_file.empty()) {
    reader.fault("admin", "one of 'key_env' and 'key_file' is needed");
  }
  if (store.path.empty()) {
    reader.fault("admin", "there is nothing to administer: 'store.path' is missing");
  }
}

}  // namespace hadal::gateway
