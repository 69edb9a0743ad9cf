// Real servers that limits can be kept in, each in a folder of its own, for tests.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace hadal::gateway::testing {

class StoreServer {
 public:
  // Null with a reason: it is not installed, or does not start.
  static std::unique_ptr<StoreServer> redis(std::string* why);
  static std::unique_ptr<StoreServer> postgres(std::string* why);
  virtual ~StoreServer() = default;

  const std::string& url() const { return url_; }
  virtual bool start() = 0;  // until it answers
  virtual void stop() = 0;   // without a chance to write anything down

 protected:
  std::string url_;
};

}  // namespace hadal::gateway::testing
