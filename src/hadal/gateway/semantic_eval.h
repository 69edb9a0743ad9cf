// How good a semantic cache's judgement is, on labelled questions: which share of paraphrases it
// would answer, and how many questions that only look alike.
//
// Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/gateway/semantic_guard.h"

namespace hadal::gateway {

// A question, others that ask the same, and others that look like it and do not.
struct QuestionGroup {
  struct Line {
    std::string text;
    std::string why;  // of a near miss: number, name, negation, ...; empty: asks the same
  };
  std::string question;
  std::vector<Line> lines;
  // Which half it belongs to follows from the question's own text. Thresholds, weights and lists
  // are made with the first; the second only says how well that went.
  bool held_out() const;
};

// Lines "Q text", "= text", "!why text"; empty ones and those with '#' are skipped. The error names
// the line.
Result<std::vector<QuestionGroup>> parse_questions(std::string_view text);

struct JudgedPair {
  std::string a, b;
  std::string why;  // empty: same meaning
  float similarity = 0;
  Objection objection = Objection::kNone;  // the guard's
};

// Every question of a group with every other, but for two near misses, whose relation is not
// labelled. `vectors`: of each text, in the order of texts_of().
std::vector<std::string> texts_of(const std::vector<QuestionGroup>& groups);
std::vector<JudgedPair> judge_pairs(const std::vector<QuestionGroup>& groups,
                                    const std::vector<std::vector<float>>& vectors,
                                    const Lexicon& lexicon, GuardLevel level);

struct CurvePoint {
  float threshold = 0;
  double hits = 0;                       // share of the paraphrases, guarded
  double wrong = 0;                      // share of the near misses, guarded
  double hits_bare = 0, wrong_bare = 0;  // by similarity alone
};
std::vector<CurvePoint> hit_curve(const std::vector<JudgedPair>& pairs);

// A cache that has been asked every group's question, and is then asked everything else: nearest
// first, as it would answer.
struct CacheTrial {
  size_t paraphrases = 0, answered = 0;
  size_t near_misses = 0, answered_wrong = 0;  // by whichever question
  size_t crossed = 0;                          // paraphrases answered with another group's answer
};
CacheTrial try_cache(const std::vector<QuestionGroup>& groups,
                     const std::vector<std::vector<float>>& vectors, const Lexicon& lexicon,
                     GuardLevel level, float threshold);

}  // namespace hadal::gateway
