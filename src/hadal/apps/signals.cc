#include "hadal/apps/signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "hadal/base/check.h"

namespace hadal::apps {

Signals::Signals(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  HADAL_CHECK(pthread_sigmask(SIG_BLOCK, &set, nullptr) == 0);
  descriptor_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  HADAL_CHECK(descriptor_ >= 0, "signalfd");
}

Signals::~Signals() { close(descriptor_); }

std::optional<int> Signals::wait(std::chrono::milliseconds at_most) {
  pollfd waiting{descriptor_, POLLIN, 0};
  const int timeout = at_most.count() < 0 ? -1 : static_cast<int>(at_most.count());
  if (poll(&waiting, 1, timeout) <= 0) return std::nullopt;
  signalfd_siginfo info{};
  if (read(descriptor_, &info, sizeof(info)) != sizeof(info)) return std::nullopt;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace hadal::apps
