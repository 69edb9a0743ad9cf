// hadal bench: tokens per second here, as a share of what this machine could do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "hadal/apps/commands.h"
#include "hadal/apps/embedded_model.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/terminal.h"
#include "hadal/base/file.h"
#include "hadal/hw/cpu.h"
#include "hadal/tools/bench.h"
#include "hadal/tools/perplexity.h"
#include "hadal/tools/speculation.h"

namespace hadal::apps {
namespace {

constexpr uint64_t kTextMax = uint64_t{64} << 20;

struct BenchFlags {
  RuntimeOptions runtime;
  BenchOptions bench;
  PerplexityOptions perplexity;
  SpeculationOptions speculation;
  std::string prompt;  // for the model's own answer
  std::string text;    // to measure perplexity with
  bool json = false;
};

Result<std::string> perplexity(const BenchFlags& flags, const ModelFiles& files, Model& model,
                               kernels::Backend& backend) {
  HADAL_TRY(VocabData vocab, files.vocab());
  HADAL_TRY(const Tokenizer tokenizer, Tokenizer::make(std::move(vocab)));
  HADAL_TRY(const std::string text, read_file(flags.text, kTextMax));
  HADAL_TRY(const PerplexityReport report,
            measure_perplexity(model, backend, tokenizer, text, flags.perplexity));
  return flags.json ? perplexity_json(report) : perplexity_text(report);
}

void tell(const std::string& next) {
  if (is_terminal(stderr)) fmt::print(stderr, "{} ...\n", next);
}

// What the embedded model answers at length.
constexpr int kQuestions = 64;
std::string question(int number) {
  return fmt::format("<｜User｜>What is {} * {}?<｜Assistant｜><think>\n", 12 + number * 29 % 83,
                     97 - number * 17 % 79);
}

Result<std::string> speculation(BenchFlags& flags, const ModelFiles& files, Model& model,
                                kernels::Backend& backend, ThreadPool& pool, const Clock& clock,
                                Model* draft) {
  HADAL_TRY(VocabData vocab, files.vocab());
  HADAL_TRY(const Tokenizer tokenizer, Tokenizer::make(std::move(vocab)));
  const EncodeOptions whole{.add_bos = true, .parse_special = true};
  if (!flags.prompt.empty()) {
    flags.speculation.prompts.push_back(tokenizer.encode(flags.prompt, whole));
  } else if (flags.runtime.model.empty()) {
    for (int i = 0; i < kQuestions; ++i) {
      flags.speculation.prompts.push_back(tokenizer.encode(question(i), whole));
    }
  }
  HADAL_TRY(const auto results, bench_speculation(model, draft, tokenizer, backend, pool, clock,
                                                  flags.speculation, tell));
  return flags.json ? speculation_json(results) + "\n" : speculation_text(results);
}

// The report, as it is printed.
Result<std::string> bench(BenchFlags flags) {
  const SystemClock clock;
  const CpuFeatures features = cpu_features();
  ThreadPool pool(flags.runtime.threads > 0 ? flags.runtime.threads : usable_cores());
  HADAL_TRY(auto backend, kernels::make_cpu_backend(flags.runtime.cpu_impl, features, pool));
  const bool embedded = flags.runtime.model.empty();
  HADAL_TRY(const ModelFiles files,
            embedded ? open_model(embedded_model(), std::string(kEmbeddedModelName))
                     : open_model(flags.runtime.model));
  LoadingProgress progress;
  LoadOptions load;
  load.pool = &pool;
  load.progress = [&](uint64_t done, uint64_t total) { progress(done, total); };
  if (!flags.runtime.quantize.empty()) load.quantize = dtype_from_name(flags.runtime.quantize);
  load.pack_cache = pack_cache_options(flags.runtime);
  load.lock_pages = flags.runtime.mlock;
  load.log = stderr_log(LogLevel::kWarning);
  const bool guess = !flags.runtime.speculate.empty();
  HADAL_TRY(flags.speculation.speculate, wanted_guesses(flags.runtime));
  load.drafts =
      guess && wants_next_token_layer(flags.speculation.speculate, !flags.runtime.draft.empty());
  HADAL_TRY(load.naive_rows_min, wanted_naive_rows(flags.runtime));
  // A text's windows pass in shorter steps, and the form is what is to be weighed.
  if (load.naive_rows_min > 0 && !flags.text.empty()) load.naive_rows_min = 1;
  HADAL_TRY(auto model, load_model(files, *backend, load));
  // Steps are measured, not the first touch of their weights.
  if (const MappedFile* file = model->mapped_file()) file->populate(0, file->bytes().size());
  flags.bench.kv_dtype = kv_type_from_name(flags.runtime.kv_type);  // none for "auto"
  flags.perplexity.kv_dtype = flags.bench.kv_dtype;
  flags.speculation.kv_dtype = flags.bench.kv_dtype;
  if (guess) {
    std::unique_ptr<Model> draft;
    if (!flags.runtime.draft.empty()) {
      HADAL_TRY(const ModelFiles other, open_model(flags.runtime.draft));
      load.drafts = false;
      load.naive_rows_min = 0;
      HADAL_TRY(draft, load_model(other, *backend, load));
    }
    return speculation(flags, files, *model, *backend, pool, clock, draft.get());
  }
  if (!flags.text.empty()) return perplexity(flags, files, *model, *backend);
  HADAL_TRY(const BenchReport report,
            run_bench(*model, *backend, pool, clock, features, flags.bench, tell));
  return flags.json ? bench_json(report) : bench_text(report);
}

void add_flags(CLI::App& app, BenchFlags* flags) {
  app.add_option("--model,-m", flags->runtime.model,
                 "GGUF file or Hugging Face folder [the embedded model]");
  app.add_option("--threads,-t", flags->runtime.threads, "[every core this process may use]")
      ->check(CLI::Range(1, 4'096));
  app.add_option("--cpu-impl", flags->runtime.cpu_impl, "avx512, avx2 or ref [the best there is]");
  app.add_option("--quantize", flags->runtime.quantize, "pack weights while loading")
      ->check(CLI::IsMember({"q8_0", "q4_k"}));
  add_pack_cache_flags(app, &flags->runtime);
  add_kv_type_flag(app, &flags->runtime);
  add_mla_prefill_flag(app, &flags->runtime);
  app.add_option("--perplexity", flags->text, "instead of speeds: how well a text is foreseen")
      ->type_name("FILE");
  app.add_option("--window", flags->perplexity.window, "tokens seen together for that [512]")
      ->check(CLI::Range(2, 1 << 20));
  app.add_option("--batch", flags->bench.batches, "sequences that decode together [1,4,8,16,32,64]")
      ->delimiter(',')
      ->check(CLI::Range(1, 4'096));
  app.add_option("--prefill", flags->bench.prefill_tokens, "tokens of the prompt, 0: none [512]")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--step-rows", flags->bench.step_rows,
                 "tokens of the prompt in one step, as serve takes 512 [all]")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--decode", flags->bench.decode_tokens, "steps of each decode run [32]")
      ->check(CLI::Range(1, 1 << 20));
  app.add_flag(
      "--same-token", flags->bench.same_token,
      "all sequences decode one and the same token, and so share experts; otherwise tokens "
      "are drawn");
  app.add_option("--depth", flags->bench.depths,
                 "tokens already in each cache; past 512 they are copies of earlier ones [0]")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20));
  app.add_option_function<int32_t>(
         "--repeats",
         [flags](int32_t count) { flags->bench.repeats = flags->speculation.repeats = count; },
         "runs of each, the median counts [3; with and without guessing: 5]")
      ->check(CLI::Range(1, 1'000));
  app.add_option("--speculate", flags->runtime.speculate,
                 "auto, ngram, mtp or draft; instead of speeds: with and without guessing ahead")
      ->check(CLI::IsMember({"auto", "ngram", "mtp", "draft"}));
  app.add_option("--draft", flags->runtime.draft, "a smaller model of the same tokenizer for that");
  app.add_option("--draft-max", flags->speculation.draft_max, "tokens guessed at once [16]")
      ->check(CLI::Range(1, 64));
  app.add_option("--clients", flags->speculation.clients, "answers under way at once for that [1]")
      ->check(CLI::Range(1, 1'024));
  app.add_option("--answer", flags->speculation.answer_tokens,
                 "tokens of each answer for that [256]")
      ->check(CLI::Range(8, 1 << 20));
  app.add_option("--prompt", flags->prompt, "what the model answers by itself for that")
      ->type_name("TEXT");
  app.add_flag("--json", flags->json, "one JSON object");
}

}  // namespace

int cmd_bench(int argc, char** argv) {
  BenchFlags flags;
  CLI::App app("tokens per second, and this machine's own ceilings", "hadal bench");
  add_flags(app, &flags);
  if (const int status = parse_line(app, nullptr, argc, argv); status >= 0) return status;
  const Result<std::string> report = bench(flags);
  if (!report) {
    fmt::print(stderr, "hadal bench: {}\n", report.error().what);
    return 1;
  }
  fmt::print("{}", *report);
  return 0;
}

}  // namespace hadal::apps
