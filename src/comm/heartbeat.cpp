#include "comm/heartbeat.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <utility>
#include <vector>

#include "base/activity.h"
#include "base/error.h"
#include "base/stop.h"
#include "base/thread.h"
#include "comm/activity_board.h"
#include "comm/mpi_world.h"

namespace dmoerm::comm {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kBeatS = 1.0, kLookS = 0.1;
constexpr const char* kBye = "bye";

double seconds_since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

/// What is known about another rank.
struct Peer {
  Clock::time_point heard = Clock::now();
  bool gone = false;  ///< whether it said goodbye; the first rank does so when all others have
  bool told = false;  ///< whether a goodbye to it has been sent
  std::string host = "(not known yet)", doing = "starting", work;
};

}  // namespace

Heartbeat::Heartbeat(World& world, double limit_s) : world_(world), limit_s_(limit_s) {
  thread_ = start_thread("the thread of the heartbeat", [this] { watch_or_end(); });
}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
    doing_ = "leaving";
  }
  thread_.join();
}

void Heartbeat::doing(const std::string& what) {
  const std::lock_guard lock(mutex_);
  doing_ = what;
}

void Heartbeat::listen(std::function<void(int, const std::string&, const std::string&)> on_beat) {
  const std::lock_guard lock(mutex_);
  on_beat_ = std::move(on_beat);
}

/// Watch. If that fails, nobody would notice a lost rank any more, so the job ends, naming this rank.
void Heartbeat::watch_or_end() {
  try {
    watch();
  } catch (const std::exception& e) {
    std::string what;
    {
      const std::lock_guard lock(mutex_);
      what = doing_;
    }
    spdlog::critical(
        "[run] the heartbeat of rank {} on {} failed while the rank did this: {}; the job ends, the same command "
        "continues it: {}",
        world_.rank(), world_.host(), what, failure_of(e).message);
    world_.abort(1);
  }
}

void Heartbeat::watch() {
  // Every rank sends "host\nwork\ndoing" to the first rank; work is its activity(). The first rank sends its own to all others,
  // with the ages of all ranks' work.
  const bool first = world_.rank() == 0;
  std::vector<int> others;
  for (int rank = 0; rank < world_.size(); ++rank) {
    if (rank != world_.rank() && (first || rank == 0)) others.push_back(rank);
  }
  std::vector<Peer> peers(static_cast<std::size_t>(world_.size()));
  const double beat_s = std::min(kBeatS, limit_s_ / 5);
  auto sent = Clock::now() - std::chrono::hours(1), looked = Clock::now();
  ActivityBoard& board = ActivityBoard::of_process();
  std::uint64_t own_work = 0;
  for (;;) {
    std::string what;
    std::function<void(int, const std::string&, const std::string&)> on_beat;
    bool leaving = false;
    {
      const std::lock_guard lock(mutex_);
      what = doing_;
      on_beat = on_beat_;
      leaving = leaving_;
    }
    if (const std::uint64_t now = activity(); first && now != own_work) {
      own_work = now;
      board.worked(world_.rank(), Clock::now());
    }
    const auto all = [&](bool Peer::*said) {
      return std::ranges::all_of(others, [&](int rank) { return peers[static_cast<std::size_t>(rank)].*said; });
    };
    const bool goodbye = leaving && (!first || all(&Peer::gone));
    if (goodbye || seconds_since(sent) >= beat_s) {
      sent = Clock::now();
      const std::string work = first ? board.ages(world_.size()) : std::to_string(activity());
      for (const int rank : others) {
        Peer& peer = peers[static_cast<std::size_t>(rank)];
        if (peer.told) continue;
        const bool left = world_.send_beat(rank, goodbye ? kBye : world_.host() + "\n" + work + "\n" + what);
        peer.told = goodbye && left;
      }
      if (on_beat) on_beat(world_.rank(), world_.host(), what);
    }
    if (goodbye && all(&Peer::told) && all(&Peer::gone)) return;
    if (launcher_gone() && !stop_requested()) {
      spdlog::error("[run] the launcher of rank {} on {} is gone: the rank saves its work and ends", world_.rank(),
                    world_.host());
      request_stop(SIGTERM);
    }
    // If this process was stopped itself, or the machine slept, the others get their whole time again.
    if (seconds_since(looked) > std::max(limit_s_ / 2, 10 * kLookS)) {
      for (Peer& peer : peers) peer.heard = Clock::now();
    }
    looked = Clock::now();
    for (const ControlMessage& beat : world_.receive_beats()) {
      Peer& peer = peers[static_cast<std::size_t>(beat.source)];
      peer.heard = Clock::now();
      if (beat.text == kBye) {
        peer.gone = true;
        continue;
      }
      const auto end = beat.text.find('\n'), work_end = beat.text.find('\n', end + 1);
      peer.host = beat.text.substr(0, end);
      const std::string work = beat.text.substr(end + 1, work_end - end - 1);
      peer.doing = beat.text.substr(work_end + 1);
      if (!first) {
        board.take_ages(work);
      } else if (beat.source != world_.rank() && peer.work != work) {
        peer.work = work;
        board.worked(beat.source, Clock::now());
      }
      if (on_beat && beat.source != world_.rank()) on_beat(beat.source, peer.host, peer.doing);
    }
    for (const int rank : others) {
      const Peer& peer = peers[static_cast<std::size_t>(rank)];
      if (peer.gone || seconds_since(peer.heard) <= limit_s_) continue;
      const std::string said = fmt::format(
          "rank {} on host {} has been silent for {:.1f} s (cluster.timeout_s is {:g}): it was stopped, cut off, or its host is "
          "gone. It last reported: {}. Rank {} on {} ends the job; the same command continues it",
          rank, peer.host, seconds_since(peer.heard), limit_s_, peer.doing, world_.rank(), world_.host());
      spdlog::critical("[run] {}", with_code(said, "rank-silent"));
      world_.abort(1);
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(kLookS, beat_s / 2)));
  }
}

}  // namespace dmoerm::comm
