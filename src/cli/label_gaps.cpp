#include "cli/label_gaps.h"

#include <cmath>

#include "base/log.h"
#include "cli/label_job.h"
#include "serve/bundle.h"

namespace dmoerm::cli {

std::map<std::string, label::Gaps> expert_gaps(const config::RunConfig& config, label::GroupFile& groups,
                                               const std::vector<label::Target>& targets) {
  const serve::Bundle bundle = serve::load_bundle(config.labels.pairs.bundle, at::Device(at::kCPU));
  std::map<std::string, label::Gaps> gaps;
  for (const serve::CategoryModel& model : bundle.categories) {
    std::vector<label::Target> own;
    for (const label::Target& target : targets) {
      if (target.category == model.name && std::ranges::find(model.points, target.point) != model.points.end())
        own.push_back(target);
    }
    if (own.empty()) continue;
    spdlog::info("[label] category={} the experts of {} say where they are unsure", model.name, config.labels.pairs.bundle);
    for (const std::size_t number : groups.of(model.name, config.labels.splits)) {
      const pair::Group group = groups.read(number);
      std::vector<std::string> texts;
      for (const pair::Response& r : group.responses) texts.push_back(r.text);
      const serve::GroupScore scores = serve::score_group(bundle, group.prompt, texts, model.name);
      for (const label::Target& target : own) {
        label::GapTable& table = gaps[LabelJob::task(target)][number];
        for (const label::ResponsePair& pair : label::all_pairs(static_cast<int>(texts.size()))) {
          const auto reward = [&](int r) { return scores.responses[static_cast<std::size_t>(r)].points.at(target.point); };
          table[pair] = std::abs(reward(pair.a) - reward(pair.b));
        }
      }
    }
  }
  for (const label::Target& target : targets) {
    if (!gaps.contains(LabelJob::task(target)))
      spdlog::warn("[label] {} has no expert for {}/{}: its pairs are drawn", config.labels.pairs.bundle, target.category,
                   target.point);
  }
  return gaps;
}

}  // namespace dmoerm::cli
