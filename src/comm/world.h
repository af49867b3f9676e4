// The processes of a run: their numbers, the messages between coordinator and workers, and how groups are made.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// A message of the control channel between the coordinator, a thread of rank 0, and the workers.
struct ControlMessage {
  int source = 0;
  std::string text;  ///< JSON
};

/// All ranks of the program. The world is made once. A program that was started without a launcher is a world of one rank and
/// does not use MPI.
class World {
 public:
  virtual ~World() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual std::string host() const = 0;

  /// The group of all ranks.
  virtual Communicator& all() = 0;
  /// A communicator of `ranks`, which are ascending world ranks and include this one. Collective over those ranks only.
  /// @param tag  number that is the same on these ranks and different for every call
  virtual std::unique_ptr<Communicator> make_group(const std::vector<int>& ranks, int tag) = 0;

  /// Send a control message; thread safe. Rank 0 may send to itself.
  /// @param to_coordinator  true for the coordinator's thread of rank 0, false for the worker of `rank`
  virtual void send_control(int rank, bool to_coordinator, const std::string& text) = 0;
  /// Wait for the next control message without occupying a core. @return nullopt after `timeout_ms`
  virtual std::optional<ControlMessage> receive_control(bool as_coordinator, int timeout_ms) = 0;

  /// Send a small message of the heartbeat without waiting. Only one thread may send and receive beats.
  /// @return false if the message was dropped, because the last one to that rank has not been sent yet
  virtual bool send_beat(int rank, const std::string& text) = 0;
  /// All messages of the heartbeat that have arrived.
  virtual std::vector<ControlMessage> receive_beats() = 0;

  /// End all ranks at once with this exit code.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

}  // namespace dmoerm::comm
