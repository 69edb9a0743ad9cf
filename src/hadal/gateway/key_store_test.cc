#include "hadal/gateway/key_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

#include "hadal/base/file.h"
#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/secret.h"
#include "hadal/gateway/usage_store.h"

namespace hadal::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kNow = 1'700'000'000;

class KeyStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<KeyStore> open() {
    auto store = KeyStore::open(path_);
    EXPECT_TRUE(store) << store.error().what;
    return store ? std::move(*store) : nullptr;
  }
  static KeyRecord of(const std::string& tenant) {
    KeyRecord record;
    record.tenant = tenant;
    return record;
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  const std::string path_ = folder_ + "/keys.db";
};

TEST(Secret, Sha256IsThePublishedOne) {
  // FIPS 180-4's examples, and the empty message.
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Secret, ComparesWhole) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("secret", "secret"));
  for (const char* other : {"", "secre", "secrets", "Secret", "secreT", "secretsecret"}) {
    EXPECT_FALSE(equal_in_constant_time("secret", other)) << other;
  }
}

TEST_F(KeyStoreTest, AKeyComesBackAsItWasMade) {
  auto store = open();
  KeyRecord wanted = of("research");
  wanted.name = "中文 'quoted'; DROP TABLE api_keys; --";
  wanted.models = {"a", "b c", "'"};
  wanted.expires = kNow + 10;
  wanted.hard = {0.5, 3, 1'000, 2'000'000'000'000 / 2, 4, 12.25};
  wanted.soft = {1, 0, 5, 6, 7, 8};
  const auto made = store->create(wanted, kNow);
  ASSERT_TRUE(made) << made.error().what;
  wanted.id = made->record.id;
  wanted.created = kNow;
  EXPECT_EQ(made->record, wanted);
  const auto found = store->authenticate(made->text, kNow + 9);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, wanted);
  EXPECT_THAT(*open()->list(), ::testing::ElementsAre(wanted));
}

TEST_F(KeyStoreTest, OnlyTheWholeKeyOpens) {
  auto store = open();
  const std::string text = store->create(of("t"), kNow)->text;
  const std::string other = store->create(of("t"), kNow)->text;
  ASSERT_EQ(text.size(), 80u);
  for (size_t i = 0; i < text.size(); ++i) {
    std::string wrong = text;
    wrong[i] = wrong[i] == '0' ? '1' : '0';
    const auto found = store->authenticate(wrong, kNow);
    ASSERT_FALSE(found) << i;
    EXPECT_EQ(found.error().code, Code::kUnauthorized);
    EXPECT_EQ(found.error().what, "the key is not known");
  }
  const std::string mixed = text.substr(0, 16) + other.substr(16);
  for (const std::string& wrong :
       {std::string(), std::string("hk-"), text + "0", text.substr(1), text.substr(0, 79), mixed,
        std::string(80, 'a'), "hk-" + std::string(77, '\0'), "hk-' OR 1=1;-" + text.substr(16)}) {
    EXPECT_FALSE(store->authenticate(wrong, kNow)) << wrong;
  }
  EXPECT_TRUE(store->authenticate(text, kNow));
}

TEST_F(KeyStoreTest, TheFileHoldsNoSecretAndIsItsOwnersAlone) {
  std::string text;
  {
    auto store = open();
    text = store->create(of("t"), kNow)->text;
    struct stat info;
    ASSERT_EQ(::stat(path_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
  const std::string content = *read_file(path_, 1 << 20);
  EXPECT_THAT(content, HasSubstr(text.substr(3, 12)));
  EXPECT_THAT(content, Not(HasSubstr(text.substr(16))));
  EXPECT_THAT(content, Not(HasSubstr(text.substr(16, 16))));
}

// Rows that are changed past the class show what is remembered, and for how long.
TEST_F(KeyStoreTest, WhatIsRememberedEndsWithAChangeAndWithTime) {
  auto store = open(), other = open();
  const auto made = store->create(of("t"), kNow);
  ASSERT_TRUE(store->authenticate(made->text, kNow));
  auto database = Database::open(path_, Sync::kProcess);
  ASSERT_TRUE(database);
  ASSERT_TRUE(database->execute("UPDATE api_keys SET revoked = 1"));
  EXPECT_TRUE(store->authenticate(made->text, kNow)) << "remembered";
  EXPECT_TRUE(store->authenticate(made->text, kNow + 1));
  EXPECT_FALSE(store->authenticate(made->text, kNow + 2)) << "for two seconds at most";
  EXPECT_FALSE(other->authenticate(made->text, kNow));
  ASSERT_TRUE(database->execute("UPDATE api_keys SET revoked = 0"));
  EXPECT_FALSE(store->authenticate(made->text, kNow + 2));
  // Somebody else's change counts for everybody at once.
  ASSERT_TRUE(other->create(of("u"), kNow));
  EXPECT_TRUE(store->authenticate(made->text, kNow + 2));
  ASSERT_TRUE(other->revoke(made->record.id, kNow));
  EXPECT_FALSE(store->authenticate(made->text, kNow + 2));
}

TEST_F(KeyStoreTest, ExpiryAndRevocationCountFromTheirSecondOn) {
  auto store = open();
  KeyRecord wanted = of("t");
  wanted.expires = kNow + 5;
  const auto made = *store->create(wanted, kNow);
  EXPECT_TRUE(store->authenticate(made.text, kNow + 4));
  EXPECT_EQ(store->authenticate(made.text, kNow + 5).error().what, "the key has expired");
  EXPECT_EQ(store->revoke(made.record.id, kNow + 1)->revoked, kNow + 1);
  EXPECT_EQ(store->revoke(made.record.id, kNow + 2)->revoked, kNow + 1);
  EXPECT_EQ(store->authenticate(made.text, kNow + 2).error().what, "the key has been revoked");
  EXPECT_EQ(store->revoke("nobody", kNow).error().code, Code::kNotFound);
  EXPECT_EQ(store->revoke("' OR 1=1 --", kNow).error().code, Code::kNotFound);
}

TEST_F(KeyStoreTest, TwoProcessesSeeEachOther) {
  auto server = open();
  auto tool = open();
  const auto made = *tool->create(of("t"), kNow);
  EXPECT_TRUE(server->authenticate(made.text, kNow));
  ASSERT_TRUE(tool->revoke(made.record.id, kNow));
  EXPECT_FALSE(server->authenticate(made.text, kNow));
}

// Another store on the same file is opened, and a tool comes and goes: the last process to close a
// database removes its log, and it must not take itself for that.
TEST_F(KeyStoreTest, AToolThatLeavesTakesNothingAway) {
  auto server = open();
  auto usage = UsageStore::open(path_);
  ASSERT_TRUE(usage);
  for (int round = 0; round < 3; ++round) {
    int pipes[2];
    ASSERT_EQ(::pipe(pipes), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      std::string text;
      {
        auto tool = KeyStore::open(path_);
        if (tool) text = (*tool)->create(of("t"), kNow)->text;
      }
      if (::write(pipes[1], text.data(), text.size()) < 0) ::_exit(1);
      ::_exit(0);
    }
    ::close(pipes[1]);
    ::waitpid(child, nullptr, 0);
    std::string text(80, '\0');
    ASSERT_EQ(::read(pipes[0], text.data(), text.size()), 80);
    ::close(pipes[0]);
    EXPECT_TRUE(server->authenticate(text, kNow)) << round;
    const UsageChange change{"t", "", "m", 1, 1, {}, 0, {}};
    EXPECT_TRUE((*usage)->add({&change, 1}));
  }
}

TEST_F(KeyStoreTest, KeysAreAllDifferent) {
  auto store = open();
  std::set<std::string> ids, secrets;
  for (int i = 0; i < 50; ++i) {
    const auto made = *store->create(of("t"), kNow + i);
    ids.insert(made.record.id);
    secrets.insert(made.text.substr(16));
  }
  EXPECT_EQ(ids.size(), 50u);
  EXPECT_EQ(secrets.size(), 50u);
  EXPECT_EQ(store->list()->front().created, kNow);
}

TEST_F(KeyStoreTest, RefusesWhatMakesNoSense) {
  auto store = open();
  const auto error = [&](auto change) {
    KeyRecord wanted = of("t");
    change(wanted);
    const auto made = store->create(wanted, kNow);
    return made ? std::string("none") : made.error().what;
  };
  EXPECT_EQ(error([](KeyRecord& r) { r.tenant = ""; }), "the tenant is missing");
  EXPECT_THAT(error([](KeyRecord& r) { r.name = "a\nb"; }), HasSubstr("printable"));
  EXPECT_THAT(error([](KeyRecord& r) { r.name = std::string(257, 'x'); }), HasSubstr("256"));
  EXPECT_THAT(error([](KeyRecord& r) { r.models = {"a\nb"}; }), HasSubstr("printable"));
  EXPECT_THAT(error([](KeyRecord& r) { r.expires = kNow; }), HasSubstr("expired already"));
  EXPECT_THAT(error([](KeyRecord& r) { r.hard.tokens_per_day = -1; }), HasSubstr("limit"));
  EXPECT_EQ(store->list()->size(), 0u);
}

TEST_F(KeyStoreTest, WhatIsNoStoreIsRefused) {
  ASSERT_TRUE(write_file_atomic(path_, std::string(8'192, 'x')));
  EXPECT_EQ(KeyStore::open(path_).error().code, Code::kCorrupt);
  EXPECT_EQ(KeyStore::open(folder_ + "/none/keys.db").error().code, Code::kUnavailable);
}

// What was acknowledged before the process was killed is there after it.
TEST_F(KeyStoreTest, SurvivesKill) {
  for (int round = 0; round < 5; ++round) {
    int pipes[2];
    ASSERT_EQ(::pipe(pipes), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = KeyStore::open(path_);
      for (int i = 0; store && i < 1'000; ++i) {
        const auto made = (*store)->create(of("t"), kNow);
        if (!made || ::write(pipes[1], made->text.data(), made->text.size()) < 0) break;
      }
      ::pause();
    }
    std::vector<std::string> acknowledged;
    for (int i = 0; i < 3 + round; ++i) {
      std::string text(80, '\0');
      ASSERT_EQ(::read(pipes[0], text.data(), text.size()), 80);
      acknowledged.push_back(text);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(pipes[0]);
    ::close(pipes[1]);
    auto store = open();
    for (const std::string& text : acknowledged) EXPECT_TRUE(store->authenticate(text, kNow));
  }
}

}  // namespace
}  // namespace hadal::gateway
