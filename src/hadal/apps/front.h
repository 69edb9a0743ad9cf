// The way of a request through the process:
//
//   authenticate -> arrival hooks, in order -> answers given again -> another backend | the service
//
// A request is authenticated once, here; what is known of it travels with it as a Journey. Hooks
// see requests that were let through.
//
// Threads: handle(), is_quick() on the server's; the set_ functions and on_arrival() before
// open().
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hadal/apps/answer_cache.h"
#include "hadal/apps/service.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/gateway.h"
#include "hadal/gateway/journey.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"

namespace hadal::apps {

class Front {
 public:
  // May tap the writer, make a Choice, note what it sees. True: the hook has answered.
  using Arrival =
      std::function<bool(net::HttpRequest&, net::ResponseWriter&, gateway::Journey& journey)>;

  // All must outlive this.
  Front(Service& service, const Clock& clock) : service_(service), clock_(clock) {}

  void set_gateway(gateway::Gateway* gateway);
  void set_answers(AnswerCache* answers) { answers_ = answers; }
  // `waits`: for a disk or another server, with requests that are asked of a model, and so on no
  // thread that moves bytes.
  void on_arrival(Arrival hook, bool waits = true) {
    hooks_.push_back(std::move(hook));
    hooks_wait_ = hooks_wait_ || waits;
  }
  // Requests that are not let through.
  using Refusal = std::function<void(const net::HttpRequest&, const gateway::Journey&)>;
  void on_refusal(Refusal hook) { refusal_ = std::move(hook); }
  // The server runs before the rest of the process is there: until now requests go to the service,
  // which says what it is waiting for.
  void open() { open_ = true; }

  // Runs what is given to it on a thread that may wait.
  using Later = std::function<void(std::function<void()>)>;
  void set_later(Later later) { later_ = std::move(later); }

  // Whether handle() may run on an I/O thread: an answer that is in memory is given there, and what
  // only passes on; whatever else is put off to another thread.
  bool is_quick(const net::HttpRequest& request) const;
  void handle(net::HttpRequest request, net::ResponseWriter writer);
  // A request from within, in somebody's name, who is known already. Its Journey's id. Once open.
  std::string handle_as(net::HttpRequest request, net::ResponseWriter writer,
                        std::shared_ptr<const gateway::Caller> caller);
  // Behind the caches.
  void go_on(net::HttpRequest request, net::ResponseWriter writer);

 private:
  std::string enter(net::HttpRequest request, net::ResponseWriter writer,
                    gateway::Journey::Who who);
  void give_or_compute(net::HttpRequest request, net::ResponseWriter writer);
  bool passes_quickly(const net::HttpRequest& request) const;
  // Whether requests are searched for what should not leave, before the hooks.
  bool looks_through() const;
  bool may_answer_at_once(const net::HttpRequest& request) const;

  Service& service_;
  const Clock& clock_;
  gateway::Gateway* gateway_ = nullptr;
  AnswerCache* answers_ = nullptr;
  std::vector<Arrival> hooks_;
  bool hooks_wait_ = false;
  Later later_;  // null: nothing is put off
  Refusal refusal_;
  std::atomic<bool> open_{false};
};

}  // namespace hadal::apps
