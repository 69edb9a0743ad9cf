#include "hadal/gateway/rollout_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr size_t kNameBytesMax = 64;

Section<RolloutTarget> target_section(const char* title) {
  Section<RolloutTarget> section(
      title, "Where requests go; what is not said stays as it is without the rollout.");
  section
      .text("model", &RolloutTarget::model, "another model that a backend serves",
            {"the one that is asked"})
      .texts("backends", &RolloutTarget::backends, "only these backends with `url`, by name",
             {"all that serve the model"});
  return section;
}

Section<RolloutArm> arm_section() {
  Section<RolloutArm> section("arms", "The arms of an experiment, each a map.");
  section
      .number("weight", &RolloutArm::weight, {0, 1e6}, "its share of the users, beside the others'")
      .inside("target", &RolloutArm::target, target_section("target"),
              "where its requests go; empty: where they go without the rollout");
  return section;
}

Section<RolloutMargins> margin_section() {
  Section<RolloutMargins> section(
      "margins",
      "By how much the candidate may be worse than the baseline. Worse by more, shown by the test, "
      "is rolled back; not worse by so much, shown by the test, goes on.");
  section.number("errors", &RolloutMargins::errors, {0.0001, 1}, "answers that failed, absolute")
      .number("refusals", &RolloutMargins::refusals, {0.0001, 1}, "answers that refuse, absolute")
      .number("first_token", &RolloutMargins::first_token, {0.02, 100},
              "time to the first token, as a share of the baseline's")
      .number("between_tokens", &RolloutMargins::between_tokens, {0.02, 100},
              "mean time between an answer's tokens, as a share")
      .number("length", &RolloutMargins::length, {0.02, 100},
              "characters of an answer, longer or shorter, as a share")
      .number("score", &RolloutMargins::score, {0, 1}, "probes that pass, absolute");
  return section;
}

Section<RolloutProbes> probe_section() {
  Section<RolloutProbes> section(
      "probes",
      "Questions with known answers, put to both arms, each once in every step; see "
      "[rollouts](rollouts.md#probes).");
  section
      .text("file", &RolloutProbes::file, "YAML list of `{prompt, contains | exact | regex}`",
            {"none"})
      .duration("every", &RolloutProbes::every, milliseconds(10), hours(1),
                "between two questions");
  return section;
}

}  // namespace

Section<RolloutConfig> rollout_section() {
  Section<RolloutConfig> section(
      "rollouts",
      "A share of a model's users goes to another model or to other backends. `canary` and "
      "`blue-green` are judged and go on or back by themselves; `experiment` only reports; "
      "`shadow` "
      "copies requests and throws the answers away. See [rollouts](rollouts.md).");
  section
      .choice("kind", &RolloutConfig::kind, {"canary", "blue-green", "experiment", "shadow"},
              "what it does")
      .text("model", &RolloutConfig::model, "whose requests: a name that a backend or alias gives")
      .required()
      .inside("baseline", &RolloutConfig::baseline, target_section("target"), "where the others go")
      .inside("candidate", &RolloutConfig::candidate, target_section("target"),
              "where the share goes; not of an experiment")
      .numbers("steps", &RolloutConfig::steps, {0.01, 100},
               "of a canary: percent of the users, rising; after the last everybody",
               {"`[1, 5, 25, 50]`"})
      .map("arms", &RolloutConfig::arms, &RolloutArm::name, "", arm_section(),
           "of an experiment: two or more")
      .number("share", &RolloutConfig::share, {0, 100}, "of a shadow: percent of requests copied")
      .integer("in_flight", &RolloutConfig::in_flight, {1, 1'000},
               "of a shadow: copies at once; a request beyond is not copied")
      .duration("window", &RolloutConfig::window, milliseconds(100), hours(24 * 30),
                "how long a step runs before it may pass")
      .integer("windows", &RolloutConfig::windows, {1, 100},
               "how many windows a step may take until the rollout pauses, as nothing is shown")
      .integer("samples", &RolloutConfig::samples, {20, 10'000'000},
               "answers of each arm without which no step passes")
      .number("alpha", &RolloutConfig::alpha, {0.0001, 0.5},
              "probability of rolling back, over the whole rollout, although the candidate is no "
              "worse than `margins`; also of passing a step although it is")
      .inside("margins", &RolloutConfig::margins, margin_section(), "what counts as worse")
      .inside("probes", &RolloutConfig::probes, probe_section(), "questions with known answers")
      .texts("refusal_openings", &RolloutConfig::refusal_openings,
             "an answer that begins so is a refusal, besides those that say `content_filter`",
             {"a list in English and Chinese"})
      .boolean("autostart", &RolloutConfig::autostart,
               "begins when the file is read, otherwise by `hadal rollout start NAME`");
  return section;
}

RolloutKind RolloutConfig::what() const {
  if (kind == "blue-green") return RolloutKind::kBlueGreen;
  if (kind == "experiment") return RolloutKind::kExperiment;
  return kind == "shadow" ? RolloutKind::kShadow : RolloutKind::kCanary;
}

std::string RolloutConfig::identity() const {
  const auto words = [](const RolloutTarget& target) {
    return fmt::format("{}@{}", target.model, fmt::join(target.backends, ","));
  };
  std::string text = fmt::format("{} {} {} {}", kind, model, words(baseline), words(candidate));
  if (what() == RolloutKind::kCanary) text += fmt::format(" {}", fmt::join(steps, ","));
  for (const RolloutArm& arm : arms) {
    text += fmt::format(" {}={}:{}", arm.name, arm.weight, words(arm.target));
  }
  return text;
}

namespace {

// The one rollout at `path`; "" where its fields are the whole text.
class RolloutChecker {
 public:
  RolloutChecker(ConfigReader& reader, const Config& config, const std::vector<std::string>& served)
      : reader_(reader), config_(config), served_(served) {}

  void check(const RolloutConfig& rollout, const std::string& path) {
    path_ = path;
    const bool printable = std::all_of(rollout.name.begin(), rollout.name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '-' || c == '_' || c == '.';
    });
    if (rollout.name.empty() || rollout.name.size() > kNameBytesMax || !printable) {
      fault(path_.empty() ? "name" : "",
            "a rollout's name has 1 to 64 letters, digits, '-', '_' or '.'");
    }
    if (!rollout.model.empty() && !is_served(rollout.model)) {
      fault("model", unknown("no backend or alias is called", rollout.model, served_));
    }
    check_target(rollout.baseline, rollout.model, "baseline");
    check_target(rollout.candidate, rollout.model, "candidate");
    if (rollout.what() == RolloutKind::kExperiment) {
      check_arms(rollout);
    } else {
      check_candidate(rollout);
    }
    check_steps(rollout);
  }

 private:
  void fault(const std::string& field, const std::string& what) {
    const std::string dot = path_.empty() || field.empty() ? "" : ".";
    reader_.fault(path_ + dot + field, what);
  }
  bool was_given(const std::string& field) const {
    return reader_.was_given(path_ + (path_.empty() ? "" : ".") + field);
  }
  bool is_served(const std::string& name) const {
    return std::find(served_.begin(), served_.end(), name) != served_.end();
  }
  static std::string unknown(std::string_view what, const std::string& name,
                             const std::vector<std::string>& known) {
    const std::string near = nearest_name(name, known);
    return fmt::format("{} '{}'{}", what, name.substr(0, 128),
                       near.empty() ? "" : "; did you mean '" + near + "'?");
  }

  void check_target(const RolloutTarget& target, const std::string& asked,
                    const std::string& field) {
    if (!target.model.empty() && !is_served(target.model)) {
      fault(field + ".model", unknown("no backend or alias is called", target.model, served_));
      return;
    }
    const std::string model = real_name(target.model.empty() ? asked : target.model);
    std::vector<std::string> names;
    for (const BackendConfig& backend : config_.backends) names.push_back(backend.name);
    for (size_t i = 0; i < target.backends.size(); ++i) {
      const std::string where = fmt::format("{}.backends[{}]", field, i);
      const auto found = std::find_if(
          config_.backends.begin(), config_.backends.end(),
          [&](const BackendConfig& backend) { return backend.name == target.backends[i]; });
      if (found == config_.backends.end()) {
        fault(where, unknown("there is no backend", target.backends[i], names));
      } else if (!serves(*found, model)) {
        fault(where, fmt::format("backend '{}' does not serve '{}'", found->name, model));
      }
    }
  }
  std::string real_name(const std::string& name) const {
    for (const AliasConfig& alias : config_.aliases) {
      if (alias.name == name) return alias.model;
    }
    return name;
  }
  static bool serves(const BackendConfig& backend, const std::string& model) {
    if (backend.is_local()) {
      return std::find(backend.names.begin(), backend.names.end(), model) != backend.names.end();
    }
    return std::any_of(backend.models.begin(), backend.models.end(),
                       [&](const auto& pair) { return pair.first == model; });
  }

  void check_arms(const RolloutConfig& rollout) {
    for (const char* field : {"candidate", "baseline"}) {
      if (was_given(field)) fault(field, "an experiment has 'arms'");
    }
    if (rollout.arms.size() < 2) fault("arms", "an experiment has two arms or more");
    double weights = 0;
    for (const RolloutArm& arm : rollout.arms) {
      weights += arm.weight;
      check_target(arm.target, rollout.model, fmt::format("arms.{}.target", arm.name));
      if (arm.name.empty() || arm.name.size() > kNameBytesMax ||
          arm.name.find_first_of(" \t\r\n=,;\"") != std::string::npos) {
        fault("arms." + arm.name,
              "an arm's name has 1 to 64 bytes, none of them a space or one of = , ; \"");
      }
    }
    if (rollout.arms.size() >= 2 && weights <= 0) fault("arms", "all weights are 0");
  }

  void check_candidate(const RolloutConfig& rollout) {
    if (was_given("arms")) fault("arms", "belongs to an experiment");
    if (rollout.candidate.empty()) {
      fault("candidate", "'model' or 'backends' is missing: where the share goes");
    } else if (rollout.candidate == rollout.baseline) {
      fault("candidate", "is the same as the baseline");
    }
  }

  void check_steps(const RolloutConfig& rollout) {
    if (was_given("steps") && rollout.what() != RolloutKind::kCanary) {
      fault("steps", "belongs to a canary");
    }
    if (rollout.steps.empty()) fault("steps", "there must be one at least");
    for (size_t i = 1; i < rollout.steps.size(); ++i) {
      if (rollout.steps[i] > rollout.steps[i - 1]) continue;
      fault(fmt::format("steps[{}]", i), "the steps must rise");
    }
    if (was_given("share") && rollout.what() != RolloutKind::kShadow) {
      fault("share", "belongs to a shadow");
    }
  }

  ConfigReader& reader_;
  const Config& config_;
  const std::vector<std::string>& served_;
  std::string path_;
};

}  // namespace

std::vector<std::string> served_names(const Config& config) {
  std::vector<std::string> names;
  for (const BackendConfig& backend : config.backends) {
    names.insert(names.end(), backend.names.begin(), backend.names.end());
    for (const auto& [name, upstream] : backend.models) names.push_back(name);
  }
  for (const AliasConfig& alias : config.aliases) names.push_back(alias.name);
  return names;
}

bool is_rival(const RolloutConfig& one, const RolloutConfig& other) {
  return one.model == other.model && one.what() != RolloutKind::kShadow &&
         other.what() != RolloutKind::kShadow;
}

void check_rollouts(ConfigReader& reader, const Config& config,
                    const std::vector<std::string>& served) {
  RolloutChecker checker(reader, config, served);
  for (size_t i = 0; i < config.rollouts.size(); ++i) {
    const RolloutConfig& rollout = config.rollouts[i];
    const std::string path = "rollouts." + rollout.name;
    checker.check(rollout, path);
    if (config.store.path.empty()) {
      reader.fault(path, "'store.path' is missing: where it is kept over restarts");
    }
    for (size_t j = 0; j < i; ++j) {
      if (!is_rival(rollout, config.rollouts[j])) continue;
      reader.fault(path + ".model", fmt::format("rollout '{}' has the requests of '{}' already",
                                                config.rollouts[j].name, rollout.model));
    }
  }
}

Result<RolloutConfig> read_rollout(const std::string& name, std::string_view text,
                                   const Config& config) {
  auto tree = parse_yaml(text);
  ConfigErrors errors;
  RolloutConfig rollout;
  if (tree) {
    ConfigReader reader;
    const Section<RolloutConfig> section = rollout_section();
    reader.section(section, *tree, "", &rollout);
    rollout.name = name;
    RolloutChecker(reader, config, served_names(config)).check(rollout, "");
    errors = reader.take_errors();
  } else {
    errors = std::move(tree.error());
  }
  if (errors.empty()) return rollout;
  return fail(Code::kInvalidInput, error_lines(errors));
}

}  // namespace hadal::gateway
