// For tests: a service over an engine that does what a test says, and a tokenizer of single bytes.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hadal/apps/service.h"
#include "hadal/obs/http_metrics.h"
#include "hadal/text/unicode.h"

namespace hadal::apps {

inline constexpr const char* kSpecials[] = {"<｜begin▁of▁sentence｜>",
                                            "<｜end▁of▁sentence｜>",
                                            "<｜User｜>",
                                            "<｜Assistant｜>",
                                            "<think>",
                                            "</think>"};

// Every byte is a token, in GPT-2's alphabet.
inline VocabData byte_vocab() {
  VocabData data;
  uint32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    append_utf8(printable ? static_cast<uint32_t>(byte) : next++, &data.tokens.emplace_back());
  }
  data.types.assign(256, TokenType::kNormal);
  for (const std::string special : kSpecials) {
    data.tokens.push_back(special);
    data.types.push_back(special.ends_with("think>") ? TokenType::kUserDefined
                                                     : TokenType::kControl);
  }
  data.bos = 256;
  data.eos = 257;
  data.end_of_generation = {257};
  data.add_bos = true;
  return data;
}

class FakeEngine final : public Engine {
 public:
  Result<RequestId> submit(GenerationRequest request, EventSink sink) override {
    if (static_cast<int>(sinks.size()) >= accept)
      return fail(Code::kExhausted, "the queue is full");
    const RequestId id = sinks.size() + 1;
    requests.push_back(std::move(request));
    sinks.push_back(std::move(sink));
    if (at_submit) at_submit(id);
    return id;
  }
  void cancel(RequestId id) override { cancelled.push_back(id); }
  void drain() override {}
  bool idle() const override { return true; }
  EngineState state() const override { return {}; }
  const ModelConfig& config() const override { return config_; }
  int32_t context() const override { return long_context ? 10'000 : 100; }

  // Request `id` (1, 2, ...) makes text of as many tokens as bytes.
  void say(RequestId id, const std::string& text) {
    GenerationEvent event;
    event.text = text;
    for (const char c : text) event.tokens.push_back(static_cast<uint8_t>(c));
    spoken_[id] += static_cast<int32_t>(text.size());
    event.usage = usage(id);
    if (requests[id - 1].logprobs >= 0) {
      for (const TokenId token : event.tokens) event.logprobs.push_back({token, -1.0f, {}});
    }
    sinks[id - 1](event);
  }
  void end(RequestId id, FinishReason reason = FinishReason::kStop, Error error = {}) {
    GenerationEvent event;
    event.finished = true;
    event.reason = reason;
    event.error = std::move(error);
    event.usage = usage(id);
    sinks[id - 1](event);
  }
  Usage usage(RequestId id) {
    return {static_cast<int32_t>(requests[id - 1].prompt.size()), spoken_[id], 1};
  }

  int accept = 1'000;
  bool long_context = false;
  std::function<void(RequestId)> at_submit;
  std::vector<GenerationRequest> requests;
  std::vector<EventSink> sinks;
  std::vector<RequestId> cancelled;

 private:
  ModelConfig config_;
  std::map<RequestId, int32_t> spoken_;
};

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    tokenizer_.emplace(std::move(*Tokenizer::make(byte_vocab())));
    restart({});
    publish();
  }
  void restart(ServiceOptions options) {
    options.version = "1.2.3";
    registry_ = std::make_shared<obs::Registry>();
    service_ = std::make_unique<Service>(std::move(options), registry_, clock_);
  }
  void publish(ChatForm form = ChatForm::kDeepseekV31) {
    auto model = std::make_shared<ServedModel>();
    model->names = {"tiny", "other"};
    model->root = "tiny";
    model->fingerprint = "f";
    model->tokenizer = &*tokenizer_;
    model->chat = ChatFormat(form);
    model->engine = &engine_;
    model->reasons = true;
    model->defaults.temperature = 0.25f;
    service_->publish(model);
  }

  struct Seen {
    int status = 0;
    std::map<std::string, std::string> headers;
    std::string body;
    bool finished = false;
  };
  // Takes what has been answered so far.
  void look(net::Exchange& exchange, Seen* seen) {
    net::Exchange::Taken taken = exchange.take();
    if (taken.head) {
      seen->status = taken.head->status;
      for (const auto& header : taken.head->headers) seen->headers[header.name] = header.value;
    }
    seen->body += taken.bytes;
    seen->finished = taken.finished;
  }
  std::shared_ptr<net::Exchange> send(const std::string& method, const std::string& path,
                                      std::string body = {},
                                      std::vector<net::Header> headers = {}) {
    auto exchange = std::make_shared<net::Exchange>(1 << 20, [] {});
    service_->handle({method, path, {}, std::move(headers), std::move(body)},
                     net::ResponseWriter(exchange));
    return exchange;
  }
  Seen ask(const std::string& method, const std::string& path, std::string body = {},
           std::vector<net::Header> headers = {}) {
    Seen seen;
    look(*send(method, path, std::move(body), std::move(headers)), &seen);
    return seen;
  }
  static std::string chat(const std::string& fields = "") {
    const std::string messages = R"({"messages": [{"role": "user", "content": "hi"}])";
    return messages + (fields.empty() ? "" : ", ") + fields + "}";
  }

  FakeClock clock_;
  std::optional<Tokenizer> tokenizer_;
  FakeEngine engine_;
  std::shared_ptr<obs::Registry> registry_;
  std::unique_ptr<Service> service_;
};

}  // namespace hadal::apps
