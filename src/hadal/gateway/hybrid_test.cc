#include "hadal/gateway/hybrid.h"

#include <gtest/gtest.h>

#include <string>

namespace hadal::gateway {
namespace {

struct Desk {
  FakeClock clock;
  std::shared_ptr<HybridDesk> desk =
      std::make_shared<HybridDesk>(clock, std::make_shared<obs::Registry>(), nullptr);
  Config config;

  Desk() {
    config.backends.resize(2);
    config.backends[0].name = "cloud";
    config.backends[1].name = "rack";
    config.backends[1].trusted = true;
    for (BackendConfig& backend : config.backends) {
      backend.url = "http://h";
      backend.models = {{"m", "up"}};
    }
    config.sensitivity.on = true;
    config.sensitivity.mask = {"email"};
  }
  void configure() { ASSERT_TRUE(desk->configure(config)); }
};

net::HttpRequest said(std::string_view content) {
  net::HttpRequest request;
  request.method = "POST";
  request.path = "/v1/chat/completions";
  request.headers = {{"Content-Type", "application/json"}, {"X-Customer", "bob"}};
  request.body =
      R"({"model":"m","messages":[{"role":"user","content":")" + std::string(content) + "\"}]}";
  return request;
}

std::shared_ptr<Crossing> cross(const Desk& desk, const net::HttpRequest& request) {
  return desk.desk->cross(request, *scan_body(request.body), {"m", false, true, {}, {}});
}

std::optional<Crossing::Outgoing> admit(const Desk& desk, Crossing& crossing,
                                        const net::HttpRequest& request, size_t backend) {
  return crossing.admit(desk.config.backends[backend], request, *scan_body(request.body),
                        {"up", {}, {}});
}

TEST(Hybrid, IsNothingUnlessConfigured) {
  Desk desk;
  desk.config.sensitivity = {};
  desk.configure();
  EXPECT_FALSE(desk.desk->on());
  EXPECT_EQ(cross(desk, said("x")), nullptr);
}

// Whatever a plan says: the last word is admit()'s.
TEST(Hybrid, NobodyElseGetsWhatStays) {
  Desk desk;
  desk.configure();
  const net::HttpRequest request = said("13800138000");
  const auto crossing = cross(desk, request);
  ASSERT_NE(crossing, nullptr);
  EXPECT_FALSE(admit(desk, *crossing, request, 0));
  const auto trusted = admit(desk, *crossing, request, 1);
  ASSERT_TRUE(trusted);
  EXPECT_NE(trusted->body.find("13800138000"), std::string::npos);
  EXPECT_EQ(trusted->headers.size(), 2u);
  EXPECT_EQ(crossing->refusal("m")->code, "no_trusted_backend");
  // A backend that is not trusted any more since the request came.
  desk.config.backends[1].trusted = false;
  EXPECT_FALSE(admit(desk, *crossing, request, 1));
}

TEST(Hybrid, OthersGetPlaceholdersAndFewHeaders) {
  Desk desk;
  desk.configure();
  const net::HttpRequest request = said("write to a@b.example");
  const auto crossing = cross(desk, request);
  const auto outgoing = admit(desk, *crossing, request, 0);
  ASSERT_TRUE(outgoing);
  EXPECT_EQ(outgoing->body,
            R"({"model":"up","messages":[{"role":"user","content":"write to ⟦EMAIL_1⟧"}]})");
  ASSERT_EQ(outgoing->headers.size(), 1u);
  EXPECT_EQ(outgoing->headers[0].name, "Content-Type");
  ASSERT_NE(outgoing->masked, nullptr);
  EXPECT_EQ(outgoing->masked->texts.at("EMAIL_1"), "a@b.example");
  EXPECT_EQ(crossing->header("cloud").value, "default; backend=cloud; reason=masked 1");
  const auto trusted = admit(desk, *crossing, request, 1);
  EXPECT_EQ(trusted->masked, nullptr);
  EXPECT_NE(trusted->body.find("a@b.example"), std::string::npos);
}

TEST(Hybrid, ABackendWithoutMoneyGetsNothing) {
  Desk desk;
  BackendConfig& cloud = desk.config.backends[0];
  cloud.cost.prices = {{"", 0, 0, 1e6}};  // one each token
  cloud.cost.budget_per_month = 10;
  cloud.cost.answer_max = 6;
  desk.configure();
  const net::HttpRequest request = said("x");
  EXPECT_FALSE(admit(desk, *cross(desk, request), request, 0)) << "no store";
  const std::string path = testing::TempDir() + "hybrid_budget.db";
  for (const char* end : {"", "-wal", "-shm"}) std::remove((path + end).c_str());
  desk.desk->set_budgets(*BudgetBook::open(path));
  const auto crossing = cross(desk, request);
  auto first = admit(desk, *crossing, request, 0);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->body.starts_with(R"({"max_tokens":6,)"));
  const auto second = cross(desk, request);
  EXPECT_FALSE(admit(desk, *second, request, 0)) << "6 are held";
  EXPECT_EQ(second->refusal("m")->code, "budget_exhausted");
  UsageScan usage;
  usage.push(R"({"usage":{"prompt_tokens":5,"completion_tokens":3}} )");
  crossing->settle(cloud, *first->hold, 200, usage);
  EXPECT_TRUE(admit(desk, *cross(desk, request), request, 0)) << "3 are spent";
  EXPECT_FALSE(admit(desk, *cross(desk, request), request, 0)) << "and 6, since it went unsettled";
}

}  // namespace
}  // namespace hadal::gateway
