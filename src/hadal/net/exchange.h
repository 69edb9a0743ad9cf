// One request's answer, on its way from any thread to the connection that will send it.
//
// The handler holds a ResponseWriter; the connection holds the Exchange behind it. Neither waits
// for the other: the writer appends to a bounded buffer and wakes the connection, the connection
// takes what is there. So a token's callback on the engine's thread costs a lock and a copy.
//
// Threads: all members of both classes may be called from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/net/message.h"

namespace hadal::net {

// Looks on while an answer goes to its client, whoever writes it: one head, bytes of the body
// (without heartbeats), one end. Called with the exchange's lock held, one call after another, on
// the writer's thread or the connection's: be quick, and call neither writer nor exchange.
class AnswerTap {
 public:
  virtual ~AnswerTap() = default;
  // A promised answer that came late has the status it should have had, not the 200 that went out.
  virtual void on_head(int status, const std::vector<Header>& headers) = 0;
  virtual void on_bytes(std::string_view bytes) = 0;
  // `whole`: to the last byte. Else it broke off, or the client left before. A head may be missing
  // then.
  virtual void on_end(bool whole) = 0;
  // Just before an end that is the client's doing: it left, or did not read fast enough.
  virtual void on_client_left() {}
};

class Exchange {
 public:
  struct Head {
    int status = 200;
    std::vector<Header> headers;
    bool streamed = false;  // length not known: chunked, or until close for HTTP/1.0
    size_t length = 0;      // of the body when not streamed
  };
  struct Heartbeat {
    std::string bytes;
    std::chrono::milliseconds every{0};  // 0: none
  };
  // What the connection should do next.
  struct Taken {
    std::optional<Head> head;  // set once, with or before the first bytes
    std::string bytes;
    bool finished = false;   // nothing follows `bytes`
    bool abandoned = false;  // the writer gave up in the middle: close without a proper end
  };

  // `buffer_max`: bytes of a stream that may wait for the client. `wake` makes the connection call
  // take(); called with the lock held, so it must only post.
  Exchange(size_t buffer_max, std::function<void()> wake);

  // The connection's side.
  Taken take();
  Heartbeat heartbeat() const;
  void beat();             // queues the heartbeat's bytes; a promised answer begins with them
  bool abandoned() const;  // see Taken
  void client_gone();      // calls the on_close callback, once; later writes are dropped
  void detach();           // client_gone(), and never wakes again

  // The writer's side; see ResponseWriter.
  void respond(int status, std::vector<Header> headers, std::string body);
  void start_stream(int status, std::vector<Header> headers, Heartbeat heartbeat);
  void start_sized(int status, std::vector<Header> headers, size_t length);
  void promise(std::vector<Header> headers, Heartbeat heartbeat);
  bool write(std::string_view bytes);
  void finish();
  void abandon();
  void on_close(std::function<void()> callback);
  size_t waiting() const;
  void on_room(std::function<void()> callback);
  void tap(std::shared_ptr<AnswerTap> tap);

 private:
  using Taps = std::vector<std::shared_ptr<AnswerTap>>;
  void tell_head(int status, const std::vector<Header>& headers);
  void tell_bytes(std::string_view bytes);
  void tell_client_left();
  [[nodiscard]] Taps tell_end(bool whole);  // to be destroyed outside the lock
  Taken take_all(std::function<void()>* on_room);
  void wake_locked();

  mutable std::mutex mutex_;
  const size_t buffer_max_;
  std::function<void()> wake_;
  std::function<void()> on_close_;
  std::function<void()> on_room_;
  Taps taps_;                 // empty again after the end
  std::optional<Head> head_;  // not yet taken
  Heartbeat heartbeat_;
  std::optional<std::vector<Header>> promised_;  // of an answer that comes whole, but late
  bool opened_ = false;                          // its head is out, without its length
  std::string pending_;
  bool started_ = false;
  bool finished_ = false;
  bool abandoned_ = false;
  bool gone_ = false;
  bool woken_ = false;  // a wake is on its way
};

// Exactly one of: respond(), with or without a promise() before it, or start_stream() or
// start_sized() then write()s then finish(). A writer that goes out of scope before that answers
// 500, or breaks the stream off so that the client sees it is not whole.
class ResponseWriter {
 public:
  explicit ResponseWriter(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ResponseWriter(ResponseWriter&&) = default;
  ResponseWriter& operator=(ResponseWriter&&) = delete;
  ~ResponseWriter();

  // One more header of the answer, whoever writes it; before it begins.
  // A second of the same name counts instead of the first.
  void also(Header header);
  // Before anything is written; several look on independently.
  void tap(std::shared_ptr<AnswerTap> tap) { exchange_->tap(std::move(tap)); }
  void respond(int status, std::vector<Header> headers, std::string body);
  // Sends the head at once. While nothing else is written, `heartbeat` is sent every so often.
  void start_stream(int status, std::vector<Header> headers, Exchange::Heartbeat heartbeat = {});
  // The same for an answer of `length` bytes: so many are to be written before finish().
  void start_sized(int status, std::vector<Header> headers, size_t length);
  // An answer is to come by respond(), but may take long: if it has not come after
  // `heartbeat.every`, the head goes out with status 200 and the heartbeat's bytes follow every so
  // often, which must mean nothing in front of the body (blank lines before JSON). A respond()
  // after that cannot set status or headers any more; its body goes out as it is.
  void promise(std::vector<Header> headers, Exchange::Heartbeat heartbeat);
  // False when the client has gone, or reads so slowly that the buffer is full: the connection is
  // then closed and the caller should stop producing.
  bool write(std::string_view bytes);
  void finish();
  // `callback` runs once if the client goes before the answer is complete, on a connection's thread
  // (or at once, here, when it has gone already). It must not block.
  void on_close(std::function<void()> callback);
  // Bytes written that the connection has not taken yet. A writer that can wait stops at some
  // number and goes on when on_room's callback has run: once, on a connection's thread, when all
  // have been taken (or at once, here, when they have been already). It must not block.
  size_t waiting() const;
  void on_room(std::function<void()> callback);

 private:
  std::vector<Header> with_more(std::vector<Header> headers);

  std::shared_ptr<Exchange> exchange_;
  std::vector<Header> more_;
};

}  // namespace hadal::net
