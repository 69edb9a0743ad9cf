#include "hadal/kernels/cpu/units.h"

namespace hadal::kernels::cpu {

PanelShares::PanelShares(const PanelRun& run, int threads) : step_(run.step) {
  const uint64_t each = std::max<uint64_t>(1, run.bytes_each);
  const auto most = static_cast<uint64_t>(run.count);
  shortest_ = rounded(static_cast<int64_t>(std::clamp<uint64_t>(run.shortest / each, 1, most)));
  longest_ = rounded(static_cast<int64_t>(std::clamp<uint64_t>(run.longest / each, 1, most)));
  const int64_t pieces = (run.count + shortest_ - 1) / shortest_;
  shares_ = static_cast<int>(std::min<int64_t>({threads, pieces, kMaxShares}));
  int64_t begin = 0;
  for (int i = 0; i < shares_; ++i) {
    const int64_t end = i + 1 == shares_ ? run.count : rounded(run.count * (i + 1) / shares_);
    share_[i].next.store(begin, std::memory_order_relaxed);
    share_[i].end = std::min(end, run.count);
    begin = share_[i].end;
  }
}

bool PanelShares::take(int share, int64_t* begin, int64_t* end) {
  Share& from = share_[share];
  int64_t next = from.next.load(std::memory_order_relaxed);
  int64_t stop;
  do {
    if (next >= from.end) return false;
    const int64_t quarter = rounded((from.end - next) / 4);
    const int64_t piece = std::max(shortest_, std::min(longest_, quarter));
    stop = std::min(from.end, next + piece);
  } while (!from.next.compare_exchange_weak(next, stop, std::memory_order_relaxed));
  *begin = next;
  *end = stop;
  return true;
}

}  // namespace hadal::kernels::cpu
