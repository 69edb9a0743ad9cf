// Rollouts on disk. What is written has been decided; it takes effect afterwards.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/database.h"
#include "hadal/gateway/rollout.h"

namespace hadal::gateway {

struct StoredRollout {
  std::string name;
  std::string spec;      // of one that hadal.yaml does not declare: its fields as YAML
  std::string identity;  // RolloutConfig::identity()
  RolloutState state;
  bool operator==(const StoredRollout&) const = default;
};

struct RolloutEvent {
  int64_t at = 0;  // seconds since 1970
  std::string what;
  bool operator==(const RolloutEvent&) const = default;
};

class RolloutStore {
 public:
  static constexpr int kEventsKept = 100;  // of each rollout

  // Makes what is not there in the file. Errors: see Database::open.
  static Result<std::unique_ptr<RolloutStore>> open(const std::string& path);

  // By name. kCorrupt: a row that nobody wrote.
  Result<std::vector<StoredRollout>> load();
  // Both or none, on the disk when it returns. `event` empty: none.
  Status save(const StoredRollout& rollout, std::string_view event, int64_t now);
  Status remove(const std::string& name);
  // The newest first.
  Result<std::vector<RolloutEvent>> events(const std::string& name);

 private:
  explicit RolloutStore(Database database) : database_(std::move(database)) {}
  Status prepare();

  std::mutex mutex_;
  Database database_;  // before its statements
  Statement save_, load_, remove_, add_event_, trim_events_, remove_events_, events_;
};

// The samples of a step as text, and back. kCorrupt: not of samples_text().
std::string samples_text(const RolloutState& state);
Status read_samples(std::string_view text, RolloutState* state);

}  // namespace hadal::gateway
