// The filters and tests of jinja2 and of transformers' environment. Internal to the interpreter.
#pragma once

#include <string_view>

#include "hadal/text/jinja/methods.h"

namespace hadal::jinja {

using Filter = Value (*)(const Value& value, const Arguments& arguments, Budget& budget);
using Test = bool (*)(const Value& value, const Arguments& arguments, Budget& budget);

// Null when there is no such one.
Filter find_filter(std::string_view name);
Test find_test(std::string_view name);

// Those that work on sequences, for find_filter.
Filter find_sequence_filter(std::string_view name);

// json.dumps(value, ensure_ascii=, indent=, separators=, sort_keys=).
Value to_json(const Value& value, const Arguments& arguments, Budget& budget);
// json.loads(value); what comes of it is as foreign as the text.
Value from_json(const Value& value, const Arguments& arguments, Budget& budget);

}  // namespace hadal::jinja
