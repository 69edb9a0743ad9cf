// Replaces what was found in a request by placeholders, and puts it back into the answer.
//
// A placeholder is ⟦EMAIL_1⟧: brackets that no other text has, which models copy as they are. The
// same text gets the same one, and numbers rise through the request, so that a conversation that
// goes on keeps those it had.
//
// The answer keeps every byte but those of placeholders: also when one is cut over several events
// of a stream or several reads, when it is written with JSON's escapes, and inside of a tool's
// arguments, which are JSON in a string of JSON.
//
// Threads: Masked is immutable once made; a restorer belongs to one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hadal/gateway/screener.h"

namespace hadal::gateway {

struct Masked {
  std::string body;
  // "EMAIL_1": the text that it stands for, unescaped.
  std::unordered_map<std::string, std::string> texts;
};

// `labels`: names by MaskSpan::label. A placeholder that the body has already is not used.
Masked mask_body(std::string_view body, const std::vector<MaskSpan>& spans,
                 const std::vector<std::string>& labels);

// Of a stream of server-sent events, a line is held while a placeholder that began
// in it may go on, within kHeldMax.
class Restorer {
 public:
  static constexpr size_t kHeldMax = 64u << 10;  // bytes of whole lines
  static constexpr size_t kLineMax = 8u << 20;   // a longer one passes as it is

  explicit Restorer(std::shared_ptr<const Masked> masked) : masked_(std::move(masked)) {}
  // What can go out now.
  std::string push(std::string_view bytes);
  // The rest, at the stream's end.
  std::string finish();
  // All of an answer that is no stream. Of one restorer this or push() and finish().
  std::string whole(std::string_view answer);

 private:
  friend class LineRestorer;
  struct Edit {
    size_t begin, end;  // in the line
    std::string text;
  };
  struct Line {
    std::string bytes;
    std::vector<Edit> edits;  // rising
  };
  // A character that may be part of a placeholder.
  struct Held {
    uint64_t line;
    size_t begin, end;
    char32_t c;
  };

  void take_line(std::string line);
  void take_string(const std::string& channel, std::string_view raw, size_t begin, bool nested);
  void take_key(std::string_view raw, size_t begin);
  void settle(std::vector<Held>* held, bool nested);
  void replace(const std::vector<Held>& held, const std::string& text);
  std::string release(bool all);

  const std::shared_ptr<const Masked> masked_;
  std::string rest_;      // a line that has not ended
  bool passing_ = false;  // ... and is longer than kLineMax
  std::deque<Line> lines_;
  uint64_t first_ = 0;                             // number of lines_.front()
  size_t bytes_ = 0;                               // of lines_
  std::map<std::string, std::vector<Held>> held_;  // by channel, none empty
};

}  // namespace hadal::gateway
