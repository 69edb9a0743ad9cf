// What hadal.yaml says of rollouts: which share of a model's requests goes elsewhere, and by what
// that is judged. The list of fields is rollout_config.cc.
//
// Pure. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/field.h"

namespace hadal::gateway {

struct Config;
struct AdminConfig;

// Where requests go. Both empty: where they go without a rollout.
struct RolloutTarget {
  std::string model;
  std::vector<std::string> backends;
  bool empty() const { return model.empty() && backends.empty(); }
  bool operator==(const RolloutTarget&) const = default;
};

struct RolloutArm {
  std::string name;
  double weight = 1;
  RolloutTarget target;
  bool operator==(const RolloutArm&) const = default;
};

// By how much the candidate may be worse. Rates and score absolute, the others as a share of the
// baseline's.
struct RolloutMargins {
  double errors = 0.02;
  double refusals = 0.03;
  double first_token = 0.2;
  double between_tokens = 0.2;
  double length = 0.3;
  double score = 0.05;
  bool operator==(const RolloutMargins&) const = default;
};

struct RolloutProbes {
  std::string file;
  Millis every{10'000};
  bool operator==(const RolloutProbes&) const = default;
};

enum class RolloutKind : uint8_t { kCanary, kBlueGreen, kExperiment, kShadow };

struct RolloutConfig {
  std::string name;
  std::string kind = "canary";
  std::string model;
  RolloutTarget baseline;
  RolloutTarget candidate;
  std::vector<double> steps = {1, 5, 25, 50};  // percent
  std::vector<RolloutArm> arms;
  double share = 1;  // percent
  int32_t in_flight = 4;
  Millis window{30LL * 60 * 1000};
  int32_t windows = 6;
  int32_t samples = 300;
  double alpha = 0.05;
  RolloutMargins margins;
  RolloutProbes probes;
  std::vector<std::string> refusal_openings;
  bool autostart = true;

  RolloutKind what() const;
  // Whether it moves users by itself.
  bool is_judged() const {
    return what() == RolloutKind::kCanary || what() == RolloutKind::kBlueGreen;
  }
  // Another text: what was learnt of the one says nothing of the other.
  std::string identity() const;
  bool operator==(const RolloutConfig&) const = default;
};

Section<RolloutConfig> rollout_section();

// What only sense can tell: names that nobody serves, steps that do not rise, two that want the
// same requests.
void check_rollouts(ConfigReader& reader, const Config& config,
                    const std::vector<std::string>& served);
// Of several that want the requests of one model only one may move users.
bool is_rival(const RolloutConfig& one, const RolloutConfig& other);

// One that is not in hadal.yaml: its fields as YAML, or as JSON, which is YAML. `config` is what it
// is checked against. The error has a line for each mistake.
Result<RolloutConfig> read_rollout(const std::string& name, std::string_view text,
                                   const Config& config);

// The names that backends and aliases give.
std::vector<std::string> served_names(const Config& config);

}  // namespace hadal::gateway
