#include "hadal/gateway/audit_log.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <set>

#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/audit_config.h"
#include "hadal/gateway/audit_fields.h"
#include "hadal/gateway/audit_mask.h"
#include "hadal/gateway/audit_verify.h"
#include "hadal/gateway/secret.h"
#include "hadal/text/json_scan.h"

namespace hadal::gateway {
namespace {

using std::chrono::milliseconds;

bool wait_for(const std::function<bool()>& condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

class AuditLogTest : public ::testing::Test {
 protected:
  AuditLogTest() {
    options_.files.folder = folder_;
    options_.files.write = [this](int fd, const void* bytes, size_t size) -> ssize_t {
      if (!full_) return ::write(fd, bytes, size);
      errno = ENOSPC;
      return -1;
    };
    options_.retry_every = milliseconds(2);
    options_.wait = milliseconds(30'000);
  }
  void open() {
    auto log = AuditLog::open(options_, clock_, registry_, {});
    ASSERT_TRUE(log) << log.error().what;
    log_ = std::move(*log);
  }
  AuditReport close_and_verify() {
    log_.reset();
    seen_.clear();
    auto report = verify_audit({folder_, {}, {}, [this](const AuditRecord& record) {
                                  seen_.emplace_back(record.fields);
                                }});
    EXPECT_TRUE(report && report->good()) << (report ? report->fault : report.error().what);
    return report ? *report : AuditReport{};
  }
  double counted(const std::string& name) {
    const std::string text = obs::exposition(registry_);
    const size_t at = text.find("\n" + name + " ");
    return at == text.npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  AuditLogOptions options_;
  std::atomic<bool> full_{false};
  SystemClock clock_;
  obs::Registry registry_;
  std::unique_ptr<AuditLog> log_;
  std::vector<std::string> seen_;
};

TEST_F(AuditLogTest, WhatManyThreadsWriteIsThereOnce) {
  for (const auto sync : {AuditLogOptions::Sync::kAlways, AuditLogOptions::Sync::kInterval,
                          AuditLogOptions::Sync::kNever}) {
    options_.sync = sync;
    open();
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < 50; ++i) {
          const std::string name = fmt::format(R"("name":"{}.{}.{}")", int(sync), thread, i);
          EXPECT_TRUE(log_->record("begin", name));
          EXPECT_TRUE(log_->note("end", [name] { return name; }));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    close_and_verify();
    std::multiset<std::string> all(seen_.begin(), seen_.end());
    for (int thread = 0; thread < 4; ++thread) {
      for (int i = 0; i < 50; ++i) {
        const std::string name = fmt::format(R"("name":"{}.{}.{}")", int(sync), thread, i);
        EXPECT_EQ(all.count(R"("kind":"begin",)" + name), 1u);
        EXPECT_EQ(all.count(R"("kind":"end",)" + name), 1u);
      }
    }
  }
}

TEST_F(AuditLogTest, WhatWasAcknowledgedIsInTheFile) {
  open();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(log_->record("begin", fmt::format(R"("request":"r{}")", i)));
    const auto report = verify_audit({folder_, {}, {}, {}});
    ASSERT_TRUE(report && report->good());
    EXPECT_EQ(report->open, static_cast<uint64_t>(i + 1));
  }
}

TEST_F(AuditLogTest, ADiskThatIsGoneRefusesAndLeavesAGap) {
  open();
  EXPECT_TRUE(log_->record("begin", R"("request":"a")"));
  full_ = true;
  EXPECT_FALSE(log_->record("begin", R"("request":"b")"));
  EXPECT_FALSE(log_->up());
  EXPECT_FALSE(log_->record("begin", R"("request":"c")"));
  EXPECT_TRUE(log_->note(
      "end", [] { return std::string(R"("request":"a")"); }));  // kept until it can be written
  EXPECT_EQ(counted("hadal_audit_up"), 0);
  full_ = false;
  ASSERT_TRUE(wait_for([&] { return log_->up(); }));
  EXPECT_TRUE(log_->record("begin", R"("request":"d")"));
  const AuditReport report = close_and_verify();
  EXPECT_EQ(counted("hadal_audit_lost_total"), 2);
  const std::string all = fmt::format("{}", fmt::join(seen_, "\n"));
  EXPECT_NE(all.find(R"("kind":"gap","lost":)"), std::string::npos) << all;
  EXPECT_NE(all.find(R"("kind":"end","request":"a")"), std::string::npos) << all;
  EXPECT_EQ(all.find(R"("request":"b")"), std::string::npos) << all;
  EXPECT_EQ(report.open, 1u);  // d
}

TEST_F(AuditLogTest, TheQueueHasAnEnd) {
  options_.queue = 16;
  open();
  full_ = true;
  EXPECT_FALSE(log_->record("begin", ""));
  int kept = 0;
  for (int i = 0; i < 100; ++i) kept += log_->note("end", [] { return std::string(); }) ? 1 : 0;
  EXPECT_LE(kept, 33);
  EXPECT_GE(kept, 31);
  full_ = false;
  ASSERT_TRUE(wait_for([&] { return log_->up(); }));
  close_and_verify();
  EXPECT_EQ(counted("hadal_audit_lost_total"), 1 + 100 - kept);
}

TEST_F(AuditLogTest, AnchorIsWrittenAtTheEnd) {
  open();
  EXPECT_TRUE(log_->note("end", [] { return std::string(); }));
  const AuditReport report = close_and_verify();
  EXPECT_EQ(*read_audit_anchor(folder_ + "/anchor"), report.head);
}

TEST(AuditFields, AnyBytes) {
  FieldText fields;
  fields.text("a", "say \"hi\"\\\n\x01\xff").text("empty", "").number("n", -5).real("r", 0.25);
  fields.boolean("b", true).texts("list", {"x", "\"hash\":"}).texts("none", {});
  const std::string text = "{" + fields.take() + "}";
  EXPECT_TRUE(is_json_object(text)) << text;
  EXPECT_EQ(text,
            "{\"a\":\"say "
            "\\\"hi\\\"\\\\\\n\\u0001\xef\xbf\xbd\",\"n\":-5,\"r\":0.25,\"b\":true,"
            "\"list\":[\"x\",\"\\\"hash\\\":\"]}");
}

TEST(AuditFields, ParametersWithoutContent) {
  const auto hash = [](const char* body) { return parameters_hash(body); };
  const std::string base = hash(R"({"model":"m","temperature":0,"messages":[]})");
  EXPECT_EQ(base.size(), 64u);
  EXPECT_EQ(hash(R"( { "temperature" : 0, "messages":[{"content":"}{\""}] ,"model":"m" } )"), base);
  EXPECT_EQ(hash(R"({"model":"m","temperature":0,"prompt":"secret","user":"me"})"), base);
  EXPECT_EQ(hash(R"({"mod\u0065l":"m","temperature":0})"), base);
  EXPECT_NE(hash(R"({"model":"m","temperature":1})"), base);
  EXPECT_NE(hash(R"({"model":"n","temperature":0})"), base);
  EXPECT_NE(hash(R"({"model":"m"})"), base);
  for (const char* bad :
       {"", "[]", "{", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,,}", "{1:2}", "\"x\""}) {
    EXPECT_EQ(hash(bad), "") << bad;
  }
}

TEST(AuditFields, ContentByPolicy) {
  const Masker masker = [](std::string_view text) {
    std::string masked(text);
    const size_t at = masked.find("4111");
    if (at != masked.npos) masked.replace(at, 4, "[card]");
    return masked;
  };
  const auto said = [&](AuditContent policy, std::string_view content, size_t max,
                        const Masker& with) {
    FieldText fields;
    ContentTap tap(policy, max);
    for (size_t at = 0; at < content.size(); at += 3) tap.add(content.substr(at, 3));
    tap.write(&fields, "asked", with);
    return fields.take();
  };
  const std::string hashed =
      fmt::format(R"("asked_sha256":"{}","asked_bytes":8)", hex(sha256("pay 4111")));
  EXPECT_EQ(said(AuditContent::kNone, "pay 4111", 100, masker), "");
  EXPECT_EQ(said(AuditContent::kHash, "pay 4111", 100, masker), hashed);
  EXPECT_EQ(said(AuditContent::kFull, "pay 4111", 100, masker),
            hashed + R"(,"asked_text":"pay 4111")");
  EXPECT_EQ(said(AuditContent::kMasked, "pay 4111", 100, masker),
            hashed + R"(,"asked_text":"pay [card]")");
  // Nobody masks: nothing is shown.
  EXPECT_EQ(said(AuditContent::kMasked, "pay 4111", 100, {}), hashed);
  // Cut behind what was masked, not through what is to be masked.
  EXPECT_EQ(said(AuditContent::kMasked, "pay 4111", 6, masker),
            hashed + R"(,"asked_text":"pay [c","asked_cut":true)");
  for (const char* word : {"none", "hash", "masked", "full", "other"}) {
    EXPECT_EQ(parse_audit_content(word) == AuditContent::kHash,
              std::string_view(word) == "hash" || std::string_view(word) == "other");
  }
}

TEST(AuditMask, FindingsAreReplacedByTheirNames) {
  const struct {
    const char* text;
    const char* masked;
  } cases[] = {
      {"", ""},
      {"nothing to see", "nothing to see"},
      {R"({"content":"write to ann@example.org, please"})",
       R"({"content":"write to [email], please"})"},
      {"pay 4111 1111 1111 1111 now", "pay [bank_card] now"},
      {R"({"content":"card 4111\u00201111\u00201111\u00201111"})",
       R"({"content":"card [bank_card]"})"},
  };
  for (const auto& one : cases) EXPECT_EQ(mask_findings(one.text), one.masked);
  const std::string bytes("\xff\xfe\x00 a@b", 7);
  EXPECT_EQ(mask_findings(bytes), bytes);
}

TEST(AuditConfigTest, WhatNeedsARestart) {
  AuditConfig a, b;
  b.content = "full";
  b.on_loss = "continue";
  EXPECT_TRUE(same_audit_files(a, b));
  b.keep_bytes = 1;
  EXPECT_FALSE(same_audit_files(a, b));
  EXPECT_FALSE(a.on());
}

}  // namespace
}  // namespace hadal::gateway
