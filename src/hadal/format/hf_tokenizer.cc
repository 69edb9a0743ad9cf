// tokenizer.json, tokenizer_config.json and generation_config.json as a VocabData.
#include "hadal/format/hf_tokenizer.h"

#include <boost/json/value.hpp>
#include <filesystem>
#include <unordered_map>

#include "hadal/base/file.h"
#include "hadal/base/limits.h"
#include "hadal/format/field_error.h"
#include "hadal/format/hf.h"
#include "hadal/format/hf_pre_tokenizer.h"
#include "hadal/format/json_text.h"
#include "hadal/format/vocab_common.h"

namespace hadal {
namespace {

namespace json = boost::json;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// The member of an object, nullptr when absent or null.
const json::value* member(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(json::string_view(key.data(), key.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::string_view text_member(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value != nullptr && value->is_string() ? view(value->get_string()) : std::string_view{};
}

bool bool_member(const json::object& object, std::string_view key) {
  const json::value* value = member(object, key);
  return value != nullptr && value->is_bool() && value->get_bool();
}

class Reader {
 public:
  Reader(const json::object& root, std::string file) : root_(root), file_(std::move(file)) {}

  Result<VocabData> read() {
    HADAL_TRY(const json::object* model, object_member(root_, "model"));
    const std::string_view type = text_member(*model, "type");
    if (!type.empty() && type != "BPE") {
      return field_error(Code::kUnsupported, file_, "model.type", shown(type), "\"BPE\"");
    }
    const bool pieces = bool_member(*model, "byte_fallback");
    vocab_.kind = pieces ? TokenizerKind::kSentencePiece : TokenizerKind::kByteBpe;
    vocab_.add_space_prefix = pieces && adds_space_prefix();
    if (!pieces) {
      HADAL_TRY(vocab_.pre, hf_pre_tokenizer(root_, file_));
    }
    HADAL_TRY_VOID(check_normalizer(pieces));
    if (!pieces && bool_member(*model, "ignore_merges") && vocab_.pre != PreTokenizer::kLlamaBpe) {
      return field_error(Code::kUnsupported, file_, "model.ignore_merges",
                         "true beside another pre-tokenizer", "it with that of llama-bpe only");
    }
    HADAL_TRY_VOID(read_tokens(*model));
    HADAL_TRY_VOID(read_added());
    HADAL_TRY_VOID(check_contiguous());
    HADAL_TRY_VOID(read_merges(*model));
    if (pieces) set_pieces(text_member(*model, "unk_token"));
    return std::move(vocab_);
  }

 private:
  Result<const json::object*> object_member(const json::object& object,
                                            std::string_view key) const {
    const json::value* value = member(object, key);
    if (value != nullptr && value->is_object()) return &value->get_object();
    return field_error(Code::kCorrupt, file_, key,
                       value == nullptr ? "no such key" : describe_json(*value), "an object");
  }

  Result<size_t> read_id(const json::value* value, const std::string& field) const {
    const int64_t* id = value == nullptr ? nullptr : value->if_int64();
    if (id == nullptr || *id < 0 || *id >= static_cast<int64_t>(limits::kVocabularyMax)) {
      return field_error(Code::kCorrupt, file_, field,
                         value == nullptr ? "no id" : describe_json(*value),
                         "an id from 0 below " + std::to_string(limits::kVocabularyMax));
    }
    return static_cast<size_t>(*id);
  }

  // Makes room for `id`; ids that no token takes are found by check_contiguous.
  void grow(size_t id) {
    if (id < taken_.size()) return;
    taken_.resize(id + 1, false);
    vocab_.tokens.resize(id + 1);
    vocab_.types.resize(id + 1, TokenType::kNormal);
  }

  Status read_tokens(const json::object& model) {
    HADAL_TRY(const json::object* tokens, object_member(model, "vocab"));
    // Refused before `grow` can be led to make a large table for a small file.
    const size_t size_max = 4 * tokens->size() + 65'536;
    for (const json::key_value_pair& entry : *tokens) {
      const std::string_view text(entry.key().data(), entry.key().size());
      const std::string field = "model.vocab " + shown(text);
      HADAL_TRY(const size_t id, read_id(&entry.value(), field));
      if (id >= size_max || (id < taken_.size() && taken_[id])) {
        return field_error(Code::kCorrupt, file_, field, "id " + std::to_string(id),
                           "contiguous ids, each once");
      }
      grow(id);
      taken_[id] = true;
      vocab_.tokens[id] = text;
    }
    return {};
  }

  Status read_added() {
    const json::value* list = member(root_, "added_tokens");
    if (list == nullptr) return {};
    if (!list->is_array()) {
      return field_error(Code::kCorrupt, file_, "added_tokens", describe_json(*list), "an array");
    }
    const size_t size_max = taken_.size() + 4 * list->get_array().size() + 65'536;
    for (const json::value& value : list->get_array()) {
      const json::object* entry = value.if_object();
      if (entry == nullptr) {
        return field_error(Code::kCorrupt, file_, "added_tokens", describe_json(value), "objects");
      }
      const std::string_view content = text_member(*entry, "content");
      const std::string field = "added_tokens " + shown(content);
      HADAL_TRY(const size_t id, read_id(member(*entry, "id"), field));
      const bool clash = id < taken_.size() && taken_[id] && vocab_.tokens[id] != content;
      if (content.empty() || id >= size_max || clash) {
        return field_error(Code::kCorrupt, file_, field, "id " + std::to_string(id),
                           "content, and an id that no other token has");
      }
      grow(id);
      taken_[id] = true;
      vocab_.tokens[id] = content;
      vocab_.types[id] =
          bool_member(*entry, "special") ? TokenType::kControl : TokenType::kUserDefined;
    }
    return {};
  }

  Status check_contiguous() const {
    for (size_t id = 0; id < taken_.size(); ++id) {
      if (!taken_[id]) {
        return field_error(Code::kCorrupt, file_, "model.vocab",
                           "no token with id " + std::to_string(id),
                           "one for every id below " + std::to_string(taken_.size()));
      }
    }
    return {};
  }

  // Each merge is "left right" or ["left", "right"].
  Status read_merges(const json::object& model) {
    const json::value* list = member(model, "merges");
    if (list == nullptr || !list->is_array()) {
      return field_error(Code::kCorrupt, file_, "model.merges",
                         list == nullptr ? "no such key" : describe_json(*list), "an array");
    }
    for (const json::value& value : list->get_array()) {
      if (value.is_string()) {
        vocab_.merges.emplace_back(view(value.get_string()));
        continue;
      }
      const json::array* pair = value.if_array();
      if (pair == nullptr || pair->size() != 2 || !(*pair)[0].is_string() ||
          !(*pair)[1].is_string()) {
        return field_error(Code::kCorrupt, file_, "model.merges", describe_json(value),
                           "a string or a pair of strings");
      }
      const std::string_view left = view((*pair)[0].get_string());
      const std::string_view right = view((*pair)[1].get_string());
      if (left.find(' ') != std::string_view::npos || right.find(' ') != std::string_view::npos) {
        return field_error(Code::kCorrupt, file_, "model.merges",
                           shown(left) + " and " + shown(right), "parts without spaces");
      }
      vocab_.merges.push_back(std::string(left) + " " + std::string(right));
    }
    return {};
  }

  // SentencePiece's merges are by score of the result; the list of merges, best first, is that
  // order.
  void set_pieces(std::string_view unknown) {
    constexpr float kUnreachable = -1e9f;
    std::unordered_map<std::string_view, float> rank;
    std::vector<std::string> merged;
    merged.reserve(vocab_.merges.size());
    for (const std::string& merge : vocab_.merges) {
      const size_t space = merge.find(' ', 1);
      if (space == std::string::npos) continue;
      merged.push_back(merge.substr(0, space) + merge.substr(space + 1));
      rank.emplace(merged.back(), -static_cast<float>(merged.size()));
    }
    vocab_.scores.assign(vocab_.tokens.size(), kUnreachable);
    for (size_t i = 0; i < vocab_.tokens.size(); ++i) {
      const std::string& token = vocab_.tokens[i];
      if (const auto found = rank.find(token); found != rank.end())
        vocab_.scores[i] = found->second;
      if (token.size() == 6 && token.starts_with("<0x") && token.back() == '>') {
        vocab_.types[i] = TokenType::kByte;
      }
      if (!unknown.empty() && token == unknown) {
        vocab_.types[i] = TokenType::kUnknown;
        vocab_.unknown = static_cast<TokenId>(i);
      }
    }
    vocab_.merges.clear();
  }

  // Llama's normalizer prepends U+2581; newer files have a Metaspace step that does.
  bool adds_space_prefix() const {
    if (const json::value* pre = member(root_, "pre_tokenizer");
        pre != nullptr && pre->is_object()) {
      const std::string_view scheme = text_member(pre->get_object(), "prepend_scheme");
      if (scheme == "first" || scheme == "always") return true;
    }
    bool prepends = false;
    for_each_normalizer([&](std::string_view type) { prepends = prepends || type == "Prepend"; });
    return prepends;
  }

  template <class Visit>
  void for_each_normalizer(const Visit& visit) const {
    const json::value* normalizer = member(root_, "normalizer");
    if (normalizer == nullptr || !normalizer->is_object()) return;
    const json::object& object = normalizer->get_object();
    if (text_member(object, "type") != "Sequence") return visit(text_member(object, "type"));
    const json::value* list = member(object, "normalizers");
    if (list == nullptr || !list->is_array()) return;
    for (const json::value& step : list->get_array()) {
      visit(step.is_object() ? text_member(step.get_object(), "type") : std::string_view{});
    }
  }

  // NFC, which Qwen's files ask for, leaves composed text as it is and is not applied, as in
  // readers of GGUF, which has no place for it. The rest of what is accepted is SentencePiece's
  // handling of spaces.
  Status check_normalizer(bool pieces) const {
    std::string unknown;
    for_each_normalizer([&](std::string_view type) {
      const bool known = type == "NFC" || (pieces && (type == "Prepend" || type == "Replace"));
      if (!known && unknown.empty()) unknown = type.empty() ? "?" : std::string(type);
    });
    if (unknown.empty()) return {};
    return field_error(Code::kUnsupported, file_, "normalizer", "type " + shown(unknown),
                       pieces ? "Prepend, Replace or NFC" : "NFC or none");
  }

  const json::object& root_;
  std::string file_;
  VocabData vocab_;
  std::vector<bool> taken_;
};

// "<s>" or {"content": "<s>", ...}; empty when absent.
std::string token_text(const json::object& config, std::string_view key) {
  const json::value* value = member(config, key);
  if (value == nullptr) return {};
  if (value->is_string()) return std::string(view(value->get_string()));
  if (value->is_object()) return std::string(text_member(value->get_object(), "content"));
  return {};
}

// A string, or a list of named ones, of which "default" is for chat.
std::string chat_template(const json::object& config) {
  const json::value* value = member(config, "chat_template");
  if (value == nullptr) return {};
  if (value->is_string()) return std::string(view(value->get_string()));
  if (!value->is_array()) return {};
  for (const json::value& entry : value->get_array()) {
    if (entry.is_object() && text_member(entry.get_object(), "name") == "default") {
      return std::string(text_member(entry.get_object(), "template"));
    }
  }
  return {};
}

// Whether the post-processor puts `bos` before a single text.
bool template_begins_with(const json::value* processor, std::string_view bos) {
  const json::object* object = processor == nullptr ? nullptr : processor->if_object();
  if (object == nullptr || bos.empty()) return false;
  if (text_member(*object, "type") == "Sequence") {
    const json::value* list = member(*object, "processors");
    if (list == nullptr || !list->is_array()) return false;
    for (const json::value& step : list->get_array()) {
      if (template_begins_with(&step, bos)) return true;
    }
    return false;
  }
  const json::value* single = member(*object, "single");
  if (text_member(*object, "type") != "TemplateProcessing" || single == nullptr) return false;
  if (!single->is_array() || single->get_array().empty()) return false;
  const json::object* first = single->get_array()[0].if_object();
  const json::value* special = first == nullptr ? nullptr : member(*first, "SpecialToken");
  return special != nullptr && special->is_object() &&
         text_member(special->get_object(), "id") == bos;
}

Result<std::optional<TokenId>> find_token(const VocabData& vocab, const std::string& text,
                                          std::string_view file, std::string_view key) {
  if (text.empty()) return std::optional<TokenId>();
  for (size_t i = vocab.tokens.size(); i-- > 0;) {  // added tokens come last
    if (vocab.tokens[i] == text) return std::optional<TokenId>(static_cast<TokenId>(i));
  }
  return field_error(Code::kCorrupt, file, key, shown(text), "a token of tokenizer.json");
}

Status read_tokenizer_config(std::string_view text, const std::string& file,
                             const json::object& tokenizer, VocabData& vocab) {
  HADAL_TRY(const json::value value, parse_json(text, file));
  if (!value.is_object()) {
    return field_error(Code::kCorrupt, file, "content", describe_json(value), "an object");
  }
  const json::object& config = value.get_object();
  const std::string bos = token_text(config, "bos_token");
  HADAL_TRY(vocab.bos, find_token(vocab, bos, file, "bos_token"));
  HADAL_TRY(vocab.eos, find_token(vocab, token_text(config, "eos_token"), file, "eos_token"));
  HADAL_TRY(vocab.padding, find_token(vocab, token_text(config, "pad_token"), file, "pad_token"));
  const json::value* add_bos = member(config, "add_bos_token");
  vocab.add_bos = add_bos != nullptr
                      ? bool_member(config, "add_bos_token")
                      : template_begins_with(member(tokenizer, "post_processor"), bos);
  vocab.add_eos = bool_member(config, "add_eos_token");
  vocab.chat_template = chat_template(config);
  return {};
}

Status read_generation(std::string_view text, const std::string& file, VocabData& vocab) {
  HADAL_TRY(const JsonConfig config, JsonConfig::parse(text, file));
  HADAL_TRY(const auto ends, config.integers("eos_token_id"));
  for (const int64_t end : ends) {
    if (end < 0 || end >= static_cast<int64_t>(vocab.tokens.size())) {
      return field_error(Code::kCorrupt, file, "eos_token_id", std::to_string(end),
                         "one of the " + std::to_string(vocab.tokens.size()) + " tokens");
    }
    add_end_of_generation(vocab, static_cast<TokenId>(end));
  }
  return {};
}

// A file that need not exist.
Result<std::optional<std::string>> read_optional(const std::filesystem::path& path,
                                                 uint64_t size_max) {
  auto text = read_file(path.string(), size_max);
  if (text) return std::optional<std::string>(*std::move(text));
  if (text.error().code == Code::kNotFound) return std::optional<std::string>();
  return fail(std::move(text.error()));
}

}  // namespace

Result<VocabData> parse_hf_vocab(const HfTokenizerTexts& texts, const std::string& folder) {
  const auto name = [&](std::string_view file) {
    return (std::filesystem::path(folder) / file).string();
  };
  const std::string file = name("tokenizer.json");
  HADAL_TRY(const json::value root, parse_json(texts.tokenizer, file));
  if (!root.is_object()) {
    return field_error(Code::kCorrupt, file, "content", describe_json(root), "an object");
  }
  HADAL_TRY(VocabData vocab, Reader(root.get_object(), file).read());
  if (texts.config) {
    HADAL_TRY_VOID(read_tokenizer_config(*texts.config, name("tokenizer_config.json"),
                                         root.get_object(), vocab));
  }
  if (vocab.eos) add_end_of_generation(vocab, *vocab.eos);
  if (texts.generation) {
    HADAL_TRY_VOID(read_generation(*texts.generation, name("generation_config.json"), vocab));
  }
  add_known_ends(vocab);
  if (texts.chat_template) vocab.chat_template = *texts.chat_template;
  HADAL_TRY_VOID(check_vocab(vocab, file));
  return vocab;
}

Result<VocabData> hf_vocab(const std::string& folder) {
  const std::filesystem::path path(folder);
  HADAL_TRY(const std::string tokenizer,
            read_file((path / "tokenizer.json").string(), limits::kJsonFileMax));
  HADAL_TRY(const auto config, read_optional(path / "tokenizer_config.json", limits::kJsonFileMax));
  HADAL_TRY(const auto generation,
            read_optional(path / "generation_config.json", limits::kJsonFileMax));
  HADAL_TRY(const auto jinja, read_optional(path / "chat_template.jinja", limits::kGgufStringMax));
  return parse_hf_vocab({tokenizer, config, generation, jinja}, folder);
}

}  // namespace hadal
