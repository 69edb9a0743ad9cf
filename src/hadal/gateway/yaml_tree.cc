#include "hadal/gateway/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <exception>
#include <sstream>
#include <utility>

namespace hadal::gateway {
namespace {

Position position_of(const YAML::Mark& mark) {
  return mark.is_null() ? Position{1, 1} : Position{mark.line + 1, mark.column + 1};
}

// Thrown through yaml-cpp, which knows no other way to stop.
struct Stop {
  ConfigError error;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  YamlNode take() { return std::move(root_); }
  bool begun() const { return begun_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (begun_) stop(mark, "a second document; a configuration is one");
    begun_ = true;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    place(YamlNode::Kind::kNull, mark, anchor);
    close();
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    stop(mark, "aliases (*name) are not read here; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode& node = place(YamlNode::Kind::kScalar, mark, anchor);
    node.quoted = !tag.empty() && tag != "?";
    node.text = value;
    // What yaml-cpp's own loader would call null.
    const bool null = value.empty() || value == "~" || value == "null" || value == "Null";
    if (!node.quoted && null) node.kind = YamlNode::Kind::kNull;
    close();
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    place(YamlNode::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    place(YamlNode::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    YamlNode node;
    bool is_key = false;
    bool has_key = false;  // kMap: a key waits for its value
    std::string key;
    Position key_at;
  };

  [[noreturn]] static void stop(const YAML::Mark& mark, std::string what) {
    throw Stop{{position_of(mark), std::move(what)}};
  }

  YamlNode& place(YamlNode::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) stop(mark, "anchors (&name) are not read here");
    if (++nodes_ > kConfigNodesMax) {
      stop(mark, fmt::format("more than {} values", kConfigNodesMax));
    }
    if (levels_.size() >= kConfigDepthMax) {
      stop(mark, fmt::format("nested more than {} deep", kConfigDepthMax));
    }
    Level level;
    level.node.kind = kind;
    level.node.at = position_of(mark);
    if (!levels_.empty() && levels_.back().node.kind == YamlNode::Kind::kMap) {
      level.is_key = !levels_.back().has_key;
    }
    if (level.is_key && kind != YamlNode::Kind::kScalar) {
      stop(mark, "a key must be a plain name");
    }
    levels_.push_back(std::move(level));
    return levels_.back().node;
  }

  void close() {
    Level done = std::move(levels_.back());
    levels_.pop_back();
    if (levels_.empty()) {
      root_ = std::move(done.node);
      return;
    }
    Level& parent = levels_.back();
    if (parent.node.kind == YamlNode::Kind::kList) {
      parent.node.items.push_back(std::move(done.node));
    } else if (done.is_key) {
      take_key(&parent, done.node);
    } else {
      parent.node.members.push_back({std::move(parent.key), parent.key_at, std::move(done.node)});
      parent.has_key = false;
    }
  }

  static void take_key(Level* parent, const YamlNode& node) {
    for (const YamlMember& member : parent->node.members) {
      if (member.key != node.text) continue;
      throw Stop{{node.at,
                  fmt::format("'{}' is given twice, first in line {}", node.text, member.at.line)}};
    }
    parent->key = node.text;
    parent->key_at = node.at;
    parent->has_key = true;
  }

  YamlNode root_;
  std::vector<Level> levels_;
  size_t nodes_ = 0;
  bool begun_ = false;
};

}  // namespace

tl::expected<YamlNode, ConfigErrors> parse_yaml(std::string_view text) {
  const auto fault = [](Position at, std::string what) {
    return tl::unexpected<ConfigErrors>({ConfigError{at, std::move(what)}});
  };
  if (text.size() > kConfigBytesMax) {
    return fault({1, 1},
                 fmt::format("{} bytes, at most {} are read", text.size(), kConfigBytesMax));
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(nul), '\n');
    return fault({static_cast<int>(lines) + 1, 1}, "a NUL byte");
  }
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    while (parser.HandleNextDocument(builder)) {
    }
    YamlNode root = builder.take();
    if (root.kind == YamlNode::Kind::kNull) {
      root.kind = YamlNode::Kind::kMap;
      root.at = {1, 1};
    }
    return root;
  } catch (const Stop& stop) {
    return tl::unexpected<ConfigErrors>({stop.error});
  } catch (const YAML::Exception& error) {
    return fault(position_of(error.mark), "not YAML: " + error.msg);
  } catch (const std::exception& error) {
    return fault({1, 1}, fmt::format("not YAML: {}", error.what()));
  }
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return fmt::format("'{}'", node.text.substr(0, 64));
    case YamlNode::Kind::kList:
      return fmt::format("a list of {}", node.items.size());
    case YamlNode::Kind::kMap:
      return fmt::format("a map of {}", node.members.size());
  }
  return "nothing";
}

std::string error_lines(const ConfigErrors& errors, std::string_view file) {
  std::string lines;
  for (const ConfigError& error : errors) {
    lines += fmt::format("{}{}{}{}:{}: {}", lines.empty() ? "" : "\n", file,
                         file.empty() ? "" : ":", error.at.line, error.at.column, error.what);
  }
  return lines;
}

}  // namespace hadal::gateway
