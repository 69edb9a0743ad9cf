#include "hadal/apps/file_sender.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace hadal::apps {
namespace {

constexpr size_t kPiece = 128u << 10;

class FileSender : public std::enable_shared_from_this<FileSender> {
 public:
  FileSender(MappedFile file, net::ResponseWriter writer)
      : file_(std::move(file)), writer_(std::move(writer)) {}

  void begin(std::vector<net::Header> headers) {
    writer_.start_sized(200, std::move(headers), file_.bytes().size());
    go_on();
  }

 private:
  void go_on() {
    const std::string_view bytes(reinterpret_cast<const char*>(file_.bytes().data()),
                                 file_.bytes().size());
    if (at_ == bytes.size()) return writer_.finish();
    const std::string_view piece = bytes.substr(at_, kPiece);
    at_ += piece.size();
    // The client has gone: the writer's end says so.
    if (!writer_.write(piece)) return;
    writer_.on_room([self = shared_from_this()] { self->go_on(); });
  }

  const MappedFile file_;
  net::ResponseWriter writer_;
  size_t at_ = 0;
};

}  // namespace

void send_file(MappedFile file, std::vector<net::Header> headers, net::ResponseWriter writer) {
  std::make_shared<FileSender>(std::move(file), std::move(writer))->begin(std::move(headers));
}

}  // namespace hadal::apps
