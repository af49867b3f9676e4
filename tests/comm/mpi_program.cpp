// Compares collectives with a serial computation, runs groups side by side, and tests time limits. Run it under mpirun with 1, 2
// and 4 ranks. Exit code 0 means that all checks passed.
#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/activity.h"
#include "base/error.h"
#include "base/rng.h"
#include "comm/bfloat16.h"
#include "comm/heartbeat.h"
#include "comm/init_world.h"
#include "comm/tree_sum.h"
#include "support/expect.h"
#include "support/recursive_sum.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::comm;

using test::expect;
using test::failures;

std::vector<float> part_of(int rank, std::size_t count) {
  Rng rng(static_cast<std::uint64_t>(rank) * 7919 + count);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(rng.normal() * std::pow(10.0, 6 * rng.uniform() - 3));
  if (count > 0) values[0] = -0.0F;
  return values;
}

void check_tree_sum(Communicator& group) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{3}, std::size_t{1000}, std::size_t{4'200'001}}) {
    for (int contributors = count > 100'000 ? group.size() : 1; contributors <= group.size(); ++contributors) {
      std::vector<std::vector<float>> parts;
      for (int r = 0; r < contributors; ++r) parts.push_back(part_of(r, count));
      const std::vector<float> sum = test::recursive_sum(parts);
      std::vector<float> values = part_of(group.rank(), count);
      group.tree_sum(values, contributors);
      expect(std::memcmp(values.data(), sum.data(), count * sizeof(float)) == 0,
             fmt::format("tree_sum of {} floats from {} ranks", count, contributors));
    }
  }
}

/// The sum of the parts of the first `contributors` ranks in the tree. @param rounded  whether each is rounded to bfloat16 first
std::vector<float> expected_sum(std::size_t count, int contributors, bool rounded) {
  std::vector<std::vector<float>> parts;
  for (int r = 0; r < contributors; ++r) {
    parts.push_back(part_of(r, count));
    if (!rounded) continue;
    for (float& v : parts.back()) v = from_bfloat16(to_bfloat16(v));
  }
  return test::recursive_sum(parts);
}

/// Sums several buffers at once into chunks of whole blocks, then gathers the chunks again.
void check_chunks(Communicator& group) {
  const std::vector<std::size_t> counts = {7, 1, 5000, 300'000, 4'200'001};
  for (const int contributors : {1, group.size()}) {
    std::vector<std::vector<float>> values, own;
    std::vector<Bounds> bounds;
    std::vector<Pending> pending;
    for (const std::size_t count : counts) {
      bounds.push_back(chunks_of_blocks(count, group.size(), 1000));
      const auto r = static_cast<std::size_t>(group.rank());
      own.emplace_back(bounds.back()[r + 1] - bounds.back()[r]);
      values.push_back(group.rank() < contributors ? part_of(group.rank(), count) : std::vector<float>());
    }
    for (std::size_t i = 0; i < counts.size(); ++i)
      pending.push_back(group.start_reduce_scatter(values[i], bounds[i], contributors, own[i]));
    group.barrier();  // this waits for the sums that were started before
    for (Pending& p : pending) p.wait();
    pending.clear();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      values[i].assign(counts[i], -1.0F);
      std::ranges::copy(own[i],
                        values[i].begin() + static_cast<std::ptrdiff_t>(bounds[i][static_cast<std::size_t>(group.rank())]));
      pending.push_back(group.start_all_gather(values[i], bounds[i]));
    }
    for (Pending& p : pending) p.wait();
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const std::vector<float> expected = expected_sum(counts[i], contributors, false);
      expect(std::memcmp(values[i].data(), expected.data(), counts[i] * sizeof(float)) == 0,
             fmt::format("chunks of {} floats from {} ranks", counts[i], contributors));
    }
  }
}

/// Checks that bfloat16 halves the bytes, and that the summands and the sum that all ranks receive are rounded, but chunks are
/// not.
void check_bfloat16(Communicator& group) {
  if (group.size() == 1) return;
  constexpr std::size_t kCount = 100'000;
  const auto sent = [&](const auto& work) {
    const std::uint64_t before = group.traffic().bytes;
    work();
    return group.traffic().bytes - before;
  };
  std::vector<float> values = part_of(group.rank(), kCount);
  const std::uint64_t whole = sent([&] { group.tree_sum(values, group.size()); });
  group.use_wire(Wire::bfloat16);
  values = part_of(group.rank(), kCount);
  const std::uint64_t half = sent([&] { group.tree_sum(values, group.size()); });
  expect(whole == 2 * half && half > 0, fmt::format("bfloat16 sends {} bytes, float32 {}", half, whole));
  std::vector<float> expected = expected_sum(kCount, group.size(), true);
  const Bounds bounds = chunks_of_blocks(kCount, group.size(), 1);
  const std::size_t first = bounds[static_cast<std::size_t>(group.rank())],
                    last = bounds[static_cast<std::size_t>(group.rank()) + 1];
  std::vector<float> own(last - first);
  group.start_reduce_scatter(part_of(group.rank(), kCount), bounds, group.size(), own).wait();
  expect(std::memcmp(own.data(), expected.data() + first, own.size() * sizeof(float)) == 0, "chunks of rounded summands");
  for (float& v : expected) v = from_bfloat16(to_bfloat16(v));
  expect(std::memcmp(values.data(), expected.data(), kCount * sizeof(float)) == 0, "the rounded sum of rounded summands");
  group.use_wire(Wire::float32);
  expect(group.traffic().seconds > 0, "the time spent waiting is counted");
}

void check_gather(Communicator& group) {
  std::vector<std::byte> own(static_cast<std::size_t>(group.rank()) * 3, static_cast<std::byte>(group.rank()));
  const auto all = group.all_gather(own);
  expect(static_cast<int>(all.size()) == group.size(), "all_gather gives one part per rank");
  for (int r = 0; r < group.size(); ++r) {
    const auto& part = all[static_cast<std::size_t>(r)];
    expect(part == std::vector<std::byte>(static_cast<std::size_t>(r) * 3, static_cast<std::byte>(r)),
           "all_gather keeps lengths and bytes");
  }
  const std::vector<std::string> texts = group.gather_text(std::string(static_cast<std::size_t>(group.rank()), 'x'));
  for (std::size_t r = 0; r < texts.size(); ++r)
    expect(texts[r] == std::string(r, 'x'), "gather_text gives the text of every rank");
  for (int root = 0; root < group.size(); ++root) {
    int value = group.rank() == root ? 42 + root : 0;
    group.broadcast(std::as_writable_bytes(std::span(&value, 1)), root);
    expect(value == 42 + root, "broadcast from every root");
  }
}

void check_groups(World& world) {
  // Even and odd ranks work at the same time, several times.
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<int> ranks;
    for (int r = world.rank() % 2; r < world.size(); r += 2) ranks.push_back(r);
    const auto group = world.make_group(ranks, 1 + turn * 2 + world.rank() % 2);
    expect(group->size() == static_cast<int>(ranks.size()), "a group has the ranks that it was made of");
    std::vector<float> one = {1.0F};
    group->tree_sum(one, group->size());
    expect(one[0] == static_cast<float>(ranks.size()), "a group sums over its own ranks only");
  }
}

void check_control(World& world) {
  world.send_control(0, true, fmt::format("from {}", world.rank()));
  if (world.rank() == 0) {
    for (int i = 0; i < world.size(); ++i) {
      const auto message = world.receive_control(true, 5000);
      expect(message && message->text == fmt::format("from {}", message->source), "the coordinator hears every rank");
    }
    for (int r = 0; r < world.size(); ++r) world.send_control(r, false, "quit");
  }
  const auto answer = world.receive_control(false, 5000);
  expect(answer && answer->text == "quit", "every worker hears the coordinator");
  expect(!world.receive_control(false, 10), "no further message arrives");
}

/// Lets one rank never join a collective or a group: the others must report it within the time limit, and their next collective
/// must fail at once.
int check_timeout(World& world) {
  if (world.rank() == world.size() - 1) {
    (void)world.receive_control(false, 60'000);  // this rank never joins the barrier; the others end the job
    return 1;
  }
  try {
    world.all().barrier();
  } catch (const CommError& e) {
    fmt::print("timed out as it should: {}\n", e.what());
    std::vector<float> values(1000);
    Pending later = world.all().start_tree_sum(values, world.size());
    try {
      later.wait();
    } catch (const CommError& second) {
      fmt::print("and then: {}\n", second.what());
    }
    try {
      (void)world.make_group({0, world.size() - 1}, 77);
    } catch (const CommError& third) {
      fmt::print("and at last: {}\n", third.what());
    }
    std::fflush(stdout);
    world.abort(0);
  }
  return 1;
}

/// The last rank joins a collective late, with a heartbeat all the time. While it works the others wait beyond their limit; if it
/// does not work, they report it.
int check_late(World& world, bool works) {
  const Heartbeat heartbeat(world, 2.5);
  world.all().limit_waits(2.5);
  const bool late = world.rank() == world.size() - 1;
  for (int i = 0; late && i < (works ? 50 : 200); ++i) {
    if (works) note_activity();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  try {
    world.all().barrier();
  } catch (const CommError& e) {
    fmt::print("{}\n", e.what());
    std::fflush(stdout);
    world.abort(works ? 1 : 0);
  }
  if (world.rank() == 0) fmt::print("{}\n", works ? "waited for a rank that works" : "waited for a rank that does nothing");
  return works ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto world = init_world();
  if (argc > 1 && std::string(argv[1]) == "--timeout") return check_timeout(*world);
  if (argc > 1 && std::string(argv[1]) == "--late") return check_late(*world, argc > 2);
  if (argc > 1) expect(world->size() == std::atoi(argv[1]), "the world has the number of ranks given on the command line");
  check_tree_sum(world->all());
  check_chunks(world->all());
  check_bfloat16(world->all());
  check_gather(world->all());
  check_groups(*world);
  world->all().barrier();
  check_control(*world);
  world->all().barrier();
  if (world->rank() == 0) fmt::print("{} ranks, {} failures\n", world->size(), failures);
  return failures == 0 ? 0 : 1;
}
