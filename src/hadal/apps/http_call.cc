#include "hadal/apps/http_call.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace hadal::apps {
namespace {

constexpr size_t kAnswerBytesMax = 64u << 20;

// Gathers one answer and wakes who waits for it.
class WholeAnswer final : public net::ClientSink {
 public:
  void on_head(net::ClientHead head) override {
    std::lock_guard lock(mutex_);
    answer_.status = head.status;
  }
  bool on_bytes(std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    if (answer_.body.size() + bytes.size() <= kAnswerBytesMax) answer_.body.append(bytes);
    return true;
  }
  void on_end() override { finish({}); }
  void on_fault(net::ClientFault, std::string what) override { finish(std::move(what)); }

  Result<HttpAnswer> wait() {
    std::unique_lock lock(mutex_);
    over_.wait(lock, [this] { return fault_.has_value(); });
    if (!fault_->empty()) return fail(Code::kUnavailable, *fault_);
    return std::move(answer_);
  }

 private:
  void finish(std::string fault) {
    std::lock_guard lock(mutex_);
    fault_ = std::move(fault);
    over_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable over_;
  HttpAnswer answer_;
  std::optional<std::string> fault_;  // empty: ended well
};

}  // namespace

Result<std::unique_ptr<HttpCaller>> HttpCaller::make(std::string_view url) {
  net::ClientOptions options;
  HADAL_TRY(options.url, net::parse_url(url));
  std::unique_ptr<HttpCaller> caller(new HttpCaller);
  HADAL_TRY(caller->client_, net::HttpClient::make(std::move(options), caller->io_.context()));
  return caller;
}

Result<HttpAnswer> HttpCaller::ask(net::ClientRequest request) {
  const auto answer = std::make_shared<WholeAnswer>();
  const auto call = client_->send(std::move(request), answer);
  return answer->wait();
}

}  // namespace hadal::apps
