#include "train/portion_push.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace dmoerm::train {
namespace {

bool is_portion(const MicroBatch& batch) { return !batch.front().whole(); }

/// Rewards of portions, by trainee and number of the micro batch.
using Rewards = std::map<std::pair<std::size_t, std::int64_t>, std::vector<float>>;

/// Give every rank the rewards of all ranks. A record is trainee, number, count and rewards; doubles hold all of them exactly.
Rewards exchange_rewards(comm::Communicator& ranks, const Rewards& own) {
  std::vector<double> records;
  for (const auto& [key, rewards] : own) {
    records.insert(records.end(),
                   {static_cast<double>(key.first), static_cast<double>(key.second), static_cast<double>(rewards.size())});
    records.insert(records.end(), rewards.begin(), rewards.end());
  }
  Rewards all;
  for (const auto& bytes : ranks.all_gather(std::as_bytes(std::span<const double>(records)))) {
    std::vector<double> read(bytes.size() / sizeof(double));
    std::memcpy(read.data(), bytes.data(), bytes.size());
    for (auto at = read.begin(); at != read.end();) {
      const std::pair key(static_cast<std::size_t>(at[0]), static_cast<std::int64_t>(at[1]));
      const auto end = at + 3 + static_cast<std::ptrdiff_t>(at[2]);
      all[key].assign(at + 3, end);
      at = end;
    }
  }
  return all;
}

}  // namespace

PortionPushes push_portions(const TrainerContext& context, std::int64_t step, const std::vector<TraineeState*>& trainees,
                            const std::vector<std::vector<MicroBatch>>& cuts, const std::vector<std::int64_t>& numbers,
                            std::string& bad_group) {
  if (std::ranges::none_of(cuts, [](const auto& batches) { return std::ranges::any_of(batches, is_portion); })) return {};
  Rewards rewards;
  for (std::size_t c = 0; c < trainees.size(); ++c) {
    for (const std::int64_t number : numbers) {
      const auto n = static_cast<std::size_t>(number);
      if (n >= cuts[c].size() || !is_portion(cuts[c][n])) continue;
      MicroBatchPass pass(context, step, number);
      pass.add(*trainees[c], cuts[c][n], nullptr);
      rewards[{c, number}] = pass.rewards();
    }
  }
  rewards = exchange_rewards(context.ranks, rewards);
  PortionPushes pushes;
  for (std::size_t c = 0; c < trainees.size(); ++c) {
    std::vector<float> group_rewards;  // of the portions of a group up to number n
    for (std::size_t n = 0; n < cuts[c].size(); ++n) {
      if (!is_portion(cuts[c][n])) continue;
      const Portion& last = cuts[c][n].front();
      std::ranges::copy(rewards.at({c, static_cast<std::int64_t>(n)}), std::back_inserter(group_rewards));
      if (group_rewards.size() < last.of->responses.size()) continue;
      const Push whole = push_of(context.train, *last.of, group_rewards);
      if (!std::isfinite(whole.loss) && bad_group.empty()) bad_group = std::string(context.store.group(last.of->group).id);
      for (std::size_t p = n + 1, rest = group_rewards.size(); rest > 0;) {  // its portions, from the last to the first
        const Portion& portion = cuts[c][--p].front();
        const auto begin = whole.slopes.begin() + static_cast<std::ptrdiff_t>(portion.first);
        pushes[{c, static_cast<std::int64_t>(p)}] = {portion.first == 0 ? whole.loss : 0.0,
                                                     {begin, begin + static_cast<std::ptrdiff_t>(portion.count)}};
        rest -= portion.count;
      }
      group_rewards.clear();
    }
  }
  return pushes;
}

}  // namespace dmoerm::train
