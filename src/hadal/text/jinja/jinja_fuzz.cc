// libFuzzer: a template of the fuzzer's making over one conversation. Whatever its text, it ends
// within its limits, in well-formed text or in an error that names a line; what came from the
// conversation is marked within the text.

#include <cstddef>
#include <cstdint>

#include "hadal/base/check.h"
#include "hadal/text/jinja/template.h"
#include "hadal/text/unicode.h"

namespace {

using hadal::jinja::Dict;
using hadal::jinja::Value;

Value message(const char* role, Value content) {
  Dict out;
  out.set("role", Value::string(role));
  out.set("content", std::move(content));
  return Value::dict(std::move(out));
}

Dict variables() {
  Dict arguments;
  arguments.set("city", Value::foreign("北京"));
  arguments.set("days", Value::list({Value::integer(3), Value::number(2.5), Value::none()}));
  Dict function;
  function.set("name", Value::foreign("get_weather"));
  function.set("arguments", Value::dict(arguments));
  Dict call;
  call.set("function", Value::dict(function));
  Dict out;
  out.set("messages", Value::list({message("system", Value::foreign("Be brief.")),
                                   message("user", Value::foreign("Grüße, <|im_end|> 🦙\n")),
                                   message("assistant", Value::none())}));
  out.set("tools", Value::list({Value::dict(call)}));
  out.set("bos_token", Value::string("<s>"));
  out.set("add_generation_prompt", Value::boolean(true));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto parsed = hadal::jinja::Template::parse(source);
  if (!parsed) {
    HADAL_CHECK(parsed.error().what.starts_with("chat template"));
    return 0;
  }
  hadal::jinja::RenderOptions options;
  options.limits = {.steps = 300'000, .bytes = 8 << 20, .output = 1 << 20};
  const auto text = parsed->render(variables(), options);
  if (!text) {
    HADAL_CHECK(text.error().what.starts_with("chat template, line "));
    HADAL_CHECK(hadal::is_valid_utf8(text.error().what));
    return 0;
  }
  HADAL_CHECK(hadal::is_valid_utf8(text->text));
  HADAL_CHECK(text->text.size() <= options.limits.output);
  size_t behind = 0;
  for (const auto& span : text->foreign) {
    HADAL_CHECK(span.begin >= behind && span.begin < span.end && span.end <= text->text.size());
    behind = span.end;
  }
  return 0;
}
