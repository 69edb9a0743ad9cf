// An engine with its prefix cache on disk: answers are those of an engine without, prefixes come
// back after a restart, and a disk in trouble costs time only.
#include "hadal/engine/kv_disk.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "hadal/base/testing/temporary_folder.h"
#include "hadal/engine/testing/fake_engine.h"
#include "hadal/engine/testing/storm.h"
#include "hadal/obs/registry.h"

namespace hadal {
namespace {

namespace fs = std::filesystem;
using testing::Answer;
using testing::FakeEngine;
using testing::FakeModel;
using testing::Job;
using testing::TemporaryFolder;

uint64_t next_epoch() {
  static std::atomic<uint64_t> epoch{1};
  return epoch++;
}

EngineOptions disk_options(const TemporaryFolder& folder) {
  EngineOptions options = testing::fake_engine_options();
  options.kv_disk = {.path = folder.path() + "/kv",
                     .bytes_max = 8 << 20,
                     .identity = "fake",
                     .epoch = next_epoch()};
  return options;
}

GenerationRequest request_of(int32_t tokens, TokenId from = 1) {
  GenerationRequest request;
  for (int32_t i = 0; i < tokens; ++i) request.prompt.push_back((from + i) % 250);
  request.sampling.temperature = 0.0f;
  request.sampling.max_tokens = 20;
  request.sampling.ignore_eos = true;
  return request;
}

double metric(const FakeEngine& engine, const std::string& name) {
  const std::string text = exposition(*engine.metrics().registry());
  const size_t at = text.find("\n" + name + "{");
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? -1 : std::stod(text.substr(text.find("} ", at) + 2));
}

// Pages are written in the background, and found once they are in a file.
void wait_until_written(const FakeEngine& engine, double pages, int32_t block_tokens) {
  const double bytes = pages * static_cast<double>(testing::kv_bytes_of_blocks(1, block_tokens));
  while (metric(engine, "hadal_kv_disk_written_bytes_total") < bytes) {
    ASSERT_EQ(metric(engine, "hadal_kv_disk_skipped_total"), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(KvDisk, APrefixComesBackAfterARestart) {
  const TemporaryFolder folder;
  Answer first;
  {
    FakeEngine engine(disk_options(folder));
    first = engine.answer(request_of(100));
    EXPECT_EQ(first.usage.cached_tokens, 0);
    EXPECT_GE(engine.answer(request_of(100)).usage.cached_tokens, 96);
    EXPECT_EQ(metric(engine, "hadal_kv_disk_hits_total"), 0);  // memory was enough
  }
  int64_t rows = 0;
  FakeEngine engine(disk_options(folder), {},
                    [&](const Batch& batch) { rows += static_cast<int64_t>(batch.tokens.size()); });
  const Answer second = engine.answer(request_of(100));
  EXPECT_EQ(second.usage.cached_tokens, 96);
  EXPECT_EQ(second.tokens, first.tokens);
  EXPECT_EQ(rows, 4 + 19);  // what the blocks do not cover, and the answer
  EXPECT_EQ(metric(engine, "hadal_kv_disk_hits_total"), 12);
  // The answer is a prefix too, as far as it filled blocks.
  GenerationRequest next = request_of(100);
  next.prompt.insert(next.prompt.end(), first.tokens.begin(), first.tokens.end());
  next.prompt.push_back(5);
  EXPECT_EQ(engine.answer(next).usage.cached_tokens, 112);
}

TEST(KvDisk, WhatMemoryGaveUpComesBack) {
  const TemporaryFolder folder;
  EngineOptions options = disk_options(folder);
  options.context = 128;
  options.kv_bytes = testing::kv_bytes_of_blocks(20, options.block_tokens);
  FakeEngine engine(options);
  std::vector<Answer> first;
  for (TokenId i = 0; i < 8; ++i) first.push_back(engine.answer(request_of(90, i * 30)));
  // Of each its 90 tokens and all but the last of its answer, in whole blocks.
  wait_until_written(engine, 8 * ((90 + 19) / options.block_tokens), options.block_tokens);
  for (TokenId i = 0; i < 8; ++i) {
    const Answer again = engine.answer(request_of(90, i * 30));
    EXPECT_EQ(again.usage.cached_tokens, 88) << i;
    EXPECT_EQ(again.tokens, first[static_cast<size_t>(i)].tokens);
  }
  EXPECT_GT(metric(engine, "hadal_kv_disk_hits_total"), 60);
}

TEST(KvDisk, ScopesAndIdentitiesAreApart) {
  const TemporaryFolder folder;
  GenerationRequest mine = request_of(64);
  mine.cache_scope = "me";
  {
    FakeEngine engine(disk_options(folder));
    (void)engine.answer(mine);
  }
  const auto cached = [&](const GenerationRequest& request, const EngineOptions& options) {
    FakeEngine engine(options);
    return engine.answer(request).usage.cached_tokens;
  };
  GenerationRequest yours = mine;
  yours.cache_scope = "you";
  EXPECT_EQ(cached(yours, disk_options(folder)), 0);
  EXPECT_EQ(cached(mine, disk_options(folder)), 56);
  EngineOptions other = disk_options(folder);
  other.kv_disk.identity = "another model";
  EXPECT_EQ(cached(mine, other), 0);
  other = disk_options(folder);
  other.block_tokens = 16;
  EXPECT_EQ(cached(mine, other), 0);
  // Scores of prompt rows need the rows.
  GenerationRequest scored = mine;
  scored.prompt_logprobs = 0;
  EXPECT_EQ(cached(scored, disk_options(folder)), 0);
  EXPECT_EQ(cached(mine, disk_options(folder)), 56);
}

TEST(KvDisk, ManyWithOnePrefixReadItOnce) {
  const TemporaryFolder folder;
  { (void)FakeEngine(disk_options(folder)).answer(request_of(200)); }
  EngineOptions options = disk_options(folder);
  options.sequences_max = 8;
  std::atomic<bool> go{false};
  FakeEngine engine(options, {}, [&](const Batch&) {
    while (!go) std::this_thread::yield();  // so that all are there when reading begins
  });
  std::vector<testing::Collector> collectors(9);
  ASSERT_TRUE(engine->submit(request_of(3, 77), collectors[8].sink()));
  for (size_t i = 0; i < 8; ++i) {
    GenerationRequest request = request_of(200);
    request.prompt.back() = static_cast<TokenId>(i);
    ASSERT_TRUE(engine->submit(request, collectors[i].sink()));
  }
  go = true;
  for (size_t i = 0; i < 8; ++i) EXPECT_GE(collectors[i].wait().usage.cached_tokens, 192);
  collectors[8].wait();
  EXPECT_LE(metric(engine, "hadal_kv_disk_hits_total"), 25);
}

// Every page's bytes change while the server is down.
TEST(KvDisk, DamagedPagesAreComputedAnew) {
  const TemporaryFolder folder;
  Answer first;
  {
    FakeEngine engine(disk_options(folder));
    first = engine.answer(request_of(150));
  }
  for (const auto& entry : fs::directory_iterator(folder.path() + "/kv")) {
    if (entry.path().extension() != ".kv") continue;
    std::fstream file(entry.path(), std::ios::binary | std::ios::in | std::ios::out);
    for (uint64_t at = 4'096; at < entry.file_size(); at += 2'048) {
      file.seekg(static_cast<std::streamoff>(at) + 100);
      const char byte = static_cast<char>(file.get() ^ 1);
      file.seekp(static_cast<std::streamoff>(at) + 100);
      file.put(byte);
    }
  }
  for (int restart = 0; restart < 2; ++restart) {
    FakeEngine engine(disk_options(folder));
    const Answer again = engine.answer(request_of(150));
    EXPECT_EQ(again.tokens, first.tokens);
    EXPECT_EQ(again.usage.cached_tokens, restart == 0 ? 0 : 144);
  }
}

TEST(KvDisk, AnEngineWithAFolderInUseDoesNotStart) {
  const TemporaryFolder folder;
  const FakeEngine engine(disk_options(folder));
  FakeModel::Options model;
  model.vocabulary = testing::fake_tokenizer().vocabulary_size();
  const auto second = testing::refusal_of(disk_options(folder), model);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->code, Code::kUnavailable);
}

// As EngineStorm, with a disk below a memory that is far too small, over several lives: pages of
// one life are read in the next.
TEST(KvDisk, AStormGetsTheAnswersOfQuietTimes) {
  const TemporaryFolder folder;
  FakeModel::Options model;
  model.eos = *testing::fake_tokenizer().data().eos;
  struct Crowd {
    int32_t blocks, sequences, rows, prefill_rows;
    uint64_t disk;
  };
  const Crowd crowds[] = {
      {.blocks = 33, .sequences = 16, .rows = 16, .prefill_rows = 3, .disk = 8 << 20},
      {.blocks = 64, .sequences = 64, .rows = 128, .prefill_rows = 16, .disk = 8 << 20},
      {.blocks = 40, .sequences = 32, .rows = 64, .prefill_rows = 8, .disk = 300'000},
  };
  const std::vector<Job> jobs = testing::make_jobs(3, 160);
  EngineOptions one = testing::fake_engine_options();
  one.sequences_max = 1;
  FakeEngine quiet(one, model);
  const std::vector<Answer> alone = testing::run_alone(jobs, *quiet);
  double hits = 0;
  for (const Crowd& crowd : crowds) {
    EngineOptions options = disk_options(folder);
    options.kv_disk.bytes_max = crowd.disk;
    options.kv_bytes = testing::kv_bytes_of_blocks(crowd.blocks, options.block_tokens);
    options.context = 256;
    options.sequences_max = crowd.sequences;
    options.step_rows_max = std::max(crowd.rows, crowd.sequences);
    options.prefill_rows_with_decode = crowd.prefill_rows;
    FakeEngine engine(options, model);
    const std::vector<Answer> answers = testing::run_together(jobs, *engine);
    for (size_t i = 0; i < jobs.size(); ++i) {
      SCOPED_TRACE(fmt::format("{} blocks, request {}", crowd.blocks, i));
      testing::expect_same(answers[i], alone[i]);
      if (HasFailure()) return;
    }
    while (!engine->idle()) std::this_thread::yield();
    while (engine->state().running > 0) std::this_thread::yield();
    EXPECT_EQ(engine->state().blocks_used, 0);
    hits += metric(engine, "hadal_kv_disk_hits_total");
  }
  EXPECT_GT(hits, 100);
}

}  // namespace
}  // namespace hadal
