#include "train/training_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/rng.h"
#include "preference/session_key.h"

namespace dmoerm::train {
namespace {

bool belongs(const data::TokenGroup& group, Subset subset, const config::RunConfig& config) {
  if (subset == Subset::validation) return group.split == preference::Split::validation;
  if (subset == Subset::test) return group.split == preference::Split::test;
  if (group.split != preference::Split::train) return false;
  if (subset == Subset::train || config.folds > 0) return true;
  // The conversation decides, so that groups with the same prompt, or of one dialogue, stay together and new groups do not move
  // old ones.
  return preference::is_in_phase1(group.session_key, config.phase1_share, config.seed) == (subset == Subset::phase1);
}

/// Smallest score gap of a label that counts, by the store's categories.
std::vector<double> gaps_min(const data::TokenStore& store, std::string_view label, const config::RunConfig& config) {
  std::map<std::string, double> by_name;
  for (const config::CategoryConfig& c : config.categories) by_name[c.name] = c.score_gap_min.of(label);
  std::vector<double> gaps;
  for (const std::string& name : store.categories()) gaps.push_back(by_name[name]);
  return gaps;
}

/// A group with its pairs, without the responses that are in none. @param pairs  indices into the group's responses
LabelledGroup with_pairs(std::int64_t index, std::size_t responses, std::vector<preference::Preference> pairs) {
  LabelledGroup labelled{index, {}, std::move(pairs)};
  std::vector<std::int32_t> place(responses, -1);
  const auto use = [&](std::int32_t& response) {
    std::int32_t& slot = place[static_cast<std::size_t>(response)];
    if (slot < 0) {
      slot = static_cast<std::int32_t>(labelled.responses.size());
      labelled.responses.push_back(response);
    }
    response = slot;
  };
  for (preference::Preference& pair : labelled.pairs) {
    use(pair.winner);
    use(pair.loser);
  }
  return labelled;
}

/// The preference that a verdict states; nullopt if it decides nothing.
std::optional<preference::Preference> preference_of(const label::JudgedPair& judged, bool soft, preference::Ties ties) {
  const auto target = label::training_target(judged.vote, soft);
  if (!target && ties != preference::Ties::left_out && preference::statement_of(judged.vote.outcome, judged.a, judged.b).tie)
    return preference::Preference{std::min(judged.a, judged.b), std::max(judged.a, judged.b), 0.0F, 0.5F};
  if (!target) return std::nullopt;
  return *target > 0.5F ? preference::Preference{judged.a, judged.b, 0.0F, *target}
                        : preference::Preference{judged.b, judged.a, 0.0F, 1 - *target};
}

/// Whether each group of the store is in a fold of its category, or, for all categories, of a conversation that is in this fold
/// of any of them: one conversation may be in two categories.
std::vector<bool> in_fold(const data::TokenStore& store, std::int32_t category, std::int32_t fold,
                          const config::RunConfig& config) {
  std::set<std::uint64_t> sessions;
  const auto last = category < 0 ? static_cast<std::int32_t>(std::ssize(store.categories())) : category + 1;
  for (std::int32_t c = std::max(0, category); c < last; ++c) {
    const std::vector<std::int32_t> folds = fold_numbers(store, c, config);
    for (std::int64_t i = 0; i < store.size(); ++i) {
      if (folds[static_cast<std::size_t>(i)] == fold) sessions.insert(store.group(i).session_key);
    }
  }
  std::vector<bool> in(static_cast<std::size_t>(store.size()));
  for (std::int64_t i = 0; i < store.size(); ++i) in[static_cast<std::size_t>(i)] = sessions.contains(store.group(i).session_key);
  return in;
}

/// What is never divided between passes, with its tokens.
struct Piece {
  Portion portion;
  std::int64_t tokens = 0;
  bool alone = false;  ///< Whether it is of a group that is too large for a pass
};

std::vector<Piece> pieces_of(const data::TokenStore& store, const std::vector<const LabelledGroup*>& groups,
                             data::PackingRule rule, std::int64_t tokens_max) {
  std::vector<Piece> pieces;
  for (const LabelledGroup* group : groups) {
    const data::TokenGroup texts = store.group(group->group);
    const std::size_t count = group->responses.size();
    const std::int64_t tokens = data::packed_tokens(texts, group->responses, rule);
    if (tokens <= tokens_max) {
      pieces.push_back({{group, 0, count}, tokens});
      continue;
    }
    for (std::size_t first = 0; first < count;) {
      Portion portion{group, first, 1};
      while (first + portion.count < count) {  // as many responses as fit
        const Portion more{group, first, portion.count + 1};
        if (data::packed_tokens(texts, more.responses(), rule) > tokens_max) break;
        portion = more;
      }
      pieces.push_back({portion, data::packed_tokens(texts, portion.responses(), rule), true});
      first += portion.count;
    }
  }
  return pieces;
}

/// Micro batches of consecutive pieces, each of which takes as many as fit.
std::vector<MicroBatch> joined(const std::vector<Piece>& pieces, std::int64_t tokens_max) {
  std::vector<MicroBatch> batches;
  std::int64_t tokens = 0;
  bool open = false;
  for (const Piece& piece : pieces) {
    if (!open || piece.alone || tokens + piece.tokens > tokens_max) batches.emplace_back(), tokens = 0;
    batches.back().push_back(piece.portion);
    tokens += piece.tokens;
    open = !piece.alone;
  }
  return batches;
}

}  // namespace

std::vector<std::int32_t> fold_numbers(const data::TokenStore& store, std::int32_t category, const config::RunConfig& config) {
  DMOERM_CHECK(category >= 0, "folds are those of a category");
  const double gap_min = gaps_min(store, preference::kOverall, config)[static_cast<std::size_t>(category)];
  const std::vector<std::int64_t> groups = groups_of(store, category, Subset::train, config);
  std::map<std::uint64_t, bool> has_overall;  // conversations
  for (const std::int64_t index : groups) {
    bool& has = has_overall[store.group(index).session_key];
    has = has || !store.preferences(index, preference::kOverall, gap_min).empty();
  }
  // Those with an overall preference are dealt first, each kind in an order that the seed draws.
  std::vector<std::tuple<bool, std::uint64_t, std::uint64_t>> order;
  for (const auto& [session, has] : has_overall) order.emplace_back(!has, mix64(session ^ config.seed), session);
  std::ranges::sort(order);
  std::map<std::uint64_t, std::int32_t> dealt;
  for (std::size_t i = 0; i < order.size(); ++i)
    dealt[std::get<2>(order[i])] = static_cast<std::int32_t>(i % static_cast<std::size_t>(config.folds)) + 1;
  std::vector<std::int32_t> folds(static_cast<std::size_t>(store.size()));
  for (const std::int64_t index : groups) folds[static_cast<std::size_t>(index)] = dealt.at(store.group(index).session_key);
  return folds;
}

std::vector<std::int64_t> groups_of(const data::TokenStore& store, std::int32_t category, Part part,
                                    const config::RunConfig& config) {
  std::vector<bool> inside;
  if (part.fold > 0) inside = in_fold(store, category, part.fold, config);
  std::vector<std::int64_t> groups;
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const data::TokenGroup group = store.group(i);
    if ((category >= 0 && group.category != category) || !belongs(group, part.subset, config)) continue;
    if (part.fold > 0 && inside[static_cast<std::size_t>(i)] != (part.subset == Subset::phase3)) continue;
    groups.push_back(i);
  }
  return groups;
}

std::vector<LabelledGroup> labelled_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                           std::string_view label, const config::RunConfig& config, preference::Ties ties) {
  const std::vector<double> gaps = gaps_min(store, label, config);
  std::vector<LabelledGroup> result;
  for (const std::int64_t index : groups_of(store, category, part, config)) {
    const data::TokenGroup group = store.group(index);
    auto pairs = store.preferences(index, label, gaps[static_cast<std::size_t>(group.category)], ties);
    if (!pairs.empty()) result.push_back(with_pairs(index, group.responses.size(), std::move(pairs)));
  }
  return result;
}

std::vector<LabelledGroup> whole_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                        const config::RunConfig& config) {
  std::vector<LabelledGroup> result;
  for (const std::int64_t index : groups_of(store, category, part, config)) {
    LabelledGroup whole{index, std::vector<std::int32_t>(store.group(index).responses.size()), {}};
    std::iota(whole.responses.begin(), whole.responses.end(), 0);
    result.push_back(std::move(whole));
  }
  return result;
}

std::vector<LabelledGroup> judged_groups(const data::TokenStore& store, std::int32_t category, Part part,
                                         const std::vector<label::JudgedGroup>& verdicts, bool soft,
                                         const config::RunConfig& config, preference::Ties ties) {
  std::map<std::pair<std::string_view, std::int64_t>, const label::JudgedGroup*> by_source;
  for (const label::JudgedGroup& judged : verdicts) by_source[{judged.file, judged.line}] = &judged;
  std::vector<LabelledGroup> result;
  for (const std::int64_t index : groups_of(store, category, part, config)) {
    const auto found = by_source.find(store.source(index));
    if (found == by_source.end()) continue;
    const std::size_t responses = store.group(index).responses.size();
    std::vector<preference::Preference> pairs;
    for (const label::JudgedPair& judged : found->second->pairs) {
      const auto last = static_cast<std::size_t>(std::max(judged.a, judged.b));
      if (std::min(judged.a, judged.b) < 0 || last >= responses)
        throw DataError(
            "verdict-of-other-data",
            fmt::format("{}:{}: the verdicts are about more than the {} responses of this group: label and ingest again "
                        "(run --update)",
                        found->second->file, found->second->line, responses));
      if (const auto preference = preference_of(judged, soft, ties)) pairs.push_back(*preference);
    }
    if (!pairs.empty()) result.push_back(with_pairs(index, responses, std::move(pairs)));
  }
  return result;
}

std::vector<LabelledGroup> drawn_groups(std::vector<LabelledGroup> groups, std::int64_t count, std::uint64_t seed,
                                        const std::string& stream) {
  if (count <= 0 || std::ssize(groups) <= count) return groups;
  std::vector<std::size_t> order(groups.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, stream).shuffle(order);
  order.resize(static_cast<std::size_t>(count));
  std::ranges::sort(order);
  std::vector<LabelledGroup> drawn;
  for (const std::size_t i : order) drawn.push_back(groups[i]);
  return drawn;
}

std::vector<std::int64_t> prompt_numbers(const data::TokenStore& store, const std::vector<LabelledGroup>& groups) {
  std::map<std::uint64_t, std::int64_t> known;
  std::vector<std::int64_t> numbers;
  for (const LabelledGroup& g : groups) {
    const auto [found, is_new] = known.try_emplace(store.group(g.group).session_key, std::ssize(known));
    numbers.push_back(found->second);
  }
  return numbers;
}

std::vector<std::int32_t> copies_of(const data::TokenStore& store, const std::vector<LabelledGroup>& groups) {
  std::vector<std::int32_t> copies;
  for (const LabelledGroup& g : groups) copies.push_back(static_cast<std::int32_t>(std::lround(store.group(g.group).weight)));
  return copies;
}

std::int64_t epoch_groups(const data::TokenStore& store, const std::vector<LabelledGroup>& groups) {
  std::int64_t visits = 0;
  for (const std::int32_t copies : copies_of(store, groups)) visits += std::max(1, copies);
  return visits;
}

std::int64_t count_pairs(const std::vector<LabelledGroup>& groups) {
  std::int64_t pairs = 0;
  for (const LabelledGroup& group : groups)
    pairs += std::ranges::count_if(group.pairs, [](const preference::Preference& pair) { return !pair.tie(); });
  return pairs;
}

GroupOrder::GroupOrder(std::vector<std::int32_t> copies, std::uint64_t seed, std::string name)
    : seed_(seed), name_(std::move(name)) {
  for (std::size_t i = 0; i < copies.size(); ++i)
    slots_.insert(slots_.end(), static_cast<std::size_t>(std::max(1, copies[i])), i);
  DMOERM_CHECK(!slots_.empty(), "training needs groups");
}

std::size_t GroupOrder::at(std::int64_t position) {
  const std::int64_t epoch = position / epoch_length();
  if (epoch != shuffled_epoch_) {
    shuffled_ = slots_;
    Rng(seed_, "order/" + name_, static_cast<std::uint64_t>(epoch)).shuffle(shuffled_);
    shuffled_epoch_ = epoch;
  }
  return shuffled_[static_cast<std::size_t>(position % epoch_length())];
}

std::vector<MicroBatch> cut_micro_batches(const data::TokenStore& store, const std::vector<const LabelledGroup*>& groups,
                                          data::PackingRule rule, std::int64_t tokens_max) {
  return joined(pieces_of(store, groups, rule, tokens_max), tokens_max);
}

std::vector<MicroBatch> cut_step(const data::TokenStore& store, const std::vector<const LabelledGroup*>& groups,
                                 data::PackingRule rule, std::int64_t tokens_max) {
  const std::vector<Piece> pieces = pieces_of(store, groups, rule, tokens_max);
  const std::size_t most = std::bit_ceil(joined(pieces, tokens_max).size());
  std::int64_t low = 1, high = tokens_max;  // the smallest limit that makes at most so many lies between them
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (joined(pieces, middle).size() <= most) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return joined(pieces, low);
}

std::int64_t tokens_of(const data::TokenStore& store, const MicroBatch& batch, data::PackingRule rule) {
  std::int64_t tokens = 0;
  for (const Portion& p : batch) tokens += data::packed_tokens(store.group(p.of->group), p.responses(), rule);
  return tokens;
}

}  // namespace dmoerm::train
