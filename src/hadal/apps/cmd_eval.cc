// hadal eval WHAT: how well something does, on data whose right answers are known.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "hadal/apps/commands.h"
#include "hadal/apps/eval_embeddings.h"
#include "hadal/apps/flags.h"
#include "hadal/base/file.h"
#include "hadal/gateway/semantic_embedder.h"
#include "hadal/gateway/semantic_eval.h"

namespace hadal::apps {
namespace {

constexpr uint64_t kQuestionsBytesMax = 64u << 20;

struct SemanticFlags {
  std::vector<std::string> files;
  std::string half = "all";
  std::string guard;
  float threshold = 0.85f;
  EmbeddingsOptions embeddings;
  bool errors = false;
};

using gateway::CurvePoint;
using gateway::GuardLevel;
using gateway::JudgedPair;
using gateway::QuestionGroup;

void print_curve(const std::vector<JudgedPair>& pairs) {
  fmt::print(
      "             with the guard     by similarity alone\n"
      "threshold    hits    wrong      hits    wrong\n");
  for (const CurvePoint& point : gateway::hit_curve(pairs)) {
    fmt::print("{:9.3f} {:6.1f} % {:6.2f} % {:7.1f} % {:6.2f} %\n", point.threshold,
               100 * point.hits, 100 * point.wrong, 100 * point.hits_bare, 100 * point.wrong_bare);
  }
}

// Of each kind of near miss: how many there are, and how many would be answered.
void print_kinds(const std::vector<JudgedPair>& pairs, float threshold) {
  std::map<std::string, std::pair<int, int>> kinds;
  for (const JudgedPair& pair : pairs) {
    auto& [all, wrong] = kinds[pair.why.empty() ? "(same meaning)" : pair.why];
    ++all;
    if (pair.similarity >= threshold && pair.objection == gateway::Objection::kNone) ++wrong;
  }
  fmt::print("\nat {:.3f}, with the guard\n", threshold);
  for (const auto& [kind, counts] : kinds) {
    fmt::print("{:<16}{:5} pairs {:5} answered\n", kind, counts.first, counts.second);
  }
}

void print_errors(const std::vector<JudgedPair>& pairs, float threshold) {
  for (const JudgedPair& pair : pairs) {
    const bool answered =
        pair.similarity >= threshold && pair.objection == gateway::Objection::kNone;
    if (answered == pair.why.empty()) continue;
    fmt::print("{} {:.3f} {:<10} {} | {}\n", answered ? "wrong" : "lost ", pair.similarity,
               answered ? pair.why : objection_name(pair.objection), pair.a, pair.b);
  }
}

Status eval_semantic(const SemanticFlags& flags) {
  std::vector<QuestionGroup> groups;
  for (const std::string& file : flags.files) {
    HADAL_TRY(const std::string text, read_file(file, kQuestionsBytesMax));
    auto parsed = gateway::parse_questions(text);
    if (!parsed) return fail(parsed.error().code, file + ": " + parsed.error().what);
    for (QuestionGroup& group : *parsed) {
      const bool wanted = flags.half == "all" || group.held_out() == (flags.half == "held-out");
      if (wanted) groups.push_back(std::move(group));
    }
  }
  const gateway::Lexicon lexicon;
  const bool remote = !flags.embeddings.url.empty();
  const std::vector<std::string> texts = gateway::texts_of(groups);
  std::vector<std::vector<float>> vectors;
  if (remote) {
    HADAL_TRY(vectors, ask_embeddings(flags.embeddings, texts));
  } else {
    for (const std::string& text : texts) vectors.push_back(gateway::embed(lexicon.read(text)));
  }
  const bool words = flags.guard.empty() ? !remote : flags.guard == "words";
  const GuardLevel level = words ? GuardLevel::kWords : GuardLevel::kFacts;
  const auto pairs = judge_pairs(groups, vectors, lexicon, level);
  fmt::print("{} groups of questions, {} pairs, half: {}; vectors: {}; guard: {}\n\n",
             groups.size(), pairs.size(), flags.half, remote ? flags.embeddings.model : "built in",
             words ? "words" : "facts");
  print_curve(pairs);
  print_kinds(pairs, flags.threshold);
  const auto trial = try_cache(groups, vectors, lexicon, level, flags.threshold);
  fmt::print(
      "\na cache with the {} questions, asked the rest\n"
      "paraphrases      {:5}, answered {}, with another question's answer {}\n"
      "near misses      {:5}, answered {}\n",
      groups.size(), trial.paraphrases, trial.answered, trial.crossed, trial.near_misses,
      trial.answered_wrong);
  if (flags.errors) print_errors(pairs, flags.threshold);
  return {};
}

}  // namespace

int cmd_eval(int argc, char** argv) {
  CLI::App app("how well something does, on data whose right answers are known", "hadal eval");
  app.require_subcommand(1);
  SemanticFlags semantic;
  CLI::App* cache = app.add_subcommand(
      "semantic-cache", "hits and wrong hits of the semantic cache, over its threshold");
  cache->add_option("questions", semantic.files, "files of labelled questions")->required();
  cache->add_option("--half", semantic.half, "which half of them: all, dev, held-out [all]")
      ->check(CLI::IsMember({"all", "dev", "held-out"}));
  cache->add_option("--threshold", semantic.threshold, "for the tables below the curve [0.85]")
      ->check(CLI::Range(-1.0, 1.0));
  cache
      ->add_option("--guard", semantic.guard, "facts or words [words; facts with --embeddings-url]")
      ->check(CLI::IsMember({"facts", "words"}));
  cache->add_flag("--errors", semantic.errors, "list the pairs that are judged wrongly");
  auto* url = cache->add_option("--embeddings-url", semantic.embeddings.url,
                                "take vectors from here, with what comes before /embeddings: "
                                "https://host/v1 [built in]");
  cache->add_option("--embeddings-model", semantic.embeddings.model, "its name there")->needs(url);
  cache
      ->add_option("--embeddings-key-env", semantic.embeddings.key_env,
                   "environment variable with the key")
      ->needs(url);
  if (const int status = parse_line(app, nullptr, argc, argv); status >= 0) return status;
  if (const Status done = eval_semantic(semantic); !done) {
    fmt::print(stderr, "hadal eval: {}\n", done.error().what);
    return 1;
  }
  return 0;
}

}  // namespace hadal::apps
