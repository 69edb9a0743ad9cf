// For tests: the service of service_fixture.h behind the real HTTP server, asked over real sockets.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "hadal/api/error.h"
#include "hadal/apps/testing/service_fixture.h"
#include "hadal/net/server.h"
#include "hadal/net/testing/raw_client.h"

namespace hadal::apps {

class LiveService : public ServiceTest {
 protected:
  LiveService() {
    // Answers at once: what is tested here is what comes before and after the model.
    engine_.long_context = true;
    engine_.at_submit = [this](RequestId id) { engine_.end(id); };
    serve({});
  }
  ~LiveService() override { server_.reset(); }

  void serve(net::ServerOptions options) {
    server_.reset();
    options.error_body = [](int status, std::string_view message) {
      return api::error_json({api::code_for_status(status), std::string(message)});
    };
    auto server = net::HttpServer::start(
        std::move(options),
        [this](net::HttpRequest request, net::ResponseWriter writer) {
          std::lock_guard lock(mutex_);  // the fake engine is not made for several threads
          service_->handle(std::move(request), std::move(writer));
        },
        {});
    ASSERT_TRUE(server) << server.error().what;
    server_ = std::move(*server);
  }

  struct Reply {
    int status = 0;
    std::string head;
    std::string body;
  };
  // Sends `bytes` and reads until the server closes.
  Reply exchange(std::string_view bytes) {
    net::RawClient client(server_->port());
    client.send(bytes);
    const std::string all = client.read_to_end();
    Reply reply;
    if (all.size() > 12) reply.status = std::atoi(all.substr(9, 3).c_str());
    const size_t end = all.find("\r\n\r\n");
    reply.head = all.substr(0, end);
    if (end != std::string::npos) reply.body = all.substr(end + 4);
    return reply;
  }
  static std::string post_bytes(std::string_view path, std::string_view body,
                                std::string_view headers) {
    std::string bytes = "POST ";
    bytes.append(path).append(" HTTP/1.1\r\nHost: h\r\n").append(headers);
    bytes.append("Content-Length: ").append(std::to_string(body.size()));
    return bytes.append("\r\n\r\n").append(body);
  }
  Reply post(std::string_view path, std::string_view body, std::string headers = "") {
    return exchange(post_bytes(path, body, headers + "Connection: close\r\n"));
  }
  Reply get(std::string_view path, std::string_view headers = "") {
    std::string bytes = "GET ";
    bytes.append(path).append(" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n").append(headers);
    return exchange(bytes.append("\r\n"));
  }
  // It answers as if nothing had been.
  void expect_alive() {
    EXPECT_EQ(get("/health").status, 200);
    EXPECT_EQ(post("/v1/chat/completions", chat()).status, 200);
  }

  std::mutex mutex_;
  std::unique_ptr<net::HttpServer> server_;
};

}  // namespace hadal::apps
