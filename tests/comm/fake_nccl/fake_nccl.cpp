// NCCL without a GPU: its functions over Unix sockets between the processes of one machine. Like NCCL's, calls on a communicator
// that does not block return before they are done, one that is split off appears when its parent is done, work is carried out in
// its stream, a rank that left is reported by ncclCommGetAsyncError() while the stream hangs, and ncclCommAbort() frees it.
// Misuse that NCCL forbids is an error here.
#include "comm/fake_nccl/fake_nccl.h"

#include <fmt/format.h>
#include <nccl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "comm/fake_nccl/fake_cuda.h"
#include "comm/fake_nccl/socket_mesh.h"

using dmoerm::test::MeshBroken;
using dmoerm::test::on_device;
using dmoerm::test::SocketMesh;

namespace {

std::mutex failing_mutex;
std::set<std::string> failing;  ///< functions whose next call fails
std::atomic<int> grouped_aborts = 0;

bool fails(const std::string& function) {
  const std::scoped_lock lock(failing_mutex);
  return failing.erase(function) > 0;
}

/// What work in a stream needs of a communicator; it outlives the handle.
struct Group {
  std::mutex mutex;  ///< guards the first two
  std::unique_ptr<SocketMesh> mesh;
  bool aborted = false;
  std::atomic<ncclResult_t> state = ncclInProgress;

  void set_mesh(std::unique_ptr<SocketMesh> made) {
    const std::scoped_lock lock(mutex);
    mesh = std::move(made);
    if (aborted) mesh->abort();
  }
  void abort() {
    const std::scoped_lock lock(mutex);
    aborted = true;
    if (mesh) mesh->abort();
  }
};

}  // namespace

struct ncclComm {
  std::shared_ptr<Group> group = std::make_shared<Group>();
  int busy_polls = 0;  ///< how often ncclCommGetAsyncError() still says that the last call is in progress
  int splits = 0;
};

namespace {

/// Run `work`; if a rank has left, say so and hang until the communicator is aborted, as a kernel would.
template <class Work>
void guarded(Group& group, const Work& work) {
  try {
    work(*group.mesh);
  } catch (const MeshBroken&) {
    ncclResult_t none = ncclSuccess;
    group.state.compare_exchange_strong(none, ncclRemoteError);
    group.mesh->wait_for_abort();
  }
}

void connect(Group& group) {
  try {
    group.mesh->connect();
    group.state = ncclSuccess;
  } catch (const std::exception&) {
    group.state = ncclRemoteError;
  }
}

struct Call {
  cudaStream_t stream;
  bool sends;  ///< whether it is a call of ncclSend
  std::function<void()> work;
};
thread_local int depth = 0;
thread_local std::vector<Call> calls;
thread_local std::vector<ncclComm_t> used;

/// Bytes of a number; 0 of types that the program does not use.
std::size_t size_of(ncclDataType_t type) { return type == ncclFloat ? 4 : type == ncclBfloat16 ? 2 : 0; }

bool refuses(ncclComm_t comm, ncclDataType_t type) {
  return comm == nullptr || comm->busy_polls > 0 || comm->group->state == ncclInProgress || size_of(type) == 0;
}

/// Carry out the calls of a group. As with NCCL, sends and receives progress together: all ranks may send first. A group with
/// sends has no reductions and broadcasts, whose bytes would mix with theirs.
void carry_out(const std::vector<Call>& group) {
  std::thread sender([&group] {
    for (const Call& call : group) {
      if (call.sends) call.work();
    }
  });
  for (const Call& call : group) {
    if (!call.sends) call.work();
  }
  sender.join();
}

/// Add a call to the open group of calls.
template <class Work>
ncclResult_t enqueue(ncclComm_t comm, cudaStream_t stream, bool sends, const Work& work) {
  if (depth == 0) return ncclInvalidUsage;                                        // the program groups all its calls
  if (!calls.empty() && calls.front().stream != stream) return ncclInvalidUsage;  // and those of a group have one stream
  calls.push_back({stream, sends, [group = comm->group, work] { guarded(*group, work); }});
  used.push_back(comm);
  return ncclSuccess;
}

struct Member {
  int color, key, rank;
};

/// The ranks of the parent that have this color, by key. Every rank tells every other its own.
std::vector<Member> members_of(SocketMesh& parent, const Member& own) {
  std::vector<Member> members = {own};
  for (int r = 0; r < parent.size(); ++r) {
    if (r != parent.rank()) parent.send(r, &own, sizeof own);
  }
  for (int r = 0; r < parent.size(); ++r) {
    if (r == parent.rank()) continue;
    Member other{};
    parent.receive(r, &other, sizeof other);
    if (other.color == own.color) members.push_back(other);
  }
  std::ranges::sort(members, {}, [](const Member& m) { return std::pair(m.key, m.rank); });
  return members;
}

}  // namespace

namespace dmoerm::test {

void fail_next(const std::string& function) {
  const std::scoped_lock lock(failing_mutex);
  failing.insert(function);
}
int aborts_in_groups() { return grouped_aborts; }

}  // namespace dmoerm::test

extern "C" {

const char* ncclGetErrorString(ncclResult_t code) {
  if (code == ncclRemoteError) return "a remote process has exited or there was a network error";
  return code == ncclInvalidUsage ? "invalid usage" : "an error of the fake NCCL";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (fails("ncclGetUniqueId")) return ncclSystemError;
  static std::atomic<int> made = 0;
  const std::string name = fmt::format("dmoerm-fake-nccl-{}-{}", getpid(), ++made);
  *id = {};
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config == nullptr || config->blocking != 0) return ncclInvalidArgument;
  *comm = new ncclComm;
  (*comm)->group->set_mesh(std::make_unique<SocketMesh>(id.internal, rank, ranks));
  std::thread([group = (*comm)->group] { connect(*group); }).detach();
  return ncclInProgress;
}

ncclResult_t ncclCommSplit(ncclComm_t parent, int color, int key, ncclComm_t* comm, ncclConfig_t* config) {
  if (config == nullptr || config->blocking != 0 || refuses(parent, ncclFloat)) return ncclInvalidUsage;
  *comm = nullptr;  // until the parent is no longer in progress, as in NCCL
  const int number = parent->splits++;
  parent->group->state = ncclInProgress;
  std::thread([from = parent->group, comm, color, key, number] {
    const auto group = std::make_shared<Group>();
    try {
      SocketMesh& mesh = *from->mesh;
      const std::vector<Member> members = members_of(mesh, {color, key, mesh.rank()});
      const auto own = std::ranges::find(members, mesh.rank(), &Member::rank) - members.begin();
      {
        const std::scoped_lock lock(from->mutex);
        if (from->aborted) return;  // nobody waits for the new communicator, and `comm` may be gone
        *comm = new ncclComm{group};
        from->state = ncclSuccess;
      }
      group->set_mesh(std::make_unique<SocketMesh>(fmt::format("{}.{}.{}", mesh.name(), number, color), static_cast<int>(own),
                                                   static_cast<int>(members.size())));
      connect(*group);
    } catch (const std::exception&) {
      from->state = group->state = ncclRemoteError;
    }
  }).detach();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  const ncclResult_t state = comm->group->state;
  *error = state == ncclSuccess && comm->busy_polls > 0 && comm->busy_polls-- > 0 ? ncclInProgress : state;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  comm->busy_polls = 2;
  return ncclInProgress;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm->busy_polls > 0) return ncclInvalidUsage;
  delete comm;
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (depth > 0) ++grouped_aborts;
  comm->group->abort();
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (--depth > 0) return ncclSuccess;
  for (ncclComm_t comm : used) comm->busy_polls = 2;
  if (!calls.empty()) {
    const cudaStream_t stream = calls.front().stream;  // before the calls are moved
    dmoerm::test::post(stream, [group = std::move(calls)] { carry_out(group); });
  }
  calls.clear(), used.clear();
  return ncclInProgress;
}

ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  if (fails("ncclSend")) return ncclInternalError;
  const std::size_t bytes = count * size_of(type);
  if (refuses(comm, type) || !on_device(from, bytes)) return ncclInvalidArgument;
  return enqueue(comm, stream, /*sends=*/true, [=](SocketMesh& mesh) { mesh.send(peer, from, bytes); });
}

ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t stream) {
  const std::size_t bytes = count * size_of(type);
  if (refuses(comm, type) || !on_device(to, bytes)) return ncclInvalidArgument;
  return enqueue(comm, stream, /*sends=*/false, [=](SocketMesh& mesh) { mesh.receive(peer, to, bytes); });
}

ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t operation, int root,
                        ncclComm_t comm, cudaStream_t stream) {
  if (fails("ncclReduce")) return ncclInternalError;
  const bool sums_floats = type == ncclFloat && operation == ncclSum;
  if (refuses(comm, type) || !sums_floats || !on_device(from, count * sizeof(float))) return ncclInvalidArgument;
  return enqueue(comm, stream, /*sends=*/false, [=](SocketMesh& mesh) {
    if (mesh.rank() != root) return mesh.send(root, from, count * sizeof(float));
    std::vector<float> sum(static_cast<const float*>(from), static_cast<const float*>(from) + count), other(count);
    for (int r = 0; r < mesh.size(); ++r) {
      if (r == root) continue;
      mesh.receive(r, other.data(), count * sizeof(float));
      for (std::size_t i = 0; i < count; ++i) sum[i] += other[i];
    }
    std::ranges::copy(sum, static_cast<float*>(to));
  });
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  const std::size_t bytes = count * size_of(type);
  if (refuses(comm, type) || from != to || !on_device(to, bytes)) return ncclInvalidArgument;
  return enqueue(comm, stream, /*sends=*/false, [=](SocketMesh& mesh) {
    if (mesh.rank() != root) return mesh.receive(root, to, bytes);
    for (int r = 0; r < mesh.size(); ++r) {
      if (r != root) mesh.send(r, from, bytes);
    }
  });
}

}  // extern "C"
