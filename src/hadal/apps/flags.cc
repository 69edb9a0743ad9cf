#include "hadal/apps/flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <limits>

namespace hadal::apps {

Result<uint64_t> parse_bytes(const std::string& text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  std::string unit(rest, end);
  for (char& c : unit) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  int shift = -1;
  if (unit.empty() || unit == "B") shift = 0;
  if (unit == "K" || unit == "KB" || unit == "KIB") shift = 10;
  if (unit == "M" || unit == "MB" || unit == "MIB") shift = 20;
  if (unit == "G" || unit == "GB" || unit == "GIB") shift = 30;
  if (unit == "T" || unit == "TB" || unit == "TIB") shift = 40;
  if (error != std::errc() || shift < 0 || number == 0 ||
      number > (std::numeric_limits<uint64_t>::max() >> shift)) {
    return fail(Code::kInvalidInput,
                fmt::format("found '{}', expected a size such as 512M or 4G", text));
  }
  return number << shift;
}

void add_runtime_flags(CLI::App& app, RuntimeFlags* flags) {
  RuntimeOptions& options = flags->options;
  app.add_option("--model,-m", options.model,
                 "GGUF file or Hugging Face folder [the embedded model]");
  app.add_option("--alias", options.alias, "names to serve it under, comma-separated [its own]");
  app.add_option("--context,-c", options.context, "tokens of prompt and answer [the model's]")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--max-sequences", options.max_sequences, "answers generated at once [64]")
      ->check(CLI::Range(1, 65'536));
  app.add_option(
      "--kv-memory", flags->kv_memory,
      "bytes of cache, as 512M or 4G [what the sequences need, at most 1G (or 8192 tokens, "
      "where these take more) and 3/4 of the free memory]");
  add_kv_type_flag(app, &options);
  add_mla_prefill_flag(app, &options);
  auto* disk = app.add_option("--kv-disk", options.kv_disk,
                              "folder that keeps the cache of prompts over restarts [none]");
  app.add_option("--kv-disk-max", flags->kv_disk_max, "bytes of that folder, as 500M or 10G [10G]")
      ->needs(disk);
  app.add_option("--threads,-t", options.threads, "[every core this process may use]")
      ->check(CLI::Range(1, 4'096));
  app.add_option("--quantize", options.quantize, "q8_0 or q4_k: pack weights while loading");
  app.add_option(
      "--speculate", options.speculate,
      "auto, off, ngram, mtp or draft: guess tokens ahead; answers stay the same [auto]");
  app.add_option("--draft", options.draft,
                 "a smaller model of the same tokenizer, to guess with; GGUF file or folder");
  app.add_option("--draft-max", options.draft_max, "tokens guessed at once for an answer [16]")
      ->check(CLI::Range(0, 64));
  app.add_option("--cpu-impl", options.cpu_impl,
                 "avx512, avx512bf16, avx2 or ref; avx512bf16 rounds more than the others "
                 "[the best of the others]");
  add_pack_cache_flags(app, &options);
  app.add_option("--pack-cache-max", flags->pack_cache_max,
                 "bytes of that folder, as 20G; the least recently used models go first "
                 "[what the disk has, but a twentieth]");
}

void add_kv_type_flag(CLI::App& app, RuntimeOptions* options) {
  app.add_option("--kv-type", options->kv_type,
                 "how the cache holds a row: auto, f32, f16, bf16 or int8 "
                 "[auto: int8 for models with latent attention, else f16]")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "int8"}));
}

void add_mla_prefill_flag(CLI::App& app, RuntimeOptions* options) {
  app.add_option("--mla-prefill", options->mla_prefill,
                 "form of latent attention for long pieces of prompts: absorbed or naive; naive is "
                 "faster, and last bits then depend on how a prompt is cut into steps [absorbed]")
      ->check(CLI::IsMember({"absorbed", "naive"}));
}

void add_pack_cache_flags(CLI::App& app, RuntimeOptions* options) {
  app.add_option("--pack-cache", options->pack_cache,
                 "folder that keeps packed weights for the next start, or off "
                 "[~/.cache/hadal for models over 256 MB]");
  app.add_flag("--pack-cache-verify", options->pack_cache_verify,
               "read kept weights whole at start and compare checksums");
  app.add_flag("--mlock", options->mlock,
               "keep packed weights in memory also while nobody asks; needs RLIMIT_MEMLOCK");
}

int parse_line(CLI::App& app, RuntimeFlags* flags, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help
    return app.exit(success);
  } catch (const CLI::ArgumentMismatch& error) {
    fmt::print(stderr, "{}: {}; a flag is given once, with one value\n", app.get_name(),
               error.what());
    return kUsageError;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "{}: {}; see {} --help\n", app.get_name(), error.what(), app.get_name());
    return kUsageError;
  }
  if (flags == nullptr) return -1;
  const auto read_size = [&](const char* flag, const std::string& text, uint64_t* bytes) {
    if (text.empty()) return true;
    const auto parsed = parse_bytes(text);
    if (!parsed) fmt::print(stderr, "{}: {}: {}\n", app.get_name(), flag, parsed.error().what);
    *bytes = parsed.value_or(0);
    return parsed.has_value();
  };
  RuntimeOptions& options = flags->options;
  if (!read_size("--kv-memory", flags->kv_memory, &options.kv_memory) ||
      !read_size("--kv-disk-max", flags->kv_disk_max, &options.kv_disk_max) ||
      !read_size("--pack-cache-max", flags->pack_cache_max, &options.pack_cache_max)) {
    return kUsageError;
  }
  return -1;
}

}  // namespace hadal::apps
