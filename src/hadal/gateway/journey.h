// What is known of one request while it is on its way: who asks, what was decided, what happened.
// Made once a request is authenticated, carried by it (HttpRequest::notes) through every stage, and
// read at the end by those who keep records.
//
// Threads: any; one lock a request.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/clock.h"
#include "hadal/base/result.h"
#include "hadal/gateway/limits.h"
#include "hadal/gateway/tenants.h"
#include "hadal/net/message.h"

namespace hadal::gateway {

class Screener;
struct Screening;

// What stages before the backends decide. Each field is empty where nothing was.
struct Choice {
  std::string model;                  // instead of what the asked name means
  std::vector<std::string> backends;  // only these may be asked, by name
  std::string version;                // answers of another version are never given instead
};

class Journey final : public net::RequestNotes {
 public:
  using Who = Result<std::shared_ptr<const Caller>>;

  // `began_unix`: seconds.
  Journey(std::string id, Nanos began, int64_t began_unix, std::string peer, Who who)
      : id_(std::move(id)),
        began_(began),
        began_unix_(began_unix),
        peer_(std::move(peer)),
        who_(std::move(who)) {}

  // Null: the request has none, as in tests of single stages.
  static Journey* of(const net::HttpRequest& request) {
    return dynamic_cast<Journey*>(request.notes.get());
  }

  const std::string& id() const { return id_; }
  Nanos began() const { return began_; }
  int64_t began_unix() const { return began_unix_; }
  const std::string& peer() const { return peer_; }
  const Who& who() const { return who_; }
  // Only of a request that was let through.
  const std::shared_ptr<const Caller>& caller() const { return *who_; }

  void choose(Choice choice);
  Choice choice() const;

  // What was found in the request, for the rules that `by` stands for; null for others.
  void set_screening(std::shared_ptr<const Screening> screening,
                     std::shared_ptr<const Screener> by);
  std::shared_ptr<const Screening> screening(const std::shared_ptr<const Screener>& by) const;

  // What happened so far.
  struct Facts {
    std::string asked;              // the model's name as the client says it
    std::string model;              // a name that a backend serves
    std::vector<std::string> sent;  // the `url:` backends it was sent to, in order
    std::string backend;            // of a `url:`; empty: here, or nowhere yet
    std::string cache;  // "memory", "disk", "semantic", "joined", "miss", "bypass"; empty: none
    std::vector<std::string> labels;   // of sensitivity
    std::vector<std::string> reasons;  // of what was decided, for people
    Tokens used;
    Price price;
    bool settled = false;  // `used` is what it was
  };
  Facts facts() const;
  void note_model(std::string_view asked, std::string_view model, const Price& price);
  void note_sent(std::string_view backend);
  void note_backend(std::string_view backend);
  void note_cache(std::string_view result);
  void note_label(std::string label);
  void note_reason(std::string reason);
  void note_used(const Tokens& used);
  void note_price(const Price& price);  // of the backend that answers

 private:
  const std::string id_;
  const Nanos began_;
  const int64_t began_unix_;
  const std::string peer_;
  const Who who_;
  mutable std::mutex mutex_;
  Choice choice_;
  Facts facts_;
  std::shared_ptr<const Screening> screening_;
  std::shared_ptr<const Screener> screened_by_;
};

}  // namespace hadal::gateway
