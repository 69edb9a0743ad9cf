#include "hadal/model/pack_cache.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "hadal/base/checksum.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".hadalpack";
// Of everything between the files and the backend: how heads are cut out of kv_b, what --quantize
// makes. Any change of the bytes that reach Backend::pack takes the next number.
constexpr std::string_view kRecipe = "1";
constexpr size_t kSamples = 64;
constexpr size_t kSampleBytes = 4096;
constexpr size_t kNameMax = 64;
constexpr auto kPoll = std::chrono::milliseconds(200);
constexpr auto kPatience = std::chrono::minutes(30);

std::string hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

std::string stamp_text(const FileStamp& stamp) {
  return std::to_string(stamp.inode) + " " + std::to_string(stamp.size) + " " +
         std::to_string(stamp.modified) + " " + std::to_string(stamp.changed) + "\n";
}

// Some pages of the weights, evenly spread, so that stamps alone need not be believed.
uint64_t sampled(const TensorFile& tensors) {
  const uint64_t total = tensors.total_bytes();
  uint64_t sum = 0, begin = 0;
  size_t next = 0;
  for (const TensorRecord& tensor : tensors.tensors()) {
    const uint64_t end = begin + tensor.data.size();
    for (; next < kSamples && total / kSamples * next < end; ++next) {
      const uint64_t at = std::max(total / kSamples * next, begin) - begin;
      const size_t size = std::min<size_t>(kSampleBytes, tensor.data.size() - at);
      sum = checksum64(tensor.data.subspan(at, size), sum);
    }
    begin = end;
  }
  return sum;
}

uint64_t described(const TensorFile& tensors) {
  uint64_t sum = 0;
  for (const TensorRecord& tensor : tensors.tensors()) {
    sum = checksum64(tensor.name, sum);
    sum = checksum64(dtype_name(tensor.dtype), sum);
    sum = checksum64(std::as_bytes(std::span(tensor.shape)), sum);
  }
  return sum;
}

// "<name of the model>-<checksum of the key>.hadalpack"
std::string file_name(const PackKey& key) {
  fs::path source(key.source);
  if (!source.has_filename()) source = source.parent_path();
  if (source.extension() == ".gguf") source = source.stem();
  std::string name = source.filename().string().substr(0, kNameMax);
  return name + "-" + hex(key.checksum()) + std::string(kSuffix);
}

std::string absolute(const std::string& path) {
  std::error_code error;
  const fs::path canonical = fs::canonical(path, error);
  return error ? path : canonical.string();
}

}  // namespace

Result<std::string> model_identity(const ModelFiles& files, int64_t* changed) {
  std::string text;
  const auto add = [&](const FileStamp& stamp) {
    text += stamp_text(stamp);
    *changed = std::max(*changed, stamp.changed);
  };
  const TensorFile& tensors = files.tensors();
  for (const MappedFile& part : tensors.parts()) {
    HADAL_TRY(const FileStamp now, file_stamp(part.path()));
    if (now != part.stamp()) {
      return fail(Code::kUnavailable, part.path() + ": has changed since it was opened");
    }
    add(now);
  }
  if (const auto* folder = std::get_if<HfModel>(&files.model)) {
    HADAL_TRY(const FileStamp config,
              file_stamp((fs::path(folder->path) / "config.json").string()));
    add(config);
  }
  text += "tensors " + hex(described(tensors)) + "\n";
  text += "samples " + hex(sampled(tensors)) + "\n";
  return text;
}

std::optional<PackCache> PackCache::make(const PackCacheOptions& options, const ModelFiles& files,
                                         const PackPlan& plan, std::string_view layout,
                                         std::string_view quantize, uint64_t order, LogSink log) {
  if (options.folder.empty() || layout.empty() || files.tensors().parts().empty()) return {};
  if (plan.bytes() < options.bytes_min) return {};
  PackCache cache(files);
  cache.options_ = options;
  cache.log_ = std::move(log);
  int64_t changed = 0;
  auto identity = model_identity(files, &changed);
  if (!identity) {
    cache.give_up(identity.error());
    return {};
  }
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  if (options.settled_ns > 0 && now - changed < options.settled_ns) {
    log_to(cache.log_, LogLevel::kInfo,
           files.path + ": changed just now, so its packed weights are not kept this time");
    return {};
  }
  PackKey& key = cache.key_;
  key.source = absolute(files.path);
  key.identity = std::move(*identity);
  key.family = std::string(layout.substr(0, layout.find('/'))) + " " + std::string(quantize);
  key.recipe = std::string(layout) + " " + std::string(kRecipe) + " " + hex(order);
  cache.path_ = (fs::path(options.folder) / file_name(key)).string();
  return cache;
}

void PackCache::give_up(const Error& error) const {
  log_to(log_, LogLevel::kWarning,
         "packed weights are not kept, so every start packs them again: " + error.what);
}

std::unique_ptr<PackReader> PackCache::open(const PackPlan& plan, ThreadPool* pool) const {
  auto reader = PackReader::open(path_, key_, plan.sizes(), options_.verify, pool);
  if (reader) {
    std::error_code error;
    fs::last_write_time(path_, fs::file_time_type::clock::now(), error);  // the last use
    const uint64_t own = fs::file_size(path_, error);
    if (!error) keep_within_bound(own);
    log_to(log_, LogLevel::kInfo, "packed weights are mapped from " + path_);
    return std::move(*reader);
  }
  if (reader.error().code == Code::kCorrupt) {
    log_to(log_, LogLevel::kWarning, reader.error().what + "; the weights are packed again");
  }
  return nullptr;
}

// A disk is not filled to its end for the sake of a faster start.
bool PackCache::make_room(uint64_t bytes) const {
  if (options_.bytes_max > 0 && bytes > options_.bytes_max) {
    give_up({Code::kTooLarge, options_.folder + ": " + std::to_string(bytes) +
                                  " bytes are wanted, and the folder may have " +
                                  std::to_string(options_.bytes_max)});
    return false;
  }
  keep_within_bound(bytes);
  std::error_code error;
  const fs::space_info space = fs::space(options_.folder, error);
  if (error) return true;  // writing will tell
  const uint64_t spare = std::min<uint64_t>(space.capacity / 20, 10ull << 30);
  if (space.available >= bytes + spare) return true;
  give_up({Code::kExhausted, options_.folder + ": " + std::to_string(bytes) +
                                 " bytes are wanted, of which " + std::to_string(spare) +
                                 " must stay free, and " + std::to_string(space.available) +
                                 " are free"});
  return false;
}

// What is no pack file, or cannot be read, is nobody's.
template <class Body>
void PackCache::each_other(const Body& body) const {
  std::error_code error;
  for (fs::directory_iterator it(options_.folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().string();
    if (name == path_ || !name.ends_with(kSuffix)) continue;
    const auto file = MappedFile::open(name);
    if (!file) continue;
    if (const auto header = parse_pack_header(*file)) body(it->path(), *file, *header);
  }
}

// Others' files go, the least recently used first, until they and `own` bytes of this model are
// within the bound. Whoever has one of them mapped keeps it.
void PackCache::keep_within_bound(uint64_t own) const {
  if (options_.bytes_max == 0) return;
  struct Other {
    fs::file_time_type used;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Other> others;
  uint64_t sum = own;
  each_other([&](const fs::path& path, const MappedFile& file, const PackHeader&) {
    std::error_code gone;
    const auto used = fs::last_write_time(path, gone);
    if (gone) return;
    others.push_back({used, file.bytes().size(), path});
    sum += others.back().bytes;
  });
  std::sort(others.begin(), others.end(),
            [](const Other& a, const Other& b) { return a.used < b.used; });
  for (const Other& other : others) {
    if (sum <= options_.bytes_max) break;
    std::error_code ignored;
    fs::remove(other.path, ignored);
    sum -= other.bytes;
    log_to(log_, LogLevel::kInfo, other.path.string() + ": removed, for the folder's bound");
  }
}

PackCache::Found PackCache::find(const PackPlan& plan, kernels::Backend& backend,
                                 ThreadPool* pool) const {
  std::error_code error;
  fs::create_directories(options_.folder, error);  // a failure shows when the file is created
  const auto start = std::chrono::steady_clock::now();
  for (bool told = false;; told = true) {
    if (auto packed = open(plan, pool)) return {std::move(packed), nullptr};
    auto file = PendingFile::create(path_);
    if (!file) {
      give_up(file.error());
      return {};
    }
    if (*file) {
      // The writer that was waited for may have finished in between.
      if (auto packed = open(plan, pool)) return {std::move(packed), nullptr};
      remove_abandoned(options_.folder, std::string(kSuffix) + PendingFile::kSuffix);
      if (!make_room(plan.bytes())) return {};
      auto writer = PackWriter::make(std::move(**file), key_, plan.sizes(), backend, pool);
      if (writer) return {nullptr, std::move(*writer)};
      give_up(writer.error());
      return {};
    }
    if (std::chrono::steady_clock::now() - start > kPatience) {
      give_up({Code::kDeadline, path_ + ": another process has been writing it for too long"});
      return {};
    }
    if (!told) {
      log_to(log_, LogLevel::kInfo, path_ + ": another process is writing it; waiting");
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::unique_ptr<PackReader> PackCache::publish(std::unique_ptr<PackWriter> writer,
                                               const PackPlan& plan, ThreadPool* pool) const {
  int64_t changed = 0;
  const auto identity = model_identity(*files_, &changed);
  if (!identity || *identity != key_.identity) {
    give_up({Code::kUnavailable, files_->path + ": changed while it was packed"});
    return nullptr;
  }
  if (const Status status = writer->commit(); !status) {
    give_up(status.error());
    return nullptr;
  }
  writer.reset();
  remove_superseded();
  return open(plan, pool);
}

// Files of the same model that nobody can ask for again: its content has changed, or the layout has
// a newer version.
void PackCache::remove_superseded() const {
  each_other([&](const fs::path& path, const MappedFile&, const PackHeader& header) {
    if (header.key.source != key_.source) return;
    const bool same_file = header.key.identity == key_.identity;
    if (same_file && header.key.family != key_.family) return;
    std::error_code ignored;
    fs::remove(path, ignored);
  });
}

}  // namespace hadal
