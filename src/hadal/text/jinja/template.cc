#include "hadal/text/jinja/template.h"

#include <fmt/core.h>

#include <new>
#include <utility>

#include "hadal/text/jinja/interpreter.h"
#include "hadal/text/jinja/parser.h"
#include "hadal/text/jinja/scopes.h"
#include "hadal/text/unicode.h"

namespace hadal::jinja {
namespace {

constexpr size_t kMessageBytesMax = 1000;

tl::unexpected<Error> failed(const Failure& failure, int line) {
  std::string what = failure.what;
  if (what.size() > kMessageBytesMax) {
    what.resize(valid_utf8_prefix(std::string_view(what).substr(0, kMessageBytesMax)));
    what += "...";
  }
  return fail(failure.is_limit ? Code::kTooLarge : Code::kInvalidInput,
              fmt::format("chat template, line {}: {}", line, what));
}

}  // namespace

Result<Template> Template::parse(std::string_view source) {
  if (source.size() > kTemplateBytesMax) {
    return fail(Code::kTooLarge, fmt::format("chat template: {} bytes, at most {}", source.size(),
                                             kTemplateBytesMax));
  }
  if (!is_valid_utf8(source)) return fail(Code::kInvalidInput, "chat template: not UTF-8");
  int line = 1;
  try {
    return Template(std::make_shared<const Program>(resolve(parse_template(source, &line), &line)));
  } catch (const Failure& failure) {
    return failed(failure, line);
  }
}

Result<Str> Template::render(const Dict& variables, const RenderOptions& options) const {
  if (variables.depth() > options.limits.value_depth) {
    return fail(Code::kTooLarge,
                fmt::format("the conversation nests {} levels of lists and objects, "
                            "at most {}",
                            variables.depth(), options.limits.value_depth));
  }
  Interpreter interpreter(*program_, variables, options);
  try {
    return interpreter.run();
  } catch (const Failure& failure) {
    return failed(failure, interpreter.line());
  }
}

Result<Value> foreign_from_json(std::string_view json) {
  Budget budget{Limits{}};
  try {
    return from_json(Value::foreign(std::string(json)), {}, budget);
  } catch (const Failure& failure) {
    return fail(failure.is_limit ? Code::kTooLarge : Code::kInvalidInput, failure.what);
  }
}

}  // namespace hadal::jinja
