#include "hadal/text/parse_tools.h"

#include <algorithm>
#include <array>
#include <utility>

#include "hadal/text/json_scan.h"
#include "hadal/text/parse_calls.h"

namespace hadal {
namespace {

// More white space than this behind a call is content.
constexpr size_t kGapMax = 1'024;
constexpr size_t kNameMax = 256;

constexpr auto kDeepseekMarkers = std::to_array<std::string_view>(
    {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
     "<｜tool▁calls▁end｜>"});
constexpr auto kDsmlMarkers = std::to_array<std::string_view>({"｜DSML｜"});
constexpr auto kDsmlOpeners =
    std::to_array<std::string_view>({"<｜DSML｜function_calls>", "<｜DSML｜tool_calls>"});
constexpr auto kHermesMarkers = std::to_array<std::string_view>({"<tool_call>", "</tool_call>"});
constexpr auto kLlamaMarkers = std::to_array<std::string_view>({"<|python_tag|>"});

}  // namespace

void append_event(AnswerEvent event, std::vector<AnswerEvent>* events) {
  if (event.kind != AnswerEvent::Kind::kCallBegin) {
    if (event.text.empty()) return;
    if (!events->empty() && events->back().kind == event.kind &&
        events->back().call == event.call) {
      events->back().text += event.text;
      return;
    }
  }
  events->push_back(std::move(event));
}

std::span<const std::string_view> call_openers(ToolForm form) {
  switch (form) {
    case ToolForm::kDeepseekV3:
    case ToolForm::kDeepseekV31:
      return std::span(kDeepseekMarkers).first(1);
    case ToolForm::kDsmlV32:
    case ToolForm::kDsmlV4:
      return kDsmlOpeners;
    default:
      return {};
  }
}

std::span<const std::string_view> call_markers(ToolForm form) {
  switch (form) {
    case ToolForm::kDeepseekV3:
    case ToolForm::kDeepseekV31:
      return kDeepseekMarkers;
    case ToolForm::kDsmlV32:
    case ToolForm::kDsmlV4:
      return kDsmlMarkers;
    case ToolForm::kHermes:
      return kHermesMarkers;
    case ToolForm::kLlama3:
      return kLlamaMarkers;
    case ToolForm::kNone:
      break;
  }
  return {};
}

std::string forced_call(ToolForm form, std::string_view name) {
  std::string begin, end;  // around the name
  switch (form) {
    case ToolForm::kDeepseekV3:
      begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>";
      end = "\n```json\n{";
      break;
    case ToolForm::kDeepseekV31:
      begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>";
      end = "<｜tool▁sep｜>{";
      break;
    case ToolForm::kDsmlV32:
    case ToolForm::kDsmlV4:
      begin = "\n\n" + std::string(kDsmlOpeners[form == ToolForm::kDsmlV32 ? 0 : 1]) +
              "\n<｜DSML｜invoke name=\"";
      end = "\">\n";
      break;
    case ToolForm::kHermes:
      begin = "<tool_call>\n{\"name\": \"";
      end = "\", \"arguments\": {";
      break;
    case ToolForm::kLlama3:
      begin = "{\"name\": \"";
      end = "\", \"parameters\": {";
      break;
    case ToolForm::kNone:
      return {};
  }
  return name.empty() ? begin : begin + std::string(name) + end;
}

ToolCallParser::ToolCallParser(ToolForm form, std::vector<std::string> names) {
  switch (form) {
    case ToolForm::kDeepseekV3:
    case ToolForm::kDeepseekV31:
      reader_ = deepseek_reader();
      break;
    case ToolForm::kDsmlV32:
    case ToolForm::kDsmlV4:
      reader_ = dsml_reader();
      break;
    case ToolForm::kHermes:
      reader_ = hermes_reader();
      break;
    case ToolForm::kLlama3:
      reader_ = llama_reader(std::move(names));
      break;
    case ToolForm::kNone:
      break;
  }
}
ToolCallParser::ToolCallParser(ToolCallParser&&) noexcept = default;
ToolCallParser& ToolCallParser::operator=(ToolCallParser&&) noexcept = default;
ToolCallParser::~ToolCallParser() = default;

void ToolCallParser::push(std::string_view text, std::vector<AnswerEvent>* events) {
  if (reader_ != nullptr) {
    reader_->push(text, events);
  } else {
    append_event({AnswerEvent::Kind::kContent, 0, std::string(text)}, events);
  }
}

void ToolCallParser::finish(bool cut, std::vector<AnswerEvent>* events) {
  if (reader_ != nullptr) reader_->finish(cut, events);
}

int32_t ToolCallParser::calls_ended() const {
  return reader_ != nullptr ? reader_->calls_ended() : 0;
}

CallReader::CallReader(CallFrame frame) : frame_(frame) {
  markers_.assign(frame.openers.begin(), frame.openers.end());
  markers_.insert(markers_.end(), frame.closers.begin(), frame.closers.end());
}

void CallReader::push(std::string_view text, std::vector<AnswerEvent>* events) {
  events_ = events;
  run(text);
  events_ = nullptr;
}

void CallReader::finish(bool cut, std::vector<AnswerEvent>* events) {
  events_ = events;
  // A call that does not count is content, in which there may be another.
  while (inside_ && !counts_) {
    back_to_content();
    run({});
  }
  if (counts_) {
    finish_call(cut, scan_.take_held());
  } else {
    const std::string held = scan_.take_held();
    const bool space = gap_.find_first_not_of(kJsonSpace) == std::string::npos;
    if (after_call_ && held.empty() && space) gap_.clear();
    content(held);
  }
  events_ = nullptr;
}

void CallReader::run(std::string_view text) {
  for (;;) {
    if (!replay_.empty()) {
      const std::string again = std::exchange(replay_, {});
      std::string_view rest = again;
      while (!rest.empty() && replay_.empty()) run_one(&rest);
      replay_ += rest;
    } else if (!text.empty()) {
      run_one(&text);
    } else {
      return;
    }
  }
}

void CallReader::run_one(std::string_view* text) {
  if (!inside_) return step_content(text);
  const std::string_view before = *text;
  settled_ = false;
  step(text);
  if (settled_) {
    held_.clear();
    opener_ = 0;
  } else if (!counts_) {
    held_.append(before.substr(0, before.size() - text->size()));
  }
  if (std::exchange(mark_, false)) opener_ = held_.size();
  if (std::exchange(broken_, false)) back_to_content();
}

void CallReader::step_content(std::string_view* text) {
  std::string plain;
  const size_t found = scan_.next(text, markers_, &plain);
  take_content(std::move(plain));
  if (found == MarkerScan::kNone) return;
  const std::string_view marker = markers_[found];
  if (found >= frame_.openers.size()) {
    if (in_list_) {
      in_list_ = false;
      if (after_call_) gap_.clear();
    } else {
      content(marker);
    }
  } else if (open(found)) {
    inside_ = true;
    held_ = marker;
    opener_ = marker.size();
    plain_.clear();
  } else {
    content(marker);
  }
}

// Keeps back what may turn out to be the white space before a call.
void CallReader::take_content(std::string plain) {
  if (plain.empty()) return;
  std::string all = std::exchange(gap_, {}) + plain;
  if (after_call_) {
    if (all.size() <= kGapMax && all.find_first_not_of(frame_.after) == std::string::npos) {
      gap_ = std::move(all);
      return;
    }
    after_call_ = false;
  }
  const size_t text_end = all.find_last_not_of('\n') + 1;
  const size_t kept = std::min(all.size() - text_end, frame_.newlines);
  gap_ = all.substr(all.size() - kept);
  all.resize(all.size() - kept);
  at_start_ = at_start_ && all.find_first_not_of(kJsonSpace) == std::string::npos;
  emit(AnswerEvent::Kind::kContent, all);
}

void CallReader::content(std::string_view text) {
  if (!text.empty()) after_call_ = false;
  const std::string all = std::exchange(gap_, {}) + std::string(text);
  at_start_ = at_start_ && all.find_first_not_of(kJsonSpace) == std::string::npos;
  emit(AnswerEvent::Kind::kContent, all);
}

void CallReader::emit(AnswerEvent::Kind kind, std::string_view text) {
  append_event({kind, kind == AnswerEvent::Kind::kContent ? 0 : begun_ - 1, std::string(text)},
               events_);
}

bool CallReader::begin_call(std::string_view name) {
  name = json_trimmed(name);
  const bool odd =
      std::any_of(name.begin(), name.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20; });
  if (name.empty() || name.size() > kNameMax || odd) return false;
  gap_.clear();
  counts_ = settled_ = in_list_ = true;
  ++begun_;
  emit(AnswerEvent::Kind::kCallBegin, name);
  return true;
}

void CallReader::end_call() {
  counts_ = false;
  settled_ = true;
  ++ended_;
}

void CallReader::leave(bool open) {
  inside_ = false;
  in_list_ = open;
  settled_ = true;
  after_call_ = true;
  at_start_ = true;
}

void CallReader::give_up() { broken_ = true; }
void CallReader::marker_ends_here() { mark_ = true; }

void CallReader::back_to_content() {
  const std::string held = std::exchange(held_, {});
  scan_.take_held();  // is in `held`
  inside_ = false;
  content(std::string_view(held).substr(0, opener_));
  replay_ = held.substr(std::exchange(opener_, 0)) + replay_;
}

}  // namespace hadal
