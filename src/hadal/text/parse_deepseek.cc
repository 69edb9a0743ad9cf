// DeepSeek V3, R1 and V3.1. Behind the separator comes either the arguments' brace (V3.1: the name
// was before it) or a name and a fence (V3, R1: "function" was before it).
#include <array>

#include "hadal/text/json_scan.h"
#include "hadal/text/parse_calls.h"

namespace hadal {
namespace {

constexpr std::string_view kCallBegin = "<｜tool▁call▁begin｜>";
constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
constexpr std::string_view kCallEnd = "<｜tool▁call▁end｜>";
constexpr std::string_view kListEnd = "<｜tool▁calls▁end｜>";
constexpr auto kOpeners =
    std::to_array<std::string_view>({"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"});
constexpr auto kInList = std::to_array<std::string_view>({kCallBegin, kListEnd});
constexpr auto kInHead =
    std::to_array<std::string_view>({kSeparator, kCallEnd, kListEnd, kCallBegin});
constexpr auto kInArguments = std::to_array<std::string_view>({kCallEnd, kListEnd, kCallBegin});
constexpr std::string_view kFence = "```";

class DeepseekReader final : public CallReader {
 public:
  DeepseekReader() : CallReader({kOpeners, std::span(kInList).last(1)}) {}

 private:
  enum class State : uint8_t { kList, kHead, kFence, kArguments, kTail };

  bool open(size_t opener) override {
    state_ = opener == 0 ? State::kList : State::kHead;
    return true;
  }

  void step(std::string_view* text) override {
    switch (state_) {
      case State::kList:
        return step_list(text);
      case State::kHead:
        return step_head(text);
      case State::kFence:
        return step_fence(text);
      case State::kArguments:
        return step_arguments(text);
      case State::kTail:
        return step_tail(text);
    }
  }

  // Between calls there is only white space.
  void step_list(std::string_view* text) {
    const size_t marker = scan(text, kInList);
    if (!json_trimmed(plain_).empty() || plain_.size() > kCallHeadMax) return give_up();
    if (marker == MarkerScan::kNone) return;
    if (kInList[marker] == kListEnd) return in_list() ? leave(false) : give_up();
    marker_ends_here();
    enter(State::kHead);
  }

  void step_head(std::string_view* text) {
    const size_t marker = scan(text, kInHead);
    if (plain_.size() > kCallHeadMax) return give_up();
    if (marker == MarkerScan::kNone) return;
    if (kInHead[marker] != kSeparator) return give_up();
    head_ = plain_;
    enter(State::kFence);
  }

  // Byte by byte, as the arguments' brace is no marker.
  void step_fence(std::string_view* text) {
    while (!text->empty()) {
      if (text->front() == '{') {
        std::string_view name;
        if (!name_before(plain_, &name) || !begin_call(name)) return give_up();
        json_ = JsonEnd();
        junk_ = false;
        return enter(State::kArguments);  // the brace is theirs
      }
      plain_.push_back(text->front());
      text->remove_prefix(1);
      if (plain_.size() > kCallHeadMax) return give_up();
      if (!plain_.ends_with(kCallEnd)) continue;
      plain_.resize(plain_.size() - kCallEnd.size());
      return take_call_without_arguments();
    }
  }

  // "NAME\n```json\n", or nothing: then the name was before the separator.
  bool name_before(std::string_view text, std::string_view* name) {
    const size_t fence = text.find(kFence);
    if (fence != std::string_view::npos) {
      const std::string_view behind = json_trimmed(text.substr(fence + kFence.size()));
      if (!behind.empty() && behind != "json") return false;
      text = text.substr(0, fence);
    }
    *name = json_trimmed(text);
    if (name->empty()) *name = json_trimmed(head_);
    return name->find('<') == std::string_view::npos;
  }

  void take_call_without_arguments() {
    std::string_view text = json_trimmed(plain_);
    if (text.ends_with(kFence) && text.find(kFence) != text.size() - kFence.size()) {
      text.remove_suffix(kFence.size());
    }
    std::string_view name;
    if (!name_before(text, &name)) return give_up();
    // Prose is no name: without arguments there is no other sign of a call.
    if (name.find_first_of(" \n\"") != std::string_view::npos || !begin_call(name)) {
      return give_up();
    }
    arguments("{}");
    end_call();
    enter(State::kList);
  }

  // The end marker is a token, so it ends the call wherever it comes.
  void step_arguments(std::string_view* text) {
    const size_t marker = scan(text, kInArguments);
    take_arguments();
    if (marker != MarkerScan::kNone) return close(marker);
  }

  void take_arguments() {
    for (size_t i = 0; i < plain_.size(); ++i) {
      if (json_.push(plain_[i]) == JsonEnd::Step::kMore) continue;
      arguments(std::string_view(plain_).substr(0, i + 1));
      plain_.erase(0, i + 1);
      state_ = State::kTail;
      return;
    }
    arguments(plain_);
    plain_.clear();
  }

  // Behind the arguments only white space and the fence's end mean nothing.
  void step_tail(std::string_view* text) {
    const size_t marker = scan(text, kInArguments);
    take_tail();
    if (marker != MarkerScan::kNone) return close(marker);
  }

  void take_tail() {
    const std::string_view tail = json_trimmed(plain_);
    const bool nothing = kFence.starts_with(tail) && plain_.size() <= kCallHeadMax;
    if (nothing && !junk_) return;
    junk_ = true;
    content(plain_);
    plain_.clear();
  }

  void close(size_t marker) {
    if (state_ == State::kTail) take_tail();
    end_call();
    if (kInArguments[marker] == kListEnd) return leave(false);
    if (kInArguments[marker] == kCallBegin) look_again(std::string(kCallBegin));
    enter(State::kList);
  }

  void finish_call(bool, std::string held) override {
    plain_ += held;
    if (state_ == State::kArguments) take_arguments();
    if (state_ == State::kTail) take_tail();
  }

  void enter(State state) {
    state_ = state;
    plain_.clear();
  }

  State state_ = State::kList;
  JsonEnd json_;
  std::string head_;
  bool junk_ = false;  // behind the arguments
};

}  // namespace

std::unique_ptr<CallReader> deepseek_reader() { return std::make_unique<DeepseekReader>(); }

}  // namespace hadal
