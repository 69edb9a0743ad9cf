#include "hadal/apps/admin_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <ctime>
#include <type_traits>

#include "hadal/api/utf8.h"

namespace hadal::apps {
namespace {

namespace json = boost::json;

constexpr int64_t kExpiryMax = 100ll * 366 * 86'400;

json::object limits_json(const gateway::LimitValues& limits) {
  json::object object;
  gateway::for_each_limit(limits, [&](std::string_view name, auto value) {
    if (value != 0) object[name] = value;
  });
  return object;
}

json::value time_json(int64_t seconds) {
  return seconds == 0 ? json::value() : json::value(seconds);
}

json::object record_json(const gateway::KeyRecord& record, int64_t now) {
  json::object object;
  object["object"] = "api_key";
  object["id"] = record.id;
  object["name"] = api::valid_utf8(record.name);
  object["tenant"] = api::valid_utf8(record.tenant);
  object["state"] = key_state(record, now);
  json::array models;
  for (const std::string& model : record.models) models.push_back(json::string(model));
  object["models"] = std::move(models);
  object["created"] = record.created;
  object["expires"] = time_json(record.expires);
  object["revoked"] = time_json(record.revoked);
  object["limits"] = limits_json(record.hard);
  object["soft_limits"] = limits_json(record.soft);
  return object;
}

tl::unexpected<api::ApiError> bad(std::string_view field, std::string_view expected) {
  return fail(api::ApiError(Code::kInvalidInput, fmt::format("{}: expected {}", field, expected),
                            std::string(field)));
}

api::Parsed<void> read_limits(const json::value& value, std::string_view field,
                              gateway::LimitValues* limits) {
  const json::object* object = value.if_object();
  if (object == nullptr) return bad(field, "an object of limits");
  for (const auto& [name, given] : *object) {
    if (!given.is_number()) return bad(field, "numbers");
    const double number = given.to_number<double>();
    if (!(number >= 0) || number > gateway::kLimitMax ||
        !gateway::set_limit(limits, std::string_view(name), number)) {
      return bad(field, fmt::format("known limits from 0 to {:g}; found '{}'", gateway::kLimitMax,
                                    std::string_view(name).substr(0, 64)));
    }
  }
  return {};
}

api::Parsed<void> read_field(std::string_view name, const json::value& value, int64_t now,
                             gateway::KeyRecord* record) {
  if (name == "limits") return read_limits(value, name, &record->hard);
  if (name == "soft_limits") return read_limits(value, name, &record->soft);
  if (name == "expires_in") {
    if (value.is_null()) return {};
    const int64_t* seconds = value.if_int64();
    if (seconds == nullptr || *seconds < 1 || *seconds > kExpiryMax) {
      return bad(name, "whole seconds, from 1");
    }
    record->expires = now + *seconds;
    return {};
  }
  if (name == "models") {
    const json::array* models = value.if_array();
    if (models == nullptr) return bad(name, "a list of names");
    for (const json::value& model : *models) {
      if (!model.is_string()) return bad(name, "a list of names");
      record->models.emplace_back(model.as_string());
    }
    return {};
  }
  std::string* text = name == "tenant" ? &record->tenant : name == "name" ? &record->name : nullptr;
  if (text == nullptr) {
    return fail(api::ApiError(Code::kInvalidInput,
                              fmt::format("there is no field '{}'", name.substr(0, 64))));
  }
  if (!value.is_string()) return bad(name, "text");
  *text = value.as_string();
  return {};
}

}  // namespace

std::string_view key_state(const gateway::KeyRecord& record, int64_t now) {
  if (record.revoked != 0) return "revoked";
  return record.expires != 0 && record.expires <= now ? "expired" : "active";
}

std::string utc_text(int64_t unix_seconds) {
  const time_t time = unix_seconds;
  std::tm parts = {};
  gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string key_json(const gateway::KeyRecord& record, int64_t now, std::string_view text) {
  json::object object = record_json(record, now);
  if (!text.empty()) object["key"] = text;
  return json::serialize(object);
}

std::string keys_json(const std::vector<gateway::KeyRecord>& records, int64_t now) {
  json::array data;
  for (const gateway::KeyRecord& record : records) data.push_back(record_json(record, now));
  json::object object;
  object["object"] = "list";
  object["data"] = std::move(data);
  return json::serialize(object);
}

api::Parsed<gateway::KeyRecord> parse_new_key(std::string_view body, int64_t now) {
  json::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) {
    return fail(api::ApiError(Code::kInvalidInput, "the body is not a JSON object"));
  }
  gateway::KeyRecord record;
  for (const auto& [name, given] : value.as_object()) {
    HADAL_TRY_VOID(read_field(std::string_view(name), given, now, &record));
  }
  return record;
}

}  // namespace hadal::apps
