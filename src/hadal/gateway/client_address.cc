#include "hadal/gateway/client_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "hadal/base/ascii.h"

namespace hadal::gateway {
namespace {

constexpr size_t kHopsMax = 64;  // the rightmost; nobody has more proxies

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Splits at `mark` outside of quoted strings.
std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && quoted) {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == mark && !quoted) {
      parts.push_back(trimmed(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  parts.push_back(trimmed(text.substr(std::min(begin, text.size()))));
  return parts;
}

// "192.0.2.7", "192.0.2.7:80", "[2001:db8::1]:80", "2001:db8::1", any of them in quotes.
std::optional<Address> parse_node(std::string_view text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos) return std::nullopt;
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return std::nullopt;
    return parse_address(text.substr(1, end - 1));
  }
  if (std::count(text.begin(), text.end(), ':') == 1) text = text.substr(0, text.find(':'));
  return parse_address(text);
}

// The node of one element of Forwarded; empty: it has none.
std::string_view forwarded_for(std::string_view element) {
  for (const std::string_view pair : split(element, ';')) {
    const size_t equal = pair.find('=');
    if (equal != pair.npos && equal_in_any_case(trimmed(pair.substr(0, equal)), "for")) {
      return trimmed(pair.substr(equal + 1));
    }
  }
  return {};
}

std::vector<std::string> elements(const std::vector<net::Header>& headers, std::string_view name) {
  std::vector<std::string> all;
  for (const net::Header& header : headers) {
    if (!equal_in_any_case(header.name, name)) continue;
    for (const std::string_view part : split(header.value, ',')) all.emplace_back(part);
  }
  return all;
}

// Who passed the request on, the nearest last, as the first header there says it.
std::vector<std::string> way(const std::vector<net::Header>& headers) {
  std::vector<std::string> hops = elements(headers, "forwarded");
  if (!hops.empty()) {
    for (std::string& hop : hops) hop = std::string(forwarded_for(hop));
    return hops;
  }
  hops = elements(headers, "x-forwarded-for");
  if (!hops.empty()) return hops;
  const std::string_view real = net::find_header(headers, "x-real-ip");
  if (!real.empty()) hops.emplace_back(trimmed(real));
  return hops;
}

}  // namespace

bool Network::contains(const Address& other) const {
  for (int bit = 0; bit < bits; bit += 8) {
    const auto at = static_cast<size_t>(bit / 8);
    const int left = bits - bit;
    const auto mask = static_cast<uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
    if (((address[at] ^ other[at]) & mask) != 0) return false;
  }
  return true;
}

std::optional<Address> parse_address(std::string_view text) {
  if (text.empty() || text.size() > 64) return std::nullopt;
  const std::string z(text);
  if (z.find('\0') != z.npos) return std::nullopt;
  Address address{};
  in_addr four{};
  if (inet_pton(AF_INET, z.c_str(), &four) == 1) {
    address[10] = address[11] = 0xff;
    const auto* bytes = reinterpret_cast<const uint8_t*>(&four);
    std::copy(bytes, bytes + 4, address.begin() + 12);
    return address;
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, z.c_str(), &six) != 1) return std::nullopt;
  std::copy(six.s6_addr, six.s6_addr + 16, address.begin());
  return address;
}

std::string address_text(const Address& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const Network mapped{*parse_address("::ffff:0:0"), 96};
  if (mapped.contains(address)) {
    inet_ntop(AF_INET, address.data() + 12, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof(text));
  }
  return text;
}

std::optional<Network> parse_network(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  Network network{*address, 128};
  if (slash == text.npos) return network;
  const std::string_view digits = text.substr(slash + 1);
  const bool four = text.substr(0, slash).find(':') == text.npos;
  int bits = -1;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (digits.empty() || read.ec != std::errc() || read.ptr != digits.data() + digits.size() ||
      bits < 0 || bits > (four ? 32 : 128)) {
    return std::nullopt;
  }
  network.bits = bits + (four ? 96 : 0);
  for (int bit = network.bits; bit < 128; ++bit) {
    const auto at = static_cast<size_t>(bit / 8);
    if (((network.address[at] >> (7 - bit % 8)) & 1) != 0) return std::nullopt;
  }
  return network;
}

std::string client_address(std::string_view peer, const std::vector<net::Header>& headers,
                           const std::vector<Network>& trusted) {
  const auto is_trusted = [&](const Address& address) {
    return std::any_of(trusted.begin(), trusted.end(),
                       [&](const Network& network) { return network.contains(address); });
  };
  auto current = parse_address(peer);
  if (!current || trusted.empty() || !is_trusted(*current)) return std::string(peer);
  const std::vector<std::string> hops = way(headers);
  for (size_t i = hops.size(); i > 0 && hops.size() - i < kHopsMax; --i) {
    const auto hop = parse_node(hops[i - 1]);
    if (!hop) break;
    current = hop;
    if (!is_trusted(*hop)) break;
  }
  return address_text(*current);
}

}  // namespace hadal::gateway
