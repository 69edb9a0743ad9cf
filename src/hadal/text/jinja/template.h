// A model's own chat template, run: the Jinja language as Python's jinja2 3.1 has it, in the
// environment that Hugging Face transformers gives to chat templates (trim_blocks, lstrip_blocks,
// break and continue, {% generation %}, raise_exception, strftime_now, its tojson), plus the filter
// from_json that vLLM's and SGLang's own templates use.
//
// A template can reach nothing but the values that it is given: no files, no clock, no memory of
// other renderings. What it costs is bounded by Limits whatever its text.
//
// Threads: immutable after parse(); any number of threads may render one template at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "hadal/base/result.h"
#include "hadal/text/jinja/value.h"

namespace hadal::jinja {

struct Limits {
  uint64_t steps = 50'000'000;     // expressions evaluated, and work on long values
  uint64_t bytes = 1ull << 30;     // of all values made while rendering, none subtracted
  uint64_t output = 128ull << 20;  // bytes of the rendered text
  int depth = 400;                 // of expressions, blocks and macro calls within one another
  int value_depth = 200;           // of lists and dictionaries within one another
};

inline constexpr size_t kTemplateBytesMax = 256u << 10;

struct RenderOptions {
  Limits limits = {};
  // Seconds since 1970, UTC offset added: what strftime_now() reads.
  int64_t local_seconds = 0;
};

struct Program;

class Template {
 public:
  // kInvalidInput with the line, when the text is no template; kTooLarge over the limits above.
  static Result<Template> parse(std::string_view source);

  // `variables` are the names that the template sees. kInvalidInput with the line: it raised, or
  // did what Python would raise for. kTooLarge: over a limit.
  Result<Str> render(const Dict& variables, const RenderOptions& options = {}) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}
  std::shared_ptr<const Program> program_;
};

// JSON text as values that are foreign throughout. kInvalidInput when it is no JSON.
Result<Value> foreign_from_json(std::string_view json);

}  // namespace hadal::jinja
