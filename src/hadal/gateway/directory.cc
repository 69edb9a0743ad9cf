#include "hadal/gateway/directory.h"

namespace hadal::gateway {

Directory::Directory(const std::vector<std::string>& names) {
  for (const std::string& name : names) add_model(name, true);
}

Directory::Directory(const Config& config) {
  for (const BackendConfig& backend : config.backends) {
    for (const std::string& name : backend.names) add_model(name, true);
    for (const auto& [name, upstream] : backend.models) add_model(name, false);
  }
  for (const AliasConfig& alias : config.aliases) {
    const auto model = targets_.find(alias.model);
    if (model == targets_.end()) continue;  // the loader refuses such a file
    ModelTarget target = model->second;
    target.thinking = alias.thinking;
    target.effort = alias.effort;
    targets_.insert_or_assign(alias.name, std::move(target));
    if (alias.listed) listed_.push_back(alias.name);
  }
}

void Directory::add_model(const std::string& name, bool local) {
  (local ? has_local_ : has_remote_) = true;
  const auto [entry, fresh] = targets_.try_emplace(name, ModelTarget{name, false, false, {}, {}});
  (local ? entry->second.local : entry->second.remote) = true;
  if (fresh) listed_.push_back(name);
}

const ModelTarget* Directory::find(std::string_view name) const {
  if (name.empty() && !listed_.empty()) name = listed_.front();
  const auto found = targets_.find(name);
  return found == targets_.end() ? nullptr : &found->second;
}

}  // namespace hadal::gateway
