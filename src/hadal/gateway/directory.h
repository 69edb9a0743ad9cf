// Which model a client's name means: the names that backends serve, and the operator's aliases.
//
// Immutable once made; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/gateway/config.h"

namespace hadal::gateway {

struct ModelTarget {
  std::string model;             // a name that a backend serves
  bool local = true;             // ... here
  bool remote = false;           // ... over HTTP; may be both
  std::optional<bool> thinking;  // when the request does not say
  std::string effort;
};

class Directory {
 public:
  // Knows only `names`, all local: a service without a configuration file.
  explicit Directory(const std::vector<std::string>& names);
  explicit Directory(const Config& config);

  // An empty name means the first model. Null: nobody knows it.
  const ModelTarget* find(std::string_view name) const;
  // Every name that /v1/models shows: models in the file's order, then aliases.
  const std::vector<std::string>& listed() const { return listed_; }
  bool has_remote() const { return has_remote_; }
  bool has_local() const { return has_local_; }

 private:
  void add_model(const std::string& name, bool local);

  std::map<std::string, ModelTarget, std::less<>> targets_;
  std::vector<std::string> listed_;
  bool has_local_ = false;
  bool has_remote_ = false;
};

}  // namespace hadal::gateway
