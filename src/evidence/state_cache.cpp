#include "evidence/state_cache.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/stop.h"
#include "data/packed_batch.h"
#include "nn/safetensors.h"
#include "train/training_set.h"

namespace dmoerm::evidence {
namespace {

namespace fs = std::filesystem;

bool has_pairs(const data::TokenStore& store, std::int64_t group, const std::string& category) {
  return std::ranges::any_of(store.labels(), [&](const std::string& label) {
    const bool own = label.starts_with(category + "/");
    if (!own && label != preference::kOverall) return false;
    return !store.preferences(group, own ? label.substr(category.size() + 1) : label, 0).empty();
  });
}

/// Adds a row for each response of a batch to the readings.
void append_readings(const nn::Backbone& backbone, const data::PackedBatch& batch, const std::vector<Reading>& readings,
                     std::vector<std::vector<at::Tensor>>& rows) {
  nn::ForwardState kept;
  kept.recompute = true;  // keeps the input of each layer
  const at::Tensor final_RD = backbone.forward(batch, {}, &kept);
  for (std::size_t r = 0; r < readings.size(); ++r) {
    if (readings[r].depth == backbone.spec().layers) {
      for (std::int64_t i = 0; i < final_RD.size(0); ++i) rows[r].push_back(final_RD[i]);
      continue;
    }
    const at::Tensor& states_TD = kept.layers[static_cast<std::size_t>(readings[r].depth)].x_TD;
    for (const data::PackedResponse& response : batch.responses) {
      const at::Tensor own_LD = states_TD.narrow(0, response.own.begin, response.own.length).to(at::kFloat);
      rows[r].push_back(readings[r].mean ? own_LD.mean(0) : own_LD.select(0, response.own.length - 1));
    }
  }
}

std::vector<std::span<const std::int64_t>> pieces_of(const std::vector<std::int64_t>& groups) {
  std::vector<std::span<const std::int64_t>> pieces;
  for (std::size_t i = 0; i < groups.size(); i += StateCache::kPieceGroups)
    pieces.push_back(std::span(groups).subspan(i, std::min(StateCache::kPieceGroups, groups.size() - i)));
  return pieces;
}

/// Tokens that the backbone computes for a group with all its responses.
std::int64_t tokens_of(const data::TokenGroup& group, data::PackingRule rule) {
  std::vector<std::int32_t> all(group.responses.size());
  std::iota(all.begin(), all.end(), 0);
  return data::packed_tokens(group, all, rule);
}

}  // namespace

std::vector<std::vector<std::int64_t>> choose_groups(const data::TokenStore& store, const GroupChoice& choice) {
  for (const auto& [name, number] : choice.by_category) {
    if (std::ranges::find(store.categories(), name) == store.categories().end())
      throw ConfigError("unknown-category", fmt::format("--groups {}={}: the data have no category {}; they have {}", name,
                                                        number, name, fmt::join(store.categories(), ", ")));
  }
  std::vector<std::vector<std::pair<std::uint64_t, std::int64_t>>> found(store.categories().size());
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const data::TokenGroup group = store.group(i);
    if ((group.split == preference::Split::test) != choice.test) continue;
    const auto category = static_cast<std::size_t>(group.category);
    if (has_pairs(store, i, store.categories()[category]))
      found[category].emplace_back(mix64(group.session_key ^ mix64(choice.seed)), i);
  }
  std::vector<std::vector<std::int64_t>> chosen(found.size());
  for (std::size_t c = 0; c < found.size(); ++c) {
    std::ranges::sort(found[c]);
    const auto named = choice.by_category.find(store.categories()[c]);
    const std::int64_t most = named == choice.by_category.end() ? choice.of_all : named->second;
    if (most > 0 && std::ssize(found[c]) > most) found[c].resize(static_cast<std::size_t>(most));
    for (const auto& [place, index] : found[c]) chosen[c].push_back(index);
  }
  return chosen;
}

std::string Reading::name() const { return fmt::format("{}.{}", mean ? "mean" : "last", depth); }

namespace {
/// Whether a file of states is there and has the length that its beginning announces.
bool is_whole(const fs::path& path) {
  if (!fs::exists(path)) return false;
  try {
    (void)nn::SafetensorsReader::open(path);
    return true;
  } catch (const DataError& e) {
    spdlog::warn("[evidence] {}: computed again", e.what());
    return false;
  }
}

/// The depth that a share of the layers makes, at least 1.
std::int64_t share_of(std::int64_t layers, std::int64_t sixths) { return std::max<std::int64_t>(1, layers * sixths / 6); }
}  // namespace

std::vector<std::int64_t> usual_depths(std::int64_t layers) {
  std::vector<std::int64_t> depths{share_of(layers, 3), share_of(layers, 4), share_of(layers, 5), layers};
  depths.erase(std::ranges::unique(depths).begin(), depths.end());
  return depths;
}

void check_depths(const std::vector<std::int64_t>& depths, std::int64_t layers) {
  std::int64_t before = 0;
  for (const std::int64_t depth : depths) {
    if (depth <= before || depth > layers)
      throw ConfigError("bad-depths", fmt::format("--depths {}: expected ascending numbers of layers from 1 to {}, which the "
                                                  "backbone has, found {} after {}",
                                                  fmt::join(depths, ","), layers, depth, before));
    before = depth;
  }
}

std::vector<std::string> usual_readings(const std::vector<std::int64_t>& depths, std::int64_t layers) {
  std::vector<std::string> names;
  for (const Reading& usual : {Reading{share_of(layers, 4), true}, Reading{share_of(layers, 5), true},
                               Reading{share_of(layers, 3), false}, Reading{layers, false}}) {
    const std::vector<Reading> held = readings_of(depths, layers);
    const bool there = std::ranges::any_of(held, [&](const Reading& reading) { return reading.name() == usual.name(); });
    if (there && std::ranges::find(names, usual.name()) == names.end()) names.push_back(usual.name());
  }
  if (names.empty()) {
    for (const Reading& reading : readings_of(depths, layers)) names.push_back(reading.name());
  }
  return names;
}

std::vector<Reading> readings_of(const std::vector<std::int64_t>& depths, std::int64_t layers) {
  std::vector<Reading> readings;
  for (const std::int64_t depth : depths) {
    if (depth < layers) readings.push_back({depth, true});
    readings.push_back({depth, false});
  }
  return readings;
}

fs::path StateCache::file_of(std::span<const std::int64_t> groups) const {
  std::string content = fmt::format("{}\x1d{}", model_, fmt::join(depths_, ","));
  const auto add = [&](std::span<const std::int32_t> ids) {
    content += fmt::format("\x1d{}\x1d", ids.size());
    content.append(reinterpret_cast<const char*>(ids.data()), ids.size_bytes());
  };
  for (const std::int64_t index : groups) {
    const data::TokenGroup group = store_.group(index);
    add(group.prefix);
    for (const auto& response : group.responses) add(response);
  }
  return directory_ / (sha256_hex(content).substr(0, 32) + ".safetensors");
}

std::int64_t StateCache::fill(const nn::Backbone& backbone, const std::vector<std::vector<std::int64_t>>& groups,
                              std::int64_t tokens_max, const comm::Communicator& ranks) const {
  fs::create_directories(directory_);
  std::vector<std::vector<std::span<const std::int64_t>>> pieces;
  std::size_t most = 0;
  for (const auto& category : groups) {
    pieces.push_back(pieces_of(category));
    most = std::max(most, pieces.back().size());
  }
  const std::vector<Reading> readings = readings_of(depths_, backbone.spec().layers);
  std::int64_t tokens = 0;
  std::vector<std::int64_t> dealt(static_cast<std::size_t>(ranks.size()));  // tokens of the pieces of each rank
  for (std::size_t p = 0; p < most; ++p) {
    for (std::size_t c = 0; c < pieces.size(); ++c) {
      if (p >= pieces[c].size()) continue;
      // Each piece has its rank, whatever is there: another rank may have written its own already.
      const auto owner = std::ranges::min_element(dealt);
      for (const std::int64_t index : pieces[c][p]) *owner += tokens_of(store_.group(index), backbone.packing());
      if (owner - dealt.begin() != ranks.rank()) continue;
      const fs::path path = file_of(pieces[c][p]);
      if (is_whole(path)) continue;
      if (stop_requested()) throw Stopped("stopped-on-request", "states were being computed: run the same command to continue");
      std::vector<train::LabelledGroup> whole;
      std::vector<const train::LabelledGroup*> pointers;
      for (const std::int64_t index : pieces[c][p]) {
        whole.push_back({index, std::vector<std::int32_t>(store_.group(index).responses.size()), {}});
        std::iota(whole.back().responses.begin(), whole.back().responses.end(), 0);
      }
      for (const train::LabelledGroup& group : whole) pointers.push_back(&group);
      std::vector<std::vector<at::Tensor>> rows(readings.size());
      for (const train::MicroBatch& portions : train::cut_micro_batches(store_, pointers, backbone.packing(), tokens_max)) {
        data::PackedBatch batch;
        for (const train::Portion& portion : portions)
          append_group(batch, store_.group(portion.of->group), portion.responses(), backbone.packing());
        tokens += batch.tokens();
        append_readings(backbone, batch, readings, rows);
      }
      nn::NamedTensors tensors;
      for (std::size_t r = 0; r < readings.size(); ++r) tensors.emplace_back(readings[r].name(), at::stack(rows[r]).cpu());
      nn::save_safetensors(path, tensors);
      spdlog::info("[evidence] states of {} {} to {} of {}", store_.categories()[c], p * kPieceGroups + 1,
                   p * kPieceGroups + pieces[c][p].size(), groups[c].size());
    }
  }
  return tokens;
}

std::vector<std::int64_t> StateCache::present(const std::vector<std::int64_t>& groups) const {
  std::vector<std::int64_t> found;
  for (const auto& piece : pieces_of(groups)) {
    if (!fs::exists(file_of(piece))) break;
    found.insert(found.end(), piece.begin(), piece.end());
  }
  return found;
}

at::Tensor StateCache::load(const std::vector<std::int64_t>& groups, const Reading& reading) const {
  std::vector<at::Tensor> parts;
  for (const auto& piece : pieces_of(groups)) {
    const fs::path path = file_of(piece);
    if (fs::exists(path) && !is_whole(path))
      throw DataError("states-damaged", fmt::format("{}: damaged: run `dmoerm evidence states` again", path.string()));
    parts.push_back(nn::SafetensorsReader::open(path).load(reading.name()));
  }
  return at::cat(parts);
}

}  // namespace dmoerm::evidence
