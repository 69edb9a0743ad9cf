// The HTTP side of one served model: routes, keys, readiness. It answers from the moment the port
// is open: until publish() with 503 and how far loading is, after drain() with 503 and Retry-After.
//
// Threads: handle() on the server's handler threads; the others on any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/openai.h"
#include "hadal/api/openai_answer.h"
#include "hadal/apps/generation.h"
#include "hadal/apps/served_model.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/directory.h"
#include "hadal/gateway/gateway.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/tenants.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"
#include "hadal/obs/http_metrics.h"

namespace hadal::apps {

struct ServiceOptions {
  std::vector<std::string> api_keys;  // empty: everybody may ask
  std::string version;
  std::chrono::milliseconds heartbeat{5'000};  // of a stream that has nothing to say yet
};

// Who may ask, and what names mean. Replaced as a whole when the configuration is read again.
struct Access {
  std::shared_ptr<const gateway::TenantPolicy> tenants;  // never null
  std::shared_ptr<gateway::Metering> metering;           // null: nobody is counted
  std::shared_ptr<ModelGate> gate;                       // null: nobody waits before the engine
  // Shared with requests under way. Null: the published model's own names.
  std::shared_ptr<const gateway::Directory> directory;
};

// To a key that may not ask it.
api::ApiError not_allowed(std::string_view model);

class Service {
 public:
  // `registry` is what /metrics shows. `clock` must outlive the service.
  Service(ServiceOptions options, std::shared_ptr<obs::Registry> registry, const Clock& clock);

  // Authenticates the request, unless it has a Journey, which says who asks.
  void handle(net::HttpRequest request, net::ResponseWriter writer);
  gateway::Journey::Who authenticate(const net::HttpRequest& request) const;
  // See TenantPolicy.
  std::string tag_of(const net::HttpRequest& request, const gateway::Caller& caller) const;
  gateway::Journey::Who restore(std::string_view tag) const;
  bool is_draining() const { return draining_; }
  // Whether there is a model that answers.
  bool is_ready() const { return !draining_ && model() != nullptr; }
  std::string next_id(std::string_view prefix);
  // In front of handle(): true when the request, which has a Journey, is one for another backend,
  // and will be answered.
  bool pass_on(gateway::Gateway& gateway, net::HttpRequest& request, net::ResponseWriter& writer);
  // For an answer that the cache has, or gets for another: counts the request, which uses no
  // tokens, and holds it to the key's models and limits. Nothing: it has been refused. Null: not
  // counted.
  std::optional<std::shared_ptr<void>> admit_again(const net::HttpRequest& request,
                                                   net::ResponseWriter& writer,
                                                   std::string_view model);
  // Whether authenticating or admitting a request may wait for a disk or another server.
  bool asks_stores() const;
  // The same of admit_again().
  bool shares_limits() const;

  // From the next request on; those under way go on as they began.
  void configure(std::shared_ptr<const Access> access);
  void loading(uint64_t done, uint64_t total);
  void publish(std::shared_ptr<const ServedModel> model);
  void drain() { draining_ = true; }

  struct Address {
    std::string_view method;
    std::string_view path;  // ending in '/': everything below it
  };
  // All that handle() knows.
  static std::vector<Address> addresses();

 private:
  struct Call {
    net::HttpRequest& request;
    net::ResponseWriter& writer;
    std::string_view route;
    std::shared_ptr<const gateway::Caller> caller;  // null at open routes
    std::shared_ptr<const ServedModel> model;       // null while loading, or when none is run here
    std::optional<bool> thinking = {};              // what the asked name says, see known_name()
    std::string effort = {};
    std::string target = {};  // what the asked name means
  };
  struct Route {
    std::string_view method;
    std::string_view path;  // ending in '/': everything below it
    void (Service::*handle)(Call&);
    bool open = false;         // needs no key
    bool needs_model = false;  // 503 while loading
    bool works = false;        // starts work: 503 while draining
  };
  static const std::vector<Route>& routes();

  void dispatch(const Route& route, Call& call);
  std::shared_ptr<const ServedModel> model() const;
  std::shared_ptr<const Access> access() const;
  std::shared_ptr<const gateway::Directory> directory() const;
  api::AnswerInfo answer_info(const Call& call, const std::string& name, std::string_view prefix);

  void reply(Call& call, int status, std::string_view type, std::string body,
             std::vector<net::Header> more = {});
  void reply_json(Call& call, std::string body) {
    reply(call, 200, "application/json", std::move(body));
  }
  void refuse(Call& call, const api::ApiError& error, std::vector<net::Header> more = {});
  void refuse_over(Call& call, const gateway::MeterRefusal& refusal);
  static gateway::MeterAsk meter_ask(const Call& call, const Access& ours);
  // What this request may use. Null where nobody is counted. An error has been answered.
  tl::expected<std::shared_ptr<Turn>, gateway::MeterRefusal> take_turn(
      const Call& call, const api::GenerationBase& request, int64_t prompt_tokens,
      int64_t answers) const;

  void home(Call& call);
  void health(Call& call);
  void version(Call& call);
  void openapi(Call& call);
  void metrics(Call& call);
  void models(Call& call);
  void model_card(Call& call);
  void chat(Call& call);
  void responses(Call& call);
  void messages(Call& call);
  void count_tokens(Call& call);
  void balance(Call& call);
  using MakeForm = std::function<std::unique_ptr<api::AnswerForm>(api::AnswerInfo)>;
  // Of any protocol; `form`: how its answers are written. `plan` holds what it has of its own.
  void start_chat(Call& call, api::ChatRequest request, api::AnswerInfo info, const MakeForm& form,
                  GenerationPlan plan);
  // The name that an answer carries. An alias leaves its defaults in `call`.
  api::Parsed<std::string> known_name(Call& call, const std::string& asked) const;
  void refuse_unready(Call& call);
  api::ModelCard card_of(const Call& call, const std::string& name) const;
  static api::Parsed<std::vector<TokenId>> completion_prompt(const ServedModel& model,
                                                             const api::CompletionRequest& request,
                                                             api::Prompt prompt);
  void completion(Call& call);
  void tokenize(Call& call);
  void detokenize(Call& call);

  const ServiceOptions options_;
  const std::shared_ptr<obs::Registry> registry_;
  const Clock& clock_;
  HttpMetrics http_metrics_;
  std::atomic<bool> draining_{false};
  std::atomic<uint64_t> loaded_{0};
  std::atomic<uint64_t> load_total_{0};
  std::atomic<uint64_t> requests_{0};
  const std::string openapi_;
  const uint64_t id_salt_;  // so that ids of two processes differ
  const int64_t started_;   // unix seconds
  mutable std::mutex mutex_;
  std::shared_ptr<const ServedModel> model_;
  std::shared_ptr<const Access> access_;
  std::shared_ptr<const gateway::Directory> own_names_;  // of the published model
};

}  // namespace hadal::apps
