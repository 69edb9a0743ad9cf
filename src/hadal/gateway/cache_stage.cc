#include "hadal/gateway/cache_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <utility>

#include "hadal/base/rng.h"
#include "hadal/gateway/cache_flight.h"
#include "hadal/gateway/journey.h"

namespace hadal::gateway {
namespace {

constexpr std::string_view kHeader = "x-hadal-cache";
// Of a body that is looked through on a thread that moves bytes.
constexpr size_t kAtOnceBytes = 16u << 10;

// What is asked for, whatever the address is spelt like; empty: nothing that is kept.
std::string_view subject(const net::HttpRequest& request) {
  if (request.method != "POST") return {};
  for (const std::string_view ending :
       {"/chat/completions", "/completions", "/messages", "/responses"}) {
    if (request.path.ends_with(ending)) return ending;
  }
  return {};
}

uint64_t random_salt() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// Parts of a key. None can hold the separator: JSON and identities have no control characters, and
// headers and addresses cannot.
constexpr char kSeparator = '\x1f';

std::string clean(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return out;
}

// Whether an answer's key is what the filter names. A key begins EPOCH, SCOPE, IDENTITY; a scope
// with the tenant and an identity with the model, each followed by a space.
bool is_of(std::string_view key, const CacheFilter& filter) {
  const size_t scope = key.find(kSeparator) + 1;
  if (scope == 0) return true;  // of nobody that is known
  const size_t identity = key.find(kSeparator, scope) + 1;
  const auto begins = [&](size_t at, const std::string& name, std::string_view then) {
    return name.empty() || (key.substr(at).starts_with(name) &&
                            key.substr(std::min(at + name.size(), key.size())).starts_with(then));
  };
  return begins(scope, filter.tenant, " ") && begins(identity, filter.model, " thinking ");
}

}  // namespace

// One request on its way through.
struct CacheStage::Asked {
  std::shared_ptr<const CacheConfig> config;
  std::string_view control;  // "on", "off", "refresh" or nothing
  std::string model;         // as the client says it
  std::string key;
  std::string group;  // empty: similar questions do not count
  std::string question;
  bool dry_run = false;
  Journey* journey = nullptr;
  uint64_t generation = 0;

  // What is known of the answer before it is there.
  StoredAnswer draft() const {
    StoredAnswer answer;
    answer.key = key;
    answer.group = group;
    answer.question = question;
    answer.generation = generation;
    return answer;
  }
  void tell(CacheMetrics& metrics, std::string_view result) const {
    metrics.asked(result);
    if (journey != nullptr) journey->note_cache(result);
  }
};

CacheStage::CacheStage(const CacheConfig& config, SourceOf source_of, Next next, const Clock& clock,
                       std::shared_ptr<obs::Registry> registry, LogSink log)
    : source_of_(std::move(source_of)),
      next_(std::move(next)),
      clock_(clock),
      log_(std::move(log)),
      metrics_(std::move(registry)),
      memory_(config.memory),
      similar_(static_cast<size_t>(config.semantic.entries)),
      salt_(random_salt()),
      config_(std::make_shared<const CacheConfig>(config)),
      enabled_(config.enabled),
      mover_([this] { move_answers(); }) {}

Result<std::unique_ptr<CacheStage>> CacheStage::make(const CacheConfig& config, SourceOf source_of,
                                                     Next next, const Clock& clock,
                                                     std::shared_ptr<obs::Registry> registry,
                                                     LogSink log) {
  std::unique_ptr<CacheStage> stage(new CacheStage(config, std::move(source_of), std::move(next),
                                                   clock, std::move(registry), std::move(log)));
  if (!config.disk.empty()) HADAL_TRY_VOID(stage->open_disk(config));
  return stage;
}

Status CacheStage::open_disk(const CacheConfig& config) {
  HADAL_TRY(disk_, AnswerDisk::open(config.disk, config.disk_max));
  return disk_->each_question(clock_.unix_seconds(), [this](const StoredAnswer& answer) {
    similar_.add(answer.group, answer.question, answer.key);
  });
}

CacheStage::~CacheStage() {
  {
    std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  queued_.notify_all();
  mover_.join();
}

void CacheStage::configure(const CacheConfig& config) {
  memory_.resize(config.memory);
  similar_.resize(static_cast<size_t>(config.semantic.entries));
  std::lock_guard lock(mutex_);
  enabled_ = config.enabled;
  config_ = std::make_shared<const CacheConfig>(config);
}

std::shared_ptr<const CacheConfig> CacheStage::config() const {
  std::lock_guard lock(mutex_);
  return config_;
}

bool CacheStage::may_keep(const CacheConfig& config, const net::HttpRequest& request,
                          const api::CanonicalRequest& canonical,
                          const AnswerSource& source) const {
  const std::string_view control = request.header(kHeader);
  if (control == "off" || canonical.stateful || source.identity.empty()) return false;
  if (config.answers == "all" || control == "on" || control == "refresh") return true;
  return canonical.temperature == 0.0 || (canonical.seeded && source.keeps_seed);
}

CacheStage::Ask CacheStage::read(const net::HttpRequest& request, std::string_view scope,
                                 Asked* asked) const {
  asked->generation = generation_;
  asked->config = config();
  asked->journey = Journey::of(request);
  const std::string_view what = subject(request);
  if (!asked->config->enabled || what.empty()) return Ask::kPasses;
  const auto canonical = api::canonical_request(request.body);
  const AnswerSource source = canonical ? source_of_(canonical->model) : AnswerSource();
  if (!canonical || canonical->text.size() > asked->config->entry_max ||
      !may_keep(*asked->config, request, *canonical, source)) {
    return Ask::kBypasses;
  }
  const std::string about = fmt::format(
      "{}{sep}{}{sep}{}{sep}{}{sep}{}{sep}{}{sep}", asked->config->epoch, clean(scope),
      clean(source.identity), what, clean(request.query),
      clean(fmt::format("{} {} {}", request.header("anthropic-version"),
                        request.header("anthropic-beta"), request.header("openai-beta"))),
      fmt::arg("sep", kSeparator));
  asked->model = canonical->model;
  asked->key = about + canonical->text;
  asked->control = request.header(kHeader);
  const SemanticConfig& semantic = asked->config->semantic;
  if (semantic.mode != "off" && !canonical->question.empty() &&
      (canonical->single_turn || semantic.multi_turn)) {
    asked->group = about + canonical->frame;
    asked->question = canonical->question;
    asked->dry_run = semantic.mode == "dry-run";
  }
  return Ask::kMayBeKept;
}

std::optional<std::shared_ptr<void>> CacheStage::admit(const Asked& asked,
                                                       const net::HttpRequest& request,
                                                       net::ResponseWriter& writer) const {
  if (!admit_) return nullptr;
  return admit_(request, writer, asked.model);
}

void CacheStage::give(const Asked& asked, const net::HttpRequest& request, const AnswerPtr& answer,
                      net::ResponseWriter& writer, std::string_view result) {
  auto permit = admit(asked, request, writer);
  if (!permit) return;
  permit->reset();  // before he can ask again: he is not under way any more
  replay(asked, answer, writer, result);
}

bool CacheStage::may_answer_at_once(const net::HttpRequest& request) const {
  return enabled_ && request.body.size() <= kAtOnceBytes && !subject(request).empty();
}

bool CacheStage::answer_at_once(net::HttpRequest& request, net::ResponseWriter& writer,
                                std::string_view scope) {
  Asked asked;
  if (read(request, scope, &asked) != Ask::kMayBeKept || asked.control == "refresh") return false;
  const AnswerPtr answer = memory_.find(asked.key, clock_.unix_seconds());
  if (answer == nullptr) return false;
  give(asked, request, answer, writer, "memory");
  return true;
}

void CacheStage::handle(net::HttpRequest request, net::ResponseWriter writer,
                        std::string_view scope) {
  Asked asked;
  const std::shared_ptr<net::RequestNotes> notes = request.notes;  // the request moves on
  const Ask kind = read(request, scope, &asked);
  if (kind == Ask::kBypasses) {
    asked.tell(metrics_, "bypass");
    writer.also({std::string(kHeader), "bypass"});
  }
  if (kind != Ask::kMayBeKept) return next_(std::move(request), std::move(writer));
  if (asked.control != "refresh") {
    if (const AnswerPtr answer = memory_.find(asked.key, clock_.unix_seconds())) {
      return give(asked, request, answer, writer, "memory");
    }
    if (const AnswerPtr answer = find(asked.key)) {
      return give(asked, request, answer, writer, "disk");
    }
  }
  const StoredAnswer draft = asked.draft();
  const auto member = std::make_shared<Flight::Member>(std::move(writer));
  const bool anew = asked.control == "refresh";
  if (!anew) {
    if (const auto flight = under_way(asked.key)) {
      auto permit = admit(asked, request, member->writer);
      if (!permit) return;
      member->permit = std::move(*permit);
      // Its head may go out at once, so the header is there first.
      member->writer.also({std::string(kHeader), "hit"});
      if (flight->join(member)) return asked.tell(metrics_, "joined");
      member->permit.reset();
    } else if (answer_similar(asked, request, member->writer)) {
      return;
    }
  }
  const auto shared = std::make_shared<const net::HttpRequest>(std::move(request));
  for (bool instead = anew;; instead = true) {
    const auto flight = std::make_shared<Flight>(*this, draft, shared, asked.config->entry_max);
    net::ResponseWriter inner = flight->open();
    member->writer.also({std::string(kHeader), "miss"});
    flight->join(member);
    const auto other = begin(flight, instead);
    if (other == nullptr) {
      asked.tell(metrics_, "miss");
      return next_(*shared, std::move(inner));
    }
    // Another was first, a moment ago.
    flight->leave(member);
    auto permit = admit(asked, *shared, member->writer);
    if (!permit) return;
    member->permit = std::move(*permit);
    member->writer.also({std::string(kHeader), "hit"});
    if (other->join(member)) return asked.tell(metrics_, "joined");
    member->permit.reset();
  }
}

std::shared_ptr<Flight> CacheStage::under_way(const std::string& key) const {
  std::lock_guard lock(mutex_);
  const auto found = flights_.find(key);
  return found != flights_.end() ? found->second : nullptr;
}

// Makes it the one that others join. Unless `anew`, one that is there already stays, and is
// returned.
std::shared_ptr<Flight> CacheStage::begin(const std::shared_ptr<Flight>& flight, bool anew) {
  std::lock_guard lock(mutex_);
  auto& place = flights_[flight->key()];
  if (place != nullptr && !anew) return place;
  place = flight;
  return nullptr;
}

AnswerPtr CacheStage::find(const std::string& key) {
  if (disk_ == nullptr) return nullptr;
  auto found = disk_->find(key, clock_.unix_seconds());
  if (!found) {
    log_to(log_, LogLevel::kWarning, "the cache on disk: " + found.error().what);
    return nullptr;
  }
  if (*found != nullptr) memory_.put(*found);
  return *found;
}

bool CacheStage::answer_similar(const Asked& asked, const net::HttpRequest& request,
                                net::ResponseWriter& writer) {
  if (asked.group.empty()) return false;
  const SemanticConfig& semantic = asked.config->semantic;
  const SimilarSearch search =
      similar_.find(asked.group, asked.question, static_cast<float>(semantic.threshold),
                    semantic.guard == "words" ? GuardLevel::kWords : GuardLevel::kFacts);
  if (search.objection != Objection::kNone) metrics_.objected(objection_name(search.objection));
  if (!search.found) return false;
  AnswerPtr answer = memory_.find(search.found->key, clock_.unix_seconds());
  if (answer == nullptr) answer = find(search.found->key);
  if (answer == nullptr) {
    similar_.remove(asked.group, search.found->key);
    return false;
  }
  writer.also({"x-hadal-cache-similarity", fmt::format("{:.3f}", search.found->similarity)});
  if (asked.dry_run) {
    metrics_.would_answer();
    return false;
  }
  give(asked, request, answer, writer, "semantic");
  return true;
}

void CacheStage::replay(const Asked& asked, const AnswerPtr& answer, net::ResponseWriter& writer,
                        std::string_view result) {
  asked.tell(metrics_, result);
  metrics_.saved(answer->tokens);
  const int64_t age = std::max<int64_t>(0, clock_.unix_seconds() - answer->stored);
  std::string body = with_fresh_ids(*answer, Rng(salt_).at(replays_++));
  std::vector<net::Header> headers = {
      {"Content-Type", answer->type}, {std::string(kHeader), "hit"}, {"Age", std::to_string(age)}};
  if (!answer->streamed) return writer.respond(200, std::move(headers), std::move(body));
  headers.push_back({"Cache-Control", "no-cache"});
  headers.push_back({"X-Accel-Buffering", "no"});
  writer.start_stream(200, std::move(headers));
  writer.write(body);
  writer.finish();
}

Result<uint64_t> CacheStage::invalidate(const CacheFilter& filter) {
  ++generation_;
  const auto goes = [&](std::string_view key) { return is_of(key, filter); };
  similar_.erase_if(goes);
  uint64_t gone = memory_.erase_if(goes);
  if (disk_ != nullptr) {
    HADAL_TRY(const uint64_t on_disk, disk_->erase_if(goes));
    gone = std::max(gone, on_disk);  // what is in memory is there, too
  }
  metrics_.invalidated(gone);
  metrics_.holds(memory_.size(), memory_.bytes(), similar_.size());
  return gone;
}

void CacheStage::keep(StoredAnswer answer) {
  if (answer.generation != generation_) return;
  const auto config = this->config();
  answer.stored = clock_.unix_seconds();
  answer.expires = answer.stored + config->ttl.count() / 1'000;
  answer.tokens = api::answered_tokens(answer.body);
  answer.ids = find_ids(answer.body);
  const auto kept = std::make_shared<const StoredAnswer>(std::move(answer));
  memory_.put(kept);
  if (!kept->group.empty()) similar_.add(kept->group, kept->question, kept->key);
  if (disk_ != nullptr) {
    if (const Status written = disk_->put(*kept, kept->stored); !written) {
      log_to(log_, LogLevel::kWarning, "the cache on disk: " + written.error().what);
    }
  }
  metrics_.holds(memory_.size(), memory_.bytes(), similar_.size());
}

void CacheStage::start(const std::shared_ptr<Flight>& flight, net::ResponseWriter writer) {
  begin(flight, true);
  next_(*flight->request(), std::move(writer));
}

void CacheStage::forget(const Flight* flight) {
  std::shared_ptr<Flight> kept;  // destroyed outside the lock
  std::lock_guard lock(mutex_);
  const auto found = flights_.find(flight->key());
  if (found == flights_.end() || found->second.get() != flight) return;
  kept = std::move(found->second);
  flights_.erase(found);
}

void CacheStage::wake(std::shared_ptr<Flight> flight) {
  {
    std::lock_guard lock(queue_mutex_);
    queue_.push_back(std::move(flight));
  }
  queued_.notify_one();
}

void CacheStage::move_answers() {
  std::unique_lock lock(queue_mutex_);
  for (;;) {
    queued_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<Flight> flight = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    flight->pump();
    lock.lock();
  }
}

}  // namespace hadal::gateway
