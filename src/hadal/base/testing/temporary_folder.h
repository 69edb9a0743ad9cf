// For tests: an empty folder that goes with its object.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "hadal/base/check.h"

namespace hadal::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    path_ = (std::filesystem::temp_directory_path() / "hadal_XXXXXX").string();
    HADAL_CHECK(::mkdtemp(path_.data()) != nullptr, path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace hadal::testing
