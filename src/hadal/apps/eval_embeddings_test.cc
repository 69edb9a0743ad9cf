#include "hadal/apps/eval_embeddings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hadal/net/server.h"

namespace hadal::apps {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;
using ::testing::HasSubstr;

TEST(Embeddings, AreTakenInTheirOrderAndMadeOfLengthOne) {
  const auto read = read_embeddings(
      R"({"data":[{"index":1,"embedding":[0,2]},{"index":0,"embedding":[3,4]}]})", 2);
  ASSERT_TRUE(read) << read.error().what;
  EXPECT_THAT((*read)[0], ElementsAre(FloatEq(0.6f), FloatEq(0.8f)));
  EXPECT_THAT((*read)[1], ElementsAre(FloatEq(0), FloatEq(1)));
}

TEST(Embeddings, AnAnswerThatContradictsItselfIsRefused) {
  for (const char* body : {
           "",
           "[]",
           "{}",
           R"({"data":{}})",
           R"({"data":[]})",
           R"({"data":[1]})",
           R"({"data":[{"embedding":[]}]})",
           R"({"data":[{"embedding":["x"]}]})",
           R"({"data":[{"embedding":[0,0]}]})",
           R"({"data":[{"index":7,"embedding":[1]}]})",
           R"({"data":[{"index":-1,"embedding":[1]}]})",
           R"({"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]})",
           R"({"data":[{"embedding":[1e400]}]})",
       }) {
    EXPECT_FALSE(read_embeddings(body, 1)) << body;
  }
}

TEST(Embeddings, AreAskedForInBatchesAndFaultsAreNamed) {
  int calls = 0;
  auto server =
      net::HttpServer::start({},
                             [&](net::HttpRequest request, net::ResponseWriter writer) {
                               EXPECT_EQ(request.path, "/v1/embeddings");
                               if (++calls > 2) return writer.respond(500, {}, "out of paper");
                               const int count = calls == 1 ? 64 : 6;
                               std::string body = R"({"data":[)";
                               for (int i = 0; i < count; ++i)
                                 body += std::string(i > 0 ? "," : "") + R"({"embedding":[1]})";
                               writer.respond(200, {}, body + "]}");
                             },
                             {});
  ASSERT_TRUE(server);
  EmbeddingsOptions options;
  options.url = "http://127.0.0.1:" + std::to_string((*server)->port()) + "/v1";
  const std::vector<std::string> texts(70, "x");
  const auto vectors = ask_embeddings(options, texts);
  ASSERT_TRUE(vectors) << vectors.error().what;
  EXPECT_EQ(vectors->size(), 70u);
  EXPECT_THAT(ask_embeddings(options, texts).error().what, HasSubstr("500: out of paper"));
  options.url = "ftp://x";
  EXPECT_FALSE(ask_embeddings(options, texts));
}

}  // namespace
}  // namespace hadal::apps
