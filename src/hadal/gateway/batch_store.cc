#include "hadal/gateway/batch_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "hadal/base/file.h"
#include "hadal/gateway/batch_tables.h"
#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

constexpr size_t kIdBytes = 12;
constexpr const char* kFiles = "files/";

Result<std::string> new_id(std::string_view prefix) {
  HADAL_TRY(const std::string random, random_bytes(kIdBytes));
  return fmt::format("{}{}", prefix, hex(random));
}

tl::unexpected<Error> disk_error(const std::string& path, const char* action) {
  return fail(Code::kUnavailable,
              fmt::format("'{}': cannot {}: {}", path, action, std::strerror(errno)));
}

Status make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return disk_error(path, "make the folder");
}

// Dropped by the kernel when the process ends, however it ends.
Result<int> lock_folder(const std::string& folder) {
  const std::string path = folder + "lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return disk_error(path, "open");
  if (::flock(file, LOCK_EX | LOCK_NB) == 0) return file;
  ::close(file);
  return fail(Code::kUnavailable,
              fmt::format("'{}': another process runs the batches of this folder", folder));
}

tl::unexpected<Error> no_file(std::string_view id) {
  return fail(Code::kNotFound, fmt::format("there is no file '{}'", id.substr(0, 64)));
}

tl::unexpected<Error> no_batch(std::string_view id) {
  return fail(Code::kNotFound, fmt::format("there is no batch '{}'", id.substr(0, 64)));
}

}  // namespace

std::string_view status_name(BatchStatus status) {
  constexpr std::string_view kNames[] = {"validating", "in_progress", "finalizing", "completed",
                                         "failed",     "expired",     "cancelling", "cancelled"};
  return kNames[static_cast<size_t>(status)];
}

bool has_ended(BatchStatus status) {
  return status == BatchStatus::kCompleted || status == BatchStatus::kFailed ||
         status == BatchStatus::kExpired || status == BatchStatus::kCancelled;
}

Result<std::unique_ptr<BatchStore>> BatchStore::open(const std::string& folder, Sync sync) {
  const std::string path = folder.ends_with('/') ? folder : folder + '/';
  HADAL_TRY_VOID(make_folder(path));
  HADAL_TRY_VOID(make_folder(path + kFiles));
  HADAL_TRY(const int lock, lock_folder(path));
  auto database = Database::open(path + "batches.db", sync);
  if (!database) {
    ::close(lock);
    return fail(std::move(database.error()));
  }
  std::unique_ptr<BatchStore> store(new BatchStore(path, lock, std::move(*database)));
  HADAL_TRY_VOID(store->prepare());
  HADAL_TRY_VOID(store->remove_orphans());
  return store;
}

BatchStore::~BatchStore() { ::close(lock_); }

Status BatchStore::prepare() {
  HADAL_TRY_VOID(make_tables(database_, {"batches", 1, kBatchSchema}));
  HADAL_TRY_VOID(prepare_files());
  HADAL_TRY_VOID(prepare_batches());
  return prepare_lines();
}

Status BatchStore::prepare_files() {
  HADAL_TRY(insert_file_, database_.prepare("INSERT INTO batch_files(" HADAL_FILE_COLUMNS
                                            ") VALUES (?,?,?,?,?,?,?)"));
  HADAL_TRY(find_file_, database_.prepare("SELECT " HADAL_FILE_COLUMNS
                                          " FROM batch_files WHERE owner = ? AND id = ?"));
  HADAL_TRY(file_by_id_, database_.prepare("SELECT 1 FROM batch_files WHERE id = ?"));
  HADAL_TRY(remove_file_, database_.prepare("DELETE FROM batch_files WHERE id = ?"));
  HADAL_TRY(sum_files_, database_.prepare("SELECT count(*), coalesce(sum(bytes), 0) "
                                          "FROM batch_files WHERE owner = ?"));
  HADAL_TRY(readers_,
            database_.prepare("SELECT id FROM batches WHERE input_file = ? AND ended = 0"));
  HADAL_TRY(old_files_, database_.prepare(
                            "SELECT id FROM batch_files WHERE expires > 0 AND expires <= ? AND id "
                            "NOT IN (SELECT input_file FROM batches WHERE ended = 0) LIMIT 100"));
  HADAL_TRY(file_place_,
            database_.prepare("SELECT number FROM batch_files WHERE owner = ? AND id = ?"));
  HADAL_TRY(files_down_, database_.prepare("SELECT " HADAL_FILE_COLUMNS
                                           " FROM batch_files WHERE owner = ? AND number < ? AND "
                                           "?3 IN ('', purpose) ORDER BY number DESC LIMIT ?"));
  HADAL_TRY(files_up_, database_.prepare("SELECT " HADAL_FILE_COLUMNS
                                         " FROM batch_files WHERE owner = ? AND number > ? AND "
                                         "?3 IN ('', purpose) ORDER BY number LIMIT ?"));
  return {};
}

Status BatchStore::prepare_batches() {
  HADAL_TRY(insert_batch_,
            database_.prepare("INSERT INTO batches(" HADAL_BATCH_COLUMNS
                              ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"));
  HADAL_TRY(find_batch_, database_.prepare("SELECT " HADAL_BATCH_COLUMNS
                                           " FROM batches WHERE owner = ? AND id = ?"));
  HADAL_TRY(count_pending_,
            database_.prepare("SELECT count(*) FROM batches WHERE owner = ? AND ended = 0"));
  HADAL_TRY(unfinished_, database_.prepare("SELECT " HADAL_BATCH_COLUMNS
                                           " FROM batches WHERE ended = 0 ORDER BY number"));
  HADAL_TRY(batch_place_,
            database_.prepare("SELECT number FROM batches WHERE owner = ? AND id = ?"));
  HADAL_TRY(batches_down_, database_.prepare("SELECT " HADAL_BATCH_COLUMNS
                                             " FROM batches WHERE owner = ? AND number < ? "
                                             "ORDER BY number DESC LIMIT ?"));
  HADAL_TRY(cancel_, database_.prepare("UPDATE batches SET status = 6, cancelling = ?2 "
                                       "WHERE id = ?1 AND status IN (0, 1)"));
  HADAL_TRY(begin_, database_.prepare("UPDATE batches SET status = 1, in_progress = ?2, total = ?3 "
                                      "WHERE id = ?1 AND status = 0"));
  HADAL_TRY(fail_, database_.prepare("UPDATE batches SET status = 4, failed = ?2, errors = ?3, "
                                     "ended = 1 WHERE id = ?1 AND status = 0"));
  HADAL_TRY(finalize_, database_.prepare("UPDATE batches SET status = 2, finalizing = ?2 "
                                         "WHERE id = ?1 AND status = 1"));
  HADAL_TRY(end_,
            database_.prepare("UPDATE batches SET status = ?2, output_file = ?3, error_file = ?4, "
                              "completed = CASE ?2 WHEN 3 THEN ?5 ELSE completed END, "
                              "expired = CASE ?2 WHEN 5 THEN ?5 ELSE expired END, "
                              "cancelled = CASE ?2 WHEN 7 THEN ?5 ELSE cancelled END, "
                              "done_failed = done_failed + total - done, done = total, ended = 1 "
                              "WHERE id = ?1 AND ended = 0"));
  HADAL_TRY(old_batches_,
            database_.prepare("SELECT id FROM batches WHERE ended = 1 AND created < ? LIMIT 100"));
  HADAL_TRY(remove_batch_, database_.prepare("DELETE FROM batches WHERE id = ?"));
  return {};
}

Status BatchStore::prepare_lines() {
  HADAL_TRY(insert_line_,
            database_.prepare("INSERT INTO batch_lines(batch, line, custom_id, at, size) "
                              "VALUES (?,?,?,?,?)"));
  HADAL_TRY(done_lines_,
            database_.prepare("SELECT done FROM batch_lines WHERE batch = ? ORDER BY line"));
  HADAL_TRY(find_line_, database_.prepare("SELECT custom_id, at, size FROM batch_lines "
                                          "WHERE batch = ? AND line = ?"));
  HADAL_TRY(commit_line_, database_.prepare("UPDATE batch_lines SET done = ?3, result = ?4 "
                                            "WHERE batch = ?1 AND line = ?2 AND done = 0"));
  HADAL_TRY(count_line_,
            database_.prepare("UPDATE batches SET done = done + 1, done_failed = done_failed + ?2 "
                              "WHERE id = ?1"));
  HADAL_TRY(results_, database_.prepare("SELECT line, custom_id, done, result FROM batch_lines "
                                        "WHERE batch = ? AND line > ? ORDER BY line"));
  HADAL_TRY(remove_lines_, database_.prepare("DELETE FROM batch_lines WHERE batch = ?"));
  return {};
}

// Files whose rows were never written, or are gone.
Status BatchStore::remove_orphans() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + kFiles, error)) {
    Run run = database_.run(file_by_id_);
    const std::string name = entry.path().filename().string();
    HADAL_TRY(const bool known, run.bind(std::string_view(name)).step());
    if (!known) std::filesystem::remove(entry.path(), error);
  }
  if (error) return fail(Code::kUnavailable, folder_ + kFiles + ": " + error.message());
  return {};
}

std::string BatchStore::path_of(std::string_view file) const {
  return folder_ + kFiles + std::string(file);
}

Status BatchStore::insert_file(const FileRecord& file) {
  Run run = database_.run(insert_file_);
  bind_file(run, file);
  return run.done();
}

Status BatchStore::check_room(const FileRecord& file, const FileLimits& limits) {
  Run run = database_.run(sum_files_);
  HADAL_TRY(const bool row, run.bind(std::string_view(file.owner)).step());
  const int64_t files = row ? run.integer(0) : 0;
  const int64_t bytes = file.bytes + (row ? run.integer(1) : 0);
  if (files >= limits.files) {
    return fail(Code::kExhausted,
                fmt::format("there are {} files already, at most {} are kept; remove some", files,
                            limits.files));
  }
  if (bytes <= limits.bytes) return {};
  return fail(Code::kExhausted,
              fmt::format("the files would have {} bytes together, at most {} are kept; remove "
                          "some",
                          bytes, limits.bytes));
}

Result<FileRecord> BatchStore::add_file(FileRecord wanted, std::string_view bytes,
                                        const FileLimits& limits) {
  wanted.bytes = static_cast<int64_t>(bytes.size());
  {
    std::lock_guard lock(mutex_);
    HADAL_TRY_VOID(check_room(wanted, limits));
  }
  HADAL_TRY(wanted.id, new_id("file-"));
  if (auto written = write_file_atomic(path_of(wanted.id), bytes); !written) {
    return fail(Code::kUnavailable, std::move(written.error().what));  // also a full disk
  }
  std::lock_guard lock(mutex_);
  auto inserted = check_room(wanted, limits);  // others may have come meanwhile
  if (inserted) inserted = insert_file(wanted);
  if (!inserted) {
    ::unlink(path_of(wanted.id).c_str());
    return fail(std::move(inserted.error()));
  }
  return wanted;
}

Result<FileRecord> BatchStore::file_locked(std::string_view owner, std::string_view id) {
  Run run = database_.run(find_file_);
  HADAL_TRY(const bool row, run.bind(owner).bind(id).step());
  if (!row) return no_file(id);
  return read_file_row(run);
}

Result<FileRecord> BatchStore::find_file(std::string_view owner, std::string_view id) {
  std::lock_guard lock(mutex_);
  return file_locked(owner, id);
}

Result<int64_t> BatchStore::place_of(Statement& statement, std::string_view owner,
                                     const Page& page) {
  if (page.after.empty()) return page.newest_first ? std::numeric_limits<int64_t>::max() : 0;
  Run run = database_.run(statement);
  HADAL_TRY(const bool row, run.bind(owner).bind(std::string_view(page.after)).step());
  if (row) return run.integer(0);
  return fail(Code::kNotFound, fmt::format("after: there is no '{}'", page.after.substr(0, 64)));
}

Result<Listed<FileRecord>> BatchStore::list_files(std::string_view owner, std::string_view purpose,
                                                  const Page& page) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(const int64_t place, place_of(file_place_, owner, page));
  Run run = database_.run(page.newest_first ? files_down_ : files_up_);
  run.bind(owner).bind(place).bind(purpose).bind(page.limit + 1);
  Listed<FileRecord> listed;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return listed;
    listed.more = static_cast<int64_t>(listed.items.size()) == page.limit;
    if (listed.more) return listed;
    listed.items.push_back(read_file_row(run));
  }
}

Status BatchStore::remove_file(std::string_view owner, std::string_view id) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(const FileRecord file, file_locked(owner, id));
  {
    Run run = database_.run(readers_);
    HADAL_TRY(const bool read, run.bind(std::string_view(file.id)).step());
    if (read) {
      return fail(Code::kInvalidInput,
                  fmt::format("the batch {} reads this file; cancel it or wait", run.text(0)));
    }
  }
  HADAL_TRY_VOID(database_.run(remove_file_).bind(std::string_view(file.id)).done());
  ::unlink(path_of(file.id).c_str());
  return {};
}

Result<BatchRecord> BatchStore::add_batch(BatchRecord wanted, int64_t batches_max) {
  HADAL_TRY(wanted.id, new_id("batch_"));
  std::lock_guard lock(mutex_);
  HADAL_TRY(const FileRecord input, file_locked(wanted.owner, wanted.input_file));
  static_cast<void>(input);
  {
    Run run = database_.run(count_pending_);
    HADAL_TRY(const bool row, run.bind(std::string_view(wanted.owner)).step());
    if (row && run.integer(0) >= batches_max) {
      return fail(Code::kExhausted, fmt::format("{} batches have not ended yet, at most {} may",
                                                run.integer(0), batches_max));
    }
  }
  Run run = database_.run(insert_batch_);
  bind_batch(run, wanted);
  HADAL_TRY_VOID(run.done());
  return wanted;
}

Result<BatchRecord> BatchStore::batch_locked(std::string_view owner, std::string_view id) {
  Run run = database_.run(find_batch_);
  HADAL_TRY(const bool row, run.bind(owner).bind(id).step());
  if (!row) return no_batch(id);
  return read_batch_row(run);
}

Result<BatchRecord> BatchStore::find_batch(std::string_view owner, std::string_view id) {
  std::lock_guard lock(mutex_);
  return batch_locked(owner, id);
}

Result<Listed<BatchRecord>> BatchStore::list_batches(std::string_view owner, const Page& page) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(const int64_t place, place_of(batch_place_, owner, page));
  Run run = database_.run(batches_down_);
  run.bind(owner).bind(place).bind(page.limit + 1);
  Listed<BatchRecord> listed;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return listed;
    listed.more = static_cast<int64_t>(listed.items.size()) == page.limit;
    if (listed.more) return listed;
    listed.items.push_back(read_batch_row(run));
  }
}

Status BatchStore::touch(Statement& statement, std::string_view id, int64_t now) {
  return database_.run(statement).bind(id).bind(now).done();
}

Result<BatchRecord> BatchStore::cancel_batch(std::string_view owner, std::string_view id,
                                             int64_t now) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(const BatchRecord before, batch_locked(owner, id));
  if (before.status == BatchStatus::kCancelling) return before;
  HADAL_TRY_VOID(touch(cancel_, id, now));
  if (database_.changes() == 0) {
    return fail(Code::kInvalidInput, fmt::format("a batch with the status '{}' cannot be cancelled",
                                                 status_name(before.status)));
  }
  return batch_locked(owner, id);
}

}  // namespace hadal::gateway
