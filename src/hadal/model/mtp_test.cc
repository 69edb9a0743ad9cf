// The next-token-prediction layer of the embedded model against models/tiny/reference.py (numpy),
// which wrote mtp_golden.txt:
//
//   reference.py --drafts "What is 348 + 276? And who wrote it down, and where, before the rain
//   came over the hills?"
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "hadal/base/threads.h"
#include "hadal/hw/cpu.h"
#include "hadal/model/model.h"

namespace hadal {
namespace {

constexpr int32_t kBlockTokens = 16;
constexpr int32_t kEvery = 128;  // logits that the golden file has

struct Golden {
  std::vector<int32_t> tokens;
  std::vector<int32_t> best;               // [tokens - 1]
  std::vector<std::vector<float>> logits;  // [tokens - 1][vocabulary / kEvery]
};

Golden read_golden() {
  Golden golden;
  std::ifstream file(HADAL_SOURCE_DIR "/src/hadal/model/mtp_golden.txt");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    words >> golden.tokens.emplace_back();
    if (golden.tokens.size() == 1) continue;
    words >> golden.best.emplace_back();
    golden.logits.emplace_back();
    for (float value = 0; words >> value;) golden.logits.back().push_back(value);
  }
  return golden;
}

// How the fixture's model is loaded, too.
Result<std::unique_ptr<Model>> load_embedded(kernels::Backend& backend) {
  HADAL_TRY(const ModelFiles files, open_model(HADAL_SOURCE_DIR "/models/tiny/hadal-tiny.gguf"));
  LoadOptions load;
  load.drafts = true;
  HADAL_TRY(auto model, load_model(files, backend, load));
  HADAL_TRY_VOID(model->prepare(64, 64));
  return model;
}

class Mtp : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto backend = kernels::make_cpu_backend(GetParam(), cpu_features(), pool_);
    if (!backend) GTEST_SKIP() << backend.error().what;
    backend_ = std::move(*backend);
    auto model = load_embedded(*backend_);
    ASSERT_TRUE(model) << model.error().what;
    model_ = std::move(*model);
    ASSERT_TRUE(model_->config().drafts);
    golden_ = read_golden();
    ASSERT_GT(golden_.tokens.size(), 2 * size_t{kBlockTokens});
  }

  KvArena arena(int32_t blocks = 4) const {
    auto arena =
        KvArena::make(model_->config().kv_layout(DType::kF32, kBlockTokens), blocks, *backend_);
    EXPECT_TRUE(arena);
    return std::move(*arena);
  }

  // Feeds `tokens` from `position` on, and behind every chunk the entries that it made possible, as
  // an engine would. Logits of all entries.
  std::vector<float> run(KvArena& cache, std::span<const int32_t> tokens, int32_t position,
                         int32_t chunk) const {
    const auto count = static_cast<int32_t>(tokens.size());
    std::vector<float> all;
    for (int32_t first = position; first < count; first += chunk) {
      const int32_t rows = std::min(chunk, count - first);
      const kernels::Segment segment{0, rows, first, blocks_};
      model_->forward({tokens.subspan(first, rows), std::span(&segment, 1), {}}, cache);
      // Where a block begins, the state before it is the block's; nowhere else is it needed.
      const bool begins = first > 0 && first % kBlockTokens == 0;
      const int32_t from = begins ? first : first + 1;
      const int32_t to = std::min(first + rows, count - 1);
      std::vector<int32_t> hidden, wanted;
      for (int32_t q = from; q <= to; ++q) {
        wanted.push_back(static_cast<int32_t>(hidden.size()));
        hidden.push_back(q == first ? DraftBatch::kFromBlock : q - 1 - first);
      }
      if (hidden.empty()) continue;
      // The entry at the first position of the next block is made again by the next chunk.
      const bool again = to % kBlockTokens == 0 && to < count - 1 && to == first + rows;
      const kernels::Segment entries{0, to - from + 1, from, blocks_};
      const ConstView logits = model_->draft(
          {tokens.subspan(from, to - from + 1), std::span(&entries, 1), hidden, wanted}, cache);
      for (int64_t r = 0; r < logits.rows - (again ? 1 : 0); ++r) {
        all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
      }
    }
    return all;
  }

  ThreadPool pool_{2};
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Model> model_;
  Golden golden_;
  std::vector<int32_t> blocks_ = {2, 0, 3, 1};
};

TEST_P(Mtp, LogitsAreTheReferences) {
  KvArena cache = arena();
  const std::vector<float> logits = run(cache, golden_.tokens, 0, 64);
  const auto vocabulary = static_cast<size_t>(model_->config().vocabulary);
  ASSERT_EQ(logits.size(), golden_.best.size() * vocabulary);
  double worst = 0;
  size_t same = 0;
  for (size_t i = 0; i < golden_.best.size(); ++i) {
    const auto row = std::span(logits).subspan(i * vocabulary, vocabulary);
    for (size_t j = 0; j < golden_.logits[i].size(); ++j) {
      worst = std::max(worst, std::abs(double{row[j * kEvery]} - golden_.logits[i][j]));
    }
    same += std::ranges::max_element(row) - row.begin() == golden_.best[i] ? 1 : 0;
  }
  std::cout << "[ worst    ] " << worst << ", best tokens " << same << "\n";
  // The reference rounds no activations. Fast kernels round them to 8 bits, which moves a router's
  // choice here and there.
  if (GetParam() == "ref") {
    EXPECT_LT(worst, 1e-3);
    EXPECT_EQ(same, golden_.best.size());
  }
  EXPECT_GE(same * 10, golden_.best.size() * 9);
}

TEST_P(Mtp, ChunksGiveTheSameBits) {
  KvArena whole_cache = arena();
  const std::vector<float> whole = run(whole_cache, golden_.tokens, 0, 64);
  for (const int32_t chunk : {1, 7, 16, 17}) {
    KvArena cache = arena();
    EXPECT_EQ(run(cache, golden_.tokens, 0, chunk), whole) << chunk;
  }
}

// What the prefix cache relies on: nothing but a block's own tokens and those before them is in it.
TEST_P(Mtp, ABlockServesEveryContinuation) {
  const auto tokens = std::span(golden_.tokens);
  std::vector<int32_t> other(tokens.begin(), tokens.begin() + 2 * kBlockTokens);
  for (int i = 0; i < 5; ++i) other.push_back(700 + i);
  KvArena cache = arena();
  run(cache, other, 0, 64);
  const std::vector<float> continued = run(cache, tokens, 2 * kBlockTokens, 64);
  KvArena fresh = arena();
  const std::vector<float> whole = run(fresh, tokens, 0, 64);
  ASSERT_LT(continued.size(), whole.size());
  EXPECT_TRUE(std::equal(continued.begin(), continued.end(), whole.end() - continued.size()));
}

// Rows without logits leave their entries, and the others what the next guess is made of.
TEST_P(Mtp, LogitsDoNotDependOnWhichAreWanted) {
  const auto tokens = std::span(golden_.tokens).first(2 * kBlockTokens);
  const kernels::Segment text{0, 20, 0, blocks_};
  const kernels::Segment entries{0, 20, 1, blocks_};
  std::vector<int32_t> hidden, all;
  for (int32_t i = 0; i < 20; ++i) all.push_back(hidden.emplace_back(i));
  std::vector<float> expected;
  for (const std::vector<int32_t>& wanted : {all, std::vector<int32_t>{7, 19}, {0, 1, 19}}) {
    KvArena cache = arena();
    model_->forward({tokens.first(20), std::span(&text, 1), {}}, cache);
    ConstView logits =
        model_->draft({tokens.subspan(1, 20), std::span(&entries, 1), hidden, wanted}, cache);
    const auto width = static_cast<size_t>(logits.cols);
    for (size_t i = 0; i < wanted.size(); ++i) {
      const std::vector<float> row(logits.row(i), logits.row(i) + width);
      if (wanted.size() == all.size()) expected.insert(expected.end(), row.begin(), row.end());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + wanted[i] * width));
    }
    // Two guesses ahead, from the state of the last row.
    int32_t state = static_cast<int32_t>(wanted.size()) - 1;
    for (int32_t i = 0; i < 2; ++i, state = 0) {
      const kernels::Segment next{0, 1, 21 + i, blocks_};
      const int32_t first = 0;
      logits = model_->draft({tokens.subspan(21 + i, 1),
                              std::span(&next, 1),
                              std::span(&state, 1),
                              std::span(&first, 1),
                              {},
                              true},
                             cache);
      const std::vector<float> row(logits.row(0), logits.row(0) + width);
      if (wanted.size() == all.size()) expected.insert(expected.end(), row.begin(), row.end());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), expected.begin() + (20 + i) * width));
    }
  }
}

// Few rows are shared out between threads for whole layers: in halves and thirds, where a sequence
// is cut, where a share is one row, and not at all.
TEST_P(Mtp, SharesOfRowsGiveTheSameBits) {
  std::vector<float> expected;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    const auto backend = kernels::make_cpu_backend(GetParam(), cpu_features(), pool);
    ASSERT_TRUE(backend);
    const auto model = load_embedded(**backend);
    ASSERT_TRUE(model);
    auto cache = KvArena::make((*model)->config().kv_layout({}, kBlockTokens), 8, **backend);
    ASSERT_TRUE(cache);
    const std::vector<int32_t> blocks[] = {{2, 0, 3}, {7, 5, 6}};
    std::vector<float> all;
    int32_t position = 0;
    for (const int32_t rows : {9, 1, 2, 5}) {
      // Two sequences, the second a row shorter where that is possible.
      const int32_t other = std::max(1, rows - 1);
      std::vector<int32_t> tokens, wanted, hidden;
      for (int32_t i = 0; i < rows + other; ++i) {
        tokens.push_back(golden_.tokens[static_cast<size_t>((7 * position + i) % 30)]);
        wanted.push_back(i);
        hidden.push_back(i);
      }
      const auto segments = [&](int32_t at) {
        return std::vector<kernels::Segment>{{0, rows, at, blocks[0]},
                                             {rows, other, at, blocks[1]}};
      };
      const auto take = [&all](ConstView logits) {
        for (int64_t r = 0; r < logits.rows; ++r) {
          all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
        }
      };
      const auto now = segments(position), next = segments(position + 1);
      take((*model)->forward({tokens, now, wanted}, *cache));
      take((*model)->draft({tokens, next, hidden, wanted, {}, true}, *cache));
      position += rows;
    }
    if (threads == 1) expected = all;
    EXPECT_TRUE(all == expected) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, Mtp, testing::Values("ref", "avx2", "avx512"),
                         [](const auto& info) { return info.param; });

TEST(MtpConfig, TheLayerIsLeftOutUnlessAskedFor) {
  auto files = open_model(HADAL_SOURCE_DIR "/models/tiny/hadal-tiny.gguf");
  ASSERT_TRUE(files) << files.error().what;
  const auto backend = kernels::make_reference_backend();
  const auto plain = load_model(*files, *backend, {});
  LoadOptions load;
  load.drafts = true;
  const auto drafting = load_model(*files, *backend, load);
  ASSERT_TRUE(plain && drafting);
  const KvLayout without = (*plain)->config().kv_layout(DType::kF16, 32);
  const KvLayout with = (*drafting)->config().kv_layout(DType::kF16, 32);
  EXPECT_FALSE((*plain)->config().drafts);
  EXPECT_EQ(with.streams.size(), without.streams.size() + 1);
  EXPECT_EQ(with.block_bytes() - without.block_bytes(), 32u * 80 * 2 + 192 * 4 + 4);
  EXPECT_GT((*drafting)->weight_bytes(), (*plain)->weight_bytes());
}

}  // namespace
}  // namespace hadal
