// Vectors of texts from anything that speaks OpenAI's POST /v1/embeddings.
#pragma once

#include <string>
#include <vector>

#include "hadal/base/result.h"

namespace hadal::apps {

struct EmbeddingsOptions {
  std::string url;  // what comes before /embeddings
  std::string model;
  std::string key_env;  // environment variable; empty: no key
};

// One a text, in order, of length 1. Blocks. Errors name what the server said.
Result<std::vector<std::vector<float>>> ask_embeddings(const EmbeddingsOptions& options,
                                                       const std::vector<std::string>& texts);

// `count` vectors out of an answer's body, for ask_embeddings() and its tests.
Result<std::vector<std::vector<float>>> read_embeddings(const std::string& body, size_t count);

}  // namespace hadal::apps
