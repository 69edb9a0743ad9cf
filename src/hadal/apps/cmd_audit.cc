// hadal audit verify | show: whether an audit log is whole, and what it says.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "hadal/apps/commands.h"
#include "hadal/apps/flags.h"
#include "hadal/apps/serve_config.h"
#include "hadal/base/clock.h"
#include "hadal/gateway/audit_verify.h"
#include "hadal/gateway/field.h"

namespace hadal::apps {
namespace {

struct AuditFlags {
  std::string path;
  std::string config;
  std::string anchor;
  std::string head;
  std::string since, tenant, kind, request;
  bool json = false;
};

Status take_place(AuditFlags* flags) {
  if (flags->path.empty() == flags->config.empty()) {
    return fail(Code::kInvalidInput, "either the log's folder or --config is needed");
  }
  if (flags->config.empty()) return {};
  HADAL_TRY(const gateway::Config config, load_serve_config(flags->config));
  if (!config.audit.on()) {
    return fail(Code::kInvalidInput, fmt::format("{}: 'audit.path' is missing", flags->config));
  }
  flags->path = config.audit.path;
  if (flags->anchor.empty()) flags->anchor = config.audit.anchor;
  return {};
}

void print_report(const gateway::AuditReport& report, bool json) {
  if (json) {
    fmt::print(
        "{{\"good\":{},\"records\":{},\"segments\":{},\"first\":{},\"last\":{},\"head\":\"{}\","
        "\"open\":{},\"notes\":{}}}\n",
        report.good(), report.records, report.segments, report.first, report.head.seq,
        report.head.hash, report.open, report.notes.size());
    return;
  }
  if (report.records > 0) {
    fmt::print("records   {} to {} in {} files, {} to {}\n", report.first, report.head.seq,
               report.segments, gateway::audit_time(report.first_time),
               gateway::audit_time(report.last_time));
  }
  for (const std::string& note : report.notes) fmt::print("note      {}\n", note);
  if (report.good()) {
    if (report.open > 0) {
      fmt::print("open      {} requests have a beginning and no end: under way, or cut off\n",
                 report.open);
    }
    fmt::print(
        "head      {}\ngood      no record was changed, removed or moved. Whether some are "
        "missing\n"
        "          after record {} only a head that was noted elsewhere can tell: keep this one,\n"
        "          and give it to a later `hadal audit verify --head`.\n",
        report.head.hash, report.head.seq);
  }
}

Result<int> verify(const AuditFlags& flags) {
  gateway::AuditVerifyOptions options{flags.path, flags.anchor, flags.head, {}};
  HADAL_TRY(const gateway::AuditReport report, gateway::verify_audit(options));
  print_report(report, flags.json);
  if (report.good()) return 0;
  fmt::print(stderr, "hadal audit: BAD: {}\n", report.fault);
  return 1;
}

// "24h" before now, or a time itself.
Result<int64_t> read_since(const std::string& text) {
  if (text.empty()) return int64_t{0};
  if (const auto time = gateway::parse_audit_time(text)) return *time;
  if (const auto ago = gateway::parse_duration(text)) {
    return SystemClock().unix_seconds() - ago->count() / 1'000;
  }
  return fail(Code::kInvalidInput,
              fmt::format("--since: found '{}', expected 24h, 7d or 2026-11-22T14:00:00Z", text));
}

Result<int> show(const AuditFlags& flags) {
  HADAL_TRY(const int64_t since, read_since(flags.since));
  gateway::AuditVerifyOptions options{flags.path, flags.anchor, {}, {}};
  options.each = [&](const gateway::AuditRecord& record) {
    if (record.time < since) return;
    const auto differs = [&](const char* name, const std::string& wanted) {
      return !wanted.empty() && gateway::audit_field(record.fields, name) != wanted;
    };
    if (differs("tenant", flags.tenant) || differs("kind", flags.kind) ||
        differs("request", flags.request)) {
      return;
    }
    fmt::print("{{\"seq\":{},\"time\":\"{}\",{}}}\n", record.seq, gateway::audit_time(record.time),
               record.fields);
  };
  HADAL_TRY(const gateway::AuditReport report, gateway::verify_audit(options));
  if (report.good()) return 0;
  fmt::print(stderr, "hadal audit: the log is not whole: {}\n", report.fault);
  return 1;
}

}  // namespace

int cmd_audit(int argc, char** argv) {
  AuditFlags flags;
  CLI::App app("check and read an audit log", "hadal audit");
  app.require_subcommand(1);
  auto* check = app.add_subcommand("verify", "0: every record is there as it was written; 1: not");
  check->add_option("--head", flags.head, "a hash noted earlier, which a record must have");
  check->add_flag("--json", flags.json, "one JSON object");
  auto* print = app.add_subcommand("show", "records, one JSON object a line");
  print->add_option("--since", flags.since, "24h, 7d, or a time such as 2026-11-22T14:00:00Z");
  print->add_option("--tenant", flags.tenant, "only this tenant's");
  print->add_option("--kind", flags.kind, "only these: begin, end, refused, admin, ...");
  print->add_option("--request", flags.request, "only of the request with this id");
  for (CLI::App* command : {check, print}) {
    command->add_option("path", flags.path, "the log's folder");
    command->add_option("--config", flags.config, "or hadal.yaml, whose 'audit.path' is meant");
    command->add_option("--anchor", flags.anchor, "file with a recent end [FOLDER/anchor]");
  }
  if (const int status = parse_line(app, nullptr, argc, argv); status >= 0) return status;
  Result<int> result = 0;
  if (const Status place = take_place(&flags); !place) {
    result = fail(place.error());
  } else {
    result = check->parsed() ? verify(flags) : show(flags);
  }
  if (result) return *result;
  fmt::print(stderr, "hadal audit: {}\n", result.error().what);
  return result.error().code == Code::kInvalidInput ? kUsageError : 1;
}

}  // namespace hadal::apps
