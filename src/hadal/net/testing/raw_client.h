// For tests: a client that sends exactly the bytes a test says.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace hadal::net {

class RawClient {
 public:
  explicit RawClient(uint16_t port, int receive_buffer = 0)
      : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~RawClient() { close(); }
  bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void close_sending() { shutdown(socket_, SHUT_WR); }
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t size = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (size <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(size));
    }
  }
  // Reads until `stop` says so, the server closes, or ten seconds have passed.
  std::string read_until(const std::function<bool(const std::string&)>& stop) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!stop(text_) && std::chrono::steady_clock::now() < deadline) {
      pollfd waiting{socket_, POLLIN, 0};
      if (poll(&waiting, 1, 100) <= 0) continue;
      char piece[4096];
      const ssize_t size = recv(socket_, piece, sizeof(piece), 0);
      if (size <= 0) {
        closed_ = true;
        break;
      }
      text_.append(piece, static_cast<size_t>(size));
    }
    return std::exchange(text_, {});
  }
  std::string read_to_end() {
    return read_until([](const std::string&) { return false; });
  }
  std::string read_past(const std::string& mark) {
    return read_until(
        [&](const std::string& text) { return text.find(mark) != std::string::npos; });
  }
  bool closed() const { return closed_; }

 private:
  int socket_;
  bool connected_ = false;
  bool closed_ = false;
  std::string text_;
};

}  // namespace hadal::net
