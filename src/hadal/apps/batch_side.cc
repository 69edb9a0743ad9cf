#include "hadal/apps/batch_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <utility>

#include "hadal/api/error.h"
#include "hadal/gateway/passing.h"

namespace hadal::apps {
namespace {

using std::chrono::milliseconds;

constexpr size_t kAnswerBytesMax = 32u << 20;
// How soon a load that falls is seen.
constexpr milliseconds kLook{200};

int64_t retry_seconds(const std::vector<net::Header>& headers) {
  const std::string_view text = net::find_header(headers, "retry-after");
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::max<int64_t>(value, 0);
}

gateway::CallAnswer refusal(const Error& error) {
  const api::ApiError shown(error);
  return {true, {api::http_status(error.code), "", api::error_json(shown)}, 0};
}

}  // namespace

class LineSender::Sent final : public Call {
 public:
  Sent(LineSender& sender, std::function<void(gateway::CallAnswer)> done)
      : sender_(sender),
        done_(std::move(done)),
        exchange_(std::make_shared<net::Exchange>(kAnswerBytesMax, sender.wake_)) {
    sender_.sent_.push_back(this);
  }
  ~Sent() override {
    std::erase(sender_.sent_, this);
    exchange_->detach();
  }

  const std::shared_ptr<net::Exchange>& exchange() const { return exchange_; }
  void set_id(std::string id) { answer_.answer.request_id = std::move(id); }

  // Takes what has come.
  void pump() {
    if (!done_) return;
    net::Exchange::Taken taken = exchange_->take();
    if (taken.head) {
      answer_.answer.status = taken.head->status;
      answer_.retry_after = retry_seconds(taken.head->headers);
    }
    answer_.answer.body += taken.bytes;
    const bool too_long = answer_.answer.body.size() > kAnswerBytesMax;
    if (!taken.finished && !taken.abandoned && !too_long) return;
    answer_.whole = taken.finished && !taken.abandoned && !too_long;
    std::exchange(done_, nullptr)(std::move(answer_));
  }

 private:
  LineSender& sender_;
  std::function<void(gateway::CallAnswer)> done_;
  const std::shared_ptr<net::Exchange> exchange_;
  gateway::CallAnswer answer_;
};

std::unique_ptr<gateway::LineCaller::Call> LineSender::start(
    const gateway::BatchRecord& batch, std::string body,
    std::function<void(gateway::CallAnswer)> done) {
  auto caller = service_.restore(batch.key_tag);
  if (!caller) {
    done(refusal(caller.error()));
    return nullptr;
  }
  net::HttpRequest request;
  request.method = "POST";
  request.path = batch.endpoint;
  request.headers = {{"Content-Type", "application/json"}};
  // No key, but as private to one: the cache of answers goes by what is shown here.
  if (!batch.key_tag.empty()) {
    request.headers.push_back({"Authorization", "hadal-batch " + batch.key_tag});
  }
  request.body = std::move(body);
  auto sent = std::make_unique<Sent>(*this, std::move(done));
  sent->set_id(front_.handle_as(std::move(request), net::ResponseWriter(sent->exchange()),
                                std::move(*caller)));
  return sent;
}

void LineSender::pump() {
  for (Sent* one : std::vector<Sent*>(sent_)) one->pump();
}

BatchSide::BatchSide(Front& front, Service& service, std::shared_ptr<obs::Registry> registry,
                     const Clock& clock, LogSink log)
    : front_(front),
      service_(service),
      registry_(std::move(registry)),
      clock_(clock),
      log_(std::move(log)) {}

Result<std::unique_ptr<BatchSide>> BatchSide::make(const gateway::BatchConfig& config, Front& front,
                                                   Service& service,
                                                   std::shared_ptr<obs::Registry> registry,
                                                   const Clock& clock, LogSink log) {
  std::unique_ptr<BatchSide> side(
      new BatchSide(front, service, std::move(registry), clock, std::move(log)));
  BatchSide* self = side.get();
  if (config.on()) {
    HADAL_TRY(self->store_, gateway::BatchStore::open(config.dir));
    self->sender_ = std::make_unique<LineSender>(front, service, [self] { self->wake(); });
    self->runner_ = std::make_unique<gateway::BatchRunner>(
        *self->store_, *self->sender_, clock, self->log_, [self] { self->wake(); },
        std::random_device()());
  }
  self->endpoints_ = std::make_unique<BatchService>(
      self->store_.get(),
      [self](const net::HttpRequest& request, const gateway::Caller& caller) {
        return self->service_.tag_of(request, caller);
      },
      [self] { self->runner_->wake(); }, self->registry_, clock);
  self->configure(config);
  front.on_arrival(
      [self](net::HttpRequest& request, net::ResponseWriter& writer, gateway::Journey& journey) {
        return self->arrive(request, writer, journey);
      },
      false);
  return side;
}

BatchSide::~BatchSide() { stop(); }

void BatchSide::configure(const gateway::BatchConfig& config) {
  endpoints_->configure(config);
  std::lock_guard lock(mutex_);
  options_ = gateway::batch_options(config);
}

bool BatchSide::arrive(net::HttpRequest& request, net::ResponseWriter& writer,
                       gateway::Journey& journey) {
  if (endpoints_->handle(request, writer, journey)) return true;
  const bool works = request.method == "POST" && !gateway::upstream_path(request.path).empty();
  if (store_ != nullptr && works && !journey.caller()->background) live_.watch(writer);
  return false;
}

void BatchSide::start() {
  if (store_ == nullptr) return;
  show();
  thread_ = std::thread([this] { work(); });
}

void BatchSide::stop() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// Also with an exchange's lock held, so it only leaves a note.
void BatchSide::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void BatchSide::work() {
  for (;;) {
    gateway::BatchOptions options;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, kLook, [this] { return woken_ || ended_; });
      woken_ = false;
      if (ended_) break;
      options = options_;
    }
    sender_->pump();
    runner_->turn(options, live_.now());
    show();
  }
  runner_->stop();
}

void BatchSide::show() {
  const gateway::BatchCounts& now = runner_->counts();
  auto& lines = registry_->counter("hadal_batch_lines_total",
                                   "Lines of batches, by what came of an attempt.", {"result"});
  const auto add = [&](const char* result, int64_t before, int64_t after) {
    if (after > before) lines.with({result}).increment(static_cast<double>(after - before));
  };
  add("finished", shown_.finished, now.finished);
  add("failed", shown_.failed, now.failed);
  add("again", shown_.again, now.again);
  add("broken_off", shown_.preempted, now.preempted);
  registry_->gauge("hadal_batches", "Batches that have not ended.")
      .with({})
      .set(static_cast<double>(now.batches));
  registry_->gauge("hadal_batch_lines_running", "Lines of batches under way.")
      .with({})
      .set(static_cast<double>(now.running));
  shown_ = now;
}

}  // namespace hadal::apps
