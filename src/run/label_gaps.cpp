#include "run/label_gaps.h"

#include <cmath>

#include "base/log.h"
#include "moe/load_bundle.h"
#include "run/stage_gaps.h"

namespace dmoerm::run {
namespace {

std::string name_of(const label::Target& target) { return target.category + "/" + target.point; }

}  // namespace

std::map<std::string, label::Gaps> expert_gaps(const config::RunConfig& config, label::GroupFile& groups,
                                               const std::vector<label::Target>& targets, const std::vector<bool>& read) {
  const moe::Bundle bundle = moe::load_bundle(config.labels.pairs.bundle, at::Device(at::kCPU));
  std::map<std::string, label::Gaps> gaps;
  for (const moe::Category& model : bundle.model.categories) {
    std::vector<label::Target> own;
    for (const label::Target& target : targets) {
      if (target.category == model.name && std::ranges::find(model.points, target.point) != model.points.end())
        own.push_back(target);
    }
    if (own.empty()) continue;
    spdlog::info("[label] category={}: scoring with the experts of {} to find the pairs they are unsure of", model.name,
                 config.labels.pairs.bundle);
    for (const std::size_t number : groups.of(model.name, config.labels.splits)) {
      if (!read[number]) continue;
      const preference::Group group = groups.read(number);
      std::vector<std::string> texts;
      for (const preference::Response& r : group.responses) texts.push_back(r.text);
      const moe::GroupScore scores = moe::score_texts(bundle, group.prompt, texts, model.name);
      for (const label::Target& target : own) {
        label::GapTable& table = gaps[name_of(target)][number];
        for (const label::ResponsePair& pair : label::all_pairs(static_cast<int>(texts.size()))) {
          const auto reward = [&](int r) { return scores.responses[static_cast<std::size_t>(r)].points.at(target.point); };
          table[pair] = std::abs(reward(pair.a) - reward(pair.b));
        }
      }
    }
  }
  for (const label::Target& target : targets) {
    if (!gaps.contains(name_of(target)))
      spdlog::warn("[label] {} has no expert for {}/{}: its pairs are drawn at random", config.labels.pairs.bundle,
                   target.category, target.point);
  }
  return gaps;
}

label::Gaps gaps_of_round(const std::filesystem::path& file, const std::string& point, label::GroupFile& groups,
                          const std::vector<bool>& read) {
  const auto rewards = read_gaps(file, point);
  label::Gaps gaps;
  for (std::size_t number = 0; number < read.size(); ++number) {
    if (!read[number] || groups.entries()[number].split != preference::Split::train) continue;
    const preference::Group group = groups.read(number);
    const auto found = rewards.find({group.file, group.line});
    if (found == rewards.end()) continue;  // it is of another category
    label::GapTable& table = gaps[number];
    for (const label::ResponsePair& pair : label::all_pairs(static_cast<int>(found->second.size())))
      table[pair] = found->second[static_cast<std::size_t>(pair.a)] - found->second[static_cast<std::size_t>(pair.b)];
  }
  return gaps;
}

}  // namespace dmoerm::run
