// Python's jinja2, asked what it makes of cases. For tests.
#pragma once

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>

#include "hadal/text/jinja/value.h"

namespace hadal::testing {

bool have_python_jinja();
std::string file_text(const std::string& path);

// What render_chat.py (beside this) answers, one element a case; nullopt when it could not run.
std::optional<boost::json::array> python_renders(const boost::json::array& cases);

// As a conversation has it: every string is from outside.
jinja::Value jinja_value(const boost::json::value& json);

}  // namespace hadal::testing
