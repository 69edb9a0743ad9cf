#include "hadal/gateway/client_address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hadal::gateway {
namespace {

using net::Header;

TEST(ClientAddress, Addresses) {
  for (const char* good : {"192.0.2.7", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::7", "::"}) {
    const auto address = parse_address(good);
    ASSERT_TRUE(address) << good;
    EXPECT_EQ(address_text(*address), good);
  }
  EXPECT_EQ(address_text(*parse_address("::ffff:192.0.2.7")), "192.0.2.7");
  EXPECT_EQ(address_text(*parse_address("2001:DB8:0::7")), "2001:db8::7");
  for (const char* bad : {"", "192.0.2", "192.0.2.256", "192.0.2.7:80", "[::1]", "::1%eth0", "a",
                          " 192.0.2.7", "192.0.2.7 ", "1::2::3", "0x7f.0.0.1", "192.0.2.07x"}) {
    EXPECT_FALSE(parse_address(bad)) << bad;
  }
  EXPECT_FALSE(parse_address(std::string("192.0.2.7\0", 10)));
  EXPECT_FALSE(parse_address(std::string(100'000, '1')));
}

TEST(ClientAddress, Networks) {
  const struct {
    const char* network;
    const char* inside;
    const char* outside;
  } cases[] = {{"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
               {"192.168.16.0/20", "192.168.31.255", "192.168.32.0"},
               {"192.0.2.7", "192.0.2.7", "192.0.2.6"},
               {"192.0.2.6/31", "192.0.2.7", "192.0.2.8"},
               {"0.0.0.0/0", "203.0.113.9", "2001:db8::1"},
               {"fd00::/8", "fdff::1", "fc00::1"},
               {"2001:db8:8000::/33", "2001:db8:ffff::", "2001:db8:7fff::"},
               {"::1", "::1", "127.0.0.1"},
               {"10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"}};
  for (const auto& one : cases) {
    const auto network = parse_network(one.network);
    ASSERT_TRUE(network) << one.network;
    EXPECT_TRUE(network->contains(*parse_address(one.inside))) << one.network << one.inside;
    EXPECT_FALSE(network->contains(*parse_address(one.outside))) << one.network << one.outside;
  }
  EXPECT_TRUE(parse_network("::/0")->contains(*parse_address("192.0.2.7")));
  for (const char* bad :
       {"10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/-1", "/8", "fd00::/129", "10.0.0.0/8x",
        "10.0.0.0/ 8", "fd00::1/8", "10.0.0.0/8/8", "proxy"}) {
    EXPECT_FALSE(parse_network(bad)) << bad;
  }
}

struct Case {
  const char* peer;
  std::vector<Header> headers;
  const char* who;
};

// 10.x and fd00:: are trusted.
void expect_all(const std::vector<Case>& cases) {
  const std::vector<Network> trusted = {*parse_network("10.0.0.0/8"), *parse_network("fd00::/8")};
  for (const Case& one : cases) {
    EXPECT_EQ(client_address(one.peer, one.headers, trusted), one.who)
        << one.peer << " " << (one.headers.empty() ? "" : one.headers[0].value);
  }
}

TEST(ClientAddress, OnlyTrustedProxiesAreBelieved) {
  expect_all({
      {"203.0.113.5", {}, "203.0.113.5"},
      {"203.0.113.5", {{"X-Forwarded-For", "192.0.2.1"}}, "203.0.113.5"},
      {"203.0.113.5", {{"Forwarded", "for=192.0.2.1"}, {"X-Real-IP", "10.0.0.9"}}, "203.0.113.5"},
      {"10.0.0.1", {}, "10.0.0.1"},
      {"10.0.0.1", {{"x-forwarded-for", "192.0.2.1"}}, "192.0.2.1"},
      {"fd00::1", {{"X-Forwarded-For", "2001:db8::9"}}, "2001:db8::9"},
      {"::ffff:10.0.0.1", {{"X-Forwarded-For", "192.0.2.1"}}, "192.0.2.1"},
      // Written by the client: left of the first that is not trusted.
      {"10.0.0.1", {{"X-Forwarded-For", "1.1.1.1, 192.0.2.1, 10.2.2.2"}}, "192.0.2.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "10.9.9.9, 192.0.2.1"}}, "192.0.2.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "1.1.1.1"}, {"X-Forwarded-For", "192.0.2.1"}}, "192.0.2.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "10.3.3.3, 10.2.2.2"}}, "10.3.3.3"},
      {"", {{"X-Forwarded-For", "192.0.2.1"}}, ""},
  });
  EXPECT_EQ(client_address("10.0.0.1", {{"X-Forwarded-For", "192.0.2.1"}}, {}), "10.0.0.1");
}

TEST(ClientAddress, Forms) {
  expect_all({
      {"10.0.0.1", {{"X-Forwarded-For", "192.0.2.1:4711"}}, "192.0.2.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "[2001:db8::9]:4711"}}, "2001:db8::9"},
      {"10.0.0.1", {{"X-Real-IP", " 192.0.2.1 "}}, "192.0.2.1"},
      {"10.0.0.1",
       {{"Forwarded", "proto=https;For=\"[2001:db8::9]:47\";by=10.0.0.1"}},
       "2001:db8::9"},
      {"10.0.0.1",
       {{"Forwarded", "for=1.1.1.1, for=192.0.2.1;proto=http, for=10.0.0.7"}},
       "192.0.2.1"},
      {"10.0.0.1", {{"Forwarded", "for=\"1.1.1.1, for=9.9.9.9\", for=192.0.2.1"}}, "192.0.2.1"},
      {"10.0.0.1",
       {{"Forwarded", "for=192.0.2.1"}, {"X-Forwarded-For", "192.0.2.2"}, {"X-Real-IP", "1.1.1.1"}},
       "192.0.2.1"},
  });
}

TEST(ClientAddress, MalformedEndsTheWay) {
  expect_all({
      {"10.0.0.1", {{"X-Forwarded-For", "unknown"}}, "10.0.0.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "192.0.2.1, _hidden, 10.2.2.2"}}, "10.2.2.2"},
      {"10.0.0.1", {{"X-Forwarded-For", "192.0.2.1,"}}, "10.0.0.1"},
      {"10.0.0.1", {{"X-Forwarded-For", ""}}, "10.0.0.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "[2001:db8::9"}}, "10.0.0.1"},
      {"10.0.0.1", {{"X-Forwarded-For", "[2001:db8::9]x"}}, "10.0.0.1"},
      {"10.0.0.1", {{"Forwarded", "by=10.0.0.1"}}, "10.0.0.1"},
      {"10.0.0.1", {{"Forwarded", "for=\"192.0.2.1"}}, "10.0.0.1"},
      {"10.0.0.1", {{"Forwarded", "for="}}, "10.0.0.1"},
      {"10.0.0.1", {{"Forwarded", "for=192.0.2.1\\"}}, "10.0.0.1"},
      {"10.0.0.1", {{"Forwarded", "\\"}}, "10.0.0.1"},
  });
  std::string many;
  for (int i = 0; i < 2'000; ++i) many += "10.0.0.1,";
  EXPECT_EQ(client_address("10.0.0.1", {{"X-Forwarded-For", "192.0.2.1," + many + "10.0.0.2"}},
                           {*parse_network("10.0.0.0/8")}),
            "10.0.0.1");
}

}  // namespace
}  // namespace hadal::gateway
