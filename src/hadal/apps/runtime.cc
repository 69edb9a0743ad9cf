#include "hadal/apps/runtime.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <utility>

#include "hadal/apps/embedded_model.h"
#include "hadal/apps/version.h"
#include "hadal/base/limits.h"
#include "hadal/base/page_warmer.h"
#include "hadal/base/threads.h"
#include "hadal/format/identity.h"
#include "hadal/format/model_files.h"
#include "hadal/hw/cpu.h"
#include "hadal/hw/memory.h"
#include "hadal/kernels/backend.h"
#include "hadal/model/model.h"

namespace hadal::apps {
namespace {

Result<ModelFiles> open_files(const RuntimeOptions& options) {
  if (!options.model.empty()) return open_model(options.model);
  if (embedded_model().empty()) {
    return fail(Code::kNotFound, "this build has no embedded model; name one with --model PATH");
  }
  return open_model(embedded_model(), std::string(kEmbeddedModelName));
}

Result<std::optional<DType>> wanted_type(const std::string& name) {
  if (name.empty()) return std::optional<DType>();
  const auto dtype = dtype_from_name(name);
  if (dtype != DType::kQ8_0 && dtype != DType::kQ4_K) {
    return fail(Code::kInvalidInput,
                fmt::format("--quantize: found '{}', expected q8_0 or q4_k", name));
  }
  return dtype;
}

uint64_t random_word() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

Result<EngineOptions> engine_options_of(const RuntimeOptions& options, Speculate speculate) {
  EngineOptions engine;
  if (!options.kv_type.empty() && options.kv_type != "auto") {
    engine.kv_dtype = kv_type_from_name(options.kv_type);
    if (!engine.kv_dtype) {
      return fail(Code::kInvalidInput,
                  fmt::format("--kv-type: found '{}', expected auto, f32, f16, bf16 or int8",
                              options.kv_type));
    }
  }
  engine.context = options.context;
  engine.sequences_max = options.max_sequences;
  engine.kv_bytes = options.kv_memory;
  engine.speculate = speculate;
  if (options.draft_max >= 0) engine.draft_max = options.draft_max;
  if (options.target_itl_ms >= 0) {
    engine.target_itl = Nanos(static_cast<int64_t>(options.target_itl_ms * 1e6));
  }
  engine.random_seed = random_word();
  return engine;
}

}  // namespace

Result<Speculate> wanted_guesses(const RuntimeOptions& options) {
  const std::string& name = options.speculate;
  if (name == "draft" && options.draft.empty()) {
    return fail(Code::kInvalidInput, "--speculate draft: name the draft model with --draft");
  }
  if (name.empty() || name == "auto") return Speculate::kAuto;
  if (name == "off") return Speculate::kOff;
  if (name == "ngram") return Speculate::kNgram;
  if (name == "mtp") return Speculate::kMtp;
  if (name == "draft") return Speculate::kDraft;
  return fail(
      Code::kInvalidInput,
      fmt::format("--speculate: found '{}', expected auto, off, ngram, mtp or draft", name));
}

Result<int32_t> wanted_naive_rows(const RuntimeOptions& options) {
  const std::string& form = options.mla_prefill;
  if (form.empty() || form == "absorbed") return 0;
  if (form == "naive") return kNaiveRows;
  return fail(Code::kInvalidInput,
              fmt::format("--mla-prefill: found '{}', expected absorbed or naive", form));
}

// The layer's cache is kept up only while guesses are measured to pay.
bool wants_next_token_layer(Speculate speculate, bool has_draft) {
  return speculate == Speculate::kMtp || (speculate == Speculate::kAuto && !has_draft);
}

namespace {

// Null without --draft. Guesses are token ids, so both models must mean the same text by each.
Result<std::unique_ptr<Model>> load_draft(const RuntimeOptions& options, Speculate speculate,
                                          const VocabData& vocab, kernels::Backend& backend,
                                          const LoadOptions& load) {
  const std::string& path = options.draft;
  const bool used = speculate == Speculate::kAuto || speculate == Speculate::kDraft;
  if (path.empty() || !used) return nullptr;
  HADAL_TRY(const ModelFiles files, open_model(path));
  HADAL_TRY(const VocabData other, files.vocab());
  const size_t both = std::min(vocab.tokens.size(), other.tokens.size());
  for (size_t i = 0; i < both; ++i) {
    if (vocab.tokens[i] == other.tokens[i]) continue;
    return fail(Code::kInvalidInput,
                fmt::format("--draft {}: another tokenizer: token {} is '{}' there and '{}' in the "
                            "model",
                            path, i, other.tokens[i], vocab.tokens[i]));
  }
  if (other.tokens.size() < vocab.tokens.size()) {
    return fail(Code::kInvalidInput,
                fmt::format("--draft {}: another tokenizer: it has {} tokens, the model's has {}",
                            path, other.tokens.size(), vocab.tokens.size()));
  }
  LoadOptions own;
  own.quantize = load.quantize;
  own.pool = load.pool;
  return load_model(files, backend, own);
}

std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin < list.size();) {
    size_t end = std::min(list.find(',', begin), list.size());
    if (end > begin) names.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

// Hugging Face folders say how their model wants to be sampled. The embedded model is exact work,
// not fiction: greedy.
Result<SamplingDefaults> sampling_defaults(const RuntimeOptions& options, const ModelFiles& files) {
  SamplingDefaults defaults;
  if (options.model.empty()) defaults.temperature = 0.0f;
  const auto* folder = std::get_if<HfModel>(&files.model);
  if (folder == nullptr || !folder->generation) return defaults;
  const JsonConfig& generation = *folder->generation;
  HADAL_TRY(const bool sampled, generation.boolean("do_sample", true));
  if (!sampled) return defaults;
  HADAL_TRY(const double temperature, generation.real("temperature", defaults.temperature));
  HADAL_TRY(const double top_p, generation.real("top_p", defaults.top_p));
  HADAL_TRY(const double min_p, generation.real("min_p", defaults.min_p));
  HADAL_TRY(const double penalty,
            generation.real("repetition_penalty", defaults.repetition_penalty));
  HADAL_TRY(const int64_t top_k, generation.integer("top_k", defaults.top_k, 0, INT32_MAX));
  defaults.temperature = static_cast<float>(temperature);
  defaults.top_p = static_cast<float>(top_p);
  defaults.min_p = static_cast<float>(min_p);
  defaults.top_k = static_cast<int32_t>(top_k);
  defaults.repetition_penalty = static_cast<float>(penalty);
  return defaults;
}

// $XDG_CACHE_HOME/hadal or ~/.cache/hadal; empty where there is neither.
std::string default_pack_cache() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value != nullptr ? value : "");
  };
  const std::filesystem::path caches = variable("XDG_CACHE_HOME"), home = variable("HOME");
  if (caches.is_absolute()) return (caches / "hadal").string();
  if (home.is_absolute()) return (home / ".cache" / "hadal").string();
  return "";
}

// How the model is talked to: the form of its conversations, of its tool calls, of its thinking.
void take_chat(const Tokenizer& tokenizer, const LogSink& log, ServedModel* served) {
  auto chat = ChatFormat::detect(tokenizer);
  if (chat && chat->form() == ChatForm::kNone) {
    log_to(
        log, LogLevel::kWarning,
        "the model names no chat template: conversations are written as \"User: ... Assistant:\"");
    chat = ChatFormat::plain(tokenizer);
  }
  if (chat) {
    served->chat = std::move(*chat);
  } else {
    log_to(log, LogLevel::kWarning, "chat is off: " + chat.error().what);
  }
  std::string_view source = tokenizer.data().chat_template;
  // DeepSeek V4's files have none; its own is known by the vocabulary.
  if (source.empty() && tokenizer.find("｜DSML｜")) source = "｜DSML｜";
  served->own_calls = served->chat && served->chat->renders_calls() && reads_calls(source);
  if (served->own_calls) served->tools = tool_form(source);
  served->reasons = tokenizer.find("<think>").has_value();
}

// Whatever changes a cache row's bits, so that a page on disk is read by who would have computed
// the same.
Result<KvDiskOptions> disk_options(const RuntimeOptions& options, const ModelFiles& files,
                                   const kernels::Backend& backend, ThreadPool& pool) {
  KvDiskOptions disk;
  disk.path = options.kv_disk;
  disk.bytes_max = options.kv_disk_max;
  if (disk.path.empty()) return disk;
  std::string content;
  if (options.model.empty()) {
    content = content_identity(embedded_model(), pool);
  } else {
    HADAL_TRY(content, content_identity(files, pool, disk.path + "/models"));
  }
  disk.identity = fmt::format("model {}, quantize '{}', kernels {}, hadal {}", content,
                              options.quantize, backend.name(), version());
  if (options.mla_prefill == "naive") disk.identity += ", naive prompts";
  disk.epoch = random_word();
  return disk;
}

// Null where there is nothing to do, or no room for it: then pages would push each other out.
std::unique_ptr<PageWarmer> warm_pages(const MappedFile* file, const Engine& engine,
                                       const Clock& clock, const LogSink& log) {
  if (file == nullptr) return nullptr;
  if (file->bytes().size() > memory_info().available) {
    log_to(log, LogLevel::kWarning,
           fmt::format("the weights, {} bytes, are more than the memory that is free: steps will "
                       "wait for the disk",
                       file->bytes().size()));
    return nullptr;
  }
  return std::make_unique<PageWarmer>(
      *file, [&engine] { return engine.idle(); }, clock, log, PageWarmer::Options());
}

}  // namespace

std::string own_model_name(const std::string& model) {
  if (model.empty()) return std::string(kEmbeddedModelName);
  std::filesystem::path path(model);
  if (!path.has_filename()) path = path.parent_path();  // "folder/"
  if (path.extension() == ".gguf") path = path.stem();
  std::string name = path.filename().string();
  // One of a split model's parts stands for all.
  if (const size_t part = name.rfind("-of-"); part != std::string::npos && part > 6) {
    name.resize(part - 6);
  }
  return name.empty() ? "model" : name;
}

PackCacheOptions pack_cache_options(const RuntimeOptions& options) {
  PackCacheOptions cache;
  cache.verify = options.pack_cache_verify;
  cache.bytes_max = options.pack_cache_max;
  if (options.pack_cache == "off") return cache;
  if (options.pack_cache.empty()) {
    cache.folder = default_pack_cache();
  } else {
    cache.folder = options.pack_cache;
    cache.bytes_min = 0;
  }
  return cache;
}

// In the order of construction; destroyed in reverse, so that each outlives what uses it.
struct Runtime::Parts {
  std::optional<Tokenizer> tokenizer;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<kernels::Backend> backend;
  std::unique_ptr<EngineMetrics> metrics;
  ServedModel served;
  std::string summary;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<PageWarmer> warmer;
};

Runtime::Runtime(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Runtime::~Runtime() = default;
Engine& Runtime::engine() { return *parts_->engine; }
std::string Runtime::summary() const { return parts_->summary; }
std::shared_ptr<const ServedModel> Runtime::served() const {
  return {std::shared_ptr<void>(), &parts_->served};  // owned here
}

Result<std::unique_ptr<Runtime>> Runtime::make(const RuntimeOptions& options,
                                               std::shared_ptr<obs::Registry> registry,
                                               const Clock& clock, LogSink log, Progress progress) {
  auto parts = std::make_unique<Parts>();
  LoadOptions load;
  load.progress = std::move(progress);
  HADAL_TRY(load.quantize, wanted_type(options.quantize));
  HADAL_TRY(const Speculate speculate, wanted_guesses(options));
  const int threads = options.threads > 0 ? options.threads : usable_cores();
  parts->pool = std::make_unique<ThreadPool>(threads);
  load.pool = parts->pool.get();
  HADAL_TRY(parts->backend,
            kernels::make_cpu_backend(options.cpu_impl, cpu_features(), *parts->pool));
  HADAL_TRY(const ModelFiles files, open_files(options));
  HADAL_TRY(VocabData vocab, files.vocab());
  HADAL_TRY(auto draft, load_draft(options, speculate, vocab, *parts->backend, load));
  HADAL_TRY(parts->tokenizer, Tokenizer::make(std::move(vocab)));

  ServedModel& served = parts->served;
  served.root = own_model_name(options.model);
  served.names = split_names(options.alias);
  if (served.names.empty()) served.names.push_back(served.root);
  served.created = clock.unix_seconds();
  served.tokenizer = &*parts->tokenizer;
  served.token_cache = std::make_shared<TokenCache>(limits::kTokenCacheBytes);
  take_chat(*parts->tokenizer, log, &served);
  HADAL_TRY(served.defaults, sampling_defaults(options, files));

  HADAL_TRY(const ModelConfig described, model_config(files));
  HADAL_TRY_VOID(Engine::check_vocabulary(*parts->tokenizer, described));
  load.pack_cache = pack_cache_options(options);
  load.lock_pages = options.mlock;
  load.log = log;
  load.drafts = wants_next_token_layer(speculate, draft != nullptr);
  HADAL_TRY(load.naive_rows_min, wanted_naive_rows(options));
  HADAL_TRY(KvDiskOptions disk, disk_options(options, files, *parts->backend, *parts->pool));
  HADAL_TRY(auto model, load_model(files, *parts->backend, load));
  const ModelConfig& config = model->config();
  const std::string parameters =
      config.parameters_total() >= 1'000'000'000
          ? fmt::format("{:.1f} B", static_cast<double>(config.parameters_total()) / 1e9)
          : fmt::format("{:.1f} M", static_cast<double>(config.parameters_total()) / 1e6);
  const uint64_t weight_bytes = model->weight_bytes();
  const MappedFile* const mapped = model->mapped_file();
  const std::string architecture(architecture_name(config.architecture));
  served.fingerprint = fmt::format("hadal-{}", parts->backend->name());

  HADAL_TRY(EngineOptions engine_options, engine_options_of(options, speculate));
  engine_options.kv_disk = std::move(disk);
  parts->metrics = std::make_unique<EngineMetrics>(served.names.front(), std::move(registry));
  HADAL_TRY(parts->engine,
            Engine::make(std::move(model), *parts->tokenizer, *parts->backend, *parts->pool,
                         engine_options, *parts->metrics, clock, log, std::move(draft)));
  served.engine = parts->engine.get();
  parts->warmer = warm_pages(mapped, *parts->engine, clock, log);
  parts->summary =
      fmt::format("{}: {}, {} parameters, {} MB, {}, {} threads, context {}", served.names.front(),
                  architecture, parameters, (weight_bytes + 999'999) / 1'000'000,
                  parts->backend->name(), threads, served.engine->context());
  return std::unique_ptr<Runtime>(new Runtime(std::move(parts)));
}

}  // namespace hadal::apps
