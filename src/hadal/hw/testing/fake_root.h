// A folder that stands for another machine's "/", for tests: given files, removed at the end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "hadal/base/check.h"

namespace hadal {

class FakeRoot {
 public:
  // By path below the root, without a leading slash.
  explicit FakeRoot(const std::map<std::string, std::string>& files) {
    std::string name = (std::filesystem::temp_directory_path() / "hadal_root_XXXXXX").string();
    HADAL_CHECK(::mkdtemp(name.data()) != nullptr, name);
    root_ = name;
    for (const auto& [path, content] : files) {
      std::filesystem::create_directories((root_ / path).parent_path());
      std::ofstream(root_ / path) << content;
    }
  }
  ~FakeRoot() { std::filesystem::remove_all(root_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  // With a slash at its end, as "/" has.
  std::string path() const { return root_.string() + "/"; }

 private:
  std::filesystem::path root_;
};

}  // namespace hadal
