// A YAML file as a plain tree with positions: what the configuration is read from.
//
// Of YAML what a configuration needs: maps with scalar keys, lists, scalars, one document. A key
// given twice, an anchor or an alias is an error: the first hides a mistake, the others let a small
// file become a large one. Bounded in bytes, depth and nodes.
//
// Pure: no I/O, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::gateway {

inline constexpr size_t kConfigBytesMax = 4u << 20;
inline constexpr size_t kConfigDepthMax = 32;
inline constexpr size_t kConfigNodesMax = 200'000;

// In the file; both from 1. 0: not in the file.
struct Position {
  int line = 0;
  int column = 0;
};

// One thing wrong with a configuration.
struct ConfigError {
  Position at;
  std::string what;  // one line, names the field
};
using ConfigErrors = std::vector<ConfigError>;

// "line:column: what", each on a line of its own and behind `file` and a colon, where that is
// given.
std::string error_lines(const ConfigErrors& errors, std::string_view file = {});

struct YamlMember;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Position at;
  std::string text;                 // kScalar
  bool quoted = false;              // kScalar: certainly a string
  std::vector<YamlNode> items;      // kList
  std::vector<YamlMember> members;  // kMap, in the file's order
};

struct YamlMember {
  std::string key;
  Position at;  // of the key
  YamlNode value;
};

// An empty file is an empty map.
tl::expected<YamlNode, ConfigErrors> parse_yaml(std::string_view text);

// What a message calls a node: "a list of 3", "'many'".
std::string describe(const YamlNode& node);

}  // namespace hadal::gateway
