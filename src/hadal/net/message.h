// What travels over HTTP, without the library that parses it.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hadal::net {

struct Header {
  std::string name;
  std::string value;
};

// The value of the first header of that name, names compared without case; empty when absent.
std::string_view find_header(const std::vector<Header>& headers, std::string_view name);

// What a handler and the stages in front of it tell each other about a request; their types derive.
struct RequestNotes {
  virtual ~RequestNotes() = default;
};

struct HttpRequest {
  std::string method;  // "GET"; upper case as sent
  std::string path;    // percent-decoded; begins with '/'
  std::string query;   // after '?', as sent
  std::vector<Header> headers;
  std::string body;         // whole, chunks joined
  std::string peer = {};    // the client's address, "192.0.2.7"; empty: not known
  std::string client = {};  // subject of its verified certificate, RFC 2253; empty: none
  std::shared_ptr<RequestNotes> notes = {};  // empty until a stage sets it

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

// "Not Found"; "Unknown" for a status that HTTP does not define.
std::string_view status_text(int status);

// As the header Date has it: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(std::time_t time);

// Percent-decoding of a path. False for a broken escape, an escaped NUL or a control character.
bool decode_path(std::string_view raw, std::string* path);

}  // namespace hadal::net
