// What the readers of all tool call forms share: text outside calls, and the way back to content
// when a call turns out to be none. Internal to text; the rules are in parse_tools.h.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hadal/text/marker_scan.h"
#include "hadal/text/parse_tools.h"

namespace hadal {

// How a form's calls stand in content.
struct CallFrame {
  std::span<const std::string_view> openers;
  std::span<const std::string_view> closers;  // dropped from content once a call came before them
  size_t newlines = 0;                        // that the template writes before the first call
  std::string_view after = " \t\r\n";         // means nothing behind a call
};

class CallReader {
 public:
  explicit CallReader(CallFrame frame);
  virtual ~CallReader() = default;
  CallReader(const CallReader&) = delete;
  CallReader& operator=(const CallReader&) = delete;

  void push(std::string_view text, std::vector<AnswerEvent>* events);
  void finish(bool cut, std::vector<AnswerEvent>* events);
  int32_t calls_ended() const { return ended_; }

 protected:
  // An opener was found: index in the frame. False: here it is content.
  virtual bool open(size_t opener) = 0;
  // Inside a list of calls: takes at least one byte from *text, or changes state, which may only
  // happen a bounded number of times without taking a byte.
  virtual void step(std::string_view* text) = 0;
  // The text ended inside a call that counts; `held`: what may have become a marker.
  virtual void finish_call(bool cut, std::string held) = 0;

  size_t scan(std::string_view* text, std::span<const std::string_view> markers) {
    return scan_.next(text, markers, &plain_);
  }
  std::string take_scanned() { return scan_.take_held(); }
  void emit(AnswerEvent::Kind kind, std::string_view text);
  void arguments(std::string_view text) { emit(AnswerEvent::Kind::kArguments, text); }
  void content(std::string_view text);
  // The call counts from here on. False when `name` cannot be one.
  [[nodiscard]] bool begin_call(std::string_view name);
  void end_call();
  // Back to content, behind a call; `open`: its list has not ended, so that its closer may come.
  void leave(bool open);
  void give_up();           // what is held is no call; done when the step is over
  void marker_ends_here();  // when giving up, content is looked at anew from here
  void look_again(std::string text) { replay_ = std::move(text); }
  bool counts() const { return counts_; }
  bool in_list() const { return in_list_; }  // of which a call counted
  bool at_start() const { return at_start_; }

  std::string plain_;  // text of the current state that is not settled yet

 private:
  void run(std::string_view text);
  void run_one(std::string_view* text);
  void step_content(std::string_view* text);
  void take_content(std::string plain);
  void back_to_content();

  const CallFrame frame_;
  std::vector<std::string_view> markers_;  // openers, then closers
  MarkerScan scan_;
  std::vector<AnswerEvent>* events_ = nullptr;  // during push() and finish()
  std::string gap_;     // white space that belongs to a call, if one comes, else to the content
  std::string held_;    // a call that does not count yet, from its marker on
  size_t opener_ = 0;   // bytes of held_ that are markers
  std::string replay_;  // comes before the rest of the text
  bool inside_ = false;
  bool counts_ = false;
  bool settled_ = false;  // this step began or ended a call
  bool mark_ = false;
  bool broken_ = false;
  bool in_list_ = false;
  bool after_call_ = false;
  bool at_start_ = true;  // nothing but white space in content so far
  int32_t begun_ = 0;
  int32_t ended_ = 0;
};

std::unique_ptr<CallReader> deepseek_reader();
std::unique_ptr<CallReader> dsml_reader();
std::unique_ptr<CallReader> hermes_reader();
std::unique_ptr<CallReader> llama_reader(std::vector<std::string> names);

}  // namespace hadal
