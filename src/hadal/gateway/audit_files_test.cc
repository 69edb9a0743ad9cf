#include "hadal/gateway/audit_files.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "hadal/base/file.h"
#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/audit_verify.h"
#include "hadal/gateway/secret.h"

namespace hadal::gateway {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kNow = 1'790'000'000;

std::string fields(int number, size_t padding = 0) {
  return fmt::format(R"("kind":"begin","request":"r{}","text":"{}")", number,
                     std::string(padding, 'x'));
}

class AuditFilesTest : public ::testing::Test {
 protected:
  AuditFilesTest() { options_.folder = folder_ + "/log"; }

  std::unique_ptr<AuditFiles> open(int64_t now = kNow) {
    auto files = AuditFiles::open(options_, now);
    EXPECT_TRUE(files) << files.error().what;
    return files ? std::move(*files) : nullptr;
  }
  AuditReport verify() {
    auto report = verify_audit({options_.folder, {}, {}, {}});
    EXPECT_TRUE(report);
    return report ? *report : AuditReport{};
  }
  std::vector<AuditSegment> segments() { return *audit_segments(options_.folder); }
  std::string text(const std::string& path) { return *read_file(path, 1 << 26); }
  void write(const std::string& path, std::string_view content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }
  // What the content of the log is, for comparing.
  std::map<std::string, std::string> all() {
    std::map<std::string, std::string> found;
    for (const AuditSegment& segment : segments()) found[segment.path] = text(segment.path);
    return found;
  }
  void restore(const std::map<std::string, std::string>& content) {
    for (const AuditSegment& segment : segments()) fs::remove(segment.path);
    for (const auto& [path, bytes] : content) write(path, bytes);
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  AuditFileOptions options_;
};

TEST(AuditRecord, WrittenAndRead) {
  AuditHead head;
  const std::string line = audit_line(&head, kNow, fields(1));
  ASSERT_EQ(line.back(), '\n');
  const auto record = read_audit_line(std::string_view(line).substr(0, line.size() - 1));
  ASSERT_TRUE(record);
  EXPECT_EQ(record->seq, 1u);
  EXPECT_EQ(record->time, kNow);
  EXPECT_EQ(record->prev, std::string(64, '0'));
  EXPECT_EQ(record->hash, head.hash);
  EXPECT_EQ(record->fields, fields(1));
  EXPECT_EQ(audit_field(record->fields, "request"), "r1");
  EXPECT_EQ(audit_field(R"("a":12,"b":"x")", "a"), "12");
  EXPECT_EQ(audit_field(R"("a":12,"b":"x")", "c"), "");
  // By another way: the hash of the line up to it.
  EXPECT_EQ(head.hash, hex(sha256(line.substr(0, line.find(",\"hash\"")))));
  for (size_t size = 0; size + 1 < line.size(); ++size) {
    EXPECT_FALSE(read_audit_line(line.substr(0, size)));
    EXPECT_TRUE(is_torn_line(line.substr(0, size))) << size;
  }
  EXPECT_TRUE(is_torn_line(std::string(5'000, '\0')));
  EXPECT_FALSE(is_torn_line(line));
  EXPECT_FALSE(is_torn_line(line.substr(0, line.size() - 1) + "x"));
  EXPECT_FALSE(is_torn_line("something else"));
  for (const char* time :
       {"2026-11-22T14:00:00Z", "1970-01-01T00:00:00Z", "2100-02-28T23:59:59Z"}) {
    EXPECT_EQ(audit_time(*parse_audit_time(time)), time);
  }
  for (const char* time : {"", "2026-11-22 14:00:00Z", "2026-13-22T14:00:00Z", "yesterday"}) {
    EXPECT_FALSE(parse_audit_time(time)) << time;
  }
}

TEST_F(AuditFilesTest, ChainGoesOnWhenOpenedAgain) {
  for (int round = 0; round < 3; ++round) {
    auto files = open();
    EXPECT_EQ(files->recovered(), "");
    ASSERT_TRUE(files->append({fields(2 * round), fields(2 * round + 1)}, kNow + round));
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  const AuditReport report = verify();
  EXPECT_TRUE(report.good()) << report.fault;
  EXPECT_EQ(report.records, 7u);  // with the segment's own
  EXPECT_EQ(report.open, 6u);
  EXPECT_TRUE(report.notes.empty());
}

TEST_F(AuditFilesTest, OneWriter) {
  auto files = open();
  auto second = AuditFiles::open(options_, kNow);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  files.reset();
  EXPECT_TRUE(AuditFiles::open(options_, kNow));
}

TEST_F(AuditFilesTest, EveryChangedByteIsNoticed) {
  options_.segment_bytes = 300;
  {
    auto files = open();
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow));
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  const auto good = all();
  ASSERT_EQ(good.size(), 2u);
  ASSERT_TRUE(verify().good());
  size_t tried = 0;
  for (const auto& [path, bytes] : good) {
    for (size_t at = 0; at < bytes.size(); ++at) {
      std::string bad = bytes;
      const int bit = static_cast<int>(at % 8);
      bad[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      write(path, bad);
      ASSERT_FALSE(verify().good()) << path << " byte " << at << " bit " << bit;
      ++tried;
      if (at % 5 != 0 && at + 1 < bytes.size()) continue;
      bad = bytes;
      bad.erase(at, 1);
      write(path, bad);
      // Of a log that is being written the very last byte may not be there yet.
      const bool last = path == good.rbegin()->first && at + 1 == bytes.size();
      ASSERT_FALSE(verify().good() && !last) << path << " without byte " << at;
      bad = bytes;
      bad.insert(at, 1, '0');
      write(path, bad);
      ASSERT_FALSE(verify().good()) << path << " with a byte more at " << at;
    }
    write(path, bytes);
  }
  EXPECT_GT(tried, 500u);
  EXPECT_TRUE(verify().good());
}

std::vector<std::string> lines_of(const std::string& bytes) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < bytes.size();) {
    const size_t end = bytes.find('\n', at) + 1;
    lines.push_back(bytes.substr(at, end - at));
    at = end;
  }
  return lines;
}

TEST_F(AuditFilesTest, RecordsRemovedMovedRepeatedAndCut) {
  options_.segment_bytes = 1'200;
  {
    auto files = open();
    for (int i = 0; i < 12; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow));
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  const auto good = all();
  ASSERT_GE(good.size(), 3u);
  for (const auto& [path, bytes] : good) {
    const std::vector<std::string> lines = lines_of(bytes);
    const auto join = [&](std::vector<std::string> some) {
      write(path, fmt::format("{}", fmt::join(some, "")));
    };
    for (size_t i = 0; i < lines.size(); ++i) {
      auto changed = lines;
      changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
      join(changed);
      EXPECT_FALSE(verify().good()) << path << " without line " << i;
      changed = lines;
      changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(i), lines[i]);
      join(changed);
      EXPECT_NE(verify().fault.find("there twice"), std::string::npos) << verify().fault;
      if (i + 1 < lines.size()) {
        changed = lines;
        std::swap(changed[i], changed[i + 1]);
        join(changed);
        EXPECT_FALSE(verify().good()) << path << " lines swapped at " << i;
      }
      changed.assign(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(i));
      join(changed);
      EXPECT_FALSE(verify().good()) << path << " cut before line " << i;
    }
    fs::remove(path);
    EXPECT_FALSE(verify().good()) << path << " removed";
    write(path, bytes);
  }
  EXPECT_TRUE(verify().good());
}

TEST_F(AuditFilesTest, OnlyAHeadNotedElsewhereTellsOfAnotherLogOrAMissingEnd) {
  AuditHead head;
  {
    auto files = open();
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow));
    head = files->head();
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  const std::string path = segments()[0].path;
  const std::string bytes = text(path);
  AuditVerifyOptions options{options_.folder, {}, head.hash, {}};
  EXPECT_TRUE(verify_audit(options)->good());
  write(path, bytes.substr(0, bytes.rfind('\n', bytes.size() - 2) + 1));
  EXPECT_NE(verify().fault.find("records 5 to 5 are missing"), std::string::npos) << verify().fault;
  fs::remove(options_.folder + "/anchor");
  EXPECT_TRUE(verify().good());  // nothing here can know
  EXPECT_NE(verify().notes.at(0).find("no anchor"), std::string::npos);
  EXPECT_FALSE(verify_audit(options)->good());
  // Written anew with other content: a chain as good as the first.
  AuditHead forged;
  std::string other = audit_line(&forged, kNow, R"("kind":"segment","version":1)");
  for (int i = 0; i < 4; ++i) other += audit_line(&forged, kNow, fields(100 + i));
  write(path, other);
  EXPECT_TRUE(verify().good());
  EXPECT_FALSE(verify_audit(options)->good());
  write(options_.folder + "/anchor", fmt::format(R"({{"seq":5,"hash":"{}"}})", head.hash));
  EXPECT_NE(verify().fault.find("written anew"), std::string::npos) << verify().fault;
}

TEST_F(AuditFilesTest, ALineCutAnywhereIsTakenOutAndRecorded) {
  AuditHead head;
  {
    auto files = open();
    ASSERT_TRUE(files->append({fields(1)}, kNow));
    head = files->head();
  }
  const auto good = all();
  const std::string path = good.begin()->first;
  AuditHead next = head;
  const std::string line = audit_line(&next, kNow, fields(2));
  for (size_t size = 1; size < line.size(); ++size) {
    restore(good);
    std::ofstream(path, std::ios::app) << line.substr(0, size);
    EXPECT_TRUE(verify().good()) << verify().fault;
    EXPECT_EQ(verify().notes.size(), 2u);  // the torn line; no anchor
    {
      auto files = open();
      ASSERT_NE(files, nullptr);
      EXPECT_NE(files->recovered(), "");
      ASSERT_TRUE(files->append({fields(3)}, kNow));
    }
    const AuditReport report = verify();
    ASSERT_TRUE(report.good()) << report.fault;
    EXPECT_EQ(report.records, 4u);
    EXPECT_NE(text(path).find(hex(sha256(line.substr(0, size)))), std::string::npos);
  }
  // Damage that no killed writer leaves stays as it is.
  for (const std::string& damage : {std::string("garbage"), "{\"seq\":9}\n" + line, line + line}) {
    restore(good);
    std::ofstream(path, std::ios::app) << damage;
    auto files = AuditFiles::open(options_, kNow);
    ASSERT_FALSE(files) << damage;
    EXPECT_EQ(files.error().code, Code::kCorrupt);
    EXPECT_EQ(text(path), good.begin()->second + damage);
  }
}

TEST_F(AuditFilesTest, AnEndThatTheAnchorKnowsAndIsGoneIsRecorded) {
  {
    auto files = open();
    ASSERT_TRUE(files->append({fields(1), fields(2)}, kNow));
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  const std::string path = segments()[0].path;
  const std::string bytes = text(path);
  write(path, bytes.substr(0, bytes.rfind('\n', bytes.size() - 2) + 1));
  {
    auto files = open();
    EXPECT_NE(files->recovered(), "");
    ASSERT_TRUE(files->append({fields(3), fields(4)}, kNow));
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  EXPECT_NE(verify().fault.find("had been there"), std::string::npos) << verify().fault;
}

TEST_F(AuditFilesTest, RetiredSegmentsLeaveAChainThatCanBeChecked) {
  options_.segment_bytes = 1'000;
  options_.keep_seconds = 100;
  uint64_t last = 0;
  {
    auto files = open();
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow + 10 * i));
    last = files->head().seq;
    ASSERT_TRUE(files->write_anchor(kNow));
  }
  AuditReport report = verify();
  EXPECT_TRUE(report.good()) << report.fault;
  EXPECT_GT(report.first, 40u);
  EXPECT_EQ(report.head.seq, last);
  EXPECT_LT(segments().size(), 10u);
  // One more, that no record speaks of.
  const auto good = all();
  fs::remove(segments()[0].path);
  EXPECT_NE(verify().fault.find("no record says"), std::string::npos) << verify().fault;
  restore(good);
  options_.keep_seconds = 0;
  options_.keep_bytes = 2'500;
  {
    auto files = open();
    for (int i = 0; i < 30; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow));
  }
  uint64_t bytes = 0;
  for (const AuditSegment& segment : segments()) bytes += segment.bytes;
  EXPECT_LT(bytes, 5'500u);
  EXPECT_TRUE(verify().good()) << verify().fault;
}

TEST_F(AuditFilesTest, SegmentsEndByAge) {
  options_.segment_seconds = 60;
  auto files = open();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(files->append({fields(i)}, kNow + 30 * i));
  EXPECT_EQ(segments().size(), 5u);
  EXPECT_TRUE(verify().good()) << verify().fault;
}

TEST_F(AuditFilesTest, AFullDiskChangesNothing) {
  int64_t room = 1'500;
  options_.segment_bytes = 700;
  options_.write = [&](int fd, const void* bytes, size_t size) -> ssize_t {
    const size_t fits = std::min<size_t>(size, static_cast<size_t>(std::max<int64_t>(room, 0)));
    if (fits == 0) {
      errno = ENOSPC;
      return -1;
    }
    room -= static_cast<int64_t>(fits);
    return ::write(fd, bytes, fits);
  };
  auto files = open();
  int written = 0, refused = 0;
  for (int i = 0; i < 200; ++i) {
    const AuditHead before = files->head();
    const Status status = files->append({fields(i), fields(1'000 + i)}, kNow);
    written += status ? 2 : 0;
    if (!status) {
      ++refused;
      EXPECT_EQ(status.error().code, Code::kExhausted);
      // A new segment's own line may have fitted.
      EXPECT_LE(files->head().seq, before.seq + 1);
      EXPECT_TRUE(verify().good()) << verify().fault;
      room = 50 * (i % 40);
    }
  }
  EXPECT_GT(refused, 20);
  EXPECT_GT(written, 20);
  EXPECT_EQ(verify().open, static_cast<uint64_t>(written));
  files.reset();
  EXPECT_NE(open(), nullptr);
  EXPECT_TRUE(verify().good()) << verify().fault;
}

// Processes that are killed at any byte of what they write.
TEST_F(AuditFilesTest, RandomCrashes) {
  for (uint32_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto draw = [&](uint32_t below) { return random() % below; };
    fs::remove_all(options_.folder);
    options_.segment_bytes = 400 + draw(4'000);
    options_.keep_bytes = draw(2) == 0 ? 0 : 8'000;
    int number = 0;
    uint64_t acknowledged = 0;
    for (int life = 0; life < 12; ++life) {
      auto files = open(kNow + life);
      ASSERT_NE(files, nullptr);
      ASSERT_GE(files->head().seq, acknowledged);
      for (uint32_t batch = draw(6); batch > 0; --batch) {
        std::vector<std::string> some;
        for (uint32_t i = 1 + draw(4); i > 0; --i) some.push_back(fields(++number, draw(300)));
        ASSERT_TRUE(files->append(some, kNow + life));
        if (draw(5) == 0) {
          ASSERT_TRUE(files->write_anchor(kNow));
        }
      }
      AuditHead head = files->head();
      acknowledged = head.seq;
      files.reset();
      std::string under_way;
      for (uint32_t i = draw(4); i > 0; --i) {
        under_way += audit_line(&head, kNow, fields(++number, draw(300)));
      }
      std::ofstream(segments().back().path, std::ios::app)
          << under_way.substr(0, draw(static_cast<uint32_t>(under_way.size()) + 1));
      ASSERT_TRUE(verify().good()) << verify().fault;
    }
    open();
    ASSERT_TRUE(verify().good()) << verify().fault;
  }
}

}  // namespace
}  // namespace hadal::gateway
