// What hadal.yaml says of connections from outside: certificates, pages of other origins, proxies.
//
// Pure. Any thread.
#pragma once

#include <string>
#include <vector>

#include "hadal/gateway/field.h"

namespace hadal::gateway {

struct TlsConfig {
  std::string cert_file;
  std::string key_file;
  std::string client_ca_file;
  std::string client_certificate = "required";
  std::string min_version = "1.2";
  bool on() const { return !cert_file.empty(); }
  bool operator==(const TlsConfig&) const = default;
};

struct CorsConfig {
  std::vector<std::string> origins;
  std::vector<std::string> headers;
  std::vector<std::string> expose;
  bool credentials = false;
  Millis max_age{600'000};
  bool operator==(const CorsConfig&) const = default;
};

Section<TlsConfig> tls_section();
Section<CorsConfig> cors_section();

// `path`: of the section, "server.tls".
void check_tls(ConfigReader& reader, const std::string& path, const TlsConfig& tls);
void check_cors(ConfigReader& reader, const CorsConfig& cors);
void check_proxies(ConfigReader& reader, const std::vector<std::string>& proxies);

}  // namespace hadal::gateway
