// For tests: the tokenizer of a GGUF file as VocabData. It trusts the file; what reads files that
// nobody vouches for is format's.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hadal/text/vocab.h"

namespace hadal::testing {

class GgufVocabReader {
 public:
  explicit GgufVocabReader(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.substr(0, 4) != "GGUF") throw std::runtime_error(path + " is not a GGUF file");
    at_ = 4;
    take<uint32_t>();  // version
    take<uint64_t>();  // tensors
    const auto keys = take<uint64_t>();
    for (uint64_t i = 0; i < keys; ++i) {
      const std::string key = take_string();
      take_value(key, take<uint32_t>());
    }
  }

  // `pre` replaces tokenizer.ggml.pre.
  VocabData read(std::optional<PreTokenizer> pre = std::nullopt) {
    VocabData data;
    const bool bpe = strings_["tokenizer.ggml.model"].at(0) == "gpt2";
    data.kind = bpe ? TokenizerKind::kByteBpe : TokenizerKind::kSentencePiece;
    if (pre) {
      data.pre = *pre;
    } else if (bpe) {
      static const std::map<std::string, PreTokenizer> kNames = {
          {"deepseek-llm", PreTokenizer::kDeepseekLlm},
          {"deepseek-coder", PreTokenizer::kDeepseekCoder},
          {"deepseek-v3", PreTokenizer::kDeepseekV3},
          {"qwen2", PreTokenizer::kQwen2},
          {"deepseek-r1-qwen", PreTokenizer::kQwen2},
          {"llama-bpe", PreTokenizer::kLlamaBpe}};
      data.pre = kNames.at(strings_["tokenizer.ggml.pre"].at(0));
    }
    data.tokens = strings_["tokenizer.ggml.tokens"];
    data.merges = strings_["tokenizer.ggml.merges"];
    for (const double type : numbers_["tokenizer.ggml.token_type"]) {
      data.types.push_back(static_cast<TokenType>(type));
    }
    for (const double score : numbers_["tokenizer.ggml.scores"]) {
      data.scores.push_back(static_cast<float>(score));
    }
    data.bos = id("tokenizer.ggml.bos_token_id");
    data.eos = id("tokenizer.ggml.eos_token_id");
    data.unknown = id("tokenizer.ggml.unknown_token_id");
    if (data.eos) data.end_of_generation = {*data.eos};
    if (strings_.count("tokenizer.chat_template") != 0) {
      data.chat_template = strings_["tokenizer.chat_template"].at(0);
    }
    return data;
  }

 private:
  std::optional<TokenId> id(const std::string& key) {
    if (numbers_.count(key) == 0) return std::nullopt;
    return static_cast<TokenId>(numbers_[key].at(0));
  }

  template <class T>
  T take() {
    T value;
    if (bytes_.size() - at_ < sizeof value) throw std::runtime_error("GGUF file ends early");
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string take_string() {
    const auto size = take<uint64_t>();
    std::string text = bytes_.substr(at_, size);
    at_ += size;
    return text;
  }

  double take_number(uint32_t type) {
    switch (type) {
      case 0:
        return take<uint8_t>();
      case 1:
        return take<int8_t>();
      case 2:
        return take<uint16_t>();
      case 3:
        return take<int16_t>();
      case 4:
        return take<uint32_t>();
      case 5:
        return take<int32_t>();
      case 6:
        return take<float>();
      case 7:
        return take<uint8_t>();
      case 10:
        return static_cast<double>(take<uint64_t>());
      case 11:
        return static_cast<double>(take<int64_t>());
      case 12:
        return take<double>();
      default:
        throw std::runtime_error("GGUF type " + std::to_string(type));
    }
  }

  void take_value(const std::string& key, uint32_t type) {
    constexpr uint32_t kString = 8;
    constexpr uint32_t kArray = 9;
    uint64_t count = 1;
    if (type == kArray) {
      type = take<uint32_t>();
      count = take<uint64_t>();
    }
    for (uint64_t i = 0; i < count; ++i) {
      if (type == kString) {
        strings_[key].push_back(take_string());
      } else {
        numbers_[key].push_back(take_number(type));
      }
    }
  }

  std::string bytes_;
  size_t at_ = 0;
  std::map<std::string, std::vector<std::string>> strings_;
  std::map<std::string, std::vector<double>> numbers_;
};

}  // namespace hadal::testing
