#include "hadal/gateway/audit_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "hadal/api/error.h"
#include "hadal/gateway/body_scan.h"
#include "hadal/gateway/passing.h"

namespace hadal::gateway {
namespace {

constexpr size_t kPathMax = 256;
constexpr size_t kAdminBodyMax = 4'096;

int64_t millis(Nanos duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// Requests that only look are not recorded.
bool only_looks(const net::HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
}

void add_where(FieldText* fields, const net::HttpRequest& request, std::string_view peer) {
  fields->text("peer", peer).text("client", request.client).text("method", request.method);
  fields->text("path", std::string_view(request.path).substr(0, kPathMax));
}

}  // namespace

// Sees an answer go out, and records its end.
class AuditStage::Tap final : public net::AnswerTap, public std::enable_shared_from_this<Tap> {
 public:
  Tap(AuditLog& log, const Clock& clock, std::shared_ptr<const Policy> policy,
      std::shared_ptr<const Journey> journey)
      : log_(log),
        clock_(clock),
        policy_(std::move(policy)),
        journey_(std::move(journey)),
        content_(policy_->of(journey_->caller()->tenant->name), policy_->config.content_max) {}

  void on_head(int status, const std::vector<net::Header>& headers) override {
    status_ = status;
    limit_ = net::find_header(headers, "X-Hadal-Limit");
  }
  void on_bytes(std::string_view bytes) override { content_.add(bytes); }
  void on_end(bool whole) override {
    whole_ = whole;
    duration_ = clock_.now() - journey_->began();
    log_.note(
        "end", [self = shared_from_this()] { return self->fields(); }, content_.kept());
  }

 private:
  std::string fields() {
    const Journey::Facts facts = journey_->facts();
    const Choice choice = journey_->choice();
    const bool again = !facts.cache.empty() && facts.cache != "miss" && facts.cache != "bypass";
    const bool here = facts.backend.empty() && !facts.model.empty() && !again && status_ == 200;
    FieldText text;
    text.text("request", journey_->id()).text("tenant", journey_->caller()->tenant->name);
    text.number("status", status_).boolean("whole", whole_).number("ms", millis(duration_));
    text.text("asked", facts.asked).text("model", facts.model);
    text.text("backend", here ? std::string_view("local") : std::string_view(facts.backend));
    text.texts("sent", facts.sent).text("cache", facts.cache).text("limit", limit_);
    text.text("choice", choice.model).text("version", choice.version);
    text.texts("allowed", choice.backends).texts("labels", facts.labels);
    text.texts("reasons", facts.reasons);
    if (facts.settled) {
      text.number("input_hit", facts.used.input_hit).number("input_miss", facts.used.input_miss);
      text.number("output", facts.used.output);
      const Cost cost = cost_of(facts.used, facts.price);
      if (cost.nanos > 0) text.real("cost", static_cast<double>(cost.nanos) / kNanosPerUnit);
    }
    content_.write(&text, "answer", policy_->masker);
    return text.take();
  }

  AuditLog& log_;
  const Clock& clock_;
  const std::shared_ptr<const Policy> policy_;
  const std::shared_ptr<const Journey> journey_;
  ContentTap content_;
  std::string limit_;
  int status_ = 0;
  bool whole_ = false;
  Nanos duration_{0};
};

// The same of an operator's.
class AuditStage::AdminTap final : public net::AnswerTap {
 public:
  AdminTap(AuditLog& log, std::string id) : log_(log), id_(std::move(id)) {}
  void on_head(int status, const std::vector<net::Header>&) override { status_ = status; }
  void on_bytes(std::string_view bytes) override {
    if (made_.empty()) made_ = audit_field(bytes, "id");
  }
  void on_end(bool whole) override {
    FieldText text;
    text.text("request", id_).number("status", status_).boolean("whole", whole);
    text.text("id", made_);
    log_.note("admin_end", [fields = text.take()] { return fields; });
  }

 private:
  AuditLog& log_;
  const std::string id_;
  std::string made_;  // a key's id; never the key
  int status_ = 0;
};

AuditContent AuditStage::Policy::of(std::string_view tenant) const {
  const auto found = tenants.find(tenant);
  return found == tenants.end() ? content : found->second;
}

AuditStage::AuditStage(std::unique_ptr<AuditLog> log, const Clock& clock, obs::Registry& registry)
    : log_(std::move(log)),
      clock_(clock),
      refused_keys_(
          registry.counter("hadal_audit_refused_keys_total", "Requests without a key that may ask.")
              .with()),
      policy_(std::make_shared<Policy>()) {
  event("start", {});
}

AuditStage::~AuditStage() { event("stop", {}); }

void AuditStage::configure(const AuditConfig& config, const std::vector<TenantConfig>& tenants,
                           Masker masker) {
  auto policy = std::make_shared<Policy>();
  policy->config = config;
  policy->content = parse_audit_content(config.content);
  policy->masker = std::move(masker);
  for (const TenantConfig& tenant : tenants) {
    if (!tenant.audit_content.empty()) {
      policy->tenants[tenant.name] = parse_audit_content(tenant.audit_content);
    }
  }
  std::lock_guard lock(mutex_);
  policy_ = std::move(policy);
}

std::shared_ptr<const AuditStage::Policy> AuditStage::policy() const {
  std::lock_guard lock(mutex_);
  return policy_;
}

// The record is lost. True: so nothing happens.
bool AuditStage::give_up(const Policy& policy, net::ResponseWriter& writer, std::string_view path) {
  if (policy.config.on_loss == "continue") return false;
  writer.respond(503, {{"Content-Type", "application/json"}, {"Retry-After", "1"}},
                 error_body(path, {Code::kUnavailable,
                                   "the audit record cannot be written; try again later"}));
  return true;
}

bool AuditStage::arrive(net::HttpRequest& request, net::ResponseWriter& writer, Journey& journey) {
  if (only_looks(request)) return false;
  const std::shared_ptr<const Policy> policy = this->policy();
  const Caller& caller = *journey.caller();
  FieldText text;
  text.text("request", journey.id()).text("tenant", caller.tenant->name).text("key", caller.key.id);
  add_where(&text, request, journey.peer());
  if (const auto scan = scan_body(request.body)) {
    text.text("asked", scan->model).boolean("stream", scan->stream);
  }
  text.text("parameters_sha256", parameters_hash(request.body));
  ContentTap content(policy->of(caller.tenant->name), policy->config.content_max);
  content.add(request.body);
  content.write(&text, "request", policy->masker);
  if (!log_->record("begin", text.view()) && give_up(*policy, writer, request.path)) return true;
  if (request.notes != nullptr) {
    auto shared = std::dynamic_pointer_cast<const Journey>(request.notes);
    writer.tap(std::make_shared<Tap>(*log_, clock_, policy, std::move(shared)));
  }
  return false;
}

void AuditStage::refuse(const net::HttpRequest& request, const Journey& journey) {
  if (only_looks(request)) return;
  refused_keys_.increment();
  const Error& error = journey.who().error();
  if (error.code == Code::kUnauthorized && policy()->config.refused_keys != "record") return;
  FieldText text;
  text.text("request", journey.id());
  add_where(&text, request, journey.peer());
  text.number("status", api::http_status(error.code)).text("why", error.what);
  event("refused", text.take());
}

bool AuditStage::admin(const net::HttpRequest& request, net::ResponseWriter& writer) {
  if (only_looks(request)) return false;
  const std::shared_ptr<const Policy> policy = this->policy();
  const std::string id = fmt::format("admin-{}-{}", clock_.unix_seconds(), ++admin_ids_);
  FieldText text;
  text.text("request", id);
  add_where(&text, request, request.peer);
  text.text("query", std::string_view(request.query).substr(0, kPathMax));
  text.text("body", std::string_view(request.body).substr(0, kAdminBodyMax));
  if (!log_->record("admin", text.view()) && give_up(*policy, writer, request.path)) return true;
  writer.tap(std::make_shared<AdminTap>(*log_, id));
  return false;
}

void AuditStage::event(std::string_view kind, std::string fields) {
  const size_t bytes = fields.size();
  log_->note(
      kind, [fields = std::move(fields)] { return fields; }, bytes);
}

}  // namespace hadal::gateway
