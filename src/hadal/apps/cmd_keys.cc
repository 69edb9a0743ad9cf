// hadal keys create | list | revoke: the API keys of a store, also while a server uses it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "hadal/apps/admin_json.h"
#include "hadal/apps/commands.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/serve_config.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/field.h"
#include "hadal/gateway/key_store.h"

namespace hadal::apps {
namespace {

struct KeysFlags {
  std::string config;
  std::string store;
  std::string id;
  std::string expires;
  gateway::KeyRecord wanted;
  std::vector<std::string> limits, soft_limits;
  bool json = false;
};

// "tokens_per_day=100000"
Status read_limit(const std::string& text, gateway::LimitValues* limits) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  double value = 0;
  size_t used = 0;
  try {
    if (equals != std::string::npos) value = std::stod(text.substr(equals + 1), &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || equals + 1 + used != text.size() || !(value >= 0)) {
    return fail(Code::kInvalidInput, fmt::format("found '{}', expected NAME=NUMBER", text));
  }
  if (value > gateway::kLimitMax || !gateway::set_limit(limits, name, value)) {
    return fail(Code::kInvalidInput,
                fmt::format("'{}' is no limit, or too large; limits are requests_per_second, "
                            "burst, tokens_per_minute, tokens_per_day, concurrent, "
                            "money_per_month",
                            text));
  }
  return {};
}

// Which store, and, where there is a configuration, that the tenant is one of its.
Result<std::unique_ptr<gateway::KeyStore>> open_store(const KeysFlags& flags) {
  std::string path = flags.store;
  if (!flags.config.empty()) {
    HADAL_TRY(const gateway::Config config, load_serve_config(flags.config));
    path = config.store.path;
    if (path.empty()) {
      return fail(Code::kInvalidInput, fmt::format("{}: 'store.path' is missing", flags.config));
    }
    const std::string& tenant = flags.wanted.tenant;
    const bool known =
        tenant.empty() || tenant == gateway::kDefaultTenant ||
        std::any_of(config.tenants.begin(), config.tenants.end(),
                    [&](const gateway::TenantConfig& one) { return one.name == tenant; });
    if (!known) {
      return fail(Code::kInvalidInput, fmt::format("{} has no tenant '{}'", flags.config, tenant));
    }
  }
  return gateway::KeyStore::open(path);
}

Status create(gateway::KeyStore& store, KeysFlags& flags, int64_t now) {
  if (!flags.expires.empty()) {
    const auto after = gateway::parse_duration(flags.expires);
    if (!after || after->count() < 1'000) {
      return fail(
          Code::kInvalidInput,
          fmt::format("--expires: found '{}', expected 90s, 5m, 12h or 30d", flags.expires));
    }
    flags.wanted.expires = now + after->count() / 1'000;
  }
  for (const std::string& text : flags.limits) HADAL_TRY_VOID(read_limit(text, &flags.wanted.hard));
  for (const std::string& text : flags.soft_limits) {
    HADAL_TRY_VOID(read_limit(text, &flags.wanted.soft));
  }
  HADAL_TRY(const gateway::NewKey key, store.create(flags.wanted, now));
  if (flags.json) {
    fmt::print("{}\n", key_json(key.record, now, key.text));
  } else {
    fmt::print("{}\n", key.text);
    fmt::print(stderr, "key {} of tenant '{}': it is shown this once\n", key.record.id,
               key.record.tenant);
  }
  return {};
}

Status list(gateway::KeyStore& store, const KeysFlags& flags, int64_t now) {
  HADAL_TRY(const std::vector<gateway::KeyRecord> records, store.list());
  if (flags.json) {
    fmt::print("{}\n", keys_json(records, now));
    return {};
  }
  fmt::print("{:<12}  {:<16}  {:<8}  {:<20}  {}\n", "ID", "TENANT", "STATE", "EXPIRES", "NAME");
  for (const gateway::KeyRecord& record : records) {
    fmt::print("{:<12}  {:<16}  {:<8}  {:<20}  {}\n", record.id, record.tenant,
               key_state(record, now), record.expires == 0 ? "never" : utc_text(record.expires),
               record.name);
  }
  return {};
}

Status revoke(gateway::KeyStore& store, const KeysFlags& flags, int64_t now) {
  HADAL_TRY(const gateway::KeyRecord record, store.revoke(flags.id, now));
  if (flags.json) {
    fmt::print("{}\n", key_json(record, now, {}));
  } else {
    fmt::print("key {} of tenant '{}' is revoked\n", record.id, record.tenant);
  }
  return {};
}

void add_store_flags(CLI::App& app, KeysFlags* flags) {
  auto* where = app.add_option_group("where");
  where->add_option("--config", flags->config, "hadal.yaml, whose 'store.path' is meant");
  where->add_option("--store", flags->store, "or the store itself");
  where->require_option(1);
  app.add_flag("--json", flags->json, "one JSON object");
}

}  // namespace

int cmd_keys(int argc, char** argv) {
  KeysFlags flags;
  CLI::App app("create, list and revoke API keys", "hadal keys");
  app.require_subcommand(1);
  auto* make = app.add_subcommand("create", "prints a new key; its secret cannot be had again");
  make->add_option("--tenant", flags.wanted.tenant, "whose it is")->required();
  make->add_option("--name", flags.wanted.name, "what lists call it");
  make->add_option("--expires", flags.expires, "after 12h, 30d, ... [never]");
  make->add_option("--model", flags.wanted.models, "it may ask; repeat for more [the tenant's]");
  make->add_option("--limit", flags.limits, "NAME=NUMBER, such as tokens_per_day=100000; repeat");
  make->add_option("--soft-limit", flags.soft_limits, "the same, only reported");
  auto* show = app.add_subcommand("list", "every key, without its secret");
  auto* end = app.add_subcommand("revoke", "from the next request on the key is refused");
  end->add_option("id", flags.id, "as in the list")->required();
  for (CLI::App* command : {make, show, end}) add_store_flags(*command, &flags);
  if (const int status = parse_line(app, nullptr, argc, argv); status >= 0) return status;
  const int64_t now = SystemClock().unix_seconds();
  const Status status = [&]() -> Status {
    HADAL_TRY(const auto store, open_store(flags));
    if (make->parsed()) return create(*store, flags, now);
    return show->parsed() ? list(*store, flags, now) : revoke(*store, flags, now);
  }();
  if (status) return 0;
  fmt::print(stderr, "hadal keys: {}\n", status.error().what);
  return status.error().code == Code::kInvalidInput ? kUsageError : 1;
}

}  // namespace hadal::apps
