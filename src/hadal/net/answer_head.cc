#include "hadal/net/answer_head.h"

#include <fmt/format.h>

#include <ctime>

namespace hadal::net {

std::string answer_head(const Exchange::Head& head, bool http11, bool keep_alive) {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", head.status,
                                 status_text(head.status), http_date(std::time(nullptr)));
  for (const Header& header : head.headers) {
    text += header.name + ": " + header.value + "\r\n";
  }
  if (!head.streamed) {
    text += fmt::format("Content-Length: {}\r\n", head.length);
  } else if (http11) {
    text += "Transfer-Encoding: chunked\r\n";
  }
  text += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return text;
}

}  // namespace hadal::net
