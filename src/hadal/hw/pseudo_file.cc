#include "hadal/hw/pseudo_file.h"

#include <algorithm>
#include <charconv>

#include "hadal/base/file.h"

namespace hadal::pseudo {
namespace {

constexpr uint64_t kBytesMax = 4ull << 20;  // /proc/cpuinfo of a machine with a thousand cores

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

std::string_view take_until(std::string_view* text, char end) {
  const std::string_view part = text->substr(0, text->find(end));
  text->remove_prefix(std::min(text->size(), part.size() + 1));
  return part;
}

// "12:cpu,cpuacct:/a/b" names cpu; version 2's line is "0::/a/b".
bool names_controller(std::string_view controllers, std::string_view wanted) {
  if (wanted.empty()) return controllers.empty();
  while (!controllers.empty()) {
    if (take_until(&controllers, ',') == wanted) return true;
  }
  return false;
}

}  // namespace

std::string line(const std::string& path) {
  const auto content = read_file(path, kBytesMax);
  if (!content) return {};
  return std::string(trim(std::string_view(*content).substr(0, content->find('\n'))));
}

std::string field(const std::string& path, std::string_view name) {
  const auto content = read_file(path, kBytesMax);
  if (!content) return {};
  for (std::string_view rest = *content; !rest.empty();) {
    std::string_view value = take_until(&rest, '\n');
    if (trim(take_until(&value, ':')) == name) return std::string(trim(value));
  }
  return {};
}

std::optional<uint64_t> entry(const std::string& path, std::string_view name) {
  const auto content = read_file(path, kBytesMax);
  if (!content) return std::nullopt;
  for (std::string_view rest = *content; !rest.empty();) {
    std::string_view value = take_until(&rest, '\n');
    std::string_view key = take_until(&value, ' ');
    if (!key.empty() && key.back() == ':') key.remove_suffix(1);
    if (key != name) continue;
    value = trim(value);
    const bool kilobytes = value.ends_with(" kB");
    if (kilobytes) value.remove_suffix(3);
    const auto found = number(value);
    if (!found) return std::nullopt;
    return kilobytes ? *found * 1024 : *found;
  }
  return std::nullopt;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string> cgroup_folders(const std::string& root, std::string_view controller) {
  const auto groups = read_file(root + "proc/self/cgroup", kBytesMax);
  if (!groups) return {};
  std::string base = root + "sys/fs/cgroup";
  if (!controller.empty()) base += "/" + std::string(controller);
  for (std::string_view rest = *groups; !rest.empty();) {
    std::string_view path = take_until(&rest, '\n');
    take_until(&path, ':');
    if (!names_controller(take_until(&path, ':'), controller)) continue;
    std::vector<std::string> folders;
    while (path.size() > 1) {
      folders.push_back(base + std::string(path));
      path = path.substr(0, path.rfind('/'));
    }
    folders.push_back(base);
    return folders;
  }
  return {};
}

}  // namespace hadal::pseudo
