// A model's own chat template over a conversation: what it is given, and what it can do.
//
// How arguments of earlier calls are passed (as an object or as JSON text), what stands for an
// empty answer, whether tools are listed at all: templates differ, and none says. So each is tried
// once on a small conversation when it is loaded.
//
// Threads: immutable; any number of threads may use one at once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/base/result.h"
#include "hadal/text/chat_message.h"
#include "hadal/text/jinja/template.h"

namespace hadal {

// The names besides the conversation that a template sees.
struct TemplateInput {
  bool add_generation_prompt = true;
  bool thinking = true;  // also as enable_thinking
  std::span<const ChatTool> tools = {};
  std::string_view reasoning_effort = {};  // empty: not set
  std::string_view date = {};              // date_string; empty: not set
  int64_t local_seconds = 0;               // what strftime_now() reads: since 1970, in local time
};

class ChatTemplate {
 public:
  // `bos`, `eos`: the texts of these tokens. kInvalidInput when `source` is no template.
  static Result<ChatTemplate> make(std::string_view source, std::string bos, std::string eos);

  // What came from messages and tools is marked foreign. kInvalidInput: the template refuses the
  // conversation (its own words, with the line) or cannot take it; kTooLarge: over a limit.
  Result<jinja::Str> render(std::span<const ChatMessage> messages,
                            const TemplateInput& input) const;

  bool renders_calls() const { return renders_calls_; }  // earlier calls and their results
  bool renders_tools() const { return renders_tools_; }  // the list of tools
  // The generation prompt ends inside <think>.
  bool opens_thinking(bool thinking) const { return opens_thinking_[thinking ? 1 : 0]; }

 private:
  // How a conversation becomes values.
  struct Shape {
    bool argument_objects = true;   // else JSON text
    bool empty_is_none = false;     // an answer of calls alone has content None, else ""
    bool short_ids = false;         // of calls: the last nine letters or digits
    bool no_tools_is_list = false;  // without tools: an empty list, else None
  };

  ChatTemplate(jinja::Template parsed, std::string bos, std::string eos);
  void probe();
  Result<jinja::Str> render_as(const Shape& shape, std::span<const ChatMessage> messages,
                               const TemplateInput& input) const;

  jinja::Template template_;
  std::string bos_, eos_;
  Shape shape_;
  bool renders_calls_ = false;
  bool renders_tools_ = false;
  bool opens_thinking_[2] = {false, false};
};

}  // namespace hadal
