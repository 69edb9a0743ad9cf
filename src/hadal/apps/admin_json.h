// The admin endpoints' JSON, which `hadal keys --json` prints as well.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"
#include "hadal/gateway/key_store.h"

namespace hadal::apps {

// "active", "expired" or "revoked".
std::string_view key_state(const gateway::KeyRecord& record, int64_t now);
// "2026-11-22T12:00:00Z"
std::string utc_text(int64_t unix_seconds);

// `text`: the key itself, in the answer to its making; else empty.
std::string key_json(const gateway::KeyRecord& record, int64_t now, std::string_view text);
std::string keys_json(const std::vector<gateway::KeyRecord>& records, int64_t now);

// {"tenant", "name", "models", "expires_in" (seconds), "limits", "soft_limits"}; other fields are
// an error.
api::Parsed<gateway::KeyRecord> parse_new_key(std::string_view body, int64_t now);

}  // namespace hadal::apps
