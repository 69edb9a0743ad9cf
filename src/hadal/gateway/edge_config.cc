#include "hadal/gateway/edge_config.h"

#include <fmt/format.h>

#include "hadal/gateway/client_address.h"
#include "hadal/gateway/cors.h"

namespace hadal::gateway {

Section<TlsConfig> tls_section() {
  Section<TlsConfig> section("tls",
                             "Certificates, read at start and at every reload; connections that "
                             "are there keep theirs. See tls.md.");
  section
      .text("cert_file", &TlsConfig::cert_file,
            "PEM: the server's certificate, then those between it and its root", {"plain HTTP"})
      .text("key_file", &TlsConfig::key_file, "PEM: its private key, without a password", {"none"})
      .text("client_ca_file", &TlsConfig::client_ca_file,
            "PEM: who signs the certificates of clients (mutual TLS)",
            {"clients show no certificate"})
      .choice("client_certificate", &TlsConfig::client_certificate, {"required", "optional"},
              "with `client_ca_file`: whether a client may come without one; one that is not good "
              "is refused always")
      .choice("min_version", &TlsConfig::min_version, {"1.2", "1.3"}, "oldest version of TLS");
  return section;
}

Section<CorsConfig> cors_section() {
  Section<CorsConfig> section("cors",
                              "Web pages of other origins that a browser lets ask this service. "
                              "Takes effect at a reload. See tls.md.");
  section
      .texts("origins", &CorsConfig::origins,
             "such as `https://chat.example.org`; `*`: any, then without `credentials`", {"none"})
      .texts("headers", &CorsConfig::headers, "request headers that they may set, beside the usual",
             {"authorization, content-type, x-api-key and those that begin with x-hadal-, "
              "x-stainless-, anthropic- and openai-"})
      .texts("expose", &CorsConfig::expose, "headers of answers that they may read",
             {"those of Hadal"})
      .boolean("credentials", &CorsConfig::credentials,
               "whether they may send cookies and client certificates")
      .duration("max_age", &CorsConfig::max_age, Millis(0), Millis(24LL * 3600 * 1000),
                "how long a browser remembers what it was allowed");
  return section;
}

void check_tls(ConfigReader& reader, const std::string& path, const TlsConfig& tls) {
  if (!reader.was_given(path)) return;
  if (tls.cert_file.empty()) reader.fault(path, "'cert_file' is missing");
  if (tls.key_file.empty()) reader.fault(path, "'key_file' is missing");
  if (tls.client_ca_file.empty() && reader.was_given(path + ".client_certificate")) {
    reader.fault(path + ".client_certificate", "belongs to 'client_ca_file', which is missing");
  }
}

void check_cors(ConfigReader& reader, const CorsConfig& cors) {
  if (!reader.was_given("server.cors")) return;
  if (cors.origins.empty()) reader.fault("server.cors", "'origins' is missing");
  for (const std::string& origin : cors.origins) {
    if (origin == "*") {
      if (cors.credentials) {
        reader.fault("server.cors.credentials",
                     "not with the origin '*': any page could ask in a visitor's name");
      }
    } else if (!is_origin(origin)) {
      reader.fault("server.cors.origins",
                   fmt::format("found '{}', expected '*' or a scheme, a host and perhaps a port, "
                               "such as https://chat.example.org",
                               origin.substr(0, 128)));
    }
  }
  for (const auto* names : {&cors.headers, &cors.expose}) {
    for (const std::string& name : *names) {
      if (is_header_name(name)) continue;
      reader.fault(names == &cors.headers ? "server.cors.headers" : "server.cors.expose",
                   fmt::format("'{}' is no header's name", name.substr(0, 128)));
    }
  }
}

void check_proxies(ConfigReader& reader, const std::vector<std::string>& proxies) {
  for (const std::string& proxy : proxies) {
    if (parse_network(proxy)) continue;
    reader.fault("server.trusted_proxies",
                 fmt::format("found '{}', expected an address or a network such as 10.0.0.0/8 or "
                             "fd00::/8",
                             proxy.substr(0, 128)));
  }
}

}  // namespace hadal::gateway
