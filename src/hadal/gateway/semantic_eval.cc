#include "hadal/gateway/semantic_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "hadal/base/check.h"
#include "hadal/base/hash.h"
#include "hadal/gateway/semantic_embedder.h"

namespace hadal::gateway {

bool QuestionGroup::held_out() const {
  return (hash64(std::as_bytes(std::span(question)), 2) & 1) != 0;
}

Result<std::vector<QuestionGroup>> parse_questions(std::string_view text) {
  std::vector<QuestionGroup> groups;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const size_t space = line.find(' ');
    const bool begins = line.starts_with("Q ");
    const bool known = begins || line.starts_with("= ") || (line.front() == '!' && space > 1);
    if (!known || space == std::string_view::npos || space + 1 == line.size()) {
      return fail(Code::kInvalidInput,
                  fmt::format("line {}: expected 'Q text', '= text' or '!why text'", number));
    }
    const std::string what(line.substr(space + 1));
    if (begins) {
      groups.push_back({what, {}});
    } else if (groups.empty()) {
      return fail(Code::kInvalidInput, fmt::format("line {}: before the first question", number));
    } else {
      groups.back().lines.push_back(
          {what, line.front() == '!' ? std::string(line.substr(1, space - 1)) : ""});
    }
  }
  return groups;
}

std::vector<std::string> texts_of(const std::vector<QuestionGroup>& groups) {
  std::vector<std::string> texts;
  for (const QuestionGroup& group : groups) {
    texts.push_back(group.question);
    for (const auto& line : group.lines) texts.push_back(line.text);
  }
  return texts;
}

std::vector<JudgedPair> judge_pairs(const std::vector<QuestionGroup>& groups,
                                    const std::vector<std::vector<float>>& vectors,
                                    const Lexicon& lexicon, GuardLevel level) {
  std::vector<JudgedPair> pairs;
  size_t first = 0;  // of the group
  for (const QuestionGroup& group : groups) {
    std::vector<QuestionGroup::Line> all = {{group.question, ""}};
    all.insert(all.end(), group.lines.begin(), group.lines.end());
    std::vector<Meaning> meanings;
    for (const auto& line : all) meanings.push_back(lexicon.read(line.text));
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t k = i + 1; k < all.size(); ++k) {
        if (!all[i].why.empty() && !all[k].why.empty()) continue;
        pairs.push_back({all[i].text, all[k].text, all[i].why.empty() ? all[k].why : all[i].why,
                         similarity(vectors[first + i], vectors[first + k]),
                         objection(meanings[i], meanings[k], level)});
      }
    }
    first += all.size();
  }
  HADAL_CHECK(first == vectors.size());
  return pairs;
}

std::vector<CurvePoint> hit_curve(const std::vector<JudgedPair>& pairs) {
  std::vector<CurvePoint> curve;
  for (int step = 0; step <= 24; ++step) {
    CurvePoint point;
    point.threshold = step < 10 ? 0.05f * static_cast<float>(step)
                                : 0.5f + 0.5f * static_cast<float>(step - 10) / 14;
    size_t same = 0, near = 0;
    for (const JudgedPair& pair : pairs) {
      ++(pair.why.empty() ? same : near);
      if (pair.similarity < point.threshold) continue;
      (pair.why.empty() ? point.hits_bare : point.wrong_bare) += 1;
      if (pair.objection != Objection::kNone) continue;
      (pair.why.empty() ? point.hits : point.wrong) += 1;
    }
    const auto share = [](double* count, size_t of) {
      *count /= std::max<double>(1, static_cast<double>(of));
    };
    share(&point.hits, same);
    share(&point.hits_bare, same);
    share(&point.wrong, near);
    share(&point.wrong_bare, near);
    curve.push_back(point);
  }
  return curve;
}

CacheTrial try_cache(const std::vector<QuestionGroup>& groups,
                     const std::vector<std::vector<float>>& vectors, const Lexicon& lexicon,
                     GuardLevel level, float threshold) {
  std::vector<size_t> kept;  // places of the groups' questions in `vectors`
  std::vector<Meaning> meanings;
  size_t at = 0;
  for (const QuestionGroup& group : groups) {
    kept.push_back(at);
    meanings.push_back(lexicon.read(group.question));
    at += 1 + group.lines.size();
  }
  const auto answer = [&](size_t asked, const Meaning& meaning) -> std::optional<size_t> {
    std::optional<size_t> best;
    float nearest = threshold;
    for (size_t g = 0; g < kept.size(); ++g) {
      const float near = similarity(vectors[asked], vectors[kept[g]]);
      if (near < nearest || objection(meaning, meanings[g], level) != Objection::kNone) continue;
      nearest = near;
      best = g;
    }
    return best;
  };
  CacheTrial trial;
  for (size_t g = 0; g < groups.size(); ++g) {
    for (size_t i = 0; i < groups[g].lines.size(); ++i) {
      const auto& line = groups[g].lines[i];
      const auto found = answer(kept[g] + 1 + i, lexicon.read(line.text));
      if (line.why.empty()) {
        ++trial.paraphrases;
        if (found) ++(*found == g ? trial.answered : trial.crossed);
      } else {
        ++trial.near_misses;
        if (found) ++trial.answered_wrong;
      }
    }
  }
  return trial;
}

}  // namespace hadal::gateway
