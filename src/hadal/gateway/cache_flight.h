// One computation of an answer, and everybody who waits for it.
//
// Threads: join() on any; pump() on the stage's thread; a client's leaving on a connection's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hadal/gateway/answer_store.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

class CacheStage;

class Flight : public std::enable_shared_from_this<Flight> {
 public:
  struct Member {
    explicit Member(net::ResponseWriter moved) : writer(std::move(moved)) {}
    net::ResponseWriter writer;
    std::shared_ptr<void> permit;  // of one who waits for another's; see CacheStage::Admit
    std::atomic<bool> gone{false};
    bool promised = false;
    bool started = false;  // its head is out
    bool asked = false;    // it is his request that is computed
  };
  using Members = std::vector<std::shared_ptr<Member>>;

  // `draft`: what is known of the answer before it is there. `request` is asked again if another
  // must take over.
  Flight(CacheStage& stage, StoredAnswer draft, std::shared_ptr<const net::HttpRequest> request,
         size_t entry_max);

  const std::string& key() const { return draft_.key; }
  const std::shared_ptr<const net::HttpRequest>& request() const { return request_; }
  // Where the rest of the way writes to. Once, when the flight is known to the stage.
  net::ResponseWriter open();
  // False: it is over, or too long to be told from its beginning; the member is as it was.
  bool join(const std::shared_ptr<Member>& member);
  // Its answer is no longer wanted.
  void leave(const std::shared_ptr<Member>& member);
  void pump();

 private:
  void take_locked(net::Exchange::Taken taken);
  void promise_locked();
  void tell_locked(Member& member, std::string_view bytes, bool last);
  void settle();
  bool is_good() const;

  CacheStage& stage_;
  StoredAnswer draft_;
  const std::shared_ptr<const net::HttpRequest> request_;
  const size_t entry_max_;
  std::shared_ptr<net::Exchange> source_;

  std::mutex mutex_;  // everything below
  Members members_;   // the first one asked
  std::optional<net::Exchange::Head> head_;
  net::Exchange::Heartbeat promised_;
  std::string body_;      // from the beginning, unless dropped_
  bool dropped_ = false;  // longer than what may be kept
  bool sized_ = false;    // not streamed, and did not come at once
  bool finished_ = false;
  bool abandoned_ = false;
  bool over_ = false;
  bool has_asked_ = false;
};

}  // namespace hadal::gateway
