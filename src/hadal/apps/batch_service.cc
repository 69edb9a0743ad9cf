#include "hadal/apps/batch_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "hadal/api/batches.h"
#include "hadal/apps/batch_json.h"
#include "hadal/apps/file_sender.h"
#include "hadal/apps/query.h"
#include "hadal/base/file.h"
#include "hadal/net/multipart.h"

namespace hadal::apps {
namespace {

using std::chrono::duration_cast;
using std::chrono::seconds;

constexpr size_t kFilenameBytesMax = 255;
constexpr size_t kFormPiece = 64u << 10;
constexpr int64_t kFilesListed = 10'000;
constexpr int64_t kBatchesListed = 100;
constexpr std::string_view kId = "{id}";

api::ApiError wrong_field(std::string field, std::string what) {
  std::string message = fmt::format("{}: {}", field, what);
  return {Code::kInvalidInput, std::move(message), std::move(field)};
}

std::optional<int64_t> whole_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

const std::vector<BatchService::Route>& BatchService::routes() {
  static const std::vector<Route> kRoutes = {
      {"POST", "/v1/files", &BatchService::add_file},
      {"GET", "/v1/files", &BatchService::list_files},
      {"GET", "/v1/files/{id}", &BatchService::show_file},
      {"DELETE", "/v1/files/{id}", &BatchService::remove_file},
      {"GET", "/v1/files/{id}/content", &BatchService::send_file},
      {"POST", "/v1/batches", &BatchService::add_batch},
      {"GET", "/v1/batches", &BatchService::list_batches},
      {"GET", "/v1/batches/{id}", &BatchService::show_batch},
      {"POST", "/v1/batches/{id}/cancel", &BatchService::cancel_batch},
  };
  return kRoutes;
}

std::vector<BatchService::Address> BatchService::addresses() {
  std::vector<Address> result;
  for (const Route& route : routes()) result.push_back({route.method, route.path});
  return result;
}

std::optional<std::string> BatchService::match(const Route& route, std::string_view path) {
  const size_t at = route.path.find(kId);
  if (at == route.path.npos) {
    return path == route.path ? std::optional<std::string>("") : std::nullopt;
  }
  const std::string_view rest = route.path.substr(at + kId.size());
  if (path.size() <= at + rest.size() || !path.starts_with(route.path.substr(0, at)) ||
      !path.ends_with(rest)) {
    return {};
  }
  const std::string_view id = path.substr(at, path.size() - at - rest.size());
  if (id.find('/') != id.npos) return {};
  return std::string(id);
}

BatchService::BatchService(gateway::BatchStore* store, TagOf tag_of, std::function<void()> changed,
                           std::shared_ptr<obs::Registry> registry, const Clock& clock)
    : store_(store),
      tag_of_(std::move(tag_of)),
      changed_(std::move(changed)),
      clock_(clock),
      http_metrics_(std::move(registry)) {}

void BatchService::configure(const gateway::BatchConfig& config) {
  std::lock_guard lock(mutex_);
  config_ = config;
}

bool BatchService::handle(net::HttpRequest& request, net::ResponseWriter& writer,
                          gateway::Journey& journey) {
  // Every request comes by here.
  if (!request.path.starts_with("/v1/files") && !request.path.starts_with("/v1/batches")) {
    return false;
  }
  std::string_view method = request.method;
  if (method == "HEAD") method = "GET";
  const Route* found = nullptr;
  std::string id, allowed;
  for (const Route& route : routes()) {
    auto matched = match(route, request.path);
    if (!matched) continue;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
    if (route.method != method) continue;
    found = &route;
    id = std::move(*matched);
  }
  if (allowed.empty()) return false;
  Call call{request, writer, *journey.caller(), found != nullptr ? found->path : "other"};
  if (found == nullptr) {
    reply(call, 405,
          api::error_json({Code::kInvalidInput,
                           fmt::format("{} is not possible here, use {}", request.method, allowed),
                           {},
                           "method_not_allowed"}),
          "application/json", {{"Allow", allowed}});
    return true;
  }
  if (store_ == nullptr) {
    refuse(call, {Code::kUnsupported,
                  "files and batches are not kept here: the operator says where, by "
                  "'batches.dir' in hadal.yaml or by --batch-dir"});
    return true;
  }
  {
    std::lock_guard lock(mutex_);
    call.config = config_;
  }
  call.id = std::move(id);
  call.tag = tag_of_(request, call.caller);
  // A tenant's name has no blank, so nobody's owner is another's.
  call.owner = call.caller.tenant->name;
  if (call.config.shared_by == "key") call.owner += " " + call.tag;
  (this->*found->handle)(call);
  return true;
}

void BatchService::reply(Call& call, int status, std::string body, std::string_view type,
                         std::vector<net::Header> more) {
  http_metrics_.answered(call.route, status);
  more.push_back({"Content-Type", std::string(type)});
  call.writer.respond(status, std::move(more), std::move(body));
}

void BatchService::refuse(Call& call, const api::ApiError& error) {
  if (error.code == Code::kUnavailable || error.code == Code::kCorrupt) {
    // What the disk said names paths, which are the operator's.
    return reply(call, 503,
                 api::error_json({Code::kUnavailable, "files and batches cannot be reached now"}),
                 "application/json", {{"Retry-After", "5"}});
  }
  std::vector<net::Header> more;
  const int status = api::http_status(error.code);
  if (status == 429) more.push_back({"Retry-After", "5"});
  reply(call, status, api::error_json(error), "application/json", std::move(more));
}

// The record of an uploaded file, and what is in it.
api::Parsed<gateway::FileRecord> BatchService::read_form(Call& call, std::string* bytes) const {
  HADAL_TRY(const std::string boundary,
            net::multipart_boundary(call.request.header("content-type")));
  net::MultipartLimits limits;
  limits.body_bytes = call.config.file_max;
  net::MultipartReader reader(boundary, limits);
  // In pieces, so that the reader never holds a second copy of it all.
  const std::string_view body = call.request.body;
  for (size_t at = 0; at < body.size(); at += kFormPiece) {
    HADAL_TRY_VOID(reader.feed(body.substr(at, kFormPiece)));
  }
  call.request.body = {};
  HADAL_TRY(std::vector<net::FormPart> parts, reader.finish());
  gateway::FileRecord file;
  file.owner = call.owner;
  file.created = clock_.unix_seconds();
  int64_t keep = duration_cast<seconds>(call.config.keep).count();
  bool has_file = false;
  for (net::FormPart& part : parts) {
    if (part.name == "purpose") {
      file.purpose = part.body;
    } else if (part.name == "file" && !has_file && part.filename) {
      has_file = true;
      file.filename = part.filename->substr(0, kFilenameBytesMax);
      *bytes = std::move(part.body);
    } else if (part.name == "expires_after[anchor]" && part.body == "created_at") {
      continue;
    } else if (part.name == "expires_after[seconds]") {
      const auto asked = whole_number(part.body);
      if (!asked || *asked < api::kKeepLeast || *asked > api::kKeepMost) {
        return fail(wrong_field(
            part.name, fmt::format("found '{}', expected a whole number {} to {}",
                                   part.body.substr(0, 32), api::kKeepLeast, api::kKeepMost)));
      }
      keep = *asked;
    } else {
      return fail(wrong_field(part.name.substr(0, 64),
                              "a form has the fields file (a file), purpose and expires_after"));
    }
  }
  if (!has_file) return fail(wrong_field("file", "is missing"));
  if (file.purpose != "batch") {
    return fail(wrong_field(
        "purpose", fmt::format("found '{}', expected 'batch'", file.purpose.substr(0, 32))));
  }
  if (bytes->empty()) return fail(wrong_field("file", "is empty"));
  file.expires = file.created + keep;
  return file;
}

void BatchService::add_file(Call& call) {
  std::string bytes;
  auto file = read_form(call, &bytes);
  if (!file) return refuse(call, file.error());
  auto added = store_->add_file(std::move(*file), bytes,
                                {call.config.files_max, static_cast<int64_t>(std::min<uint64_t>(
                                                            call.config.bytes_max, 1ull << 62))});
  if (!added) return refuse(call, std::move(added.error()));
  reply(call, 200, file_json(*added));
}

void BatchService::list_files(Call& call) {
  const std::string& query = call.request.query;
  auto limit = query_number(query, "limit", 1, kFilesListed, kFilesListed);
  if (!limit) return refuse(call, limit.error());
  const std::string order = query_text(query, "order").value_or("desc");
  if (order != "asc" && order != "desc") {
    return refuse(call, wrong_field("order", "expected 'asc' or 'desc'"));
  }
  auto files =
      store_->list_files(call.owner, query_text(query, "purpose").value_or(""),
                         {query_text(query, "after").value_or(""), *limit, order == "desc"});
  if (!files) return refuse(call, std::move(files.error()));
  reply(call, 200, files_json(*files));
}

void BatchService::show_file(Call& call) {
  auto file = store_->find_file(call.owner, call.id);
  if (!file) return refuse(call, std::move(file.error()));
  reply(call, 200, file_json(*file));
}

void BatchService::remove_file(Call& call) {
  if (auto removed = store_->remove_file(call.owner, call.id); !removed) {
    return refuse(call, std::move(removed.error()));
  }
  reply(call, 200, file_removed_json(call.id));
}

void BatchService::send_file(Call& call) {
  auto file = store_->find_file(call.owner, call.id);
  if (!file) return refuse(call, std::move(file.error()));
  auto mapped = MappedFile::open(store_->path_of(file->id));
  if (!mapped) {
    return refuse(call, api::ApiError(std::move(mapped.error())));
  }
  http_metrics_.answered(call.route, 200);
  // Never to be shown by a browser as if it were a page of this server's.
  apps::send_file(std::move(*mapped),
                  {{"Content-Type", "application/octet-stream"},
                   {"Content-Disposition", "attachment"},
                   {"X-Content-Type-Options", "nosniff"}},
                  std::move(call.writer));
}

void BatchService::add_batch(Call& call) {
  auto asked = api::parse_batch(call.request.body);
  if (!asked) return refuse(call, asked.error());
  const int64_t most = duration_cast<seconds>(call.config.window_max).count();
  if (asked->window_seconds < 1 || asked->window_seconds > most) {
    return refuse(call,
                  wrong_field("completion_window", fmt::format("found {} s, expected 1 to {} s",
                                                               asked->window_seconds, most)));
  }
  gateway::BatchRecord batch;
  batch.owner = call.owner;
  batch.tenant = call.caller.tenant->name;
  batch.key_tag = call.tag;
  batch.endpoint = asked->endpoint;
  batch.window = asked->window;
  batch.input_file = asked->input_file;
  batch.metadata = asked->metadata;
  batch.result_keep =
      asked->keep_results.value_or(duration_cast<seconds>(call.config.keep).count());
  batch.created = clock_.unix_seconds();
  batch.expires = batch.created + asked->window_seconds;
  auto added = store_->add_batch(std::move(batch), call.config.batches_max);
  if (!added) {
    api::ApiError error(std::move(added.error()));
    if (error.code == Code::kNotFound) error.param = "input_file_id";
    return refuse(call, error);
  }
  changed_();
  reply(call, 200, batch_json(*added));
}

void BatchService::list_batches(Call& call) {
  auto limit = query_number(call.request.query, "limit", 1, kBatchesListed, 20);
  if (!limit) return refuse(call, limit.error());
  auto batches = store_->list_batches(
      call.owner, {query_text(call.request.query, "after").value_or(""), *limit, true});
  if (!batches) return refuse(call, std::move(batches.error()));
  reply(call, 200, batches_json(*batches));
}

void BatchService::show_batch(Call& call) {
  auto batch = store_->find_batch(call.owner, call.id);
  if (!batch) return refuse(call, std::move(batch.error()));
  reply(call, 200, batch_json(*batch));
}

void BatchService::cancel_batch(Call& call) {
  auto batch = store_->cancel_batch(call.owner, call.id, clock_.unix_seconds());
  if (!batch) return refuse(call, std::move(batch.error()));
  changed_();
  reply(call, 200, batch_json(*batch));
}

}  // namespace hadal::apps
