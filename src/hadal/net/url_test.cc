#include "hadal/net/url.h"

#include <gtest/gtest.h>

namespace hadal::net {
namespace {

TEST(Url, Parts) {
  const struct {
    const char* text;
    Url url;
    const char* authority;
  } cases[] = {
      {"http://example.org", {false, "example.org", 80, ""}, "example.org"},
      {"https://example.org/", {true, "example.org", 443, ""}, "example.org"},
      {"https://h:8443/v1//", {true, "h", 8443, "/v1"}, "h:8443"},
      {"http://h:443/a/b", {false, "h", 443, "/a/b"}, "h:443"},
      {"http://[::1]:8080/v1", {false, "::1", 8080, "/v1"}, "[::1]:8080"},
      {"http://127.0.0.1:1", {false, "127.0.0.1", 1, ""}, "127.0.0.1:1"},
  };
  for (const auto& one : cases) {
    const auto url = parse_url(one.text);
    ASSERT_TRUE(url) << one.text << ": " << url.error().what;
    EXPECT_EQ(*url, one.url) << one.text;
    EXPECT_EQ(url->authority(), one.authority) << one.text;
  }
}

TEST(Url, WhatIsNotOne) {
  for (const char* text : {"",
                           "example.org",
                           "ftp://h",
                           "http://",
                           "http:///v1",
                           "http://h:",
                           "http://h:0",
                           "http://h:65536",
                           "http://h:8x",
                           "http://u:p@h",
                           "http://h?q",
                           "http://h/#f",
                           "http://h h",
                           "http://[::1",
                           "http://[zz]",
                           "http://h\r\nX: y",
                           "http://h/a b",
                           "http://h/\x7f",
                           "http://h/\n",
                           "HTTP://h"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
}

}  // namespace
}  // namespace hadal::net
