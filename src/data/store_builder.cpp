#include "data/store_builder.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace dmoerm::data {

std::int32_t StoreBuilder::number_of(std::vector<std::string>& names, const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found != names.end()) return static_cast<std::int32_t>(found - names.begin());
  names.push_back(name);
  return static_cast<std::int32_t>(names.size()) - 1;
}

std::int32_t StoreBuilder::label_of(const std::string& category, const std::string& label) {
  return number_of(attributes_.labels, label == pair::kOverall ? label : category + "/" + label);
}

void StoreBuilder::add(const pair::Group& group, const GroupLayout& layout, const std::vector<std::int32_t>& prompt, pair::Split split, double weight) {
  const std::int64_t index = groups();
  StoreColumns& c = columns_;
  file_.append_tokens(layout.prefix);
  for (const auto& response : layout.responses) file_.append_tokens(response);
  const bool shared = prompt.size() <= layout.prefix.size() && std::equal(prompt.begin(), prompt.end(), layout.prefix.begin());
  if (!shared) file_.append_tokens(prompt);
  c.prefix_length.push_back(static_cast<std::int32_t>(layout.prefix.size()));
  c.response_count.push_back(static_cast<std::int32_t>(layout.responses.size()));
  c.prompt_shared.push_back(shared ? static_cast<std::int32_t>(prompt.size()) : 0);
  c.prompt_extra.push_back(shared ? 0 : static_cast<std::int32_t>(prompt.size()));
  c.category.push_back(number_of(attributes_.categories, group.category));
  c.id_length.push_back(static_cast<std::int32_t>(group.id.size()));
  c.id_bytes.insert(c.id_bytes.end(), group.id.begin(), group.id.end());
  c.file.push_back(number_of(attributes_.files, group.file));
  c.line.push_back(group.line);
  c.split.push_back(static_cast<std::uint8_t>(split));
  c.weight.push_back(static_cast<float>(weight));
  for (std::size_t r = 0; r < layout.responses.size(); ++r) {
    const pair::Response& response = group.responses[r];
    c.response_length.push_back(static_cast<std::int32_t>(layout.responses[r].size()));
    c.overall.push_back(response.overall);
    for (const auto& [point, value] : response.scores) {
      if (std::isnan(value)) continue;
      c.score_response.push_back(responses_);
      c.score_label.push_back(label_of(group.category, point));
      c.score_value.push_back(value);
    }
    ++responses_;
  }
  for (const pair::StatedPair& p : group.pairs) {
    c.pair_group.push_back(index), c.pair_label.push_back(label_of(group.category, p.label));
    c.pair_winner.push_back(p.winner), c.pair_loser.push_back(p.loser), c.pair_margin.push_back(static_cast<float>(p.margin));
  }
  for (const pair::RecordedVerdict& v : group.verdicts) {
    c.verdict_group.push_back(index), c.verdict_label.push_back(label_of(group.category, v.point));
    c.verdict_a.push_back(v.a), c.verdict_b.push_back(v.b);
    c.verdict_outcome.push_back(static_cast<std::uint8_t>(pair::check_swap(v.first_order, v.second_order)));
  }
}

void StoreBuilder::finish(const std::vector<std::string>& categories, const std::string& provenance) {
  std::vector<std::int32_t> order;
  for (const std::string& name : attributes_.categories) {
    const auto found = std::ranges::find(categories, name);
    DMOERM_CHECK(found != categories.end(), "every stored category is listed");
    order.push_back(static_cast<std::int32_t>(found - categories.begin()));
  }
  for (std::int32_t& category : columns_.category) category = order[static_cast<std::size_t>(category)];
  attributes_.categories = categories;
  attributes_.provenance = provenance;
  file_.finish(columns_, attributes_);
}

}  // namespace dmoerm::data
