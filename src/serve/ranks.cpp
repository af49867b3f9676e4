#include "serve/ranks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "nn/device.h"
#include "serve/callers.h"
#include "serve/patience.h"

namespace dmoerm::serve {
namespace {

constexpr int kTriesMax = 3;                               // ranks that may die of one request
constexpr double kFirstPauseS = 0.5, kLongestPauseS = 30;  // before a rank is started again that was never ready

/// Start a program with one more environment variable; all memory is made before the fork.
pid_t spawn(const std::vector<std::string>& command, const std::string& variable, int socket) {
  std::vector<char*> arguments, environment;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const std::string name = variable.substr(0, variable.find('=') + 1);
  for (char** one = environ; *one != nullptr; ++one) {
    if (!std::string_view(*one).starts_with(name)) environment.push_back(*one);
  }
  environment.push_back(const_cast<char*>(variable.c_str()));
  environment.push_back(nullptr);
  const pid_t process = ::fork();
  if (process != 0) return process;
  ::fcntl(socket, F_SETFD, 0);
  ::execve(command[0].c_str(), arguments.data(), environment.data());
  ::_exit(127);
}

}  // namespace

std::string gpu_of_rank(int rank, const char* visible, int gpus) {
  if (visible == nullptr) return std::to_string(gpus > 0 ? rank % gpus : rank);
  std::vector<std::string> names;
  std::stringstream rest(visible);
  for (std::string name; std::getline(rest, name, ',');) names.push_back(name);
  const bool parts_of_gpus =
      !names.empty() && names.front().starts_with("MIG-");  // of which CUDA counts one, however many there are
  if (gpus > 0 && !parts_of_gpus && std::ssize(names) > gpus)
    names.resize(static_cast<std::size_t>(gpus));  // CUDA stops at one that is not there
  return names.empty() ? "" : names[static_cast<std::size_t>(rank) % names.size()];
}

Ranks::Ranks(std::vector<std::string> command, int count, OnAnswer on_answer, double deadline_s)
    : command_(std::move(command)),
      on_answer_(std::move(on_answer)),
      deadline_s_(deadline_s),
      ranks_(static_cast<std::size_t>(count)) {
  bool failed = false;
  try {
    for (int rank = 0; rank < count; ++rank) start(rank);
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return failed_ || std::ranges::all_of(ranks_, &Rank::ready); });
      started_ = true;
      failed = failed_;
    }
    if (!failed) watcher_ = start_thread("a thread that watches ranks", [this] { watch(); });
  } catch (...) {  // those that began already must end first
    end();
    throw;
  }
  if (!failed) return;
  end();
  throw Error("rank-did-not-start", "a rank of the server ended before it was ready; it said why above");
}

Ranks::~Ranks() { end(); }

void Ranks::end() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    changed_.notify_all();
    for (Rank& rank : ranks_) ::shutdown(rank.socket, SHUT_WR);
  }
  if (watcher_.joinable()) watcher_.join();
  for (Rank& rank : ranks_) {
    const bool read = rank.reader.joinable();
    if (read) rank.reader.join();
    rank.writer.reset();
    ::close(rank.socket);
    if (!read && rank.process > 0) ::waitpid(rank.process, nullptr, 0);  // else its reader did
  }
}

void Ranks::start(int number) {
  auto writer = std::make_unique<Workers>(1, "a thread that writes to a rank");  // first: it may be refused
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    throw Error("rank-did-not-start", fmt::format("a rank cannot be started: {}", std::strerror(errno)));
  std::vector<std::string> command = command_;
  command.insert(command.end(), {"--rank-socket", std::to_string(sockets[1]), "--rank-number", std::to_string(number)});
  const std::string gpu = gpu_of_rank(number, std::getenv("CUDA_VISIBLE_DEVICES"), nn::gpu_count());
  const pid_t process = spawn(command, "CUDA_VISIBLE_DEVICES=" + gpu, sockets[1]);
  const int problem = errno;
  ::close(sockets[1]);
  if (process < 0) {
    ::close(sockets[0]);
    throw Error("rank-did-not-start", fmt::format("a rank cannot be started: {}", std::strerror(problem)));
  }
  Rank& rank = ranks_[static_cast<std::size_t>(number)];
  const std::lock_guard lock(mutex_);
  rank.process = process;
  rank.socket = sockets[0];
  rank.ready = rank.came = false;
  rank.waiting = 0;
  rank.silent.reset();
  rank.writer = std::move(writer);
  if (ends_) ::shutdown(rank.socket, SHUT_WR);
  if (!rank.reader.joinable())
    rank.reader = start_thread("a thread that reads from a rank", [this, number] { read_answers(number); });
}

/// Reads a rank's answers; if it dies, starts another in its place and reads on.
void Ranks::read_answers(int number) {
  Rank& rank = ranks_[static_cast<std::size_t>(number)];
  const auto heard = [&rank] { rank.silent = rank.waiting > 0 ? std::optional(Clock::now()) : std::nullopt; };
  for (double pause = kFirstPauseS;;) {
    for (Frame frame; read_frame(rank.socket, frame);) {
      std::unique_lock lock(mutex_);
      heard();
      if (frame.header.contains("ready")) {
        pause = kFirstPauseS;
        rank.came = true;
      }
      if (frame.header.contains("ready") || frame.header.contains("loaded")) {
        rank.loaded = frame.header.value("loaded", "");
        use_alike();
      }
      if (!frame.header.contains("number")) continue;
      const auto found = requests_.find(frame.header.at("number"));
      if (found == requests_.end() || found->second.rank != number) continue;
      const Request request = std::move(found->second);
      requests_.erase(found);
      --rank.waiting;
      heard();
      lock.unlock();
      HttpAnswer answer = answer_of(std::move(frame));
      deliver(request, number, std::move(answer));
    }
    int status = 0;
    ::waitpid(rank.process, &status, 0);
    const bool killed = WIFSIGNALED(status);
    const std::string how =
        killed ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("exit code {}", WEXITSTATUS(status));
    bool was_ready = false;
    {
      const std::lock_guard lock(mutex_);
      if (ends_) return;
      was_ready = rank.ready;
      failed_ = failed_ || (!started_ && !was_ready && !killed);
      changed_.notify_all();
      if (failed_) return;
    }
    if (was_ready) {
      spdlog::warn("[serve] rank {} is gone ({}); the others do its work, and a new one starts", number, how);
    } else {
      spdlog::error("[serve] rank {} does not start ({}); it is tried again in {} s", number, how, pause);
    }
    ++restarts_;
    lose(number, was_ready);
    std::unique_ptr<Workers> writer;
    {
      std::unique_lock lock(mutex_);
      writer = std::move(rank.writer);
      ::close(std::exchange(rank.socket, -1));
      if (!was_ready && changed_.wait_for(lock, duration_of(pause), [this] { return ends_; })) return;
    }
    writer.reset();
    if (!was_ready) pause = std::min(2 * pause, kLongestPauseS);
    if (!start_again(number)) return;
  }
}

/// Let a rank have requests. The caller holds the lock.
void Ranks::use(int number) {
  ranks_[static_cast<std::size_t>(number)].ready = true;
  changed_.notify_all();
  std::vector<std::uint64_t> left;  // requests that came when no rank was there
  for (const auto& [request, state] : requests_) {
    if (state.rank < 0) left.push_back(request);
  }
  for (const std::uint64_t request : left) give(request, number);
}

/// Use the ranks that came with the bundles that the ready ones have. If one has others, because a folder was replaced since, all
/// read their bundles again, and it waits until they agree. The caller holds the lock.
void Ranks::use_alike() {
  for (int number = 0; number < static_cast<int>(ranks_.size()); ++number) {
    const Rank& rank = ranks_[static_cast<std::size_t>(number)];
    if (!rank.came || rank.ready) continue;
    const auto reference = std::ranges::find(ranks_, true, &Rank::ready);
    if (reference == ranks_.end() || reference->loaded == rank.loaded) {
      use(number);
      continue;
    }
    const std::string both = reference->loaded + "/" + rank.loaded;
    if (std::exchange(asked_alike_, both) == both) continue;
    spdlog::warn("[serve] rank {} has another bundle than the others, because the folder was replaced: all read it again",
                 number);
    for (Rank& one : ranks_) {
      if (one.came) one.writer->post([socket = one.socket] { write_frame(socket, {{"reload", true}}, ""); });
    }
  }
}

/// Refuse requests whose deadline is long over, as no rank does that hangs, and kill such a rank.
void Ranks::watch() {
  constexpr double kPauseS = 0.5, kGraceS = 1, kMetricsS = 2;  // grace: a rank refuses in time itself
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, duration_of(kPauseS), [this] { return ends_; })) {
    std::vector<Request> late;
    for (auto next = requests_.begin(); next != requests_.end();) {
      const auto one = next++;
      const HttpRequest& request = one->second.exchange->request;
      const bool reloads = request.path == "/admin/reload";
      const double most = request.path == "/metrics" ? std::min(kMetricsS, deadline_s_) : deadline_s_ + kGraceS;
      if (reloads || seconds_since(one->second.came()) <= most) continue;
      if (one->second.rank >= 0) --ranks_[static_cast<std::size_t>(one->second.rank)].waiting;
      late.push_back(std::move(one->second));
      requests_.erase(one);
    }
    for (int number = 0; number < static_cast<int>(ranks_.size()); ++number) {
      Rank& rank = ranks_[static_cast<std::size_t>(number)];
      if (!rank.ready || !rank.silent || seconds_since(*rank.silent) <= 2 * deadline_s_ + kGraceS) continue;
      spdlog::error("[serve] rank {} has said nothing for {}: it is killed", number, duration_text(seconds_since(*rank.silent)));
      rank.silent.reset();
      ::kill(rank.process, SIGKILL);
    }
    if (late.empty()) continue;
    lock.unlock();
    for (const Request& request : late) {
      const wire::Family family = family_of(request.exchange->request);
      const HttpAnswer answer = too_late({family, deadline_s_, seconds_since(request.came())}, 0);
      request.done ? request.done(request.rank, answer) : deliver(request, -1, answer);
    }
    lock.lock();
  }
}

/// Start a rank in the place of one that is gone, as soon as the system allows it. @return false if all end
bool Ranks::start_again(int number) {
  for (;;) {
    try {
      start(number);
      return true;
    } catch (const Error& e) {
      spdlog::error("[serve] {}; it is tried again in {} s", with_code(e.what(), e.code()), kLongestPauseS);
    }
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, duration_of(kLongestPauseS), [this] { return ends_; })) return false;
  }
}

/// Hand the requests of a dead rank to others. Where none is ready they wait for the next, unless that one did not start.
void Ranks::lose(int number, bool was_ready) {
  std::vector<Request> given_up;
  {
    const std::lock_guard lock(mutex_);
    Rank& gone = ranks_[static_cast<std::size_t>(number)];
    gone.ready = gone.came = false;
    use_alike();  // one that waited for this one
    std::vector<std::uint64_t> mine;
    for (const auto& [request, state] : requests_) {
      if (state.rank == number || (state.rank < 0 && !was_ready && idlest() < 0)) mine.push_back(request);
    }
    for (const std::uint64_t request : mine) {
      Request& state = requests_[request];
      if (state.done || state.rank < 0 || ++state.tries >= kTriesMax) {
        given_up.push_back(std::move(state));
        requests_.erase(request);
      } else {
        give(request, idlest());
      }
    }
  }
  for (const Request& request : given_up) give_up(request, number);
}

void Ranks::give_up(const Request& request, int rank) {
  const HttpAnswer answer = refusal_of(request.exchange->request, 503, ErrorCode("rank-gone"),
                                       "the process that worked on this request is gone: try again");
  if (request.done) return request.done(rank, answer);
  deliver(request, -1, with_retry(answer, 1));
}

/// Answer a request, which is counted first. @param rank  whose answer it is; -1 = the front's
void Ranks::deliver(const Request& request, int rank, HttpAnswer answer) {
  if (request.done) return request.done(rank, std::move(answer));
  on_answer_(request.exchange->request, answer, rank, seconds_since(request.came()));
  request.exchange->answer(std::move(answer));
}

bool Ranks::ready() const {
  const std::lock_guard lock(mutex_);
  return idlest() >= 0;
}

HttpAnswer Ranks::not_ready(const HttpRequest& request) {
  return with_retry(refusal_of(request, 503, ErrorCode("no-rank-ready"),
                               "none of the processes that score is ready, and new ones are starting: try again in 1 s"),
                    1);
}

void Ranks::abandon() {
  std::map<std::uint64_t, Request> left;
  {
    const std::lock_guard lock(mutex_);
    left.swap(requests_);
  }
  for (const auto& [number, request] : left) give_up(request, request.rank);
}

/// The rank with the fewest requests; -1 if none is ready.
int Ranks::idlest() const {
  int best = -1;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    const Rank& one = ranks_[static_cast<std::size_t>(rank)];
    if (one.ready && (best < 0 || one.waiting < ranks_[static_cast<std::size_t>(best)].waiting)) best = rank;
  }
  return best;
}

/// Send a request to a rank, or keep it until there is one. The caller holds the lock.
void Ranks::give(std::uint64_t number, int to) {
  Request& request = requests_[number];
  request.rank = to;
  if (to < 0) return;
  Rank& rank = ranks_[static_cast<std::size_t>(to)];
  ++rank.waiting;
  if (!rank.silent) rank.silent = Clock::now();
  rank.writer->post([socket = rank.socket, number, exchange = request.exchange] {
    nlohmann::json header = header_of(exchange->request);
    header["number"] = number;
    write_frame(socket, header, exchange->request.body);  // a rank that is gone is noticed by its reader
  });
}

void Ranks::handle(std::shared_ptr<Exchange> exchange) {
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    if (const int rank = idlest(); rank >= 0) {
      number = ++numbers_;
      requests_[number] = {exchange};
      give(number, rank);
    }
  }
  if (number == 0) return deliver({exchange}, -1, not_ready(exchange->request));
  exchange->when_gone([this, number] {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(number);
    if (found == requests_.end() || found->second.rank < 0) return;
    Rank& rank = ranks_[static_cast<std::size_t>(found->second.rank)];
    rank.writer->post([socket = rank.socket, number] { write_frame(socket, {{"number", number}, {"cancel", true}}, ""); });
  });
}

void Ranks::ask_all(std::shared_ptr<Exchange> exchange, Join join) {
  struct Gathered {
    std::mutex mutex;
    std::size_t left = 0;
    std::map<int, HttpAnswer> answers{};  // by rank
  };
  auto gathered = std::make_shared<Gathered>();
  exchange->request.counted = true;  // here, and not by each rank
  std::unique_lock lock(mutex_);
  std::vector<int> ready;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    if (ranks_[static_cast<std::size_t>(rank)].ready) ready.push_back(rank);
  }
  if (ready.empty()) {
    lock.unlock();
    return deliver({exchange}, -1, join({}));
  }
  const Request whole{exchange};
  gathered->left = ready.size();
  for (const int rank : ready) {
    const std::uint64_t number = ++numbers_;
    requests_[number] = {exchange, rank, 0, [this, gathered, whole, join](int from, HttpAnswer answer) {
                           const std::lock_guard own(gathered->mutex);
                           gathered->answers.emplace(from, std::move(answer));
                           if (--gathered->left == 0) deliver(whole, -1, join(std::move(gathered->answers)));
                         }};
    give(number, rank);
  }
}

void Ranks::reload() {
  const std::lock_guard lock(mutex_);
  for (Rank& rank : ranks_) {
    if (rank.ready) rank.writer->post([socket = rank.socket] { write_frame(socket, {{"reload", true}}, ""); });
  }
}

}  // namespace dmoerm::serve
