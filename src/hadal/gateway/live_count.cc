#include "hadal/gateway/live_count.h"

#include <string_view>
#include <utility>
#include <vector>

namespace hadal::gateway {
namespace {

class LiveTap final : public net::AnswerTap {
 public:
  explicit LiveTap(std::shared_ptr<std::atomic<int64_t>> count) : count_(std::move(count)) {
    ++*count_;
  }
  ~LiveTap() override { leave(); }
  void on_head(int, const std::vector<net::Header>&) override {}
  void on_bytes(std::string_view) override {}
  void on_end(bool) override { leave(); }

 private:
  void leave() {
    if (auto count = std::exchange(count_, nullptr)) --*count;
  }
  std::shared_ptr<std::atomic<int64_t>> count_;
};

}  // namespace

void LiveCount::watch(net::ResponseWriter& writer) const {
  writer.tap(std::make_shared<LiveTap>(count_));
}

}  // namespace hadal::gateway
