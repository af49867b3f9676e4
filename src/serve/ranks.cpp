#include "serve/ranks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "serve/callers.h"

namespace dmoerm::serve {
namespace {

constexpr int kTriesMax = 3;  // ranks that may die of one request

/// The value of CUDA_VISIBLE_DEVICES that shows a rank its own GPU.
std::string device_of(int rank) {
  const char* all = std::getenv("CUDA_VISIBLE_DEVICES");
  if (all == nullptr || *all == '\0') return std::to_string(rank);
  std::vector<std::string> names;
  std::stringstream rest(all);
  for (std::string name; std::getline(rest, name, ',');) names.push_back(name);
  return names[static_cast<std::size_t>(rank) % names.size()];
}

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

void serve_front(int socket, const HttpServer::Check& check, const HttpServer::Handler& handle,
                 const std::function<void()>& reload) {
  std::mutex writing, waiting_mutex;
  std::map<std::uint64_t, std::weak_ptr<Exchange>> waiting;
  std::size_t under_way = 0;
  std::condition_variable none_left;
  write_frame(socket, {{"ready", true}}, "");
  for (Frame frame; read_frame(socket, frame);) {
    if (frame.header.contains("reload")) {
      reload();
      continue;
    }
    const std::uint64_t number = frame.header.at("number");
    if (frame.header.contains("cancel")) {
      std::shared_ptr<Exchange> exchange;
      {
        const std::lock_guard lock(waiting_mutex);
        if (const auto found = waiting.find(number); found != waiting.end()) exchange = found->second.lock();
      }
      if (exchange) exchange->hang_up();
      continue;
    }
    auto deliver = [&, number](HttpAnswer answer) {
      nlohmann::json header = header_of(answer);
      header["number"] = number;
      {
        const std::lock_guard lock(writing);
        write_frame(socket, header, answer.body);
      }
      const std::lock_guard lock(waiting_mutex);
      waiting.erase(number);
      --under_way;
      none_left.notify_all();
    };
    const std::shared_ptr<Exchange> exchange = Exchange::make(request_of(std::move(frame)), std::move(deliver));
    {
      const std::lock_guard lock(waiting_mutex);
      waiting[number] = exchange;
      ++under_way;
    }
    if (auto answer = check(exchange->request); answer) {
      exchange->answer(std::move(*answer));
    } else {
      handle(exchange);
    }
  }
  std::unique_lock lock(waiting_mutex);
  none_left.wait(lock, [&] { return under_way == 0; });
}

Ranks::Ranks(std::vector<std::string> command, int count)
    : command_(std::move(command)), ranks_(static_cast<std::size_t>(count)) {
  for (int rank = 0; rank < count; ++rank) start(rank);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return failed_ || std::ranges::all_of(ranks_, &Rank::ready); });
  if (!failed_) return;
  lock.unlock();
  end();
  throw Error("rank-did-not-start", "a rank of the server ended before it was ready; it said why above");
}

Ranks::~Ranks() { end(); }

void Ranks::end() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    for (Rank& rank : ranks_) ::shutdown(rank.socket, SHUT_WR);
  }
  for (Rank& rank : ranks_) {
    if (rank.reader.joinable()) rank.reader.join();
    rank.writer.reset();
    ::close(rank.socket);
  }
}

void Ranks::start(int number) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    throw Error("rank-did-not-start", fmt::format("a rank cannot be started: {}", std::strerror(errno)));
  std::vector<std::string> command = command_;
  command.insert(command.end(), {"--rank-socket", std::to_string(sockets[1])});
  const pid_t process = spawn(command, "CUDA_VISIBLE_DEVICES=" + device_of(number), sockets[1]);
  ::close(sockets[1]);
  if (process < 0) throw Error("rank-did-not-start", fmt::format("a rank cannot be started: {}", std::strerror(errno)));
  Rank& rank = ranks_[static_cast<std::size_t>(number)];
  const std::lock_guard lock(mutex_);
  rank.process = process;
  rank.socket = sockets[0];
  rank.ready = false;
  rank.waiting = 0;
  rank.writer = std::make_unique<Workers>(1, "a thread that writes to a rank");
  if (ends_) ::shutdown(rank.socket, SHUT_WR);
  if (!rank.reader.joinable())
    rank.reader = start_thread("a thread that reads from a rank", [this, number] { read_answers(number); });
}

/// Reads a rank's answers; if it dies, starts another in its place and reads on.
void Ranks::read_answers(int number) {
  Rank& rank = ranks_[static_cast<std::size_t>(number)];
  for (;;) {
    for (Frame frame; read_frame(rank.socket, frame);) {
      std::unique_lock lock(mutex_);
      if (frame.header.contains("ready")) {
        rank.ready = true;
        changed_.notify_all();
        std::vector<std::uint64_t> left;  // requests that came when no rank was there
        for (const auto& [request, state] : requests_) {
          if (state.rank < 0) left.push_back(request);
        }
        for (const std::uint64_t request : left) give(request, number);
        continue;
      }
      const auto found = requests_.find(frame.header.at("number"));
      if (found == requests_.end() || found->second.rank != number) continue;
      const Request request = std::move(found->second);
      requests_.erase(found);
      --rank.waiting;
      lock.unlock();
      HttpAnswer answer = answer_of(std::move(frame));
      if (request.done) {
        request.done(number, std::move(answer));
      } else {
        request.exchange->answer(std::move(answer));
      }
    }
    int status = 0;
    ::waitpid(rank.process, &status, 0);
    const bool killed = WIFSIGNALED(status);
    const std::string how =
        killed ? fmt::format("signal {}", WTERMSIG(status)) : fmt::format("exit code {}", WEXITSTATUS(status));
    {
      const std::lock_guard lock(mutex_);
      if (ends_) return;
      const bool failed = !rank.ready && !killed;
      failed_ = failed_ || failed;
      changed_.notify_all();
      if (failed) {
        spdlog::error("[serve] rank {} does not start ({}); the others do its work", number, how);
        return;
      }
    }
    spdlog::warn("[serve] rank {} is gone ({}); the others do its work, and a new one starts", number, how);
    ++restarts_;
    lose(number);
    std::unique_ptr<Workers> writer;
    {
      const std::lock_guard lock(mutex_);
      writer = std::move(rank.writer);
      ::close(std::exchange(rank.socket, -1));
    }
    writer.reset();
    start(number);
  }
}

/// Hand the requests of a dead rank to others.
void Ranks::lose(int number) {
  std::vector<Request> given_up;
  {
    const std::lock_guard lock(mutex_);
    ranks_[static_cast<std::size_t>(number)].ready = false;
    std::vector<std::uint64_t> mine;
    for (const auto& [request, state] : requests_) {
      if (state.rank == number) mine.push_back(request);
    }
    for (const std::uint64_t request : mine) {
      Request& state = requests_[request];
      if (state.done || ++state.tries >= kTriesMax) {
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
  HttpAnswer answer = refusal_of(request.exchange->request, 503, ErrorCode("rank-gone"),
                                 "the process that worked on this request is gone: try again");
  if (request.done) {
    request.done(rank, std::move(answer));
  } else {
    request.exchange->answer(std::move(answer));
  }
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
  rank.writer->post([socket = rank.socket, number, exchange = request.exchange] {
    nlohmann::json header = header_of(exchange->request);
    header["number"] = number;
    write_frame(socket, header, exchange->request.body);  // a rank that is gone is noticed by its reader
  });
}

void Ranks::handle(std::shared_ptr<Exchange> exchange) {
  const std::string& path = exchange->request.path;
  if (path == "/metrics")
    return ask_all(std::move(exchange), [this](std::map<int, HttpAnswer> answers) {
      std::map<int, std::string> texts;
      for (auto& [rank, answer] : answers) {
        if (answer.status != 200) return answer;
        texts[rank] = std::move(answer.body);
      }
      HttpAnswer whole = answers.begin()->second;
      whole.body = join_metrics(texts) + fmt::format(
                                             "# HELP dmoerm_rank_restarts_total Ranks that died and were started again\n"
                                             "# TYPE dmoerm_rank_restarts_total counter\ndmoerm_rank_restarts_total {}\n",
                                             restarts_.load());
      return whole;
    });
  if (path == "/admin/reload")
    return ask_all(std::move(exchange), [](const std::map<int, HttpAnswer>& answers) {
      return std::ranges::max_element(answers, {}, [](const auto& a) { return a.second.status; })->second;
    });
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = ++numbers_;
    requests_[number] = {exchange};
    give(number, idlest());
  }
  exchange->when_gone([this, number] {
    const std::lock_guard lock(mutex_);
    const auto found = requests_.find(number);
    if (found == requests_.end() || found->second.rank < 0) return;
    Rank& rank = ranks_[static_cast<std::size_t>(found->second.rank)];
    rank.writer->post([socket = rank.socket, number] { write_frame(socket, {{"number", number}, {"cancel", true}}, ""); });
  });
}

/// Ask all ranks that are there, and answer with what `join` makes of it.
void Ranks::ask_all(std::shared_ptr<Exchange> exchange, std::function<HttpAnswer(std::map<int, HttpAnswer>)> join) {
  struct Gathered {
    std::mutex mutex;
    std::size_t left = 0;
    std::map<int, HttpAnswer> answers{};  // by rank
  };
  auto gathered = std::make_shared<Gathered>();
  const std::lock_guard lock(mutex_);
  std::vector<int> ready;
  for (int rank = 0; rank < static_cast<int>(ranks_.size()); ++rank) {
    if (ranks_[static_cast<std::size_t>(rank)].ready) ready.push_back(rank);
  }
  if (ready.empty())
    return exchange->answer(
        refusal_of(exchange->request, 503, ErrorCode("rank-gone"), "no process that scores is ready: try again"));
  gathered->left = ready.size();
  for (const int rank : ready) {
    const std::uint64_t number = ++numbers_;
    requests_[number] = {exchange, rank, 0, [gathered, exchange, join](int from, HttpAnswer answer) {
                           const std::lock_guard own(gathered->mutex);
                           gathered->answers.emplace(from, std::move(answer));
                           if (--gathered->left == 0) exchange->answer(join(std::move(gathered->answers)));
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

std::string join_metrics(const std::map<int, std::string>& texts) {
  struct Family {
    std::string name, head, lines;
  };
  std::vector<Family> families;
  for (const auto& [rank, own] : texts) {
    std::stringstream text(own);
    Family* family = nullptr;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("# HELP ")) {
        const std::string name = line.substr(7, line.find(' ', 7) - 7);
        const auto found = std::ranges::find(families, name, &Family::name);
        family = found == families.end() ? &families.emplace_back(Family{name, line + "\n", ""}) : &*found;
      } else if (line.starts_with("# TYPE ")) {
        if (family->head.find("# TYPE") == std::string::npos) family->head += line + "\n";
      } else if (family != nullptr) {
        const std::size_t brace = line.find('{'), space = line.find(' ');
        const bool labelled = brace < space;
        const std::size_t at = labelled ? brace : space;
        family->lines += line.substr(0, at) + fmt::format("{{rank=\"{}\"{}", rank, labelled ? "," : "}") +
                         line.substr(labelled ? at + 1 : at) + "\n";
      }
    }
  }
  std::string out;
  for (const Family& family : families) out += family.head + family.lines;
  return out;
}

}  // namespace dmoerm::serve
