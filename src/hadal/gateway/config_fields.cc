// The one list of what hadal.yaml may say.
#include "hadal/gateway/config.h"

namespace hadal::gateway {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

Section<ServerConfig> server_section() {
  Section<ServerConfig> section("server",
                                "Where the service listens, and who may ask. A change "
                                "of `host`, `port` or `connections` takes effect at the "
                                "next start; keys are read again at every reload.");
  section.text("host", &ServerConfig::host, "address to listen on; `0.0.0.0` for every one")
      .integer("port", &ServerConfig::port, {0, 65'535}, "0: any free one")
      .text("keys_file", &ServerConfig::keys_file,
            "file with a key a line; who asks shows one of them. Without it everybody may ask",
            {"none"})
      .integer("connections", &ServerConfig::connections, {1, 1'000'000},
               "open at once; more are answered 503")
      .inside("tls", &ServerConfig::tls, tls_section(), "HTTPS instead of HTTP")
      .inside("cors", &ServerConfig::cors, cors_section(), "web pages of other origins")
      .texts("trusted_proxies", &ServerConfig::trusted_proxies,
             "addresses and networks (`10.0.0.0/8`) whose `Forwarded`, `X-Forwarded-For` and "
             "`X-Real-IP` say who asks",
             {"none"});
  return section;
}

Section<EngineConfig> engine_section() {
  Section<EngineConfig> section("engine",
                                "How a local model runs; as the flags of `hadal serve` "
                                "with the same names. A change takes effect at the next "
                                "start.");
  section
      .integer("context", &EngineConfig::context, {0, 1 << 24}, "tokens of prompt and answer",
               {"the model's"})
      .integer("max_sequences", &EngineConfig::max_sequences, {0, 65'536},
               "answers generated at once", {"64"})
      .bytes(
          "kv_memory", &EngineConfig::kv_memory, "bytes of cache",
          {"what the sequences need, at most 1G (or 8192 tokens, where these take more) and 3/4 of "
           "the free memory"})
      .choice("kv_type", &EngineConfig::kv_type, {"auto", "f32", "f16", "bf16", "int8"},
              "how the cache holds a row; auto is int8 for models with latent attention, else f16",
              {"auto"})
      .choice("mla_prefill", &EngineConfig::mla_prefill, {"absorbed", "naive"},
              "form of latent attention for pieces of prompts of 256 tokens and more; naive is "
              "faster, and last bits then depend on how a prompt is cut into steps",
              {"absorbed"})
      .text("kv_disk", &EngineConfig::kv_disk,
            "folder that keeps the cache of prompts over restarts", {"none"})
      .bytes("kv_disk_max", &EngineConfig::kv_disk_max, "bytes of that folder")
      .integer("threads", &EngineConfig::threads, {0, 4'096}, "threads that compute",
               {"every core"})
      .choice("quantize", &EngineConfig::quantize, {"q8_0", "q4_k"}, "pack weights while loading",
              {"as the files are"})
      .choice("speculate", &EngineConfig::speculate, {"auto", "off", "ngram", "mtp", "draft"},
              "guess tokens ahead; answers stay the same", {"auto"})
      .text("draft", &EngineConfig::draft, "a smaller model of the same tokenizer, to guess with",
            {"none"})
      .integer("draft_max", &EngineConfig::draft_max, {0, 64},
               "tokens guessed at once for an answer", {"16"})
      .duration("target_itl", &EngineConfig::target_itl, Millis(0), hours(1),
                "time between a stream's tokens that prompts of others may cause; 0s: any")
      .choice("cpu_impl", &EngineConfig::cpu_impl, {"avx512", "avx512bf16", "avx2", "ref"},
              "instructions to use; avx512bf16 rounds more than the others",
              {"the best of the others"})
      .text("pack_cache", &EngineConfig::pack_cache,
            "folder that keeps packed weights for the next start, or `off`",
            {"the user's cache, for large models"})
      .bytes("pack_cache_max", &EngineConfig::pack_cache_max,
             "bytes of that folder; the least recently used models go first",
             {"what the disk has, but a twentieth"})
      .boolean("pack_cache_verify", &EngineConfig::pack_cache_verify,
               "read kept weights whole at start and compare checksums")
      .boolean("mlock", &EngineConfig::mlock,
               "keep packed weights in memory also while nobody asks; needs RLIMIT_MEMLOCK");
  return section;
}

Section<TimeoutConfig> timeout_section() {
  Section<TimeoutConfig> section("timeouts", "How long an upstream may take.");
  section
      .duration("connect", &TimeoutConfig::connect, Millis(1), minutes(10),
                "to accept a connection, TLS included")
      .duration("first_byte", &TimeoutConfig::first_byte, Millis(1), hours(24),
                "from the request's last byte to the head of the answer")
      .duration("idle", &TimeoutConfig::idle, Millis(1), hours(24),
                "between two pieces of an answer");
  return section;
}

Section<HealthConfig> health_section() {
  Section<HealthConfig> section("health",
                                "Whether an upstream lives, asked before a request finds "
                                "out. How many checks in a row count is in `balancing`.");
  section
      .text("path", &HealthConfig::path,
            "what to GET, from the server's root: `/health` of another hadal. A status below 400 "
            "is good",
            {"no checks"})
      .duration("every", &HealthConfig::every, Millis(100), hours(1), "between two checks")
      .duration("timeout", &HealthConfig::timeout, Millis(10), minutes(10),
                "for the head of the answer");
  return section;
}

Section<BalancingConfig> balancing_section() {
  Section<BalancingConfig> section("balancing",
                                   "How requests are spread over the `url` backends "
                                   "that serve a model, and what happens when one "
                                   "fails. See gateway.md.");
  section
      .choice("strategy", &BalancingConfig::strategy,
              {"round_robin", "least_tokens", "two_choices", "prefix"},
              "who gets a request; `prefix`: a conversation returns to whoever holds its cache")
      .number("load_bound", &BalancingConfig::load_bound, {1, 100},
              "with `prefix`: times its share of all requests that a backend may have before "
              "conversations go elsewhere")
      .integer("retries", &BalancingConfig::retries, {0, 10},
               "further attempts of a request, only before the first byte of an answer")
      .number("retry_share", &BalancingConfig::retry_share, {0, 1},
              "retries and hedges together, per request, in the long run")
      .duration(
          "hedge_after", &BalancingConfig::hedge_after, Millis(0), hours(1),
          "without a first byte for so long, a second backend is asked, too, and the first to "
          "answer wins; 0s: never")
      .integer("queue", &BalancingConfig::queue, {0, 1'000'000},
               "requests that wait while all backends have `max_in_flight`; more are answered 429")
      .duration("queue_wait", &BalancingConfig::queue_wait, Millis(0), hours(1),
                "how long one waits before it is answered 429")
      .integer("breaker_failures", &BalancingConfig::breaker_failures, {0, 1'000},
               "failures in a row until a backend gets no more requests; 0: never")
      .duration("breaker_open", &BalancingConfig::breaker_open, Millis(1), hours(1),
                "until one request tries it again; doubled each time that fails, up to 16 times")
      .number("eject_share", &BalancingConfig::eject_share, {0, 1},
              "failures among a backend's requests of ten seconds, 10 at least, above which it "
              "gets no more; 1: never")
      .duration("eject_for", &BalancingConfig::eject_for, Millis(1), hours(24),
                "... for how long, times how often in a row")
      .integer("health_fall", &BalancingConfig::health_fall, {1, 100},
               "failed checks in a row until a backend is down")
      .integer("health_rise", &BalancingConfig::health_rise, {1, 100},
               "good checks in a row until it is up again");
  return section;
}

Section<BackendConfig> backend_section() {
  Section<BackendConfig> section(
      "backends",
      "Who answers. Each has either `model` (run in this process; at most one) or `url` (asked "
      "over HTTP: another hadal, any OpenAI-compatible server, DeepSeek's cloud). Several with "
      "`url` may serve the same model name and share its requests.");
  section.text("name", &BackendConfig::name, "what logs, metrics and errors call it")
      .required()
      .text("model", &BackendConfig::model,
            "GGUF file or Hugging Face folder, or `embedded`: the small one in the program",
            {"none"})
      .texts("names", &BackendConfig::names, "with `model`: the names that it is served under",
             {"the file's"})
      .inside("engine", &BackendConfig::engine, engine_section(), "with `model`: how it runs")
      .text("url", &BackendConfig::url,
            "`http://` or `https://`, with what comes before `/chat/completions`, such as "
            "`https://api.deepseek.com/v1`",
            {"none"})
      .text_map("models", &BackendConfig::models,
                "with `url`: the model names served here, each with the upstream's name for it",
                {"none"})
      .text("key_env", &BackendConfig::key_env,
            "environment variable with the key that the upstream wants", {"none"})
      .text("key_file", &BackendConfig::key_file, "file with that key, read at start and reload",
            {"none"})
      .text("ca_file", &BackendConfig::ca_file,
            "certificates (PEM) that an `https` upstream is verified against", {"the system's"})
      .inside("timeouts", &BackendConfig::timeouts, timeout_section(),
              "with `url`: how long it may take")
      .inside("health", &BackendConfig::health, health_section(), "with `url`: active checks")
      .integer("weight", &BackendConfig::weight, {0, 1'000},
               "share of a model's requests, beside the other backends that serve it; 0: none")
      .boolean("backup", &BackendConfig::backup, "asked only when the others cannot be")
      .integer("max_in_flight", &BackendConfig::max_in_flight, {1, 100'000},
               "requests at once; more go elsewhere or are answered 429")
      .boolean("trusted", &BackendConfig::trusted,
               "with `url`: a server of your own, which may get what `sensitivity` keeps")
      .inside("cost", &BackendConfig::cost, cost_section(), "with `url`: prices and budget")
      .number("overflow_at", &BackendConfig::overflow_at, {0, 1'000},
              "with `model`: from this load on (requests there, as a share of `max_sequences`) "
              "requests go to the `url` backends that serve the same name; 0: never");
  return section;
}

Section<AliasConfig> alias_section() {
  Section<AliasConfig> section(
      "aliases",
      "More names for models, for programs that insist on theirs. Each is a map, or just the "
      "model's name: `gpt-4o: deepseek-v2-lite`. The answer carries the name that was asked for.");
  section.text("model", &AliasConfig::model, "a name that a backend serves")
      .required()
      .boolean("thinking", &AliasConfig::thinking,
               "whether the model thinks first, when the request does not say", {"the model's"})
      .choice("effort", &AliasConfig::effort, {"low", "high", "max"},
              "how hard it thinks, when the request does not say", {"the model's"})
      .boolean("listed", &AliasConfig::listed, "shown by `/v1/models`");
  return section;
}

Section<Config> whole() {
  Section<Config> section("hadal.yaml", "");
  section.inside("server", &Config::server, server_section(), "where it listens, who may ask")
      .list("backends", &Config::backends, backend_section(), "who answers")
      .required()
      .map("aliases", &Config::aliases, &AliasConfig::name, "model", alias_section(),
           "more names for models")
      .inside("cache", &Config::cache, cache_section(), "answers given again")
      .inside("balancing", &Config::balancing, balancing_section(),
              "how requests are spread over backends")
      .inside("store", &Config::store, store_section(), "what must survive a restart")
      .map("tenants", &Config::tenants, &TenantConfig::name, "", tenant_section(),
           "who shares the service")
      .map("prices", &Config::prices, &PriceConfig::model, "", price_section(),
           "what a model's tokens cost")
      .inside("queue", &Config::queue, queue_section(), "who waits for the local model")
      .inside("admin", &Config::admin, admin_section(), "the operator's endpoints")
      .inside("sensitivity", &Config::sensitivity, sensitivity_section(),
              "what must not leave, and what is masked")
      .list("routes", &Config::routes, route_section(), "who may be asked for what")
      .map("rollouts", &Config::rollouts, &RolloutConfig::name, "", rollout_section(),
           "new models and backends, by and by")
      .inside("batches", &Config::batches, batch_section(), "requests in files, for idle time")
      .inside("audit", &Config::audit, audit_section(), "the record of who asked what");
  return section;
}

}  // namespace

const SectionInfo& config_section() {
  static const Section<Config> kWhole = whole();
  return kWhole;
}

}  // namespace hadal::gateway
