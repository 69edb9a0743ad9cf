#include "hadal/net/request_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace hadal::net {
namespace {

TEST(RequestCheck, Framing) {
  const struct {
    std::vector<Header> headers;
    bool http11;
    int status;
  } cases[] = {
      {{}, true, 0},
      {{{"content-LENGTH", "10"}}, true, 0},
      {{{"Content-Length", "100"}}, true, 0},
      {{{"Content-Length", "101"}}, true, 413},
      {{{"Content-Length", "99999999999999999999999999"}}, true, 413},
      {{{"Content-Length", "5, 5"}}, true, 400},
      {{{"Content-Length", "-5"}}, true, 400},
      {{{"Content-Length", "+5"}}, true, 400},
      {{{"Content-Length", "5"}, {"content-length", "5"}}, true, 400},
      {{{"Transfer-Encoding", "CHUNKED"}}, true, 0},
      {{{"Transfer-Encoding", "chunked"}}, false, 400},
      {{{"Transfer-Encoding", "gzip, chunked"}}, true, 501},
      {{{"Transfer-Encoding", "chunked"}, {"Content-Length", "5"}}, true, 400},
      {{{"Content-Length", "5"}, {"transfer-encoding", "chunked"}}, true, 400},
      {{{"Expect", "100-Continue"}, {"Content-Length", "5"}}, true, 0},
      {{{"Expect", "tea"}}, true, 417},
  };
  for (const auto& one : cases) {
    HttpRequest request;
    request.headers = one.headers;
    EXPECT_EQ(check_framing(request, one.http11, 100).status, one.status)
        << (one.headers.empty() ? "" : one.headers[0].name + ": " + one.headers[0].value);
  }
}

}  // namespace
}  // namespace hadal::net
