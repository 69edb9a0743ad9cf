// /openapi.json beside what the service answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

#include "hadal/apps/batch_service.h"
#include "hadal/apps/testing/service_fixture.h"

namespace hadal::apps {
namespace {

TEST_F(ServiceTest, TheDocumentHasEveryAddressAndNoOther) {
  std::set<std::string> answered;
  for (const Service::Address& address : Service::addresses()) {
    std::string path(address.path);
    if (path.size() > 1 && path.ends_with('/')) path += "{id}";
    answered.insert(std::string(address.method) + " " + path);
  }
  for (const BatchService::Address& address : BatchService::addresses()) {
    answered.insert(std::string(address.method) + " " + std::string(address.path));
  }
  const Seen seen = ask("GET", "/openapi.json");
  EXPECT_EQ(seen.headers.at("Content-Type"), "application/json");
  const boost::json::value document = boost::json::parse(seen.body);
  EXPECT_EQ(document.at("info").at("version"), "1.2.3");
  std::set<std::string> told;
  for (const auto& path : document.at("paths").as_object()) {
    for (const auto& operation : path.value().as_object()) {
      std::string method(operation.key());
      for (char& c : method) c = static_cast<char>(c - 'a' + 'A');
      told.insert(method + " " + std::string(path.key()));
    }
  }
  EXPECT_EQ(told, answered);
}

TEST_F(ServiceTest, TheDocumentSaysWhichAddressesNeedNoKey) {
  ServiceOptions options;
  options.api_keys = {"secret"};
  const boost::json::value document = boost::json::parse(ask("GET", "/openapi.json").body);
  restart(std::move(options));
  publish();
  for (const Service::Address& address : Service::addresses()) {
    std::string path(address.path);
    const bool below = path.size() > 1 && path.ends_with('/');
    const int status = ask(std::string(address.method), path + (below ? "tiny" : ""), "{}").status;
    std::string method(address.method);
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    const auto& operation = document.at("paths").at(path + (below ? "{id}" : "")).at(method);
    const auto* security = operation.as_object().if_contains("security");
    EXPECT_EQ(status != 401, security != nullptr && security->as_array().empty()) << path;
  }
}

}  // namespace
}  // namespace hadal::apps
