// What of a request and of an answer is passed on, and where to.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/error.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

// The upstream's path, behind its URL, for a path here: "/chat/completions". Empty: not passed on.
std::string_view upstream_path(std::string_view path);

// About as many as the request's body is long.
int64_t prompt_tokens(const net::HttpRequest& request);

// In the protocol of the path.
std::string error_body(std::string_view path, const api::ApiError& error);

// Without what belongs to one connection (RFC 9110, 7.6.1), to this server, or to the client alone:
// its key and its cookies. `key`: the upstream's; empty: it wants none.
std::vector<net::Header> request_headers(const std::vector<net::Header>& headers,
                                         const std::string& key);
// Without what belongs to the upstream's connection. Says which backend it was.
std::vector<net::Header> answer_headers(const std::vector<net::Header>& headers,
                                        const std::string& backend);

}  // namespace hadal::gateway
