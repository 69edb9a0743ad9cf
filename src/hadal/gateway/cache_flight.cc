#include "hadal/gateway/cache_flight.h"

#include <algorithm>
#include <utility>

#include "hadal/api/canonical.h"
#include "hadal/gateway/cache_stage.h"

namespace hadal::gateway {
namespace {

// The mover takes what there is at once; this only bounds what a burst may hold.
constexpr size_t kSourceBufferMax = 16u << 20;

// Another would be answered the same.
bool is_the_requests_fault(int status) {
  return status >= 400 && status < 500 && status != 408 && status != 409 && status != 425 &&
         status != 429 && status != 499;
}

}  // namespace

Flight::Flight(CacheStage& stage, StoredAnswer draft,
               std::shared_ptr<const net::HttpRequest> request, size_t entry_max)
    : stage_(stage),
      draft_(std::move(draft)),
      request_(std::move(request)),
      entry_max_(entry_max) {}

net::ResponseWriter Flight::open() {
  source_ = std::make_shared<net::Exchange>(kSourceBufferMax, [weak = weak_from_this(), this] {
    if (auto self = weak.lock()) stage_.wake(std::move(self));
  });
  return net::ResponseWriter(source_);
}

bool Flight::join(const std::shared_ptr<Member>& member) {
  member->writer.on_close([weak = weak_from_this(), weak_member = std::weak_ptr(member)] {
    const auto one = weak_member.lock();
    if (one == nullptr) return;
    one->gone = true;
    if (auto self = weak.lock()) self->leave(one);
  });
  {
    std::lock_guard lock(mutex_);
    if (over_ || dropped_) return false;
    members_.push_back(member);
    member->asked = !std::exchange(has_asked_, true);
    if (member->asked) member->permit.reset();  // who computes it asks for one
    if (head_ && head_->status == 200) {
      tell_locked(*member, body_, false);
    } else if (promised_.every.count() > 0 && !std::exchange(member->promised, true)) {
      member->writer.promise({{"Content-Type", "application/json"}}, promised_);
    }
  }
  if (member->gone) leave(member);  // before it was there to be found
  return true;
}

void Flight::leave(const std::shared_ptr<Member>& member) {
  {
    std::lock_guard lock(mutex_);
    std::erase(members_, member);
    if (over_ || !members_.empty()) return;
    over_ = true;
  }
  stage_.forget(this);
  source_->client_gone();  // nobody waits any more: what computes it may stop
}

void Flight::pump() {
  net::Exchange::Taken taken = source_->take();
  {
    std::lock_guard lock(mutex_);
    if (over_ || finished_) return;
    take_locked(std::move(taken));
    if (!finished_) return;
  }
  settle();
}

void Flight::take_locked(net::Exchange::Taken taken) {
  finished_ = taken.finished;
  abandoned_ |= taken.abandoned;
  if (taken.head) {
    head_ = std::move(taken.head);
    sized_ = !head_->streamed && !finished_;
  }
  if (!head_) return promise_locked();
  const bool tells = head_->status == 200 && (head_->streamed || sized_) && !abandoned_;
  if (!dropped_ && body_.size() + taken.bytes.size() > entry_max_ && tells) {
    dropped_ = true;
    body_ = {};
  }
  if (!dropped_) body_ += taken.bytes;
  if (!tells) return;  // whole answers and errors go out at the end
  for (const auto& member : members_) tell_locked(*member, taken.bytes, false);
}

// The answer will come whole, but late.
void Flight::promise_locked() {
  if (promised_.every.count() == 0) promised_ = source_->heartbeat();
  if (promised_.every.count() == 0) return;
  for (const auto& member : members_) {
    if (std::exchange(member->promised, true)) continue;
    member->writer.promise({{"Content-Type", "application/json"}}, promised_);
  }
}

void Flight::tell_locked(Member& member, std::string_view bytes, bool last) {
  if (last) member.permit.reset();  // before he can ask again
  const bool pieces = head_->streamed || sized_;
  if (!pieces) {
    if (last) member.writer.respond(head_->status, head_->headers, std::string(bytes));
    return;
  }
  if (!std::exchange(member.started, true)) {
    if (head_->streamed) {
      member.writer.start_stream(head_->status, head_->headers, source_->heartbeat());
    } else {
      member.writer.start_sized(head_->status, head_->headers, head_->length);
    }
  }
  if (!bytes.empty()) member.writer.write(bytes);
  if (last) member.writer.finish();
}

// 200, and all of it.
bool Flight::is_good() const {
  if (!head_ || head_->status != 200 || abandoned_ || dropped_) return false;
  if (!net::find_header(head_->headers, "content-encoding").empty()) return false;
  if (head_->streamed) return api::is_whole_stream(body_);
  return body_.size() == head_->length;
}

// The end: keeps the answer, and tells everybody who waits.
void Flight::settle() {
  if (is_good()) {
    StoredAnswer answer = draft_;
    answer.streamed = head_->streamed;
    answer.type = std::string(net::find_header(head_->headers, "content-type"));
    answer.body = body_;
    stage_.keep(std::move(answer));
  }
  stage_.forget(this);  // who asks from here on finds the answer
  Members others;
  {
    std::lock_guard lock(mutex_);
    if (over_) return;
    over_ = true;
    const int status = head_ ? head_->status : 500;
    const bool fails = abandoned_ || (status != 200 && !is_the_requests_fault(status));
    for (const auto& member : members_) {
      if (fails && !member->asked && !member->started) {
        others.push_back(member);
      } else if (!abandoned_ && head_) {
        tell_locked(*member, member->started ? "" : body_, true);
      }
    }
    members_.clear();  // a broken stream breaks off here
  }
  if (others.empty()) return;
  const auto next = std::make_shared<Flight>(stage_, draft_, request_, entry_max_);
  auto writer = next->open();
  for (const auto& member : others) next->join(member);
  stage_.start(next, std::move(writer));
}

}  // namespace hadal::gateway
