// What a server shows to clients that speak TLS, and what it wants to see of them.
//
// TLS 1.2 or 1.3, ciphers with forward secrecy and authentication only, no compression, no
// renegotiation; "http/1.1" by ALPN. Immutable once loaded: another certificate is another object,
// and a connection keeps the one that it began with.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "hadal/base/result.h"

namespace boost::asio::ssl {
class context;
}

namespace hadal::net {

struct TlsOptions {
  std::string certificate_file;  // PEM, the server's first, then those between it and its root
  std::string key_file;          // PEM, without a password
  std::string client_ca_file;    // PEM; who signs clients' certificates. Empty: none is asked for
  bool client_required = true;   // with client_ca_file: no connection without a good one
  bool tls13_only = false;
  bool operator==(const TlsOptions&) const = default;
};

class TlsContext {
 public:
  // Reads the files. kInvalidInput says which is wrong and why: missing, not PEM, behind a
  // password, a key of another certificate.
  static Result<std::shared_ptr<const TlsContext>> load(const TlsOptions& options);
  ~TlsContext();

  // The certificate's time, seconds since 1970.
  int64_t valid_from() const { return valid_from_; }
  int64_t valid_until() const { return valid_until_; }
  // Empty: now is within that time. Else what to tell the operator.
  std::string fault_at(int64_t unix_seconds) const;

  boost::asio::ssl::context& native() const { return *native_; }

 private:
  TlsContext();
  Status load_own(const TlsOptions& options);
  Status load_clients(const TlsOptions& options);

  std::unique_ptr<boost::asio::ssl::context> native_;
  std::string file_;
  int64_t valid_from_ = 0;
  int64_t valid_until_ = 0;
};

}  // namespace hadal::net
