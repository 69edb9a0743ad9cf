#include "hadal/gateway/relay.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/api/error.h"
#include "hadal/gateway/passing.h"

namespace hadal::gateway {
namespace {

constexpr size_t kWaitingMax = 64u << 10;   // bytes of an answer that wait for the client
constexpr int64_t kGatheredMax = 64 << 10;  // bytes of an answer that goes out whole
constexpr size_t kRestoredMax = 64u << 20;  // ... and has placeholders in it
constexpr int64_t kAnswerTokens = 256;      // of a request that does not say

// Another backend may do better with the same request.
bool is_worth_a_retry(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504 || status == 529;
}

Outcome outcome_of(int status) {
  if (status == 429 || status == 529) return Outcome::kBusy;
  return status >= 500 ? Outcome::kFailed : Outcome::kGood;
}

std::optional<std::vector<BackendId>> allowed(const Gateway& gateway, const Journey* journey) {
  if (journey == nullptr) return {};
  const Choice choice = journey->choice();
  if (choice.backends.empty()) return {};
  return gateway.ids_of(choice.backends);
}

}  // namespace

// Hands an attempt's events to the relay, which it keeps alive.
class Relay::Sink final : public net::ClientSink {
 public:
  Sink(std::shared_ptr<Relay> relay, size_t index) : relay_(std::move(relay)), index_(index) {}
  void on_head(net::ClientHead head) override { relay_->on_head(index_, std::move(head)); }
  bool on_bytes(std::string_view bytes) override { return relay_->on_bytes(index_, bytes); }
  void on_end() override { relay_->on_end(index_); }
  void on_fault(net::ClientFault fault, std::string what) override {
    relay_->on_fault(index_, fault, what);
  }

 private:
  const std::shared_ptr<Relay> relay_;
  const size_t index_;
};

Relay::Relay(std::shared_ptr<Gateway> gateway, net::HttpRequest request, BodyScan scan,
             ModelTarget target, std::shared_ptr<Permit> permit, net::ResponseWriter writer,
             std::shared_ptr<Crossing> crossing)
    : gateway_(std::move(gateway)),
      request_(std::move(request)),
      scan_(std::move(scan)),
      target_(std::move(target)),
      tokens_(prompt_tokens(request_) + (scan_.max_tokens > 0
                                             ? std::min<int64_t>(scan_.max_tokens, 1 << 20)
                                             : kAnswerTokens)),
      journey_(Journey::of(request_)),
      crossing_(std::move(crossing)),
      only_(allowed(*gateway_, journey_)),
      writer_(std::move(writer)),
      permit_(std::move(permit)) {}

bool Relay::may_go_to(BackendId backend) const {
  return !only_ || std::find(only_->begin(), only_->end(), backend) != only_->end();
}

Ask Relay::ask() const {
  return {target_.model, scan_.prefix_hash, tokens_, &tried_, only_ ? &*only_ : nullptr};
}

void Relay::settle() {
  const Tokens used = usage_.tokens(prompt_tokens(request_));
  if (permit_) permit_->settle(used);
  if (journey_ != nullptr) journey_->note_used(used);
}

void Relay::start() {
  writer_->on_close([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->on_client_gone();
  });
  std::lock_guard lock(mutex_);
  if (!over_) try_to_start(false);
}

void Relay::try_to_start(bool was_in_line) {
  auto start = find_place();
  if (over_) return;  // the local model has it
  if (start) {
    if (was_in_line) {
      gateway_->metrics_.waited(to_seconds(gateway_->clock_.now() - in_line_since_));
    }
    return attempt(std::move(*start));
  }
  const bool may_wait = start.error() == NoBackend::kFull && attempts_.empty();
  if (!may_wait || !gateway_->wait_in_line(shared_from_this(), was_in_line)) {
    return refuse_for(start.error());
  }
  in_line_ = true;
  if (was_in_line) return;
  in_line_since_ = gateway_->clock_.now();
  line_timer_ = net::call_after(gateway_->io_, gateway_->queue_wait(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->on_line_timeout();
  });
}

tl::expected<Relay::Start, NoBackend> Relay::find_place() {
  if (crossing_ == nullptr) {
    auto place = gateway_->start(ask());
    if (!place) return tl::unexpected(place.error());
    Crossing::Outgoing all;
    all.body = rewrite_body(request_.body, scan_, changes_for(*place->upstream));
    all.headers = request_.headers;
    return Start{std::move(*place), std::move(all)};
  }
  NoBackend why = NoBackend::kDown;
  for (; crossing_->stage() != nullptr; crossing_->next_stage()) {
    if (crossing_->stage()->local) {
      hand_over();
      return tl::unexpected(why);
    }
    std::vector<BackendId> among = gateway_->ids_of(crossing_->stage()->backends);
    const bool exhausted = std::all_of(among.begin(), among.end(), [&](BackendId id) {
      return std::find(tried_.begin(), tried_.end(), id) != tried_.end();
    });
    if (exhausted && crossing_->has_next_stage()) continue;
    auto start = find_in_stage(std::move(among));
    if (start) return start;
    if (start.error() == NoBackend::kFull) why = NoBackend::kFull;
  }
  // Whoever of them has a place first.
  crossing_->begin_again();
  only_ = gateway_->ids_of(crossing_->elsewhere());
  return tl::unexpected(why);
}

tl::expected<Relay::Start, NoBackend> Relay::find_in_stage(std::vector<BackendId> among) {
  only_ = std::move(among);
  for (;;) {
    auto place = gateway_->start(ask());
    if (!place) return tl::unexpected(place.error());
    const Upstream& upstream = *place->upstream;
    auto outgoing = crossing_->admit(upstream.config, request_, scan_, changes_for(upstream));
    if (outgoing) return Start{std::move(*place), std::move(*outgoing)};
    std::erase(*only_, place->lease.backend);
    gateway_->finish(*place, Outcome::kCancelled);
  }
}

BodyChanges Relay::changes_for(const Upstream& upstream) const {
  return {upstream.model_name(target_.model), target_.thinking, target_.effort};
}

void Relay::hand_over() {
  over_ = true;
  settle();
  stop_timers();
  const std::string& backend = crossing_->stage()->backends.front();
  writer_->also(crossing_->header(backend));
  crossing_->note(backend, journey_);
  gateway_->take_back(request_, std::move(*writer_));
  writer_.reset();
}

void Relay::place_may_be_free(BackendId freed) {
  std::lock_guard lock(mutex_);
  if (!std::exchange(in_line_, false) || over_) return gateway_->call_next(freed);
  try_to_start(true);
  if (!in_line_) gateway_->call_next(freed);  // there may be more places than one
}

void Relay::on_line_timeout() {
  std::lock_guard lock(mutex_);
  if (!std::exchange(in_line_, false) || over_) return;
  gateway_->leave_line(this);
  refuse_for(NoBackend::kFull);
}

void Relay::attempt(Start start) {
  if (line_timer_) line_timer_->cancel();
  const Place& place = start.place;
  const Upstream& upstream = *place.upstream;
  net::ClientRequest request;
  request.method = request_.method;
  request.target = upstream_path(request_.path);
  if (!request_.query.empty()) request.target += "?" + request_.query;
  request.headers = request_headers(start.outgoing.headers, upstream.key);
  request.body = std::move(start.outgoing.body);
  if (journey_ != nullptr) journey_->note_sent(upstream.config.name);
  const size_t index = attempts_.size();
  tried_.push_back(place.lease.backend);
  attempts_.push_back({place, nullptr, gateway_->clock_.now(), true,
                       std::move(start.outgoing.masked), std::move(start.outgoing.hold)});
  attempts_[index].call =
      upstream.client->send(std::move(request), std::make_shared<Sink>(shared_from_this(), index));
  const Millis hedge_after = gateway_->hedge_after();
  if (hedge_after.count() > 0 && !hedged_ && !hedge_timer_) {
    hedge_timer_ = net::call_after(gateway_->io_, hedge_after, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->on_hedge_timer();
    });
  }
}

void Relay::on_hedge_timer() {
  std::lock_guard lock(mutex_);
  if (over_ || winner_ || hedged_ || !has_open_attempt() || !gateway_->take_hedge()) return;
  // Within the stage that is being asked: the next one is for when this one fails.
  const RouteStage* stage = crossing_ != nullptr ? crossing_->stage() : nullptr;
  auto start = stage != nullptr ? find_in_stage(gateway_->ids_of(stage->backends)) : find_place();
  if (!start) return;
  const Place& place = start->place;
  const bool elsewhere =
      std::find(tried_.begin(), tried_.end(), place.lease.backend) == tried_.end();
  if (!elsewhere) {
    if (start->outgoing.hold) start->outgoing.hold->settle(0);
    return gateway_->finish(place, Outcome::kCancelled);
  }
  hedged_ = true;
  gateway_->metrics_.hedged();
  attempt(std::move(*start));
}

bool Relay::has_open_attempt() const {
  return std::any_of(attempts_.begin(), attempts_.end(),
                     [](const Attempt& attempt) { return attempt.open; });
}

// Gives the place back, once, and lets go of the call.
void Relay::close(Attempt& attempt, Outcome outcome) {
  if (!std::exchange(attempt.open, false)) return;
  gateway_->finish(attempt.place, outcome);
  attempt.call.reset();
}

void Relay::stop_timers() {
  if (hedge_timer_) hedge_timer_->cancel();
  if (line_timer_) line_timer_->cancel();
}

void Relay::on_head(size_t index, net::ClientHead head) {
  std::lock_guard lock(mutex_);
  Attempt& attempt = attempts_[index];
  if (over_ || !attempt.open) return;
  const std::string& backend = attempt.upstream().config.name;
  attempt.upstream().metrics.first_byte->observe(
      to_seconds(gateway_->clock_.now() - attempt.began));
  if (is_worth_a_retry(head.status)) {
    const bool others = std::count_if(attempts_.begin(), attempts_.end(),
                                      [](const Attempt& a) { return a.open; }) > 1;
    if (others || gateway_->take_retry(static_cast<int32_t>(attempts_.size()))) {
      attempt.call->cancel();
      close(attempt, outcome_of(head.status));
      if (attempt.hold) attempt.hold->settle(0);
      if (others) return;
      gateway_->metrics_.retried(backend);
      return try_to_start(false);
    }
  }
  winner_ = index;
  stop_timers();
  if (hedged_ && index + 1 == attempts_.size()) gateway_->metrics_.hedge_won();
  for (Attempt& other : attempts_) {
    if (&other == &attempt || !other.open) continue;
    other.call->cancel();
    close(other, Outcome::kCancelled);
  }
  begin_answer(attempt, head);
}

void Relay::begin_answer(Attempt& attempt, const net::ClientHead& head) {
  const std::string& backend = attempt.upstream().config.name;
  is_events_ = net::find_header(head.headers, "content-type").starts_with("text/event-stream");
  if (journey_ != nullptr) journey_->note_backend(backend);
  std::vector<net::Header> headers = answer_headers(head.headers, backend);
  if (permit_) headers.insert(headers.end(), permit_->headers().begin(), permit_->headers().end());
  if (crossing_ != nullptr) {
    crossing_->note(backend, journey_);
    writer_->also(crossing_->header(backend));
  }
  if (attempt.masked != nullptr) restorer_ = std::make_unique<Restorer>(attempt.masked);
  close_as_ = outcome_of(head.status);
  status_ = head.status;
  const bool is_sized = head.content_length >= 0 || head.status == 204 || head.status == 304;
  const bool is_small = is_sized && head.content_length <= kGatheredMax;
  if (!is_events_ && (is_small || restorer_ != nullptr)) {
    gathered_.emplace(Gathered{head.status,
                               std::move(headers),
                               static_cast<size_t>(std::max<int64_t>(head.content_length, 0)),
                               {}});
    return;
  }
  count_answer(head.status);
  if (is_sized && restorer_ == nullptr) {
    writer_->start_sized(head.status, std::move(headers),
                         static_cast<size_t>(std::max<int64_t>(head.content_length, 0)));
  } else {
    writer_->start_stream(head.status, std::move(headers));
  }
}

void Relay::count_answer(int status) {
  gateway_->http_metrics_.answered(request_.path, status);
  gateway_->metrics_.answered(target_.model, attempts_[*winner_].upstream().config.name, status);
}

bool Relay::on_bytes(size_t index, std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (over_ || winner_ != index) return true;
  usage_.push(bytes);
  if (gathered_) {
    gathered_->body += bytes;
    if (restorer_ == nullptr || gathered_->body.size() <= kRestoredMax) return true;
    attempts_[index].call->cancel();
    close(attempts_[index], Outcome::kCancelled);
    refuse_fault(net::ClientFault::kBroken, attempts_[index].upstream().config.name);
    return true;
  }
  std::string restored;
  if (restorer_ != nullptr) {
    restored = restorer_->push(bytes);
    if (restored.empty()) return true;
    bytes = restored;
  }
  if (!writer_->write(bytes)) return true;  // gone: on_client_gone follows, or has come
  if (writer_->waiting() < kWaitingMax) return true;
  writer_->on_room([call = attempts_[index].call] { call->resume(); });
  return false;
}

void Relay::on_end(size_t index) {
  std::lock_guard lock(mutex_);
  if (over_ || winner_ != index) return;
  over_ = true;
  Attempt& attempt = attempts_[index];
  close(attempt, close_as_);
  settle();
  if (attempt.hold) {
    crossing_->settle(attempt.upstream().config, *attempt.hold, status_, usage_);
  }
  if (gathered_) {
    count_answer(gathered_->status);
    if (restorer_ != nullptr) {
      gathered_->body = restorer_->whole(gathered_->body);
      gathered_->length = gathered_->body.size();
    }
    // A 304's length is of what it does not have.
    writer_->start_sized(gathered_->status, std::move(gathered_->headers), gathered_->length);
    writer_->write(gathered_->body);
  } else if (restorer_ != nullptr) {
    writer_->write(restorer_->finish());
  }
  writer_->finish();
  writer_.reset();
}

void Relay::on_fault(size_t index, net::ClientFault fault, const std::string& what) {
  std::lock_guard lock(mutex_);
  Attempt& attempt = attempts_[index];
  if (over_ || !attempt.open) return;
  const std::string backend = attempt.upstream().config.name;
  log_to(gateway_->log_, LogLevel::kWarning, fmt::format("backend '{}': {}", backend, what));
  close(attempt, Outcome::kFailed);
  const bool unreached =
      fault == net::ClientFault::kConnect || fault == net::ClientFault::kConnectTimeout;
  if (unreached && attempt.hold) attempt.hold->settle(0);
  if (winner_ == index) {
    if (gathered_) return refuse_fault(fault, backend);
    return break_off(attempt);
  }
  if (has_open_attempt()) return;  // the other one goes on
  // One that took too long to begin is being computed, most likely: asking for it again would only
  // make that worse.
  const bool again = fault != net::ClientFault::kFirstByteTimeout;
  // Somebody else's turn is no repetition, and there are only so many stages.
  const bool elsewhere = unreached && crossing_ != nullptr && crossing_->has_next_stage();
  if (again && (gateway_->take_retry(static_cast<int32_t>(attempts_.size())) || elsewhere)) {
    gateway_->metrics_.retried(backend);
    return try_to_start(false);
  }
  if (refuse_forbidden()) return;
  refuse_fault(fault, backend);
}

void Relay::refuse_fault(net::ClientFault fault, std::string_view backend) {
  switch (fault) {
    case net::ClientFault::kConnect:
      return refuse(502, "upstream_unreachable", "the backend cannot be reached", backend);
    case net::ClientFault::kConnectTimeout:
    case net::ClientFault::kFirstByteTimeout:
    case net::ClientFault::kIdleTimeout:
      return refuse(504, "upstream_timeout", "the backend took too long", backend);
    case net::ClientFault::kBroken:
      return refuse(502, "upstream_broken", "the backend's answer broke off", backend);
  }
}

// In the middle of an answer nothing can be made good any more: the client must see that it is not
// whole.
void Relay::break_off(const Attempt& attempt) {
  over_ = true;
  settle();
  gateway_->metrics_.broke_off(attempt.upstream().config.name);
  if (is_events_) {
    if (restorer_ != nullptr) writer_->write(restorer_->finish());
    const bool anthropic = upstream_path(request_.path) == "/messages";
    writer_->write(
        fmt::format("\n\n{}data: {}\n\n", anthropic ? "event: error\n" : "",
                    error_text(502, "upstream_broken", "the backend broke its answer off")));
    writer_->finish();  // the event, and no [DONE], says it
  }
  writer_.reset();  // else closes the connection without a proper end
}

void Relay::on_client_gone() {
  std::lock_guard lock(mutex_);
  if (over_) return;
  over_ = true;
  settle();
  stop_timers();
  gateway_->http_metrics_.client_gone();
  if (std::exchange(in_line_, false)) gateway_->leave_line(this);
  for (Attempt& attempt : attempts_) {
    if (!attempt.open) continue;
    attempt.call->cancel();
    close(attempt, Outcome::kCancelled);
  }
}

// Where somebody could answer who must not. False: that is not why.
bool Relay::refuse_forbidden() {
  if (crossing_ == nullptr) return false;
  const auto why = crossing_->refusal(target_.model);
  if (!why) return false;
  refuse(why->status, why->code, why->message, "none", std::chrono::seconds(why->retry_after));
  return true;
}

void Relay::refuse_for(NoBackend why) {
  const std::string& model = target_.model;
  if (why != NoBackend::kFull && refuse_forbidden()) return;
  if (why == NoBackend::kFull) {
    return refuse(429, "overloaded",
                  fmt::format("all backends of '{}' have as much to do as they "
                              "may, try again later",
                              model),
                  "none", std::chrono::seconds(1));
  }
  refuse(503, "no_backend", fmt::format("no backend of '{}' can be asked now", model), "none",
         gateway_->back_after(model));
}

std::string Relay::error_text(int status, std::string_view code, const std::string& message) const {
  return error_body(request_.path, {api::code_for_status(status), message, {}, std::string(code)});
}

void Relay::refuse(int status, std::string_view code, const std::string& message,
                   std::string_view backend, Nanos retry_after) {
  over_ = true;
  settle();
  stop_timers();
  gateway_->http_metrics_.answered(request_.path, status);
  gateway_->metrics_.answered(target_.model, backend, status);
  if (crossing_ != nullptr) {
    crossing_->note("", journey_);
    writer_->also(crossing_->header(""));
  }
  std::vector<net::Header> headers = {{"Content-Type", "application/json"}};
  if (status == 429 || status == 503) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
    headers.push_back({"Retry-After", std::to_string(std::max<int64_t>(seconds, 1))});
  }
  writer_->respond(status, std::move(headers), error_text(status, code, message));
  writer_.reset();
}

}  // namespace hadal::gateway
