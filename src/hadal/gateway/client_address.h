// Whose address a request has that came through proxies.
//
// What a proxy says of who asked it counts only when the proxy is one that the operator trusts, and
// then only up to the first address, from the right, that is not: everything left of that was
// written by somebody who could write anything.
//
// Pure. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/net/message.h"

namespace hadal::gateway {

// IPv6; an IPv4 address is the one that RFC 4291, 2.5.5.2 maps to it.
using Address = std::array<uint8_t, 16>;

struct Network {
  Address address{};
  int bits = 128;
  bool contains(const Address& other) const;
};

// "192.0.2.7", "2001:db8::1"; nothing else, no port, no zone.
std::optional<Address> parse_address(std::string_view text);
// As parse_address() reads it: "::ffff:192.0.2.7" is "192.0.2.7".
std::string address_text(const Address& address);
// An address, or one with "/bits". Bits beyond those must be 0.
std::optional<Network> parse_network(std::string_view text);

// The address of who asked, where `peer` is who connected. Headers, the first that is there:
// Forwarded (RFC 7239), X-Forwarded-For, X-Real-IP. What cannot be read ends the way back: who
// said it is then the one who asked.
std::string client_address(std::string_view peer, const std::vector<net::Header>& headers,
                           const std::vector<Network>& trusted);

}  // namespace hadal::gateway
