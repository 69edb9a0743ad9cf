// Files and batches on disk: a folder with one SQLite database and the files' bytes beside it.
//
// Everything is on the disk before its call returns, and a process that is killed at any moment
// leaves what was so returned: a file is written, synced and named before its row is; what has no
// row is removed at the next start. Of a batch's lines each has one row, whose result is written
// once; output files are made of these rows when the batch ends, in the same transaction that says
// so.
//
// Threads: any. One process at a time has a folder.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/api/batch_input.h"
#include "hadal/base/result.h"
#include "hadal/gateway/database.h"

namespace hadal::gateway {

// Times in seconds since 1970; 0: has not happened, or never will.
struct FileRecord {
  std::string id;
  std::string owner;
  std::string filename;
  std::string purpose;
  int64_t bytes = 0;
  int64_t created = 0;
  int64_t expires = 0;
  bool operator==(const FileRecord&) const = default;
};

enum class BatchStatus : uint8_t {
  kValidating,
  kInProgress,
  kFinalizing,
  kCompleted,
  kFailed,
  kExpired,
  kCancelling,
  kCancelled,
};
std::string_view status_name(BatchStatus status);  // as OpenAI spells it
bool has_ended(BatchStatus status);

struct BatchRecord {
  std::string id;
  std::string owner;
  std::string tenant;   // whose requests its lines are
  std::string key_tag;  // ... see TenantPolicy::tag_of
  std::string endpoint;
  std::string window;  // as asked for
  std::string input_file;
  std::string output_file;  // ids; may be empty
  std::string error_file;
  std::string metadata;     // a JSON object, or empty
  std::string errors;       // see api::batch_faults(), or empty
  int64_t result_keep = 0;  // seconds that its results are kept
  BatchStatus status = BatchStatus::kValidating;
  int64_t created = 0, in_progress = 0, expires = 0, finalizing = 0, completed = 0, failed = 0,
          expired = 0, cancelling = 0, cancelled = 0;
  int64_t total = 0, done = 0, done_failed = 0;  // lines; `done` counts both kinds
};

struct FileLimits {
  int64_t files = 1'000;
  int64_t bytes = 4ll << 30;
};

struct Page {
  std::string after = {};  // id; empty: from the beginning
  int64_t limit = 20;
  bool newest_first = true;
};
template <class T>
struct Listed {
  std::vector<T> items;
  bool more = false;
};

class BatchStore {
 public:
  // Makes the folder if there is none. kUnavailable: another process has it, or the disk refuses.
  // kCorrupt, kUnsupported: see KeyStore::open().
  static Result<std::unique_ptr<BatchStore>> open(const std::string& folder,
                                                  Sync sync = Sync::kPower);
  ~BatchStore();

  // `wanted` without id and bytes. kExhausted: the owner's limit; says which.
  Result<FileRecord> add_file(FileRecord wanted, std::string_view bytes, const FileLimits& limits);
  // Of `owner` alone, here and below: another's is kNotFound.
  Result<FileRecord> find_file(std::string_view owner, std::string_view id);
  // kNotFound: `page.after`. `purpose` empty: any.
  Result<Listed<FileRecord>> list_files(std::string_view owner, std::string_view purpose,
                                        const Page& page);
  // kInvalidInput: a batch that has not ended reads it.
  Status remove_file(std::string_view owner, std::string_view id);
  std::string path_of(std::string_view file) const;  // of a file's bytes

  // `wanted` without id, status and counts. kNotFound: the input file. kExhausted: the owner has
  // `batches_max` that have not ended.
  Result<BatchRecord> add_batch(BatchRecord wanted, int64_t batches_max);
  Result<BatchRecord> find_batch(std::string_view owner, std::string_view id);
  Result<Listed<BatchRecord>> list_batches(std::string_view owner, const Page& page);
  // kInvalidInput: it has ended, or is being finished.
  Result<BatchRecord> cancel_batch(std::string_view owner, std::string_view id, int64_t now);

  // For who runs them.
  Result<std::vector<BatchRecord>> unfinished();  // oldest first
  Result<std::string> read_input(const BatchRecord& batch);
  // From validating to in_progress. Nothing happens when it is no longer validating.
  Status begin_batch(std::string_view id, std::span<const api::BatchLine> lines, int64_t now);
  Status fail_batch(std::string_view id, const std::string& errors, int64_t now);
  // Of each line in order: whether its result is there.
  Result<std::vector<bool>> done_lines(std::string_view id);
  struct LineRow {
    std::string custom_id;
    int64_t offset = 0;
    int64_t length = 0;
  };
  Result<LineRow> find_line(std::string_view id, int64_t line);
  // False: it has one already, which stays. `line`: from 0.
  Result<bool> commit_line(std::string_view id, int64_t line, bool good, std::string_view result);
  // Makes the files of its results; a line without one gets `missing` as its error. `as`:
  // kCompleted, kExpired or kCancelled. May be called again after it failed.
  struct Missing {
    std::string code;
    std::string message;
  };
  Status end_batch(std::string_view id, BatchStatus as, const Missing& missing, int64_t now);
  // Removes files that have expired and are not read by a batch, and ended batches created before
  // `batches_before`.
  Status sweep(int64_t now, int64_t batches_before);

 private:
  // Of one read: bounded in bytes, so that nobody waits long for the lock.
  struct ResultRow {
    int64_t line = 0;
    std::string custom_id;
    bool done = false;
    bool good = false;
    std::string text;
  };
  BatchStore(std::string folder, int lock, Database database)
      : folder_(std::move(folder)), lock_(lock), database_(std::move(database)) {}
  Status prepare();
  Status prepare_files();
  Status prepare_batches();
  Status prepare_lines();
  Status remove_orphans();
  Result<FileRecord> file_locked(std::string_view owner, std::string_view id);
  Result<BatchRecord> batch_locked(std::string_view owner, std::string_view id);
  Result<int64_t> place_of(Statement& statement, std::string_view owner, const Page& page);
  Status check_room(const FileRecord& file, const FileLimits& limits);
  Status insert_file(const FileRecord& file);
  Status touch(Statement& statement, std::string_view id, int64_t now);
  Result<std::vector<ResultRow>> results(std::string_view batch, int64_t after);
  // The lines of an output or error file, with their ends.
  template <class Take>
  Status each_result(const BatchRecord& batch, bool good, const Missing& missing, const Take& take);
  Result<std::optional<FileRecord>> make_results(const BatchRecord& batch, bool good,
                                                 const Missing& missing, int64_t now);

  const std::string folder_;  // ends in '/'
  const int lock_;            // a descriptor
  std::mutex mutex_;
  Database database_;  // before its statements
  Statement insert_file_, find_file_, file_by_id_, remove_file_, sum_files_, readers_, old_files_,
      files_down_, files_up_, file_place_;
  Statement insert_batch_, find_batch_, count_pending_, unfinished_, batches_down_, batch_place_,
      cancel_, begin_, fail_, finalize_, end_, old_batches_, remove_batch_;
  Statement insert_line_, done_lines_, find_line_, commit_line_, count_line_, results_,
      remove_lines_;
};

}  // namespace hadal::gateway
