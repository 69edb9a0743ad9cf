// Writes GGUF v3 beside the target and renames, so that a reader never meets half a model.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/gguf.h"
#include "hadal/format/gguf_types.h"

namespace hadal {
namespace {

constexpr uint64_t kAlignmentDefault = 32;
constexpr std::string_view kAlignmentKey = "general.alignment";

// A temporary beside `path`, removed unless it was committed.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".XXXXXX") {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (fd_ >= 0) ::close(fd_);
    if (created_) ::unlink(temporary_.c_str());
  }

  Status create() {
    fd_ = ::mkstemp(temporary_.data());
    if (fd_ < 0) return failed("create");
    created_ = true;
    return {};
  }

  Status write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed("write");
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
  }

  Status commit() {
    // mkstemp gives 0600; a model is read by other users too.
    if (::fchmod(fd_, 0644) != 0 || ::fsync(fd_) != 0) return failed("finish");
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("replace");
    created_ = false;
    return {};
  }

 private:
  tl::unexpected<Error> failed(const char* action) const {
    return fail(Code::kUnavailable, path_ + ": cannot " + action + ": " + std::strerror(errno));
  }

  std::string path_, temporary_;
  int fd_ = -1;
  bool created_ = false;
};

class Bytes {
 public:
  template <class T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_text(std::string_view text) {
    put<uint64_t>(text.size());
    text_.append(text);
  }
  void pad_to(uint64_t alignment) {
    text_.resize((text_.size() + alignment - 1) / alignment * alignment);
  }
  std::span<const std::byte> span() const { return std::as_bytes(std::span(text_)); }

 private:
  std::string text_;
};

// Reading widened the numbers; writing takes the kinds that readers of GGUF expect: 32 bits where
// the value fits, single precision for every float that has one.
enum ValueKind : uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kInt64 = 11,
  kFloat64 = 12
};

bool fits_int32(int64_t v) {
  return v >= std::numeric_limits<int32_t>::min() && v <= std::numeric_limits<int32_t>::max();
}

bool fits_float(double v) {
  return !std::isfinite(v) ||
         std::fabs(v) <= static_cast<double>(std::numeric_limits<float>::max());
}

struct ValueWriter {
  Bytes& out;

  void operator()(int64_t v) const {
    if (v >= 0 && v <= std::numeric_limits<uint32_t>::max()) {
      out.put<uint32_t>(kUint32);
      out.put(static_cast<uint32_t>(v));
    } else if (fits_int32(v)) {
      out.put<uint32_t>(kInt32);
      out.put(static_cast<int32_t>(v));
    } else {
      out.put<uint32_t>(kInt64);
      out.put(v);
    }
  }
  void operator()(double v) const {
    if (fits_float(v)) {
      out.put<uint32_t>(kFloat32);
      out.put(static_cast<float>(v));
    } else {
      out.put<uint32_t>(kFloat64);
      out.put(v);
    }
  }
  void operator()(bool v) const {
    out.put<uint32_t>(kBool);
    out.put<uint8_t>(v ? 1 : 0);
  }
  void operator()(const std::string& v) const {
    out.put<uint32_t>(kString);
    out.put_text(v);
  }
  void operator()(const std::vector<int64_t>& v) const {
    const bool narrow = std::all_of(v.begin(), v.end(), fits_int32);
    begin_array(narrow ? kInt32 : kInt64, v.size());
    for (const int64_t x : v) narrow ? out.put(static_cast<int32_t>(x)) : out.put(x);
  }
  void operator()(const std::vector<double>& v) const {
    const bool narrow = std::all_of(v.begin(), v.end(), fits_float);
    begin_array(narrow ? kFloat32 : kFloat64, v.size());
    for (const double x : v) narrow ? out.put(static_cast<float>(x)) : out.put(x);
  }
  void operator()(const std::vector<std::string>& v) const {
    begin_array(kString, v.size());
    for (const std::string& x : v) out.put_text(x);
  }
  void begin_array(uint32_t kind, size_t size) const {
    out.put<uint32_t>(kArray);
    out.put<uint32_t>(kind);
    out.put<uint64_t>(size);
  }
};

// The caller's tensor as the reader will want it.
Status check_source(const GgufTensorSource& tensor, const std::string& path) {
  const std::string field = "tensor " + tensor.name;
  if (!is_plain_name(tensor.name) || tensor.name.empty()) {
    return field_error(Code::kInvalidInput, path, "tensor", shown(tensor.name),
                       "a name of UTF-8 text");
  }
  if (tensor.shape.empty() || tensor.shape.size() > limits::kTensorDimsMax) {
    return field_error(Code::kInvalidInput, path, field,
                       std::to_string(tensor.shape.size()) + " dimensions",
                       "1 to " + std::to_string(limits::kTensorDimsMax));
  }
  if (!ggml_from_dtype(tensor.dtype)) {
    return field_error(Code::kUnsupported, path, field,
                       "type " + std::string(dtype_name(tensor.dtype)),
                       "a type that GGUF has a number for");
  }
  const DTypeInfo& info = dtype_info(tensor.dtype);
  uint64_t elements = 1;
  for (const int64_t extent : tensor.shape) {
    if (extent < 1 || !checked_multiply(elements, static_cast<uint64_t>(extent), &elements)) {
      return field_error(Code::kInvalidInput, path, field,
                         "a dimension of " + std::to_string(extent),
                         "dimensions from 1 whose product is below 2^64");
    }
  }
  uint64_t bytes = 0;
  if (static_cast<uint64_t>(tensor.shape.back()) % info.block_elements != 0 ||
      !checked_multiply(elements / info.block_elements, info.block_bytes, &bytes) ||
      bytes != tensor.data.size()) {
    return field_error(Code::kInvalidInput, path, field,
                       std::to_string(tensor.data.size()) + " bytes",
                       "what its type and shape need in whole blocks");
  }
  return {};
}

uint64_t round_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

Bytes header(const std::map<std::string, GgufValue, std::less<>>& values,
             std::span<const GgufTensorSource> tensors, uint64_t alignment) {
  // A part's keys do not hold for the whole that is written here.
  const auto is_written = [](const auto& entry) { return !entry.first.starts_with("split."); };
  Bytes out;
  for (const char c : std::string_view("GGUF")) out.put(c);
  out.put<uint32_t>(3);
  out.put<uint64_t>(tensors.size());
  out.put<uint64_t>(static_cast<uint64_t>(std::count_if(values.begin(), values.end(), is_written)));
  for (const auto& entry : values) {
    if (!is_written(entry)) continue;
    out.put_text(entry.first);
    std::visit(ValueWriter{out}, entry.second);
  }
  uint64_t offset = 0;
  for (const GgufTensorSource& tensor : tensors) {
    out.put_text(tensor.name);
    out.put(static_cast<uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      out.put(static_cast<uint64_t>(*extent));
    }
    out.put(*ggml_from_dtype(tensor.dtype));
    out.put(offset);
    offset = round_up(offset + tensor.data.size(), alignment);
  }
  out.pad_to(alignment);
  return out;
}

}  // namespace

Status write_gguf(const std::string& path,
                  const std::map<std::string, GgufValue, std::less<>>& values,
                  std::span<const GgufTensorSource> tensors) {
  std::unordered_set<std::string_view> names;
  for (const GgufTensorSource& tensor : tensors) {
    HADAL_TRY_VOID(check_source(tensor, path));
    if (!names.insert(tensor.name).second) {
      return field_error(Code::kInvalidInput, path, "tensor " + tensor.name, "the name twice",
                         "it once");
    }
  }
  uint64_t alignment = kAlignmentDefault;
  if (const auto found = values.find(kAlignmentKey); found != values.end()) {
    const auto* wanted = std::get_if<int64_t>(&found->second);
    if (wanted == nullptr || *wanted < 8 || *wanted > (1 << 20) || (*wanted & (*wanted - 1)) != 0) {
      return field_error(Code::kInvalidInput, path, kAlignmentKey, "another value",
                         "a power of two from 8 to 1048576");
    }
    alignment = static_cast<uint64_t>(*wanted);
  }
  NewFile file(path);
  HADAL_TRY_VOID(file.create());
  HADAL_TRY_VOID(file.write(header(values, tensors, alignment).span()));
  const std::vector<std::byte> padding(alignment);
  for (const GgufTensorSource& tensor : tensors) {
    HADAL_TRY_VOID(file.write(tensor.data));
    const uint64_t rest = round_up(tensor.data.size(), alignment) - tensor.data.size();
    HADAL_TRY_VOID(file.write(std::span(padding).first(rest)));
  }
  return file.commit();
}

}  // namespace hadal
