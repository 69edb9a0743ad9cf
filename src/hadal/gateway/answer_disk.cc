// The part of answer_store.h that is on disk.
#include <fmt/format.h>

#include <cstdio>

#include "hadal/gateway/answer_store.h"
#include "hadal/gateway/database.h"

namespace hadal::gateway {
namespace {

constexpr int64_t kVersion = 1;
constexpr const char* kTables =
    "CREATE TABLE IF NOT EXISTS answers ("
    " key TEXT PRIMARY KEY, stored INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " streamed INTEGER NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL, tokens INTEGER NOT NULL,"
    " grouped TEXT NOT NULL, question TEXT NOT NULL, bytes INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS answers_stored ON answers (stored);"
    "CREATE TABLE IF NOT EXISTS version (number INTEGER NOT NULL);";
constexpr const char* kColumns =
    "key, stored, expires, streamed, type, body, tokens, grouped, question";

StoredAnswer row(const Run& run) {
  StoredAnswer answer;
  answer.key = run.text(0);
  answer.stored = run.integer(1);
  answer.expires = run.integer(2);
  answer.streamed = run.integer(3) != 0;
  answer.type = run.text(4);
  answer.body = run.text(5);
  answer.tokens = run.integer(6);
  answer.group = run.text(7);
  answer.question = run.text(8);
  answer.ids = find_ids(answer.body);
  return answer;
}

}  // namespace

struct AnswerDisk::State {
  explicit State(Database opened) : database(std::move(opened)) {}

  Status prepare() {
    HADAL_TRY_VOID(database.execute(kTables));
    HADAL_TRY(Statement read_version, database.prepare("SELECT number FROM version"));
    bool fresh = false;
    {
      Run run = database.run(read_version);
      HADAL_TRY(const bool has, run.step());
      fresh = !has;
      if (has && run.integer(0) != kVersion) return fail(Code::kCorrupt, "another version");
    }
    if (fresh) {
      HADAL_TRY_VOID(database.execute(
          fmt::format("INSERT INTO version (number) VALUES ({})", kVersion).c_str()));
    }
    HADAL_TRY(find, database.prepare(fmt::format("SELECT {} FROM answers WHERE key = ? AND "
                                                 "expires > ?",
                                                 kColumns)
                                         .c_str()));
    HADAL_TRY(put, database.prepare(fmt::format("INSERT OR REPLACE INTO answers ({}, bytes) VALUES "
                                                "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                                                kColumns)
                                        .c_str()));
    HADAL_TRY(questions,
              database.prepare(fmt::format("SELECT {} FROM answers WHERE grouped != '' AND "
                                           "expires > ? ORDER BY stored",
                                           kColumns)
                                   .c_str()));
    HADAL_TRY(sum, database.prepare("SELECT coalesce(sum(bytes), 0) FROM answers"));
    HADAL_TRY(keys, database.prepare("SELECT key FROM answers"));
    HADAL_TRY(erase, database.prepare("DELETE FROM answers WHERE key = ?"));
    HADAL_TRY(expire, database.prepare("DELETE FROM answers WHERE expires <= ?"));
    HADAL_TRY(oldest, database.prepare("DELETE FROM answers WHERE key IN (SELECT key FROM answers "
                                       "ORDER BY stored LIMIT 64)"));
    HADAL_TRY_VOID(count());
    return {};
  }

  Status count() {
    Run run = database.run(sum);
    HADAL_TRY(const bool has, run.step());
    bytes = has ? static_cast<uint64_t>(run.integer(0)) : 0;
    return {};
  }

  Database database;
  Statement find, put, questions, sum, keys, erase, expire, oldest;
  uint64_t bytes = 0;  // written since, replaced ones too: trim_locked() counts again
  uint64_t bytes_max = 0;
};

AnswerDisk::AnswerDisk(std::unique_ptr<State> state) : state_(std::move(state)) {}
AnswerDisk::~AnswerDisk() = default;

Result<std::unique_ptr<AnswerDisk>> AnswerDisk::open(const std::string& path, uint64_t bytes_max) {
  for (const bool again : {false, true}) {
    Status status;
    auto database = Database::open(path, Sync::kProcess);
    if (database) {
      auto state = std::make_unique<State>(std::move(*database));
      state->bytes_max = bytes_max;
      status = state->prepare();
      if (status) return std::unique_ptr<AnswerDisk>(new AnswerDisk(std::move(state)));
    } else {
      status = fail(std::move(database.error()));
    }
    if (again || status.error().code != Code::kCorrupt) return fail(std::move(status.error()));
    for (const char* part : {"", "-wal", "-shm"}) std::remove((path + part).c_str());
  }
  return fail(Code::kInternal, "unreachable");
}

Result<AnswerPtr> AnswerDisk::find(std::string_view key, int64_t now) {
  std::lock_guard lock(mutex_);
  Run run = state_->database.run(state_->find);
  run.bind(key).bind(now);
  HADAL_TRY(const bool has, run.step());
  if (!has) return AnswerPtr();
  return std::make_shared<const StoredAnswer>(row(run));
}

Status AnswerDisk::put(const StoredAnswer& answer, int64_t now) {
  std::lock_guard lock(mutex_);
  {
    Run run = state_->database.run(state_->put);
    run.bind(answer.key).bind(answer.stored).bind(answer.expires);
    run.bind(static_cast<int64_t>(answer.streamed)).bind(answer.type).bind(answer.body);
    run.bind(answer.tokens).bind(answer.group).bind(answer.question);
    run.bind(static_cast<int64_t>(answer.bytes()));
    HADAL_TRY_VOID(run.done());
  }
  state_->bytes += answer.bytes();
  if (state_->bytes <= state_->bytes_max) return {};
  return trim_locked(now);
}

Status AnswerDisk::trim_locked(int64_t now) {
  HADAL_TRY_VOID(state_->database.run(state_->expire).bind(now).done());
  HADAL_TRY_VOID(state_->count());
  // Below the bound by a tenth, so that it is not done for each answer.
  while (state_->bytes > state_->bytes_max - state_->bytes_max / 10) {
    HADAL_TRY_VOID(state_->database.run(state_->oldest).done());
    if (state_->database.changes() == 0) break;
    HADAL_TRY_VOID(state_->count());
  }
  return {};
}

Result<uint64_t> AnswerDisk::erase_if(const std::function<bool(std::string_view)>& goes) {
  std::lock_guard lock(mutex_);
  std::vector<std::string> going;
  {
    Run run = state_->database.run(state_->keys);
    for (;;) {
      HADAL_TRY(const bool has, run.step());
      if (!has) break;
      std::string key = run.text(0);
      if (goes(key)) going.push_back(std::move(key));
    }
  }
  HADAL_TRY_VOID(state_->database.execute("BEGIN"));
  Status status;
  for (size_t i = 0; status && i < going.size(); ++i) {
    status = state_->database.run(state_->erase).bind(going[i]).done();
  }
  HADAL_TRY_VOID(state_->database.execute(status ? "COMMIT" : "ROLLBACK"));
  if (!status) return fail(std::move(status.error()));
  HADAL_TRY_VOID(state_->count());
  return static_cast<uint64_t>(going.size());
}

Status AnswerDisk::each_question(int64_t now,
                                 const std::function<void(const StoredAnswer&)>& take) {
  std::lock_guard lock(mutex_);
  Run run = state_->database.run(state_->questions);
  run.bind(now);
  for (;;) {
    HADAL_TRY(const bool has, run.step());
    if (!has) return {};
    take(row(run));
  }
}

}  // namespace hadal::gateway
