#include "hadal/format/identity.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "hadal/base/check.h"
#include "hadal/base/file.h"
#include "hadal/base/hash.h"
#include "hadal/base/limits.h"

namespace hadal {
namespace {

constexpr size_t kChunk = 16u << 20;
constexpr uint64_t kMemoBytesMax = 64u << 10;

// What changes whenever a file's bytes may have changed. The time of the last status change cannot
// be set back as the one of the last writing can.
Result<std::string> file_state(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return fail(Code::kUnavailable, path + ": cannot stat: " + std::strerror(errno));
  }
  return fmt::format("{}:{}:{}:{}.{:09}:{}.{:09}", info.st_dev, info.st_ino, info.st_size,
                     info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                     info.st_ctim.tv_nsec);
}

// Lines of "STATE IDENTITY", the latest last.
std::string recall(const std::string& memo, const std::string& state) {
  const auto text = read_file(memo, kMemoBytesMax);
  if (!text) return "";
  const size_t line = ("\n" + *text).find("\n" + state + " ");
  if (line == std::string::npos) return "";
  const size_t begin = line + state.size() + 1;
  std::string identity = text->substr(begin, text->find('\n', begin) - begin);
  return identity.size() == 32 ? identity : "";
}

void remember(const std::string& memo, const std::string& state, const std::string& identity) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path folder = fs::path(memo).parent_path();
  if (fs::create_directories(folder, error)) {
    fs::permissions(folder, fs::perms::owner_all, error);
  }
  std::string text = read_file(memo, kMemoBytesMax).value_or("");
  while (text.size() > kMemoBytesMax / 2) text.erase(0, text.find('\n') + 1);
  // Not written: computed again next time.
  (void)write_file_atomic(memo, text + state + " " + identity + "\n");
}

}  // namespace

std::string content_identity(std::span<const std::byte> bytes, ThreadPool& pool) {
  std::vector<std::string> chunks((bytes.size() + kChunk - 1) / kChunk);
  pool.parallel_for(chunks.size(), 1, [&](size_t begin, size_t end, int) {
    for (size_t i = begin; i < end; ++i) {
      Hasher hasher(i);
      hasher.update(bytes.subspan(i * kChunk, std::min(kChunk, bytes.size() - i * kChunk)));
      chunks[i] = hasher.finish().hex();
    }
  });
  Hasher all(bytes.size());
  for (const std::string& chunk : chunks) all.update(chunk);
  return all.finish().hex();
}

Result<std::string> content_identity(const ModelFiles& files, ThreadPool& pool,
                                     const std::string& memo) {
  const auto parts = files.tensors().parts();
  HADAL_CHECK(!parts.empty(), "a model in memory is hashed as bytes");
  Hasher model;
  for (const MappedFile& part : parts) {
    HADAL_TRY(const std::string state, file_state(part.path()));
    std::string identity = recall(memo, state);
    if (identity.empty()) {
      identity = content_identity(part.bytes(), pool);
      remember(memo, state, identity);
    }
    model.update(identity);
  }
  if (const auto* folder = std::get_if<HfModel>(&files.model)) {
    HADAL_TRY(const std::string config,
              read_file(folder->path + "/config.json", limits::kJsonFileMax));
    model.update(config);
  }
  return model.finish().hex();
}

}  // namespace hadal
