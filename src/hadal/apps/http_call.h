// For commands: a request to a server, and its whole answer, while the caller waits.
//
// Threads: one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/net/client.h"
#include "hadal/net/io.h"

namespace hadal::apps {

struct HttpAnswer {
  int status = 0;
  std::string body;  // 64 MiB of it at most
};

class HttpCaller {
 public:
  // kInvalidInput: not a URL.
  static Result<std::unique_ptr<HttpCaller>> make(std::string_view url);

  // kUnavailable: no answer, or not a whole one.
  Result<HttpAnswer> ask(net::ClientRequest request);

 private:
  HttpCaller() = default;
  net::IoThreads io_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace hadal::apps
