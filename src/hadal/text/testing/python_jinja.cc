#include "hadal/text/testing/python_jinja.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace hadal::testing {

bool have_python_jinja() {
  return std::system("/usr/bin/python3 -c 'import jinja2' >/dev/null 2>&1") == 0;
}

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// What render_chat.py (beside this) answers, one element a case; nullopt when it could not run.
std::optional<boost::json::array> python_renders(const boost::json::array& cases) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("hadal_jinja_" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string input = (folder / "cases.json").string();
  const std::string output = (folder / "rendered.json").string();
  std::ofstream(input) << boost::json::serialize(cases);
  const std::string command = "/usr/bin/python3 " HADAL_SOURCE_DIR
                              "/src/hadal/text/testing/render_chat.py " +
                              input + " > " + output;
  std::optional<boost::json::array> rendered;
  if (std::system(command.c_str()) == 0)
    rendered = boost::json::parse(file_text(output)).as_array();
  fs::remove_all(folder);
  return rendered;
}

jinja::Value jinja_value(const boost::json::value& json) {
  namespace bj = boost::json;
  switch (json.kind()) {
    case bj::kind::null:
      return jinja::Value::none();
    case bj::kind::bool_:
      return jinja::Value::boolean(json.get_bool());
    case bj::kind::int64:
      return jinja::Value::integer(json.get_int64());
    case bj::kind::uint64:
      return jinja::Value::integer(static_cast<int64_t>(json.get_uint64()));
    case bj::kind::double_:
      return jinja::Value::number(json.get_double());
    case bj::kind::string:
      return jinja::Value::foreign(std::string(json.get_string()));
    case bj::kind::array: {
      std::vector<jinja::Value> items;
      for (const bj::value& item : json.get_array()) items.push_back(jinja_value(item));
      return jinja::Value::list(std::move(items));
    }
    case bj::kind::object:
      break;
  }
  jinja::Dict dict;
  for (const auto& [key, value] : json.get_object()) {
    dict.set(jinja::Value::foreign(std::string(key)), jinja_value(value));
  }
  return jinja::Value::dict(std::move(dict));
}

}  // namespace hadal::testing
