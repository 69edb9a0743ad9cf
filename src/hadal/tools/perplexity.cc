#include "hadal/tools/perplexity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <span>
#include <vector>

#include "hadal/tools/report_text.h"

namespace hadal {
namespace {

constexpr int32_t kBlockTokens = 32;

// -ln of the probability that the softmax of `logits` gives to `token`.
double surprise(std::span<const float> logits, int32_t token) {
  const double greatest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - greatest);
  return std::log(sum) + greatest - logits[static_cast<size_t>(token)];
}

struct Document {
  std::vector<TokenId> tokens;
  std::vector<bool> counted;  // whether a token is one to foresee
};

constexpr std::string_view kAssistant = "<｜Assistant｜>";

Document read_document(const Tokenizer& tokenizer, std::string_view text) {
  Document document;
  document.tokens = tokenizer.encode(text, {true, true});
  if (document.tokens.size() > 1 && document.tokens[0] == document.tokens[1] &&
      document.tokens[0] == tokenizer.data().bos) {
    document.tokens.erase(document.tokens.begin());  // the text brought its own
  }
  const std::optional<TokenId> assistant = tokenizer.find(kAssistant);
  const bool chat = assistant && std::find(document.tokens.begin(), document.tokens.end(),
                                           *assistant) != document.tokens.end();
  bool speaks = !chat;
  for (const TokenId token : document.tokens) {
    document.counted.push_back(speaks);
    if (!chat) continue;
    if (token == *assistant) speaks = true;
    if (tokenizer.is_end_of_generation(token)) speaks = false;
  }
  return document;
}

// Windows of a document, one after another, as the cache's only sequence.
class Windows {
 public:
  Windows(Model& model, KvArena& arena, const Document& document, int32_t step_rows)
      : model_(model), arena_(arena), document_(document), step_rows_(step_rows) {
    blocks_.resize(static_cast<size_t>(arena.blocks()));
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  // Adds the surprises of tokens [begin + 1, end) to the report.
  void measure(size_t begin, size_t end, PerplexityReport* report) {
    const auto tokens = std::span(document_.tokens).subspan(begin, end - begin);
    const auto count = static_cast<int32_t>(tokens.size());
    for (int32_t position = 0; position < count; position += step_rows_) {
      const int32_t rows = std::min(step_rows_, count - position);
      std::vector<int32_t> wanted;
      for (int32_t r = 0; r < rows && position + r + 1 < count; ++r) {
        if (document_.counted[begin + static_cast<size_t>(position + r + 1)]) wanted.push_back(r);
      }
      const kernels::Segment segment{0, rows, position, blocks_};
      const auto part = tokens.subspan(static_cast<size_t>(position), static_cast<size_t>(rows));
      const ConstView logits = model_.forward({part, {&segment, 1}, wanted}, arena_);
      for (int64_t i = 0; i < logits.rows; ++i) {
        const auto next = static_cast<size_t>(position + wanted[static_cast<size_t>(i)] + 1);
        report->entropy +=
            surprise({logits.row(i), static_cast<size_t>(logits.cols)}, tokens[next]);
      }
      report->tokens += logits.rows;
    }
  }

 private:
  Model& model_;
  KvArena& arena_;
  const Document& document_;
  int32_t step_rows_;
  std::vector<int32_t> blocks_;
};

}  // namespace

double PerplexityReport::perplexity() const { return std::exp(entropy); }

Result<PerplexityReport> measure_perplexity(Model& model, kernels::Backend& backend,
                                            const Tokenizer& tokenizer, std::string_view text,
                                            const PerplexityOptions& options) {
  HADAL_CHECK(options.window > 1 && options.step_rows > 0);
  const ModelConfig& config = model.config();
  if (options.window > config.context) {
    return fail(Code::kInvalidInput, fmt::format("windows of {} tokens, but the model sees {}",
                                                 options.window, config.context));
  }
  const Document document = read_document(tokenizer, text);
  const int32_t rows = std::min(options.step_rows, options.window);
  HADAL_TRY_VOID(model.prepare(rows, rows));
  const KvLayout layout = config.kv_layout(options.kv_dtype, kBlockTokens);
  HADAL_TRY(KvArena arena, KvArena::make(layout, options.window / kBlockTokens + 1, backend));
  PerplexityReport report{config.name, layout.dtype, options.window, 0, 0.0};
  Windows windows(model, arena, document, rows);
  const std::optional<TokenId> first = tokenizer.data().bos;
  const std::vector<TokenId>& tokens = document.tokens;
  for (size_t begin = 0; begin < tokens.size();) {
    size_t end = begin + 1;
    const size_t limit = std::min(tokens.size(), begin + static_cast<size_t>(options.window));
    while (end < limit && tokens[end] != first) ++end;
    windows.measure(begin, end, &report);
    begin = end;
  }
  if (report.tokens == 0) return fail(Code::kInvalidInput, "the text has no token to foresee");
  report.entropy /= static_cast<double>(report.tokens);
  return report;
}

std::string perplexity_text(const PerplexityReport& r) {
  return fmt::format("{}: perplexity {:.5f} over {} tokens in windows of {}, {} cache\n",
                     r.model.empty() ? "model" : r.model, r.perplexity(), r.tokens, r.window,
                     kv_type_name(r.kv_dtype));
}

std::string perplexity_json(const PerplexityReport& r) {
  return fmt::format(
      "{{\"model\": {}, \"perplexity\": {:.6f}, \"entropy\": {:.8f}, \"tokens\": {}, "
      "\"window\": {}, \"kv_type\": \"{}\"}}\n",
      json_string(r.model), r.perplexity(), r.entropy, r.tokens, r.window,
      kv_type_name(r.kv_dtype));
}

}  // namespace hadal
