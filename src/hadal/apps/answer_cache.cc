#include "hadal/apps/answer_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "hadal/apps/version.h"
#include "hadal/base/file.h"
#include "hadal/base/local_time.h"
#include "hadal/gateway/journey.h"
#include "hadal/gateway/secret.h"

namespace hadal::apps {
namespace {

std::vector<std::string> model_parts(const std::string& model) {
  const std::filesystem::path path(model);
  std::error_code error;
  const bool folder = std::filesystem::is_directory(path, error);
  // One of a split model's parts stands for all that lie beside it.
  if (!folder && path.filename().string().find("-of-") == std::string::npos) return {model};
  std::vector<std::string> parts;
  const auto within = folder ? path : path.has_parent_path() ? path.parent_path() : ".";
  for (const auto& entry : std::filesystem::directory_iterator(within, error)) {
    if (entry.is_regular_file(error)) parts.push_back(entry.path().string());
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

// Prompts may hold today's date, so an answer of a local model is one day's.
int64_t today(int64_t unix_seconds) { return local_seconds(unix_seconds) / (24 * 3600); }

}  // namespace

std::string local_identity(const gateway::BackendConfig& local) {
  std::string identity = fmt::format("hadal {} quantize '{}' kv '{}' cpu '{}' context {}",
                                     version(), local.engine.quantize, local.engine.kv_type,
                                     local.engine.cpu_impl, local.engine.context);
  if (local.engine.mla_prefill == "naive") identity += " naive prompts";
  if (local.model == gateway::kEmbedded) return identity + " embedded";
  for (const std::string& part : model_parts(local.model)) {
    const auto stamp = file_stamp(part);
    if (!stamp) continue;  // loading it says what is wrong
    identity += fmt::format(" {} {} {} {} {}", part, stamp->inode, stamp->size, stamp->modified,
                            stamp->changed);
  }
  return identity;
}

Result<std::unique_ptr<AnswerCache>> AnswerCache::make(const gateway::Config& config,
                                                       gateway::CacheStage::Next next,
                                                       const Clock& clock,
                                                       std::shared_ptr<obs::Registry> registry,
                                                       LogSink log) {
  std::unique_ptr<AnswerCache> cache(new AnswerCache(clock));
  auto names = std::make_shared<Names>(config);
  if (const auto* local = config.local()) names->local = local_identity(*local);
  cache->names_ = std::move(names);
  HADAL_TRY(cache->stage_,
            gateway::CacheStage::make(
                config.cache,
                [self = cache.get()](std::string_view model) { return self->source_of(model); },
                std::move(next), clock, std::move(registry), std::move(log)));
  return cache;
}

void AnswerCache::configure(const gateway::Config& config) {
  auto names = std::make_shared<Names>(config);
  {
    std::lock_guard lock(mutex_);
    names->local = names_->local;  // what runs is what was loaded
    names_ = std::move(names);
  }
  stage_->configure(config.cache);
}

bool AnswerCache::answer_at_once(net::HttpRequest& request, net::ResponseWriter& writer) {
  return stage_->answer_at_once(request, writer, scope_of(request));
}

void AnswerCache::handle(net::HttpRequest request, net::ResponseWriter writer) {
  const std::string scope = scope_of(request);
  stage_->handle(std::move(request), std::move(writer), scope);
}

std::string AnswerCache::scope_of(const net::HttpRequest& request) {
  // Whoever shows the same key in the same way sees the same answers; both headers count, since
  // either may be the one that was checked. The key itself is kept nowhere.
  const std::string_view authorization = request.header("authorization");
  const std::string_view api_key = request.header("x-api-key");
  std::string scope;
  if (!authorization.empty() || !api_key.empty()) {
    scope = gateway::hex(gateway::sha256(fmt::format("{}\n{}", authorization, api_key)));
  }
  if (const auto* journey = gateway::Journey::of(request)) {
    scope = fmt::format("{}\n{}", journey->caller()->tenant->name, scope);
    const gateway::Choice choice = journey->choice();
    scope +=
        fmt::format("\n{}\n{}\n{}", choice.version, choice.model, fmt::join(choice.backends, ","));
  }
  return scope;
}

gateway::AnswerSource AnswerCache::source_of(std::string_view model) const {
  std::shared_ptr<const Names> names;
  {
    std::lock_guard lock(mutex_);
    names = names_;
  }
  const gateway::ModelTarget* target = names->directory.find(model);
  if (target == nullptr) return {};
  gateway::AnswerSource source;
  source.identity =
      fmt::format("{} thinking {} effort '{}' ", target->model,
                  target->thinking ? (*target->thinking ? "on" : "off") : "-", target->effort);
  if (target->local) {
    source.identity += fmt::format("{} {} ", names->local, today(clock_.unix_seconds()));
    source.keeps_seed = !target->remote;  // a batch never changes an answer
  }
  for (const gateway::BackendConfig& backend : names->config.backends) {
    for (const auto& [name, upstream] : backend.models) {
      if (name == target->model) source.identity += fmt::format("{} {} ", backend.url, upstream);
    }
  }
  return source;
}

}  // namespace hadal::apps
