// Requests that the process makes of itself, for probes and copies: through the same chain as a
// client's, behind authentication and caches. What they are answered is seen by a tap and then
// thrown away.
//
// They are of a tenant of their own, `hadal-rollouts`: nobody else is charged or limited, and in
// the line for a local model they stand behind everybody.
//
// Threads: any; send() may run the request's beginning on the calling one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "hadal/base/clock.h"
#include "hadal/gateway/journey.h"
#include "hadal/net/exchange.h"
#include "hadal/net/message.h"

namespace boost::asio {
class io_context;
}

namespace hadal::gateway {

inline constexpr const char* kRolloutTenant = "hadal-rollouts";

class Errands {
 public:
  using Go = std::function<void(net::HttpRequest, net::ResponseWriter)>;

  // `io` and `clock` must outlive every request. `go` is called by send() alone.
  Errands(boost::asio::io_context& io, const Clock& clock, Go go);

  // The tap is told of one end, whatever happens.
  void send(net::HttpRequest request, Choice choice, const std::string& id,
            std::shared_ptr<net::AnswerTap> tap);

 private:
  boost::asio::io_context& io_;
  const Clock& clock_;
  const Go go_;
  const std::shared_ptr<const Caller> caller_;
};

}  // namespace hadal::gateway
