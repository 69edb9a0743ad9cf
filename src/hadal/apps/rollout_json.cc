#include "hadal/apps/rollout_json.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdlib>

#include "hadal/apps/admin_json.h"

namespace hadal::apps {
namespace {

namespace json = boost::json;
using gateway::ArmSamples;
using gateway::LogHistogram;
using gateway::RateCount;
using gateway::RolloutKind;
using gateway::RolloutPhase;
using gateway::RolloutView;

constexpr double kTail = 0.025;  // on each side, of an interval of 95 %

// Four digits say more than samples can. Not stod(), which throws for the smallest p-values.
double rounded(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

json::object rate_json(RateCount count) {
  return {{"rate", rounded(count.rate())},
          {"low", rounded(gateway::rate_lower_bound(count.hits, count.of, kTail))},
          {"high", rounded(gateway::rate_upper_bound(count.hits, count.of, kTail))}};
}

json::value values_json(const LogHistogram& values) {
  if (values.count() == 0) return nullptr;
  const auto [low, high] = values.median_interval();
  return json::object{{"count", values.count()},
                      {"median", rounded(values.quantile(0.5))},
                      {"low", rounded(low)},
                      {"high", rounded(high)},
                      {"p95", rounded(values.quantile(0.95))}};
}

json::object target_json(const gateway::RolloutTarget& target) {
  json::object object;
  if (!target.model.empty()) object["model"] = target.model;
  if (!target.backends.empty()) {
    object["backends"] = json::array(target.backends.begin(), target.backends.end());
  }
  return object;
}

const gateway::RolloutTarget& target_of(const gateway::RolloutConfig& config, size_t arm) {
  if (config.what() == RolloutKind::kExperiment) return config.arms[arm].target;
  return arm == 0 ? config.baseline : config.candidate;
}

json::object arm_json(const RolloutView& view, size_t arm) {
  const ArmSamples& samples = view.state.arms[arm];
  json::object object;
  object["name"] = view.arms[arm];
  object["share"] = rounded(view.shares[arm]);
  object["target"] = target_json(target_of(view.config, arm));
  object["requests"] = samples.requests;
  object["errors"] = rate_json({samples.errors, samples.requests});
  object["refusals"] = rate_json({samples.refusals, samples.answers()});
  object["first_token"] = values_json(samples.first_token);
  object["between_tokens"] = values_json(samples.between_tokens);
  object["length"] = values_json(samples.length);
  if (!view.state.probes.empty()) {
    const RateCount probes = gateway::passed(view.state.probes[arm]);
    object["probes"] = json::object{
        {"passed", probes.hits}, {"asked", probes.of}, {"of", view.state.probes[arm].size()}};
  }
  return object;
}

size_t steps_of(const gateway::RolloutConfig& config) {
  if (config.what() == RolloutKind::kCanary) return config.steps.size();
  return config.what() == RolloutKind::kBlueGreen ? 2 : 1;
}

json::object view_json(const RolloutView& view) {
  const gateway::RolloutControl& control = view.state.control;
  json::object object;
  object["object"] = "rollout";
  object["name"] = view.config.name;
  object["kind"] = view.config.kind;
  object["model"] = view.config.model;
  object["declared"] = view.declared;
  object["phase"] = gateway::phase_name(control.phase);
  object["reason"] = control.reason;
  object["step"] = control.step + 1;
  object["steps"] = steps_of(view.config);
  object["elapsed_seconds"] = static_cast<double>(control.elapsed.count()) / 1e3;
  object["window_seconds"] = static_cast<double>(view.config.window.count()) / 1e3;
  object["windows"] = control.windows;
  object["looks"] = control.looks + control.ends;
  json::array arms;
  for (size_t arm = 0; arm < view.arms.size(); ++arm) arms.push_back(arm_json(view, arm));
  object["arms"] = std::move(arms);
  if (view.config.is_judged()) {
    json::array compared;
    for (const gateway::Comparison& one : view.verdict.compared) {
      compared.push_back(json::object{{"metric", gateway::metric_name(one.metric)},
                                      {"baseline", rounded(one.baseline)},
                                      {"candidate", rounded(one.candidate)},
                                      {"worse_p", rounded(one.worse_p)},
                                      {"fine_p", rounded(one.fine_p)}});
    }
    object["compared"] = std::move(compared);
    object["verdict"] = view.verdict.reason;
  }
  json::array events;
  for (const gateway::RolloutEvent& event : view.events) {
    events.push_back(json::object{{"at", event.at}, {"what", event.what}});
  }
  object["events"] = std::move(events);
  return object;
}

std::string text_at(const json::object& object, std::string_view key) {
  const json::value& value = object.at(key);
  return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}
double number_at(const json::object& object, std::string_view key) {
  return object.at(key).to_number<double>();
}

std::string rate_text(const json::object& rate) {
  return fmt::format("{:.2f} % ({:.2f} to {:.2f})", 100 * number_at(rate, "rate"),
                     100 * number_at(rate, "low"), 100 * number_at(rate, "high"));
}
std::string values_text(const json::value& values, double scale, std::string_view unit) {
  if (!values.is_object()) return "-";
  const json::object& object = values.as_object();
  return fmt::format("{:.4g} {} ({:.4g} to {:.4g})", scale * number_at(object, "median"), unit,
                     scale * number_at(object, "low"), scale * number_at(object, "high"));
}

void append_arm(const json::object& arm, std::string* out) {
  *out += fmt::format("\n{}, {:g} % of users, {} answers\n", text_at(arm, "name"),
                      100 * number_at(arm, "share"), text_at(arm, "requests"));
  *out += fmt::format("  errors          {}\n", rate_text(arm.at("errors").as_object()));
  *out += fmt::format("  refusals        {}\n", rate_text(arm.at("refusals").as_object()));
  *out += fmt::format("  first token     {}\n", values_text(arm.at("first_token"), 1e3, "ms"));
  *out += fmt::format("  between tokens  {}\n", values_text(arm.at("between_tokens"), 1e3, "ms"));
  *out += fmt::format("  length          {}\n", values_text(arm.at("length"), 1, "characters"));
  if (const json::value* probes = arm.if_contains("probes")) {
    const json::object& counts = probes->as_object();
    *out += fmt::format("  probes          {} of {} passed, {} in all\n", text_at(counts, "passed"),
                        text_at(counts, "asked"), text_at(counts, "of"));
  }
}

std::string view_text(const json::object& view) {
  std::string out = fmt::format("{}: {} of '{}', {}", text_at(view, "name"), text_at(view, "kind"),
                                text_at(view, "model"), text_at(view, "phase"));
  if (!view.at("reason").as_string().empty()) out += fmt::format(" ({})", text_at(view, "reason"));
  out += fmt::format("\nstep {} of {}, {:.0f} s of a window of {:.0f} s\n", text_at(view, "step"),
                     text_at(view, "steps"), number_at(view, "elapsed_seconds"),
                     number_at(view, "window_seconds"));
  for (const json::value& arm : view.at("arms").as_array()) append_arm(arm.as_object(), &out);
  if (const json::value* verdict = view.if_contains("verdict")) {
    out += fmt::format("\nso far: {}\n", std::string(verdict->as_string()));
  }
  for (const json::value& event : view.at("events").as_array()) {
    const json::object& one = event.as_object();
    out +=
        fmt::format("{}  {}\n", utc_text(one.at("at").to_number<int64_t>()), text_at(one, "what"));
  }
  return out;
}

std::string list_text(const json::object& list) {
  std::string out = fmt::format("{:<20}  {:<11}  {:<16}  {:<11}  {:>5}  {:>7}\n", "NAME", "KIND",
                                "MODEL", "PHASE", "STEP", "SHARE");
  for (const json::value& value : list.at("data").as_array()) {
    const json::object& one = value.as_object();
    const json::object& arm = one.at("arms").as_array().at(1).as_object();
    out += fmt::format("{:<20}  {:<11}  {:<16}  {:<11}  {:>2}/{:<2}  {:>5.4g} %\n",
                       text_at(one, "name"), text_at(one, "kind"), text_at(one, "model"),
                       text_at(one, "phase"), text_at(one, "step"), text_at(one, "steps"),
                       100 * number_at(arm, "share"));
  }
  return out;
}

// The library throws where something is missing or of another kind.
Result<std::string> told(std::string_view text, std::string (*tell)(const json::object&)) {
  try {
    return tell(json::parse(text).as_object());
  } catch (const std::exception&) {
    return fail(Code::kCorrupt, "the server's answer is not what was asked for");
  }
}

}  // namespace

std::string rollout_json(const RolloutView& view) { return json::serialize(view_json(view)); }

std::string rollouts_json(const std::vector<RolloutView>& views) {
  json::array data;
  for (const RolloutView& view : views) data.push_back(view_json(view));
  return json::serialize(json::object{{"object", "list"}, {"data", std::move(data)}});
}

Result<std::string> rollout_text(std::string_view json) { return told(json, view_text); }
Result<std::string> rollouts_text(std::string_view json) { return told(json, list_text); }

}  // namespace hadal::apps
