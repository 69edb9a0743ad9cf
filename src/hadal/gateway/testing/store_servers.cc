#include "hadal/gateway/testing/store_servers.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <vector>

#include "hadal/base/testing/temporary_folder.h"
#include "hadal/gateway/shared_limits.h"

namespace hadal::gateway::testing {
namespace {

// 0: not started. `user`: null, or whose rights it runs with.
pid_t spawn(std::vector<std::string> words, const passwd* user) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child > 0 ? child : 0;
  const int nothing = ::open("/dev/null", O_RDWR);
  for (const int stream : {0, 1, 2}) ::dup2(nothing, stream);
  const bool same = user == nullptr || (::setgroups(0, nullptr) == 0 &&
                                        ::setgid(user->pw_gid) == 0 && ::setuid(user->pw_uid) == 0);
  if (same && ::chdir("/") == 0) ::execv(argv[0], argv.data());
  ::_exit(127);
}

bool succeeds(std::vector<std::string> words, const passwd* user) {
  const pid_t child = spawn(std::move(words), user);
  int status = -1;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

class Server : public StoreServer {
 protected:
  ~Server() override { end(SIGKILL); }
  // Until it answers.
  bool run(const std::vector<std::string>& words, const passwd* user) {
    auto probe = SharedLimits::make({url_, std::chrono::seconds(5)});
    for (int i = 0; probe && i < 1'500; ++i) {
      if (process_ > 0 && ::waitpid(process_, nullptr, WNOHANG) == process_) process_ = 0;
      if (process_ <= 0) process_ = spawn(words, user);
      if ((*probe)->reconnect()) return true;
      ::usleep(20'000);
    }
    return false;
  }
  void stop() override { end(SIGKILL); }
  void end(int signal) {
    if (process_ <= 0) return;
    ::kill(process_, signal);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }

  const hadal::testing::TemporaryFolder temporary_;
  const std::string folder_ = temporary_.path();
  pid_t process_ = 0;
};

class Redis final : public Server {
 public:
  static constexpr const char* kProgram = "/usr/bin/redis-server";
  Redis() { url_ = "unix://" + folder_ + "/redis.sock"; }
  bool start() override {
    return run({kProgram, "--port", "0", "--save", "", "--unixsocket", folder_ + "/redis.sock",
                "--dir", folder_, "--logfile", "/dev/null"},
               nullptr);
  }
};

// It refuses to run as root, who lends it the user that Debian's package made.
class Postgres final : public Server {
 public:
  ~Postgres() override { Postgres::stop(); }
  Postgres(std::string programs, const passwd* user) : programs_(std::move(programs)) {
    if (user != nullptr) user_ = *user;
    is_other_ = user != nullptr;
    url_ = "postgresql:///postgres?user=hadal&host=" + folder_;
  }
  bool prepare() {
    if (is_other_ && ::chown(folder_.c_str(), user_.pw_uid, user_.pw_gid) != 0) return false;
    return succeeds({programs_ + "/initdb", "-D", data(), "-U", "hadal", "-A", "trust", "--no-sync",
                     "--locale=C", "--encoding=UTF8"},
                    user());
  }
  bool start() override {
    return run({programs_ + "/postgres", "-D", data(), "-k", folder_, "-c",
                "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c",
                "max_connections=32", "-c", "autovacuum=off"},
               user());
  }
  // Its "immediate shutdown": as a crash, but the processes that serve connections end first, which
  // a killed one's would do only a moment later.
  void stop() override { end(SIGQUIT); }

 private:
  std::string data() const { return folder_ + "/data"; }
  const passwd* user() const { return is_other_ ? &user_ : nullptr; }

  const std::string programs_;
  passwd user_ = {};
  bool is_other_ = false;
};

}  // namespace

std::unique_ptr<StoreServer> StoreServer::redis(std::string* why) {
  auto server = std::make_unique<Redis>();
  if (::access(Redis::kProgram, X_OK) != 0) {
    *why = "redis-server is not installed";
  } else if (!server->start()) {
    *why = "redis-server does not start";
  } else {
    return server;
  }
  return nullptr;
}

std::unique_ptr<StoreServer> StoreServer::postgres(std::string* why) {
  std::string programs;
  std::error_code error;
  for (const auto& one : std::filesystem::directory_iterator("/usr/lib/postgresql", error)) {
    const std::string folder = one.path().string() + "/bin";
    if (::access((folder + "/initdb").c_str(), X_OK) == 0) programs = folder;
  }
  const passwd* const user = ::getuid() == 0 ? ::getpwnam("postgres") : nullptr;
  if (programs.empty() || (::getuid() == 0 && user == nullptr)) {
    *why = "PostgreSQL's server is not installed";
    return nullptr;
  }
  auto server = std::make_unique<Postgres>(programs, user);
  if (server->prepare() && server->start()) return server;
  *why = "PostgreSQL's server does not start";
  return nullptr;
}

}  // namespace hadal::gateway::testing
