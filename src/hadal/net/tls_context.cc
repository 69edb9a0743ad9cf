#include "hadal/net/tls_context.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509err.h>

#include <algorithm>
#include <array>
#include <boost/asio/ssl/context.hpp>
#include <cstring>
#include <ctime>

#include "hadal/net/message.h"

namespace hadal::net {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

constexpr const char* kCiphers12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::array<unsigned char, 9> kHttp11 = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

// A client that offers protocols, none of which is ours, is refused by the alert for that.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11.data(), kHttp11.size(), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// Instead of asking whoever sits at the terminal.
int no_password(char*, int, int, void*) { return 0; }

int64_t unix_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return static_cast<int64_t>(timegm(&parts));
}

Status failed(std::string_view what, const std::string& file, const error_code& ec) {
  const bool missing = ec.message().find("No such file") != std::string::npos;
  return fail(missing ? Code::kNotFound : Code::kInvalidInput,
              fmt::format("{} '{}': {}", what, file, ec.message()));
}

}  // namespace

TlsContext::TlsContext() = default;
TlsContext::~TlsContext() = default;

Status TlsContext::load_own(const TlsOptions& options) {
  error_code ec;
  native_->use_certificate_chain_file(options.certificate_file, ec);
  if (ec) return failed("TLS certificate", options.certificate_file, ec);
  SSL_CTX* context = native_->native_handle();
  SSL_CTX_set_default_passwd_cb(context, no_password);
  native_->use_private_key_file(options.key_file, ssl::context::pem, ec);
  const auto reason = static_cast<unsigned long>(ec.value());
  const bool mismatch = ec && ERR_GET_LIB(reason) == ERR_LIB_X509 &&
                        (ERR_GET_REASON(reason) == X509_R_KEY_VALUES_MISMATCH ||
                         ERR_GET_REASON(reason) == X509_R_KEY_TYPE_MISMATCH);
  if (ec && !mismatch) return failed("TLS key", options.key_file, ec);
  if (mismatch || SSL_CTX_check_private_key(context) != 1) {
    return fail(Code::kInvalidInput, fmt::format("TLS key '{}' is not that of certificate '{}'",
                                                 options.key_file, options.certificate_file));
  }
  const X509* certificate = SSL_CTX_get0_certificate(context);
  valid_from_ = unix_time(X509_get0_notBefore(certificate));
  valid_until_ = unix_time(X509_get0_notAfter(certificate));
  file_ = options.certificate_file;
  return {};
}

Status TlsContext::load_clients(const TlsOptions& options) {
  if (options.client_ca_file.empty()) return {};
  error_code ec;
  native_->load_verify_file(options.client_ca_file, ec);
  if (ec) return failed("TLS certificates of clients", options.client_ca_file, ec);
  // Told to clients, so that one with several certificates knows which to show.
  SSL_CTX* context = native_->native_handle();
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(options.client_ca_file.c_str());
  if (names == nullptr) {
    return fail(Code::kInvalidInput, fmt::format("TLS certificates of clients '{}': none found",
                                                 options.client_ca_file));
  }
  SSL_CTX_set_client_CA_list(context, names);  // owns them now
  auto mode = ssl::verify_peer;
  if (options.client_required) mode |= ssl::verify_fail_if_no_peer_cert;
  native_->set_verify_mode(mode, ec);
  return {};
}

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsOptions& options) {
  std::shared_ptr<TlsContext> made(new TlsContext());
  try {
    made->native_ = std::make_unique<ssl::context>(ssl::context::tls_server);
  } catch (const std::exception& e) {
    return fail(Code::kInternal, fmt::format("TLS: {}", e.what()));
  }
  SSL_CTX* context = made->native_->native_handle();
  SSL_CTX_set_min_proto_version(context, options.tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps none
  if (SSL_CTX_set_cipher_list(context, kCiphers12) != 1) {
    return fail(Code::kUnsupported, "TLS: this OpenSSL has none of the ciphers wanted");
  }
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  // Without one OpenSSL refuses to resume a session with a client's certificate.
  constexpr std::string_view kSessions = "hadal";
  SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(kSessions.data()),
                                 static_cast<unsigned int>(kSessions.size()));
  HADAL_TRY_VOID(made->load_own(options));
  HADAL_TRY_VOID(made->load_clients(options));
  return std::shared_ptr<const TlsContext>(std::move(made));
}

std::string TlsContext::fault_at(int64_t unix_seconds) const {
  if (unix_seconds < valid_from_) {
    return fmt::format("TLS certificate '{}' is valid only from {}", file_,
                       http_date(static_cast<std::time_t>(valid_from_)));
  }
  if (unix_seconds > valid_until_) {
    return fmt::format("TLS certificate '{}' has been expired since {}", file_,
                       http_date(static_cast<std::time_t>(valid_until_)));
  }
  return {};
}

}  // namespace hadal::net
