// hadal inspect PATH: what is in a model file, and what it needs to run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "hadal/apps/commands.h"
#include "hadal/apps/embedded_model.h"
#include "hadal/apps/flags.h"
#include "hadal/format/model_files.h"
#include "hadal/tools/inspect.h"

namespace hadal::apps {
namespace {

struct InspectFlags {
  std::string path;
  std::string quantize;
  int32_t context = 0;
  int32_t sequences = 1;
  bool json = false;
};

Result<InspectReport> inspect(const InspectFlags& flags) {
  InspectOptions options;
  options.context = flags.context;
  options.sequences = flags.sequences;
  if (!flags.quantize.empty()) options.quantize = dtype_from_name(flags.quantize);
  if (flags.path.empty()) {
    HADAL_TRY(const ModelFiles files,
              open_model(embedded_model(), std::string(kEmbeddedModelName)));
    return inspect_model(files, options);
  }
  HADAL_TRY(const ModelFiles files, open_model(flags.path));
  return inspect_model(files, options);
}

}  // namespace

int cmd_inspect(int argc, char** argv) {
  InspectFlags flags;
  CLI::App app("what is in a model file, and what it needs to run", "hadal inspect");
  app.add_option("path", flags.path, "GGUF file or Hugging Face folder [the embedded model]");
  app.add_option("--context,-c", flags.context, "tokens of each sequence [the model's]")
      ->check(CLI::Range(1, 1 << 24));
  app.add_option("--sequences", flags.sequences, "at once [1]")->check(CLI::Range(1, 65'536));
  app.add_option("--quantize", flags.quantize, "memory as with serve --quantize")
      ->check(CLI::IsMember({"q8_0", "q4_k"}));
  app.add_flag("--json", flags.json, "one JSON object");
  if (const int status = parse_line(app, nullptr, argc, argv); status >= 0) return status;
  const Result<InspectReport> report = inspect(flags);
  if (!report) {
    fmt::print(stderr, "hadal inspect: {}\n", report.error().what);
    return 1;
  }
  fmt::print("{}", flags.json ? inspect_json(*report) : inspect_text(*report));
  return 0;
}

}  // namespace hadal::apps
