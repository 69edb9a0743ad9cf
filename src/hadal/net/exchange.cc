#include "hadal/net/exchange.h"

#include <utility>

#include "hadal/base/check.h"

namespace hadal::net {

Exchange::Exchange(size_t buffer_max, std::function<void()> wake)
    : buffer_max_(buffer_max), wake_(std::move(wake)) {}

Exchange::Taken Exchange::take() {
  std::function<void()> callback;
  Taken taken = take_all(&callback);
  if (callback) callback();
  return taken;
}

Exchange::Taken Exchange::take_all(std::function<void()>* on_room) {
  std::lock_guard lock(mutex_);
  woken_ = false;
  *on_room = std::exchange(on_room_, nullptr);
  Taken taken;
  taken.head = std::exchange(head_, std::nullopt);
  taken.bytes = std::exchange(pending_, {});
  taken.finished = finished_;
  taken.abandoned = abandoned_;
  return taken;
}

Exchange::Heartbeat Exchange::heartbeat() const {
  std::lock_guard lock(mutex_);
  return heartbeat_;
}

void Exchange::beat() {
  std::lock_guard lock(mutex_);
  if (finished_ || gone_) return;
  if (promised_) {
    head_ = Head{200, std::move(*promised_), true, 0};
    promised_.reset();
    opened_ = true;
  }
  pending_ += heartbeat_.bytes;
}

bool Exchange::abandoned() const {
  std::lock_guard lock(mutex_);
  return abandoned_;
}

void Exchange::tap(std::shared_ptr<AnswerTap> tap) {
  std::lock_guard lock(mutex_);
  HADAL_CHECK(!started_, "a tap after the answer");
  if (gone_) {
    tap->on_client_left();
    return tap->on_end(false);
  }
  taps_.push_back(std::move(tap));
}

void Exchange::tell_head(int status, const std::vector<Header>& headers) {
  for (const auto& tap : taps_) tap->on_head(status, headers);
}

void Exchange::tell_bytes(std::string_view bytes) {
  if (bytes.empty()) return;
  for (const auto& tap : taps_) tap->on_bytes(bytes);
}

void Exchange::tell_client_left() {
  for (const auto& tap : taps_) tap->on_client_left();
}

Exchange::Taps Exchange::tell_end(bool whole) {
  for (const auto& tap : taps_) tap->on_end(whole);
  return std::exchange(taps_, {});
}

void Exchange::client_gone() {
  std::function<void()> callback, unused;
  Taps ended;
  {
    std::lock_guard lock(mutex_);
    if (gone_) return;
    gone_ = true;
    tell_client_left();
    ended = tell_end(false);
    pending_.clear();
    if (!finished_) callback = std::move(on_close_);
    on_close_ = nullptr;
    unused = std::exchange(on_room_, nullptr);
  }
  if (callback) callback();
}

void Exchange::detach() {
  {
    std::lock_guard lock(mutex_);
    wake_ = nullptr;
  }
  client_gone();
}

void Exchange::wake_locked() {
  if (woken_ || !wake_) return;
  woken_ = true;
  wake_();
}

void Exchange::respond(int status, std::vector<Header> headers, std::string body) {
  std::function<void()> unused;  // destroyed outside the lock: it may own what calls back into here
  Taps ended;
  std::lock_guard lock(mutex_);
  HADAL_CHECK(!started_, "two answers to one request");
  started_ = true;
  finished_ = true;
  unused = std::move(on_close_);
  on_close_ = nullptr;
  if (gone_) return;
  tell_head(status, headers);
  tell_bytes(body);
  ended = tell_end(true);
  if (opened_) {
    pending_ += body;
  } else {
    head_ = Head{status, std::move(headers), false, body.size()};
    pending_ = std::move(body);
  }
  wake_locked();
}

void Exchange::start_stream(int status, std::vector<Header> headers, Heartbeat heartbeat) {
  std::lock_guard lock(mutex_);
  HADAL_CHECK(!started_, "two answers to one request");
  started_ = true;
  if (gone_) return;
  tell_head(status, headers);
  head_ = Head{status, std::move(headers), true, 0};
  heartbeat_ = std::move(heartbeat);
  wake_locked();
}

void Exchange::start_sized(int status, std::vector<Header> headers, size_t length) {
  std::lock_guard lock(mutex_);
  HADAL_CHECK(!started_, "two answers to one request");
  started_ = true;
  if (gone_) return;
  tell_head(status, headers);
  head_ = Head{status, std::move(headers), false, length};
  wake_locked();
}

size_t Exchange::waiting() const {
  std::lock_guard lock(mutex_);
  return pending_.size();
}

void Exchange::on_room(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (!pending_.empty()) {
      on_room_ = std::move(callback);
      return;
    }
  }
  callback();
}

void Exchange::promise(std::vector<Header> headers, Heartbeat heartbeat) {
  std::lock_guard lock(mutex_);
  HADAL_CHECK(!started_ && !promised_ && !opened_, "a promise after the answer");
  if (gone_) return;
  promised_ = std::move(headers);
  heartbeat_ = std::move(heartbeat);
  wake_locked();  // the connection sleeps without a limit until it knows of the heartbeat
}

bool Exchange::write(std::string_view bytes) {
  Taps ended;
  std::lock_guard lock(mutex_);
  HADAL_CHECK(started_ && !finished_, "write outside a stream");
  if (gone_ || abandoned_) return false;
  if (pending_.size() + bytes.size() > buffer_max_) {
    // The engine cannot wait for one client, and memory cannot grow for it.
    abandoned_ = true;
    pending_.clear();
    tell_client_left();
    ended = tell_end(false);
    woken_ = false;  // an earlier wake may have found the connection in the middle of a write
    wake_locked();
    return false;
  }
  tell_bytes(bytes);
  pending_.append(bytes);
  wake_locked();
  return true;
}

void Exchange::finish() {
  std::function<void()> unused;
  Taps ended;
  std::lock_guard lock(mutex_);
  HADAL_CHECK(started_ && !finished_, "finish outside a stream");
  finished_ = true;
  ended = tell_end(true);
  unused = std::move(on_close_);
  on_close_ = nullptr;
  if (!gone_) wake_locked();
}

void Exchange::abandon() {
  std::function<void()> unused;
  Taps ended;
  std::lock_guard lock(mutex_);
  if (finished_) return;
  unused = std::move(on_close_);
  on_close_ = nullptr;
  if (!started_ && !opened_) {
    started_ = finished_ = true;
    tell_head(500, {});
    head_ = Head{500, {}, false, 0};
  } else {
    finished_ = abandoned_ = true;
    woken_ = false;
  }
  ended = tell_end(false);
  if (!gone_) wake_locked();
}

void Exchange::on_close(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    if (!gone_) {
      on_close_ = std::move(callback);
      return;
    }
  }
  callback();
}

ResponseWriter::~ResponseWriter() {
  if (exchange_) exchange_->abandon();
}

void ResponseWriter::also(Header header) {
  std::erase_if(more_, [&](const Header& other) { return other.name == header.name; });
  more_.push_back(std::move(header));
}

std::vector<Header> ResponseWriter::with_more(std::vector<Header> headers) {
  headers.insert(headers.end(), more_.begin(), more_.end());
  return headers;
}

void ResponseWriter::respond(int status, std::vector<Header> headers, std::string body) {
  exchange_->respond(status, with_more(std::move(headers)), std::move(body));
}

void ResponseWriter::start_stream(int status, std::vector<Header> headers,
                                  Exchange::Heartbeat heartbeat) {
  exchange_->start_stream(status, with_more(std::move(headers)), std::move(heartbeat));
}

void ResponseWriter::start_sized(int status, std::vector<Header> headers, size_t length) {
  exchange_->start_sized(status, with_more(std::move(headers)), length);
}

size_t ResponseWriter::waiting() const { return exchange_->waiting(); }
void ResponseWriter::on_room(std::function<void()> callback) {
  exchange_->on_room(std::move(callback));
}

void ResponseWriter::promise(std::vector<Header> headers, Exchange::Heartbeat heartbeat) {
  exchange_->promise(with_more(std::move(headers)), std::move(heartbeat));
}

bool ResponseWriter::write(std::string_view bytes) { return exchange_->write(bytes); }
void ResponseWriter::finish() { exchange_->finish(); }
void ResponseWriter::on_close(std::function<void()> callback) {
  exchange_->on_close(std::move(callback));
}

}  // namespace hadal::net
