#include "hadal/apps/batch_json.h"

#include <boost/json.hpp>
#include <utility>

#include "hadal/api/utf8.h"

namespace hadal::apps {
namespace {

namespace json = boost::json;
using gateway::BatchRecord;
using gateway::FileRecord;

json::object object_of(const FileRecord& file) {
  json::object root;
  root["id"] = file.id;
  root["object"] = "file";
  root["bytes"] = file.bytes;
  root["created_at"] = file.created;
  if (file.expires > 0) root["expires_at"] = file.expires;
  root["filename"] = api::valid_utf8(file.filename);
  root["purpose"] = file.purpose;
  root["status"] = "processed";
  return root;
}

// Text that was JSON when it was stored.
json::value stored(const std::string& text) {
  json::error_code error;
  json::value value = json::parse(text, error);
  return text.empty() || error ? json::value(nullptr) : value;
}

json::object object_of(const BatchRecord& batch) {
  const auto id = [](const std::string& text) {
    return text.empty() ? json::value(nullptr) : json::value(text);
  };
  const auto time = [](int64_t seconds) {
    return seconds == 0 ? json::value(nullptr) : json::value(seconds);
  };
  json::object root;
  root["id"] = batch.id;
  root["object"] = "batch";
  root["endpoint"] = batch.endpoint;
  root["errors"] = stored(batch.errors);
  root["input_file_id"] = batch.input_file;
  root["completion_window"] = batch.window;
  root["status"] = gateway::status_name(batch.status);
  root["output_file_id"] = id(batch.output_file);
  root["error_file_id"] = id(batch.error_file);
  root["created_at"] = batch.created;
  root["in_progress_at"] = time(batch.in_progress);
  root["expires_at"] = time(batch.expires);
  root["finalizing_at"] = time(batch.finalizing);
  root["completed_at"] = time(batch.completed);
  root["failed_at"] = time(batch.failed);
  root["expired_at"] = time(batch.expired);
  root["cancelling_at"] = time(batch.cancelling);
  root["cancelled_at"] = time(batch.cancelled);
  root["request_counts"] = {{"total", batch.total},
                            {"completed", batch.done - batch.done_failed},
                            {"failed", batch.done_failed}};
  root["metadata"] = stored(batch.metadata);
  return root;
}

template <class Record>
std::string list_json(const gateway::Listed<Record>& listed) {
  json::array data;
  for (const Record& record : listed.items) data.push_back(object_of(record));
  json::object root;
  root["object"] = "list";
  root["data"] = std::move(data);
  root["first_id"] = nullptr;
  root["last_id"] = nullptr;
  if (!listed.items.empty()) {
    root["first_id"] = listed.items.front().id;
    root["last_id"] = listed.items.back().id;
  }
  root["has_more"] = listed.more;
  return json::serialize(root);
}

}  // namespace

std::string file_json(const FileRecord& file) { return json::serialize(object_of(file)); }
std::string files_json(const gateway::Listed<FileRecord>& files) { return list_json(files); }
std::string batch_json(const BatchRecord& batch) { return json::serialize(object_of(batch)); }
std::string batches_json(const gateway::Listed<BatchRecord>& batches) { return list_json(batches); }

std::string file_removed_json(std::string_view id) {
  json::object root = {{"object", "file"}, {"deleted", true}};
  root["id"] = id;
  return json::serialize(root);
}

}  // namespace hadal::apps
