#include "hadal/gateway/semantic_embedder.h"

#include <cmath>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"
#include "hadal/text/unicode.h"

namespace hadal::gateway {
namespace {

using Part = MeaningToken::Part;

constexpr size_t kCharactersMin = 3, kCharactersMax = 4;
// What an occurrence weighs. Function words nothing; letter n-grams, which forgive spelling,
// together about as much as the word.
constexpr float kWordWeight = 1.0f, kNumberWeight = 1.2f, kNotWeight = 1.5f, kKindWeight = 0.4f,
                kRoleWeight = 0.2f, kHanWeight = 0.4f, kHanPairWeight = 0.8f, kPieceWeight = 0.8f;

using Features = std::map<uint64_t, float>;

void add(Features* features, char space, std::string_view text, float weight) {
  const std::string key = space + std::string(text);
  (*features)[hash64(std::as_bytes(std::span(key)), 0x5e3a)] += weight;
}

// The first byte of each character of a word with its ends marked.
void add_pieces(Features* features, std::string_view word) {
  const std::string marked = "<" + std::string(word) + ">";
  std::vector<size_t> begins;
  for (size_t i = 0; i < marked.size(); i += utf8_step(marked.substr(i)).length)
    begins.push_back(i);
  begins.push_back(marked.size());
  const size_t characters = begins.size() - 1;
  size_t pieces = 0;
  for (size_t size = kCharactersMin; size <= kCharactersMax && size <= characters; ++size) {
    pieces += characters - size + 1;
  }
  for (size_t size = kCharactersMin; size <= kCharactersMax && size <= characters; ++size) {
    for (size_t i = 0; i + size <= characters; ++i) {
      add(features, 'g', std::string_view(marked).substr(begins[i], begins[i + size] - begins[i]),
          kPieceWeight / std::sqrt(static_cast<float>(pieces)));
    }
  }
}

void add_token(Features* features, const MeaningToken& token) {
  switch (token.part) {
    case Part::kNothing:
      break;  // forms of one class share a name, which is empty
    case Part::kKind:
      add(features, 'k', token.text, kKindWeight);
      break;
    case Part::kNot:
      add(features, 'n', token.text, kNotWeight);
      break;
    case Part::kRole:
      add(features, 'r', token.text, kRoleWeight);
      break;
    case Part::kNumber:
      if (!token.only_one) add(features, 'd', token.text, kNumberWeight);
      break;
    case Part::kHan:
      add(features, 'h', token.text, kHanWeight);
      break;
    case Part::kUnit:
    case Part::kMeaning:
      add(features, 'w', token.text, kWordWeight);
      break;
    case Part::kWord:
      add(features, 'w', token.text, kWordWeight);
      add_pieces(features, token.text);
      break;
  }
}

}  // namespace

std::vector<float> embed(const Meaning& meaning) {
  Features features;
  for (size_t i = 0; i < meaning.size(); ++i) {
    add_token(&features, meaning[i]);
    if (i > 0 && meaning[i].part == Part::kHan && meaning[i - 1].part == Part::kHan) {
      add(&features, 'p', meaning[i - 1].text + meaning[i].text, kHanPairWeight);
    }
  }
  std::vector<float> vector(kBuiltInDimensions, 0.0f);
  double sum = 0;
  for (const auto& [hash, weight] : features) {
    // Repetition counts less than linearly. A sign by another bit keeps collisions from adding up.
    const float value = weight <= 1.5f ? weight : 1.5f + std::log(weight / 1.5f);
    vector[hash % kBuiltInDimensions] += (hash >> 63) != 0 ? -value : value;
  }
  for (const float value : vector) sum += static_cast<double>(value) * value;
  if (sum <= 0) return vector;
  const auto scale = static_cast<float>(1.0 / std::sqrt(sum));
  for (float& value : vector) value *= scale;
  return vector;
}

float similarity(const std::vector<float>& a, const std::vector<float>& b) {
  HADAL_CHECK(a.size() == b.size());
  // Four sums, in a fixed order, so that the compiler may take four elements at once.
  float sums[4] = {};
  size_t i = 0;
  for (; i + 4 <= a.size(); i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < a.size(); ++i) sums[0] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace hadal::gateway
