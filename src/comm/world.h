// The processes of a run: who they are, how they pass work around, how groups are made. The only header that knows about
// launchers.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace dmoerm::comm {

/// A message of the control channel between the coordinator (rank 0's thread) and the workers.
struct ControlMessage {
  int source = 0;
  std::string text;  ///< JSON
};

/// All ranks of the program. Made once; a program started without a launcher is a world of one and never touches MPI.
class World {
 public:
  virtual ~World() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  [[nodiscard]] virtual std::string host() const = 0;

  /// The group of all ranks.
  virtual Communicator& all() = 0;
  /// A communicator of `ranks` (ascending world ranks, this one among them). Collective over those ranks only; `tag` is unique to
  /// the call and equal on its ranks.
  virtual std::unique_ptr<Communicator> make_group(const std::vector<int>& ranks, int tag) = 0;

  /// Send a control message; thread safe. Rank 0 may send to itself.
  /// @param to_coordinator  true: to rank 0's coordinator thread; false: to the worker of `rank`
  virtual void send_control(int rank, bool to_coordinator, const std::string& text) = 0;
  /// Wait for the next control message without burning a core. nullopt after `timeout_ms`.
  virtual std::optional<ControlMessage> receive_control(bool as_coordinator, int timeout_ms) = 0;

  /// Post a small message of the heartbeat without waiting; dropped, which gives false, if the last one to that rank has not left
  /// yet. Both from one thread only.
  virtual bool send_beat(int rank, const std::string& text) = 0;
  /// All messages of the heartbeat that are there.
  virtual std::vector<ControlMessage> receive_beats() = 0;

  /// End all ranks at once with this exit code.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

}  // namespace dmoerm::comm
