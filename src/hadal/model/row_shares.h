// How a step's rows are cut among threads that take some each through all layers. Cores are not
// equally fast: some are built so, others share theirs with a neighbour for a while.
#pragma once

#include <cstdint>
#include <vector>

namespace hadal {

// Threads: one at a time.
class RowShares {
 public:
  // Ends of the shares of `count` threads, ascending, the last is `rows`; rows >= count. As even as
  // can be, unless a measured difference makes another cut clearly better.
  std::vector<int32_t> ends(int32_t rows, int32_t count) const;
  // Thread `number` took `seconds` for a share of `rows`, of the same layers for all threads.
  void took(int32_t number, int32_t rows, double seconds);

 private:
  double pace(int32_t number) const;
  double slowest(const std::vector<int32_t>& ends) const;

  std::vector<double> pace_;  // seconds a row; 0: not known
};

}  // namespace hadal
