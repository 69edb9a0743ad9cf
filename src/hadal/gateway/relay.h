// Private to gateway: one request on its way through other servers.
//
// Threads: any; one lock a request. Order of locks: a relay's before the gateway's.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/body_scan.h"
#include "hadal/gateway/gateway.h"
#include "hadal/gateway/hybrid.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/masker.h"
#include "hadal/gateway/usage_scan.h"

namespace hadal::gateway {

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  Relay(std::shared_ptr<Gateway> gateway, net::HttpRequest request, BodyScan scan,
        ModelTarget target, std::shared_ptr<Permit> permit, net::ResponseWriter writer,
        std::shared_ptr<Crossing> crossing);

  void start();
  const std::string& model() const { return target_.model; }
  bool may_go_to(BackendId backend) const;
  void place_may_be_free(BackendId freed);  // taken out of the line

 private:
  class Sink;
  struct Attempt {
    Place place;
    const Upstream& upstream() const { return *place.upstream; }
    std::shared_ptr<net::ClientCall> call;
    Nanos began{0};
    bool open = true;
    std::shared_ptr<const Masked> masked;  // null: it got the request as it is
    std::shared_ptr<BudgetHold> hold;      // null: no budget
  };

  // What an attempt's events are. `index`: of attempts_.
  void on_head(size_t index, net::ClientHead head);
  bool on_bytes(size_t index, std::string_view bytes);
  void on_end(size_t index);
  void on_fault(size_t index, net::ClientFault fault, const std::string& what);
  void on_client_gone();
  void on_line_timeout();
  void on_hedge_timer();

  // With the lock held.
  void try_to_start(bool was_in_line);
  // A place, and what its backend may have of the request.
  struct Start {
    Place place;
    Crossing::Outgoing outgoing;
  };
  tl::expected<Start, NoBackend> find_place();
  tl::expected<Start, NoBackend> find_in_stage(std::vector<BackendId> among);
  BodyChanges changes_for(const Upstream& upstream) const;
  void hand_over();
  void attempt(Start start);
  void close(Attempt& attempt, Outcome outcome);
  bool has_open_attempt() const;
  void begin_answer(Attempt& attempt, const net::ClientHead& head);
  void count_answer(int status);  // the winner's
  void break_off(const Attempt& attempt);
  void refuse(int status, std::string_view code, const std::string& message,
              std::string_view backend, Nanos retry_after = Nanos(0));
  bool refuse_forbidden();
  void refuse_for(NoBackend why);
  void refuse_fault(net::ClientFault fault, std::string_view backend);
  std::string error_text(int status, std::string_view code, const std::string& message) const;
  void stop_timers();
  Ask ask() const;
  // By what the answer has said so far.
  void settle();

  const std::shared_ptr<Gateway> gateway_;
  const net::HttpRequest request_;
  const BodyScan scan_;
  const ModelTarget target_;
  const int64_t tokens_;                      // expected
  Journey* const journey_;                    // of request_; null: none
  const std::shared_ptr<Crossing> crossing_;  // null: every backend may have everything
  // Changes only while this is not in line.
  std::optional<std::vector<BackendId>> only_;

  std::mutex mutex_;  // everything below
  std::optional<net::ResponseWriter> writer_;
  std::vector<Attempt> attempts_;
  std::vector<BackendId> tried_;
  std::shared_ptr<net::Timer> hedge_timer_, line_timer_;
  Nanos in_line_since_{0};
  bool in_line_ = false;
  std::optional<size_t> winner_;  // whose answer is passed back
  bool hedged_ = false;
  Outcome close_as_ = Outcome::kGood;  // when the winner's answer is whole
  bool is_events_ = false;             // the answer is a stream of events
  // A small answer of a known length is gathered and goes out when it is whole, so that one that
  // breaks off can still be told as an error.
  struct Gathered {
    int status = 0;
    std::vector<net::Header> headers;
    size_t length = 0;
    std::string body;
  };
  std::optional<Gathered> gathered_;
  bool over_ = false;
  std::unique_ptr<Restorer> restorer_;    // of the winner's answer; null: nothing is masked
  int status_ = 0;                        // ... and of its head
  const std::shared_ptr<Permit> permit_;  // null: not counted
  UsageScan usage_;                       // of the winner's answer
};

}  // namespace hadal::gateway
