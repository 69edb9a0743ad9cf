// Tokens to a tree, by the grammar of jinja2/parser.py of Jinja 3.1. Internal to the interpreter.
#pragma once

#include <string_view>

#include "hadal/text/jinja/ast.h"

namespace hadal::jinja {

// Throws Failure with its line in `*line`. The tree is not resolved yet (scopes.h).
Body parse_template(std::string_view source, int* line);

// Whether there is such a filter or test.
bool is_filter(std::string_view name);
bool is_test(std::string_view name);

}  // namespace hadal::jinja
