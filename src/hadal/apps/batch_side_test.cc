// Files and batches in front of a service: the endpoints, and lines on their way through it.
#include "hadal/apps/batch_side.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "hadal/apps/query.h"
#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

class BatchSideTest : public ServiceTest {
 protected:
  BatchSideTest() : folder_(::testing::TempDir() + "hadal_batch_side") {
    std::filesystem::remove_all(folder_);
  }
  ~BatchSideTest() override {
    side_.reset();
    std::filesystem::remove_all(folder_);
  }

  void begin(gateway::BatchConfig config = {}) {
    config.dir = folder_;
    auto side = BatchSide::make(config, front_, *service_, registry_, clock_, nullptr);
    ASSERT_TRUE(side) << side.error().what;
    side_ = std::move(*side);
    front_.open();
  }
  Seen ask_front(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& type = "application/json", const std::string& query = "") {
    const auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    front_.handle({method, path, query, {{"Content-Type", type}}, body},
                  net::ResponseWriter(exchange));
    Seen seen;
    for (int i = 0; i < 100 && !seen.finished; ++i) look(*exchange, &seen);
    return seen;
  }
  Seen upload(const std::string& text, const std::string& more = "") {
    return ask_front("POST", "/v1/files",
                     "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n" +
                         more +
                         "--b\r\nContent-Disposition: form-data; name=\"file\"; "
                         "filename=\"/etc/passwd\"\r\n\r\n" +
                         text + "\r\n--b--\r\n",
                     "multipart/form-data; boundary=b");
  }
  static std::string line(const std::string& id, const std::string& body) {
    return fmt::format(R"({{"custom_id": "{}", "method": "POST", )"
                       R"("url": "/v1/chat/completions", "body": {}}})"
                       "\n",
                       id, body);
  }
  std::string create(const std::string& text) {
    const Seen file = upload(text);
    EXPECT_EQ(file.status, 200) << file.body;
    const Seen batch =
        ask_front("POST", "/v1/batches",
                  fmt::format(R"({{"input_file_id": {}, "endpoint": "/v1/chat/completions",)"
                              R"( "completion_window": "24h"}})",
                              json::serialize(json::parse(file.body).at("id"))));
    EXPECT_EQ(batch.status, 200) << batch.body;
    return std::string(json::parse(batch.body).at("id").as_string());
  }
  json::value wait_for(const std::string& batch, const std::string& status) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      const json::value now = json::parse(ask_front("GET", "/v1/batches/" + batch).body);
      if (std::string_view(now.at("status").as_string()) == status ||
          std::chrono::steady_clock::now() > until)
        return now;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  const std::string folder_;
  Front front_{*service_, clock_};
  std::unique_ptr<BatchSide> side_;
};

TEST_F(BatchSideTest, LinesGoBehindEverybodyAndComeBackAsResults) {
  begin();
  engine_.at_submit = [&](RequestId id) {
    engine_.say(id, "abc");
    engine_.end(id);
  };
  const std::string batch =
      create(line("a", chat(R"("priority": -5)")) + line("b", R"({"messages": 5})"));
  side_->start();
  const json::value done = wait_for(batch, "completed");
  ASSERT_EQ(done.at("status"), "completed");
  ASSERT_EQ(engine_.requests.size(), 1u);
  EXPECT_EQ(engine_.requests[0].priority, gateway::kBackgroundPriority);
  const auto content = [&](const char* file) {
    const std::string id(done.at(file).as_string());
    return ask_front("GET", "/v1/files/" + id + "/content").body;
  };
  const json::value good = json::parse(content("output_file_id"));
  EXPECT_EQ(good.at("custom_id"), "a");
  EXPECT_THAT(json::serialize(good.at("response").at("body").at("choices")), HasSubstr("abc"));
  EXPECT_TRUE(good.at("response").at("request_id").as_string().starts_with("req"));
  const json::value bad = json::parse(content("error_file_id"));
  EXPECT_EQ(bad.at("response").at("status_code"), 400);
  side_->stop();  // what it counted is shown
  EXPECT_THAT(exposition(*registry_), HasSubstr("hadal_batch_lines_total{result=\"failed\"} 1"));
}

TEST_F(BatchSideTest, ALineThatIsBrokenOffIsCancelledInTheEngine) {
  begin();
  const std::string batch = create(line("a", chat()));
  side_->start();
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (exposition(*registry_).find("hadal_batch_lines_running 1") == std::string::npos &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  side_->stop();
  EXPECT_EQ(engine_.cancelled.size(), 1u);
  EXPECT_EQ(json::parse(ask_front("GET", "/v1/batches/" + batch).body).at("status"), "in_progress");
}

TEST_F(BatchSideTest, AFileIsWhatWasSentAndItsNameIsOnlyAName) {
  begin();
  const std::string text("a\0\r\n--\xff", 8);
  const Seen made = upload(text);
  ASSERT_EQ(made.status, 200) << made.body;
  const json::value file = json::parse(made.body);
  EXPECT_EQ(file.at("filename"), "/etc/passwd");
  EXPECT_EQ(file.at("bytes"), 8);
  const std::string path = "/v1/files/" + std::string(file.at("id").as_string());
  EXPECT_EQ(json::parse(ask_front("GET", path).body), file);
  const Seen content = ask_front("GET", path + "/content");
  EXPECT_EQ(content.body, text);
  EXPECT_EQ(content.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(ask_front("DELETE", path).status, 200);
  EXPECT_EQ(ask_front("DELETE", path).status, 404);
  EXPECT_EQ(ask_front("GET", path + "/content").status, 404);
}

TEST_F(BatchSideTest, RefusalsSayWhatIsWrong) {
  gateway::BatchConfig config;
  config.file_max = 100;
  begin(config);
  struct Case {
    std::string method, path, body, wanted;
    int status;
  };
  const Case cases[] = {
      {"POST", "/v1/files", "x", "the Content-Type is", 400},
      {"PUT", "/v1/files", "", "use POST, GET", 405},
      {"GET", "/v1/files/../x/content", "", "", 404},
      {"GET", "/v1/files/x", "", "there is no file 'x'", 404},
      {"POST", "/v1/batches", "{}", "input_file_id", 400},
      {"POST", "/v1/batches/x/cancel", "", "there is no batch 'x'", 404},
      {"GET", "/v1/batches/x/other", "", "", 404},
  };
  for (const Case& one : cases) {
    const Seen seen = ask_front(one.method, one.path, one.body);
    EXPECT_EQ(seen.status, one.status) << one.path;
    EXPECT_THAT(seen.body, HasSubstr(one.wanted));
  }
  EXPECT_EQ(upload(std::string(101, 'x')).status, 413);
  EXPECT_EQ(upload("").status, 400);
  const auto field = [](const std::string& name, const std::string& value) {
    return "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n";
  };
  EXPECT_EQ(upload("x", field("purpose", "vision")).status, 400);
  EXPECT_EQ(upload("x", field("other", "1")).status, 400);
  EXPECT_EQ(upload("x", field("expires_after[seconds]", "10")).status, 400);
  EXPECT_EQ(upload("x", field("expires_after[seconds]", "3600")).status, 200);
}

TEST_F(BatchSideTest, OneProcessHasAFolder) {
  begin();
  auto second = gateway::BatchStore::open(folder_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("another process"));
}

TEST(Query, ValuesAreFoundAndDecoded) {
  EXPECT_EQ(query_text("a=1&b=x%20y+z%2&c", "b"), "x y z%2");
  EXPECT_EQ(query_text("a=1&b=2&b=3", "b"), "2");
  EXPECT_EQ(query_text("a=1&c", "c"), "");
  EXPECT_EQ(query_text("%61=1", "a"), "1");
  EXPECT_EQ(query_text("&&=&ab=1", "a"), std::nullopt);
  EXPECT_EQ(query_number("limit=7", "limit", 1, 9, 5), 7);
  EXPECT_EQ(query_number("", "limit", 1, 9, 5), 5);
  for (const char* bad : {"limit=0", "limit=10", "limit=", "limit=7x", "limit=-", "limit= 7"}) {
    EXPECT_FALSE(query_number(bad, "limit", 1, 9, 5)) << bad;
  }
}

}  // namespace
}  // namespace hadal::apps
