// The two ends of a gateway's benchmark: an upstream that costs next to nothing, and clients that
// measure. One thread each, epoll, no libraries.
//
//   wire upstream PORT DELAY_US BYTES     answers each request after DELAY_US with BYTES of JSON;
//                                         one with "stream":true with an endless quiet stream
//   wire load PORT PATH CONNECTIONS SECONDS
//                                         each connection asks again when answered; prints JSON
//   wire open PORT RATE SECONDS CONNECTIONS FILE
//                                         sends FILE's bytes RATE times a second at fixed times,
//                                         answered or not, on whichever connection is free; prints
//                                         JSON
//   wire idle PORT PATH STREAMS SECONDS   opens so many streams and holds them; prints how many
//   began
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <queue>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Peer {
  int socket = -1;
  std::string in;
  Clock::time_point sent;
  bool begun = false;
};

sockaddr_in address_of(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void watch(int epoll, int socket) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = socket;
  epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

void no_delay(int socket) {
  const int one = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void send_all(int socket, const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const ssize_t size = send(socket, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (size <= 0) return;
    at += static_cast<size_t>(size);
  }
}

// Of a whole message at the front of `text`, by its Content-Length or its last chunk; 0: not all
// there yet.
size_t message_size(const std::string& text) {
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return 0;
  size_t body = 0;
  for (size_t at = 0; at < end;) {
    if (strncasecmp(text.data() + at, "content-length:", 15) == 0) {
      body = std::strtoul(text.data() + at + 15, nullptr, 10);
    } else if (strncasecmp(text.data() + at, "transfer-encoding: chunked", 26) == 0) {
      const size_t last = text.find("\r\n0\r\n\r\n", end);
      return last == std::string::npos ? 0 : last + 7;
    }
    at = text.find("\r\n", at) + 2;
  }
  return text.size() >= end + 4 + body ? end + 4 + body : 0;
}

bool read_some(Peer* peer) {
  char piece[65536];
  const ssize_t size = recv(peer->socket, piece, sizeof(piece), 0);
  if (size <= 0) return false;
  peer->in.append(piece, static_cast<size_t>(size));
  return true;
}

class Upstream {
 public:
  Upstream(long delay_us, size_t bytes) : delay_us_(delay_us), body_("{\"x\":\"") {
    body_.resize(std::max<size_t>(bytes, 10) - 2, 'x');
    body_ += "\"}";
  }
  int run(int port) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    sockaddr_in address = address_of(port);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return 1;
    listen(listener_, 4096);
    watch(epoll_, listener_);
    watch(epoll_, timer_);
    for (;;) {
      epoll_event events[256];
      const int count = epoll_wait(epoll_, events, 256, -1);
      for (int i = 0; i < count; ++i) on_event(events[i].data.fd);
    }
  }

 private:
  struct Due {
    Clock::time_point at, came;
    int socket;
    bool operator<(const Due& other) const { return at > other.at; }
  };

  void on_event(int ready) {
    if (ready == listener_) {
      const int accepted = accept(listener_, nullptr, nullptr);
      if (accepted < 0) return;
      no_delay(accepted);
      peers_[accepted].socket = accepted;
      watch(epoll_, accepted);
    } else if (ready == timer_) {
      uint64_t ticks = 0;
      if (read(timer_, &ticks, sizeof(ticks)) < 0) return;
      while (!due_.empty() && due_.top().at <= Clock::now()) {
        if (peers_.count(due_.top().socket)) answer(due_.top().socket, due_.top().came);
        due_.pop();
      }
      arm();
    } else if (!read_some(&peers_[ready])) {
      peers_.erase(ready);
      close(ready);
    } else {
      take_requests(&peers_[ready]);
    }
  }
  void take_requests(Peer* peer) {
    while (const size_t size = message_size(peer->in)) {
      const bool stream = peer->in.find("\"stream\":true") < size;
      peer->in.erase(0, size);
      const auto now = Clock::now();
      if (stream) {
        send_all(peer->socket, kBegin);
      } else if (delay_us_ == 0) {
        answer(peer->socket, now);
      } else {
        const long delay =
            delay_us_ / 2 + static_cast<long>(random_() % static_cast<unsigned>(delay_us_));
        due_.push({now + std::chrono::microseconds(delay), now, peer->socket});
        arm();
      }
    }
  }
  void answer(int socket, Clock::time_point came) {
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - came);
    send_all(socket, "HTTP/1.1 200 OK\r\nX-Took-Us: " + std::to_string(took.count()) +
                         "\r\nContent-Type: application/json\r\nContent-Length: " +
                         std::to_string(body_.size()) + "\r\n\r\n" + body_);
  }
  void arm() {
    if (due_.empty()) return;
    const auto wait = std::max<long>(
        1,
        std::chrono::duration_cast<std::chrono::nanoseconds>(due_.top().at - Clock::now()).count());
    itimerspec spec{};
    spec.it_value.tv_sec = wait / 1'000'000'000;
    spec.it_value.tv_nsec = wait % 1'000'000'000;
    timerfd_settime(timer_, 0, &spec, nullptr);
  }

  static constexpr const char* kBegin =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
      "9\r\ndata: 1\n\n\r\n";
  const long delay_us_;
  std::string body_;
  int listener_ = -1;
  const int epoll_ = epoll_create1(0);
  const int timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  std::unordered_map<int, Peer> peers_;
  std::priority_queue<Due> due_;
  std::minstd_rand random_{1};
};

int connected(int port) {
  const int socket_number = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = address_of(port);
  if (connect(socket_number, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return -1;
  no_delay(socket_number);
  return socket_number;
}

std::string request_text(const std::string& path, bool stream) {
  const std::string body =
      std::string("{\"model\":\"m\",") + (stream ? "\"stream\":true," : "") +
      "\"messages\":[{\"role\":\"system\",\"content\":\"You are brief and exact.\"},"
      "{\"role\":\"user\",\"content\":\"What is the airspeed of an unladen swallow?\"}],"
      "\"temperature\":0,\"max_tokens\":100}";
  return "POST " + path + " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n" +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

int run_load(int port, const std::string& path, int connections, double seconds) {
  const int epoll = epoll_create1(0);
  const std::string request = request_text(path, false);
  std::unordered_map<int, Peer> peers;
  for (int i = 0; i < connections; ++i) {
    const int socket = connected(port);
    if (socket < 0) return 1;
    watch(epoll, socket);
    peers[socket].socket = socket;
  }
  std::vector<double> micros;
  size_t failed = 0;
  const auto begin = Clock::now();
  const auto warm = begin + std::chrono::milliseconds(500);
  const auto end =
      warm + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (auto& [socket, peer] : peers) {
    peer.sent = Clock::now();
    send_all(socket, request);
  }
  while (Clock::now() < end) {
    epoll_event events[256];
    const int count = epoll_wait(epoll, events, 256, 1000);
    for (int i = 0; i < count; ++i) {
      Peer& peer = peers[events[i].data.fd];
      if (!read_some(&peer)) return 1;
      const size_t size = message_size(peer.in);
      if (size == 0) continue;
      if (peer.in.compare(9, 3, "200") != 0) ++failed;
      const size_t field = std::min(peer.in.find("X-Took-Us: "), peer.in.find("x-took-us: "));
      const long took = field < size ? std::atol(peer.in.data() + field + 11) : 0;
      peer.in.erase(0, size);
      const auto now = Clock::now();
      if (now >= warm) {
        micros.push_back(std::chrono::duration<double, std::micro>(now - peer.sent).count() -
                         static_cast<double>(took));
      }
      peer.sent = now;
      send_all(peer.socket, request);
    }
  }
  if (micros.empty()) return 1;
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double share) {
    return micros[std::min(micros.size() - 1,
                           static_cast<size_t>(share * static_cast<double>(micros.size())))];
  };
  std::printf(
      "{\"requests_per_second\": %.0f, \"p50_us\": %.0f, \"p90_us\": %.0f, \"p99_us\": %.0f, "
      "\"failed\": %zu}\n",
      static_cast<double>(micros.size()) / seconds, at(0.5), at(0.9), at(0.99), failed);
  return failed == 0 ? 0 : 1;
}

// Percentiles as fields of JSON.
std::string percentiles(const char* name, std::vector<double> micros) {
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double share) {
    return micros[std::min(micros.size() - 1,
                           static_cast<size_t>(share * static_cast<double>(micros.size())))];
  };
  char text[256];
  std::snprintf(text, sizeof(text),
                "\"%s\": {\"p50\": %.0f, \"p90\": %.0f, \"p99\": %.0f, \"p999\": %.0f, "
                "\"max\": %.0f}",
                name, at(0.5), at(0.9), at(0.99), at(0.999), micros.back());
  return text;
}

// Requests at fixed times. One whose time has come and that finds every connection busy waits, and
// its wait counts: a server that stalls is asked no less for it.
class OpenLoad {
 public:
  OpenLoad(int port, double rate, double seconds, std::string request)
      : request_(std::move(request)),
        port_(port),
        gap_(std::chrono::nanoseconds(static_cast<long>(1e9 / rate))),
        warm_(static_cast<size_t>(rate * 0.5)),
        total_(warm_ + static_cast<size_t>(rate * seconds)) {}

  int run(int connections) {
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 0; i < connections; ++i) {
      const int made = connected(port_);
      if (made < 0) return 1;
      watch(epoll_, made);
      peers_[made].socket = made;
      free_.push_back(made);
    }
    watch(epoll_, timer_);
    begin_ = Clock::now() + std::chrono::milliseconds(10);
    const auto give_up = begin_ + gap_ * static_cast<long>(total_) + std::chrono::seconds(20);
    arm();
    while (answered_ < total_ && Clock::now() < give_up) {
      epoll_event events[256];
      const int count = epoll_wait(epoll_, events, 256, 100);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == timer_) {
          uint64_t ticks = 0;
          if (read(timer_, &ticks, sizeof(ticks)) < 0) return 1;
        } else if (!on_answer(&peers_[events[i].data.fd])) {
          return 1;
        }
      }
      send_due();
    }
    if (answered_ < total_) return 1;
    std::printf("{\"requests\": %zu, \"failed\": %zu, %s, %s, %s}\n", total_ - warm_, failed_,
                percentiles("planned_us", planned_).c_str(), percentiles("sent_us", sent_).c_str(),
                percentiles("late_us", late_).c_str());
    return failed_ == 0 ? 0 : 1;
  }

 private:
  static double micros(Clock::duration span) {
    return std::chrono::duration<double, std::micro>(span).count();
  }
  Clock::time_point time_of(size_t number) const {
    return begin_ + gap_ * static_cast<long>(number);
  }
  void arm() {
    if (next_ >= total_) return;
    const auto at = time_of(next_).time_since_epoch();  // steady_clock is CLOCK_MONOTONIC here
    itimerspec spec{};
    spec.it_value.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(at).count();
    spec.it_value.tv_nsec = (at % std::chrono::seconds(1)).count();
    timerfd_settime(timer_, TFD_TIMER_ABSTIME, &spec, nullptr);
  }
  void send_due() {
    while (next_ < total_ && !free_.empty() && time_of(next_) <= Clock::now()) {
      Peer& peer = peers_[free_.back()];
      free_.pop_back();
      numbers_[peer.socket] = next_;
      peer.sent = Clock::now();
      // The generator's own lateness: a connection was free all the time.
      if (next_ >= warm_ && !starved_) late_.push_back(micros(peer.sent - time_of(next_)));
      ++next_;
      send_all(peer.socket, request_);
    }
    starved_ = free_.empty();
    if (!starved_) arm();
  }
  bool on_answer(Peer* peer) {
    if (!read_some(peer)) return false;
    const size_t size = message_size(peer->in);
    if (size == 0) return true;
    const auto now = Clock::now();
    if (peer->in.compare(9, 3, "200") != 0) ++failed_;
    peer->in.erase(0, size);
    const size_t number = numbers_[peer->socket];
    if (number >= warm_) {
      planned_.push_back(micros(now - time_of(number)));
      sent_.push_back(micros(now - peer->sent));
    }
    ++answered_;
    free_.push_back(peer->socket);
    return true;
  }

  const std::string request_;
  const int port_;
  const std::chrono::nanoseconds gap_;
  const size_t warm_, total_;
  const int epoll_ = epoll_create1(0);
  const int timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  Clock::time_point begin_;
  std::unordered_map<int, Peer> peers_;
  std::unordered_map<int, size_t> numbers_;  // of the request under way, by socket
  std::vector<int> free_;
  std::vector<double> planned_, sent_, late_;
  size_t next_ = 0, answered_ = 0, failed_ = 0;
  bool starved_ = false;
};

int run_idle(int port, const std::string& path, int streams, double seconds) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int epoll = epoll_create1(0);
  const std::string request = request_text(path, true);
  std::unordered_map<int, Peer> peers;
  int begun = 0;
  const auto collect = [&](int wait_ms) {
    epoll_event events[256];
    const int count = epoll_wait(epoll, events, 256, wait_ms);
    for (int i = 0; i < count; ++i) {
      Peer& peer = peers[events[i].data.fd];
      if (!read_some(&peer)) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, events[i].data.fd, nullptr);
        continue;
      }
      if (!peer.begun && peer.in.find("data: 1") != std::string::npos) {
        peer.begun = true;
        ++begun;
      }
    }
    return count;
  };
  for (int i = 0; i < streams; ++i) {
    const int socket = connected(port);
    if (socket < 0) break;
    watch(epoll, socket);
    peers[socket].socket = socket;
    send_all(socket, request);
    collect(0);
  }
  const auto until = Clock::now() + std::chrono::seconds(20);
  while (begun < streams && Clock::now() < until) collect(100);
  std::printf("%d\n", begun);
  std::fflush(stdout);
  usleep(static_cast<useconds_t>(seconds * 1e6));
  return begun == streams ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (mode == "upstream" && argc == 5) {
    Upstream upstream(std::atol(argv[3]), static_cast<size_t>(std::atol(argv[4])));
    return upstream.run(std::atoi(argv[2]));
  }
  if (mode == "load" && argc == 6) {
    return run_load(std::atoi(argv[2]), argv[3], std::atoi(argv[4]), std::atof(argv[5]));
  }
  if (mode == "open" && argc == 7) {
    std::ifstream file(argv[6], std::ios::binary);
    std::string request{std::istreambuf_iterator<char>(file), {}};
    if (request.empty()) return 1;
    OpenLoad load(std::atoi(argv[2]), std::atof(argv[3]), std::atof(argv[4]), std::move(request));
    return load.run(std::atoi(argv[5]));
  }
  if (mode == "idle" && argc == 6) {
    return run_idle(std::atoi(argv[2]), argv[3], std::atoi(argv[4]), std::atof(argv[5]));
  }
  std::fprintf(stderr, "wire upstream|load|open|idle ...\n");
  return 2;
}
