#include "hadal/apps/edge.h"

#include <utility>

namespace hadal::apps {
namespace {

Result<std::shared_ptr<const net::TlsContext>> load_tls(const gateway::TlsConfig& config) {
  if (!config.on()) return std::shared_ptr<const net::TlsContext>();
  net::TlsOptions options;
  options.certificate_file = config.cert_file;
  options.key_file = config.key_file;
  options.client_ca_file = config.client_ca_file;
  options.client_required = config.client_certificate == "required";
  options.tls13_only = config.min_version == "1.3";
  return net::TlsContext::load(options);
}

}  // namespace

Result<std::shared_ptr<const Edge::State>> Edge::read(const gateway::Config& config) {
  auto state = std::make_shared<State>();
  HADAL_TRY(state->tls, load_tls(config.server.tls));
  HADAL_TRY(state->admin_tls, load_tls(config.admin.tls));
  state->cors = gateway::Cors(config.server.cors);
  for (const std::string& text : config.server.trusted_proxies) {
    if (const auto network = gateway::parse_network(text)) state->proxies.push_back(*network);
  }
  return std::shared_ptr<const State>(std::move(state));
}

Status Edge::check_times(const State& state, int64_t unix_seconds) {
  for (const auto& tls : {state.tls, state.admin_tls}) {
    if (tls == nullptr) continue;
    std::string fault = tls->fault_at(unix_seconds);
    if (!fault.empty()) return fail(Code::kInvalidInput, std::move(fault));
  }
  return {};
}

Edge::Edge(std::shared_ptr<const State> state, obs::Registry& registry)
    : state_(std::move(state)),
      until_(registry.gauge("hadal_tls_certificate_valid_until_seconds",
                            "When the certificate in use ends, seconds since 1970.", {"port"})) {
  show_times();
}

void Edge::show_times() {
  if (state_->tls) until_.with({"main"}).set(static_cast<double>(state_->tls->valid_until()));
  if (state_->admin_tls) {
    until_.with({"admin"}).set(static_cast<double>(state_->admin_tls->valid_until()));
  }
}

void Edge::attach(net::HttpServer* server, net::HttpServer* admin) {
  server_ = server;
  admin_ = admin;
}

void Edge::use(std::shared_ptr<const State> state) {
  {
    std::lock_guard lock(mutex_);
    state_ = state;
    show_times();
  }
  if (server_ != nullptr) server_->set_tls(state->tls);
  if (admin_ != nullptr) admin_->set_tls(state->admin_tls);
}

std::shared_ptr<const Edge::State> Edge::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

bool Edge::admit(net::HttpRequest& request, net::ResponseWriter& writer) const {
  const std::shared_ptr<const State> state = this->state();
  if (!state->proxies.empty()) {
    request.peer = gateway::client_address(request.peer, request.headers, state->proxies);
  }
  if (!state->cors.on()) return false;
  if (gateway::Cors::is_preflight(request)) {
    writer.respond(204, state->cors.preflight(request), {});
    return true;
  }
  for (net::Header& header : state->cors.answer(request)) writer.also(std::move(header));
  return false;
}

}  // namespace hadal::apps
