// Private to the store of batches: its tables, and rows as records.
#pragma once

#include "hadal/gateway/batch_store.h"
#include "hadal/gateway/database.h"

namespace hadal::gateway {

// `number` is the order of making. batch_lines.done: 0 no result yet, 1 good, 2 not.
inline constexpr const char* kBatchSchema = R"(
  CREATE TABLE IF NOT EXISTS batch_files(
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
    filename TEXT NOT NULL, purpose TEXT NOT NULL, bytes INTEGER NOT NULL,
    created INTEGER NOT NULL, expires INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX IF NOT EXISTS batch_files_by_owner ON batch_files(owner, number);
  CREATE TABLE IF NOT EXISTS batches(
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL,
    tenant TEXT NOT NULL, key_tag TEXT NOT NULL, endpoint TEXT NOT NULL, window TEXT NOT NULL,
    input_file TEXT NOT NULL, output_file TEXT NOT NULL, error_file TEXT NOT NULL,
    metadata TEXT NOT NULL, errors TEXT NOT NULL, result_keep INTEGER NOT NULL,
    status INTEGER NOT NULL,
    created INTEGER NOT NULL, in_progress INTEGER NOT NULL, expires INTEGER NOT NULL,
    finalizing INTEGER NOT NULL, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
    expired INTEGER NOT NULL, cancelling INTEGER NOT NULL, cancelled INTEGER NOT NULL,
    total INTEGER NOT NULL, done INTEGER NOT NULL, done_failed INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX IF NOT EXISTS batches_by_owner ON batches(owner, number);
  CREATE INDEX IF NOT EXISTS batches_not_ended ON batches(number) WHERE ended = 0;
  CREATE TABLE IF NOT EXISTS batch_lines(
    batch TEXT NOT NULL, line INTEGER NOT NULL, custom_id TEXT NOT NULL,
    at INTEGER NOT NULL, size INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, result TEXT NOT NULL DEFAULT '',
    PRIMARY KEY(batch, line), UNIQUE(batch, custom_id)
  ) STRICT;
)";

// In the order of the functions below.
#define HADAL_FILE_COLUMNS "id, owner, filename, purpose, bytes, created, expires"
#define HADAL_BATCH_COLUMNS                                                                       \
  "id, owner, tenant, key_tag, endpoint, window, input_file, output_file, error_file, metadata, " \
  "errors, result_keep, status, created, in_progress, expires, finalizing, completed, failed, "   \
  "expired, cancelling, cancelled, total, done, done_failed"

FileRecord read_file_row(const Run& run);
void bind_file(Run& run, const FileRecord& file);
BatchRecord read_batch_row(const Run& run);
void bind_batch(Run& run, const BatchRecord& batch);

}  // namespace hadal::gateway
