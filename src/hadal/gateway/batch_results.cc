// The half of the store that runs a batch: its lines, their results, and the files made of them.
#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "hadal/base/file.h"
#include "hadal/base/pending_file.h"
#include "hadal/gateway/batch_store.h"
#include "hadal/gateway/batch_tables.h"
#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

constexpr uint64_t kInputBytesMax = 1ull << 30;
constexpr size_t kReadBytes = 4u << 20;
constexpr size_t kReadLines = 1'024;
constexpr size_t kWriteBytes = 1u << 20;

// Gathers small pieces for a file of a known size.
class PieceWriter {
 public:
  explicit PieceWriter(PendingFile& file) : file_(file) {}
  Status add(std::string_view text) {
    waiting_ += text;
    return waiting_.size() < kWriteBytes ? Status() : flush();
  }
  Status flush() {
    HADAL_TRY_VOID(file_.write(at_, std::as_bytes(std::span(waiting_.data(), waiting_.size()))));
    at_ += waiting_.size();
    waiting_.clear();
    return {};
  }

 private:
  PendingFile& file_;
  uint64_t at_ = 0;
  std::string waiting_;
};

}  // namespace

Result<std::vector<BatchRecord>> BatchStore::unfinished() {
  std::lock_guard lock(mutex_);
  Run run = database_.run(unfinished_);
  std::vector<BatchRecord> batches;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return batches;
    batches.push_back(read_batch_row(run));
  }
}

Result<std::string> BatchStore::read_input(const BatchRecord& batch) {
  return read_file(path_of(batch.input_file), kInputBytesMax);
}

Status BatchStore::begin_batch(std::string_view id, std::span<const api::BatchLine> lines,
                               int64_t now) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  const auto total = static_cast<int64_t>(lines.size());
  HADAL_TRY_VOID(database_.run(begin_).bind(id).bind(now).bind(total).done());
  if (database_.changes() == 0) return {};
  for (int64_t i = 0; i < total; ++i) {
    const api::BatchLine& line = lines[static_cast<size_t>(i)];
    Run run = database_.run(insert_line_);
    run.bind(id).bind(i).bind(std::string_view(line.custom_id));
    run.bind(static_cast<int64_t>(line.offset)).bind(static_cast<int64_t>(line.length));
    HADAL_TRY_VOID(run.done());
  }
  return transaction.commit();
}

Status BatchStore::fail_batch(std::string_view id, const std::string& errors, int64_t now) {
  std::lock_guard lock(mutex_);
  return database_.run(fail_).bind(id).bind(now).bind(std::string_view(errors)).done();
}

Result<std::vector<bool>> BatchStore::done_lines(std::string_view id) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(done_lines_);
  run.bind(id);
  std::vector<bool> done;
  for (;;) {
    HADAL_TRY(const bool row, run.step());
    if (!row) return done;
    done.push_back(run.integer(0) != 0);
  }
}

Result<BatchStore::LineRow> BatchStore::find_line(std::string_view id, int64_t line) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(find_line_);
  HADAL_TRY(const bool row, run.bind(id).bind(line).step());
  if (!row) return fail(Code::kNotFound, fmt::format("batch {} has no line {}", id, line));
  return LineRow{run.text(0), run.integer(1), run.integer(2)};
}

Result<bool> BatchStore::commit_line(std::string_view id, int64_t line, bool good,
                                     std::string_view result) {
  std::lock_guard lock(mutex_);
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  {
    Run run = database_.run(commit_line_);
    run.bind(id).bind(line).bind(good ? 1 : 2).bind(result);
    HADAL_TRY_VOID(run.done());
  }
  if (database_.changes() == 0) return false;
  HADAL_TRY_VOID(database_.run(count_line_).bind(id).bind(good ? 0 : 1).done());
  HADAL_TRY_VOID(transaction.commit());
  return true;
}

Result<std::vector<BatchStore::ResultRow>> BatchStore::results(std::string_view batch,
                                                               int64_t after) {
  std::lock_guard lock(mutex_);
  Run run = database_.run(results_);
  run.bind(batch).bind(after);
  std::vector<ResultRow> rows;
  size_t bytes = 0;
  while (bytes < kReadBytes && rows.size() < kReadLines) {
    HADAL_TRY(const bool more, run.step());
    if (!more) break;
    rows.push_back(
        {run.integer(0), run.text(1), run.integer(2) != 0, run.integer(2) == 1, run.text(3)});
    bytes += rows.back().text.size();
  }
  return rows;
}

template <class Take>
Status BatchStore::each_result(const BatchRecord& batch, bool good, const Missing& missing,
                               const Take& take) {
  for (int64_t after = -1;;) {
    HADAL_TRY(const std::vector<ResultRow> rows, results(batch.id, after));
    if (rows.empty()) return {};
    for (const ResultRow& row : rows) {
      after = row.line;
      if ((row.done && row.good) != good) continue;
      const std::string text =
          row.done ? row.text
                   : api::batch_error(fmt::format("batch_req_{}_{}", batch.id.substr(6), row.line),
                                      row.custom_id, missing.code, missing.message);
      HADAL_TRY_VOID(take(text + '\n'));
    }
  }
}

// Nothing where no line is of that kind.
Result<std::optional<FileRecord>> BatchStore::make_results(const BatchRecord& batch, bool good,
                                                           const Missing& missing, int64_t now) {
  uint64_t size = 0;
  HADAL_TRY_VOID(each_result(batch, good, missing, [&](std::string_view text) {
    size += text.size();
    return Status();
  }));
  if (size == 0) return std::optional<FileRecord>();
  HADAL_TRY(const std::string random, random_bytes(12));
  FileRecord record;
  record.id = "file-" + hex(random);
  record.owner = batch.owner;
  record.filename = fmt::format("{}_{}.jsonl", batch.id, good ? "output" : "error");
  record.purpose = "batch_output";
  record.bytes = static_cast<int64_t>(size);
  record.created = now;
  if (batch.result_keep > 0) record.expires = now + batch.result_keep;
  HADAL_TRY(auto file, PendingFile::create(path_of(record.id)));
  if (!file) return fail(Code::kInternal, "two files of one id");
  HADAL_TRY_VOID(file->reserve(size));
  PieceWriter writer(*file);
  HADAL_TRY_VOID(
      each_result(batch, good, missing, [&](std::string_view text) { return writer.add(text); }));
  HADAL_TRY_VOID(writer.flush());
  HADAL_TRY_VOID(file->commit());
  return std::optional<FileRecord>(std::move(record));
}

Status BatchStore::end_batch(std::string_view id, BatchStatus as, const Missing& missing,
                             int64_t now) {
  BatchRecord batch;
  {
    HADAL_TRY(const auto all, unfinished());
    for (const BatchRecord& one : all) {
      if (one.id == id) batch = one;
    }
    if (batch.id.empty()) return {};  // done before, by a call that could not say so
    std::lock_guard lock(mutex_);
    if (as == BatchStatus::kCompleted) HADAL_TRY_VOID(touch(finalize_, id, now));
  }
  HADAL_TRY(const auto output, make_results(batch, true, missing, now));
  HADAL_TRY(const auto errors, make_results(batch, false, missing, now));
  std::lock_guard lock(mutex_);
  HADAL_TRY(Transaction transaction, Transaction::begin(database_));
  for (const auto& file : {output, errors}) {
    if (file) HADAL_TRY_VOID(insert_file(*file));
  }
  {
    Run run = database_.run(end_);
    run.bind(id).bind(static_cast<int64_t>(as));
    for (const auto& file : {output, errors}) run.bind(file ? std::string_view(file->id) : "");
    HADAL_TRY_VOID(run.bind(now).done());
  }
  HADAL_TRY_VOID(database_.run(remove_lines_).bind(id).done());
  return transaction.commit();
}

Status BatchStore::sweep(int64_t now, int64_t batches_before) {
  std::vector<std::string> files, batches;
  std::lock_guard lock(mutex_);
  const auto ids = [&](Statement& statement, int64_t time,
                       std::vector<std::string>* out) -> Status {
    Run run = database_.run(statement);
    run.bind(time);
    for (;;) {
      HADAL_TRY(const bool row, run.step());
      if (!row) return {};
      out->push_back(run.text(0));
    }
  };
  HADAL_TRY_VOID(ids(old_files_, now, &files));
  HADAL_TRY_VOID(ids(old_batches_, batches_before, &batches));
  for (const std::string& file : files) {
    HADAL_TRY_VOID(database_.run(remove_file_).bind(std::string_view(file)).done());
    ::unlink(path_of(file).c_str());
  }
  for (const std::string& batch : batches) {
    HADAL_TRY_VOID(database_.run(remove_batch_).bind(std::string_view(batch)).done());
  }
  return {};
}

}  // namespace hadal::gateway
