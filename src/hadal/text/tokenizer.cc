#include "hadal/text/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>

#include "hadal/base/check.h"
#include "hadal/text/bpe.h"
#include "hadal/text/pre_tokenizer.h"
#include "hadal/text/sentencepiece.h"
#include "hadal/text/special_tokens.h"
#include "hadal/text/unicode.h"

namespace hadal {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Tokens that only a template may write. User-defined tokens without brackets are ordinary text
// that training happened to keep whole: DeepSeek-LLM has one for "ü", and no byte token that could
// spell it.
bool is_marker(TokenType type, std::string_view text) {
  if (type == TokenType::kControl || type == TokenType::kUnknown) return true;
  return type == TokenType::kUserDefined && ((text.front() == '<' && text.back() == '>') ||
                                             (text.front() == '[' && text.back() == ']'));
}

Status check_id(std::optional<TokenId> id, size_t size, std::string_view field) {
  if (id && (*id < 0 || static_cast<size_t>(*id) >= size)) {
    return fail(Code::kCorrupt,
                fmt::format("tokenizer: {} is {}, but there are {} tokens", field, *id, size));
  }
  return {};
}

Status check_shape(const VocabData& data) {
  const size_t size = data.tokens.size();
  if (size == 0) return fail(Code::kCorrupt, "tokenizer: no tokens");
  if (size > INT32_MAX) return fail(Code::kTooLarge, fmt::format("tokenizer: {} tokens", size));
  if (data.types.size() != size) {
    return fail(Code::kCorrupt,
                fmt::format("tokenizer: {} types for {} tokens", data.types.size(), size));
  }
  HADAL_TRY_VOID(check_id(data.bos, size, "the begin token"));
  HADAL_TRY_VOID(check_id(data.eos, size, "the end token"));
  HADAL_TRY_VOID(check_id(data.unknown, size, "the unknown token"));
  HADAL_TRY_VOID(check_id(data.padding, size, "the padding token"));
  for (const TokenId id : data.end_of_generation) {
    HADAL_TRY_VOID(check_id(id, size, "an end-of-generation token"));
  }
  return {};
}

}  // namespace

struct Tokenizer::Impl {
  VocabData data;
  std::string bytes;            // every token's bytes, one after another
  std::vector<size_t> offsets;  // token i is bytes[offsets[i], offsets[i + 1])
  std::vector<bool> hidden;     // shown only on request
  std::vector<bool> ends;       // end of generation
  std::vector<bool> whole;      // byte-level: a pre-token with these bytes becomes this one token
  std::unordered_map<std::string_view, TokenId> ordinary;  // by bytes
  std::unordered_map<std::string_view, TokenId> special;   // by text
  SpecialTokens always;                                    // recognised in every text
  SpecialTokens markers;  // those and the ones that only templates may write
  std::optional<BytePairEncoder> bpe;
  std::optional<PreTokenizerRegex> pre;
  std::optional<SentencePieceEncoder> pieces;

  explicit Impl(VocabData vocab) : data(std::move(vocab)) {}

  std::string_view piece(size_t id) const {
    return std::string_view(bytes).substr(offsets[id], offsets[id + 1] - offsets[id]);
  }

  std::string decoded(size_t id) const {
    const std::string& token = data.tokens[id];
    const TokenType type = data.types[id];
    if (type == TokenType::kControl || type == TokenType::kUserDefined) return token;
    if (data.kind == TokenizerKind::kByteBpe) return bytes_of_alphabet(token);
    const int byte = type == TokenType::kByte ? byte_of_name(token) : -1;
    return byte >= 0 ? std::string(1, static_cast<char>(byte)) : unescape_spaces(token);
  }

  Status index() {
    const size_t size = data.tokens.size();
    offsets.assign(1, 0);
    offsets.reserve(size + 1);
    for (size_t i = 0; i < size; ++i) {
      bytes.append(decoded(i));
      offsets.push_back(bytes.size());
    }
    bytes.shrink_to_fit();
    hidden.assign(size, false);
    ends.assign(size, false);
    if (data.eos) ends[*data.eos] = true;
    for (const TokenId id : data.end_of_generation) ends[id] = true;
    std::unordered_map<std::string_view, TokenId> seen;
    seen.reserve(size);
    ordinary.reserve(size);
    for (size_t i = 0; i < size; ++i) {
      const auto id = static_cast<TokenId>(i);
      const auto [first, fresh] = seen.emplace(data.tokens[i], id);
      if (!fresh) {
        return fail(Code::kCorrupt,
                    fmt::format("tokenizer: tokens {} and {} are the same: \"{}\"", first->second,
                                id, replace_ill_formed(data.tokens[i])));
      }
      index_token(id);
    }
    always.sort();
    markers.sort();
    return {};
  }

  void index_token(TokenId id) {
    const TokenType type = data.types[id];
    const std::string_view text = data.tokens[id];
    hidden[id] = type == TokenType::kControl || type == TokenType::kUnknown;
    if (!hidden[id] && type != TokenType::kUserDefined) {
      ordinary.emplace(piece(id), id);
      return;
    }
    special.emplace(text, id);
    if (text.empty()) return;
    markers.add(text, id);
    if (!is_marker(type, text)) always.add(text, id);
  }

  // Which tokens a pre-token of the same bytes becomes at once. llama-bpe takes any whole token;
  // the others only what merging would make, which is found out here, once.
  void find_whole_tokens() {
    whole.assign(data.tokens.size(), false);
    std::vector<TokenId> merged;
    for (size_t i = 0; i < data.tokens.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      if (data.types[i] != TokenType::kNormal || !is_valid_utf8(piece(i))) continue;
      merged.clear();
      if (data.pre != PreTokenizer::kLlamaBpe) bpe->encode(piece(i), &merged);
      whole[i] = data.pre == PreTokenizer::kLlamaBpe || (merged.size() == 1 && merged[0] == id);
    }
  }

  Status compile() {
    if (data.kind == TokenizerKind::kSentencePiece) {
      HADAL_TRY(auto made, SentencePieceEncoder::make(data));
      pieces.emplace(std::move(made));
      return {};
    }
    HADAL_TRY(auto made, BytePairEncoder::make(data));
    bpe.emplace(std::move(made));
    HADAL_TRY(auto regex, PreTokenizerRegex::make(data.pre));
    pre.emplace(std::move(regex));
    find_whole_tokens();
    return {};
  }

  void encode_words(std::string_view text, std::vector<TokenId>* out) const {
    std::vector<size_t> lengths;
    lengths.reserve(text.size() / 4 + 1);
    pre->split(text, &lengths);
    for (const size_t length : lengths) {
      const std::string_view word = text.substr(0, length);
      text.remove_prefix(length);
      const auto found = ordinary.find(word);
      if (found != ordinary.end() && whole[found->second]) {
        out->push_back(found->second);
      } else {
        bpe->encode(word, out);
      }
    }
  }

  void encode_bytes(std::string_view text, std::vector<TokenId>* out) const {
    while (!text.empty()) {
      const size_t good = valid_utf8_prefix(text);
      if (good > 0) encode_words(text.substr(0, good), out);
      text.remove_prefix(good);
      if (text.empty()) return;
      const TokenId id = bpe->byte_token(static_cast<uint8_t>(text.front()));
      if (id >= 0) {
        out->push_back(id);
      } else {
        bpe->encode(kReplacement, out);
      }
      text.remove_prefix(1);
    }
  }

  // Text between special tokens. `at_start`: at the beginning, or after a special token.
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>* out) const {
    if (text.empty()) return;
    if (data.kind == TokenizerKind::kByteBpe) {
      encode_bytes(text, out);
      return;
    }
    std::string escaped = escape_spaces(text);
    if (at_start && data.add_space_prefix) escaped.insert(0, escape_spaces(" "));
    pieces->encode(escaped, out);
  }

  // The same through a cache, if there is one.
  void encode_plain(std::string_view text, bool at_start, TokenCache* cache, std::string_view scope,
                    std::vector<TokenId>* out) const {
    if (cache == nullptr || text.size() < TokenCache::kTextBytesMin) {
      return encode_plain(text, at_start, out);
    }
    if (const TokenCache::Tokens known = cache->find(scope, text, at_start)) {
      out->insert(out->end(), known->begin(), known->end());
      return;
    }
    const size_t before = out->size();
    encode_plain(text, at_start, out);
    cache->put(scope, text, at_start, std::span(*out).subspan(before));
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::make(VocabData data) {
  HADAL_TRY_VOID(check_shape(data));
  auto impl = std::make_unique<Impl>(std::move(data));
  HADAL_TRY_VOID(impl->index());
  HADAL_TRY_VOID(impl->compile());
  return Tokenizer(std::move(impl));
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  const TextPart part{text, options.parse_special};
  return encode_parts({&part, 1}, options.add_bos);
}

std::vector<TokenId> Tokenizer::encode_parts(std::span<const TextPart> parts, bool add_bos,
                                             TokenCache* cache, std::string_view scope) const {
  std::string joined;
  if (parts.size() > 1) {
    for (const TextPart& part : parts) joined.append(part.text);
  }
  const std::string_view all = parts.size() == 1 ? parts[0].text : std::string_view(joined);
  std::vector<TokenId> out;
  out.reserve(all.size() / 3 + 2);
  if (add_bos && impl_->data.bos) out.push_back(*impl_->data.bos);
  bool at_start = true;
  size_t plain = 0;  // where the text that is not encoded yet begins
  size_t end = 0;
  for (const TextPart& part : parts) {
    const SpecialTokens& specials = part.parse_special ? impl_->markers : impl_->always;
    size_t from = end;
    end += part.text.size();
    while (true) {
      const SpecialTokens::Found found = specials.find(all.substr(0, end), from);
      if (found.length == 0) break;
      impl_->encode_plain(all.substr(plain, found.begin - plain), at_start, cache, scope, &out);
      out.push_back(found.id);
      at_start = true;
      plain = from = found.begin + found.length;
    }
  }
  impl_->encode_plain(all.substr(plain), at_start, cache, scope, &out);
  return out;
}

std::string_view Tokenizer::piece(TokenId id, bool show_special) const {
  HADAL_CHECK(id >= 0 && id < vocabulary_size(), fmt::format("token {}", id));
  return impl_->hidden[id] && !show_special ? std::string_view() : impl_->piece(id);
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, bool show_special) const {
  std::string out;
  bool drop_space =
      impl_->data.kind == TokenizerKind::kSentencePiece && impl_->data.add_space_prefix;
  for (const TokenId id : tokens) {
    std::string_view bytes = piece(id, show_special);
    if (bytes.empty()) continue;
    if (drop_space && bytes.front() == ' ') bytes.remove_prefix(1);
    drop_space = false;
    out.append(bytes);
  }
  return out;
}

int32_t Tokenizer::vocabulary_size() const {
  return static_cast<int32_t>(impl_->data.tokens.size());
}

bool Tokenizer::is_end_of_generation(TokenId id) const {
  return id >= 0 && id < vocabulary_size() && impl_->ends[id];
}

std::optional<TokenId> Tokenizer::find(std::string_view text) const {
  for (const auto* map : {&impl_->special, &impl_->ordinary}) {
    const auto found = map->find(text);
    if (found != map->end()) return found->second;
  }
  return std::nullopt;
}

const VocabData& Tokenizer::data() const { return impl_->data; }

}  // namespace hadal
