#include "hadal/gateway/relay.h"

#include <fmt/format.h>

#include <algorithm>

#include "hadal/api/error.h"
#include "hadal/gateway/passing.h"

namespace hadal::gateway {
namespace {

constexpr size_t kWaitingMax = 64u << 10;   // bytes of an answer that wait for the client
constexpr int64_t kGatheredMax = 64 << 10;  // bytes of an answer that goes out whole
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
             ModelTarget target, std::shared_ptr<Permit> permit, net::ResponseWriter writer)
    : gateway_(std::move(gateway)),
      request_(std::move(request)),
      scan_(std::move(scan)),
      target_(std::move(target)),
      tokens_(prompt_tokens(request_) + (scan_.max_tokens > 0
                                             ? std::min<int64_t>(scan_.max_tokens, 1 << 20)
                                             : kAnswerTokens)),
      journey_(Journey::of(request_)),
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
  auto place = gateway_->start(ask());
  if (place) {
    if (was_in_line) {
      gateway_->metrics_.waited(to_seconds(gateway_->clock_.now() - in_line_since_));
    }
    return attempt(std::move(*place));
  }
  const bool may_wait = place.error() == NoBackend::kFull && attempts_.empty();
  if (!may_wait || !gateway_->wait_in_line(shared_from_this(), was_in_line)) {
    return refuse_for(place.error());
  }
  in_line_ = true;
  if (was_in_line) return;
  in_line_since_ = gateway_->clock_.now();
  line_timer_ = net::call_after(gateway_->io_, gateway_->queue_wait(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->on_line_timeout();
  });
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

void Relay::attempt(Place place) {
  if (line_timer_) line_timer_->cancel();
  const Upstream& upstream = *place.upstream;
  net::ClientRequest request;
  request.method = request_.method;
  request.target = upstream_path(request_.path);
  if (!request_.query.empty()) request.target += "?" + request_.query;
  request.headers = request_headers(request_.headers, upstream.key);
  request.body = rewrite_body(
      request_.body, scan_, {upstream.model_name(target_.model), target_.thinking, target_.effort});
  const size_t index = attempts_.size();
  tried_.push_back(place.lease.backend);
  attempts_.push_back({place, nullptr, gateway_->clock_.now(), true});
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
  auto place = gateway_->start(ask());
  if (!place) return;
  const bool elsewhere =
      std::find(tried_.begin(), tried_.end(), place->lease.backend) == tried_.end();
  if (!elsewhere) {
    return gateway_->finish(*place, Outcome::kCancelled);
  }
  hedged_ = true;
  gateway_->metrics_.hedged();
  attempt(std::move(*place));
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
  close_as_ = outcome_of(head.status);
  const bool is_sized = head.content_length >= 0 || head.status == 204 || head.status == 304;
  if (is_sized && !is_events_ && head.content_length <= kGatheredMax) {
    gathered_.emplace(Gathered{head.status,
                               std::move(headers),
                               static_cast<size_t>(std::max<int64_t>(head.content_length, 0)),
                               {}});
    return;
  }
  count_answer(head.status);
  if (is_sized) {
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
    return true;
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
  close(attempts_[index], close_as_);
  settle();
  if (gathered_) {
    count_answer(gathered_->status);
    // A 304's length is of what it does not have.
    writer_->start_sized(gathered_->status, std::move(gathered_->headers), gathered_->length);
    writer_->write(gathered_->body);
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
  if (winner_ == index) {
    if (gathered_) return refuse_fault(fault, backend);
    return break_off(attempt);
  }
  if (has_open_attempt()) return;  // the other one goes on
  // One that took too long to begin is being computed, most likely: asking for it again would only
  // make that worse.
  const bool again = fault != net::ClientFault::kFirstByteTimeout;
  if (again && gateway_->take_retry(static_cast<int32_t>(attempts_.size()))) {
    gateway_->metrics_.retried(backend);
    return try_to_start(false);
  }
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

void Relay::refuse_for(NoBackend why) {
  const std::string& model = target_.model;
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
  std::vector<net::Header> headers = {{"Content-Type", "application/json"}};
  if (status == 429 || status == 503) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(retry_after).count();
    headers.push_back({"Retry-After", std::to_string(std::max<int64_t>(seconds, 1))});
  }
  writer_->respond(status, std::move(headers), error_text(status, code, message));
  writer_.reset();
}

}  // namespace hadal::gateway
