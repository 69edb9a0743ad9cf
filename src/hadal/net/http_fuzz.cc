// libFuzzer: any bytes as what a client sends, in pieces of the fuzzer's choice, to the real server
// over a real socket. It must answer in HTTP, never with its own fault, and close.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "hadal/base/check.h"
#include "hadal/net/server.h"

namespace {

using namespace hadal::net;

constexpr size_t kBodyMax = 4'096;
constexpr std::chrono::milliseconds kPatience{30'000};  // a busy machine may be as slow as that

// Says what it understood; /stream in two pieces, /promise as an answer that was announced.
void handle(HttpRequest request, ResponseWriter writer) {
  HADAL_CHECK(request.body.size() <= kBodyMax && request.path.starts_with('/'));
  if (request.path == "/stream") {
    writer.start_stream(200, {});
    writer.write("one");
    writer.write("two");
    writer.finish();
    return;
  }
  if (request.path == "/promise") writer.promise({}, {"\n", std::chrono::milliseconds(1)});
  writer.respond(200, {}, fmt::format("[{}]", request.body.size()));
}

HttpServer& server() {
  static const std::unique_ptr<HttpServer> instance = [] {
    ServerOptions options;
    options.handler_threads = 1;
    options.body_bytes_max = kBodyMax;
    options.header_bytes_max = 2'048;
    options.idle_timeout = options.header_timeout = options.body_timeout = kPatience * 2;
    options.error_body = [](int status, std::string_view message) {
      return fmt::format("{{{} {}}}", status, message);
    };
    auto started = HttpServer::start(std::move(options), handle, {});
    HADAL_CHECK(started.has_value());
    return std::move(*started);
  }();
  return *instance;
}

// The server closes first, and each of its closed connections holds a port for a minute: where none
// is left, one comes free.
int connected() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server().port());
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (auto waited = std::chrono::milliseconds(0);; waited += std::chrono::milliseconds(100)) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    HADAL_CHECK(client >= 0);
    if (connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return client;
    close(client);
    HADAL_CHECK(waited < 4 * kPatience, "no connection to the server");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

// Everything the server says to `bytes`, sent in pieces of `piece`.
std::string exchange(std::string_view bytes, size_t piece) {
  const int client = connected();
  const linger reset{1, 0};  // no port is left waiting
  setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    if (send(client, bytes.data(), std::min(piece, bytes.size()), MSG_NOSIGNAL) < 0) break;
  }
  shutdown(client, SHUT_WR);
  std::string said;
  for (;;) {
    pollfd waiting{client, POLLIN, 0};
    HADAL_CHECK(poll(&waiting, 1, static_cast<int>(kPatience.count())) > 0,
                "the server neither answers nor closes");
    char buffer[4'096];
    const ssize_t size = recv(client, buffer, sizeof(buffer), 0);
    if (size <= 0) break;
    said.append(buffer, static_cast<size_t>(size));
  }
  close(client);
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = 1 + data[0] * 4u;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (bytes.size() / piece > 200) return 0;  // as many system calls
  const std::string said = exchange(bytes, piece);
  HADAL_CHECK(said.empty() || said.starts_with("HTTP/1.1 "), said.substr(0, 64));
  HADAL_CHECK(said.find("HTTP/1.1 500") == std::string::npos, said.substr(0, 64));
  return 0;
}
