// The inputs of an ingest as one stream of groups.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/ingest_report.h"
#include "data/ingest_request.h"
#include "preference/group_reader.h"

namespace dmoerm::data {

/// 128 bits of a SHA-256: all that memory keeps of a text.
struct TextKey {
  std::uint64_t high = 0, low = 0;
  bool operator==(const TextKey&) const = default;
};
struct TextKeyHash {
  std::size_t operator()(const TextKey& key) const { return key.low; }
};

/// A number in [0, 1) that depends on key and seed alone.
double place_of(std::uint64_t key, std::uint64_t seed);

/// A group with the settings of its input applied: category, split, points.
struct InputGroup {
  preference::Group group;
  TextKey prompt;          ///< of the prompt
  TextKey content;         ///< of category, prompt, set of responses, and names of labels: what a seeded draw goes by
  TextKey statement;       ///< of content and what the labels say: equal for duplicates
  bool configured = true;  ///< its category is one of the request's
  double weight = 1.0;     ///< of its input

  /// Whether the weight of its input leaves this group out of the train split.
  [[nodiscard]] bool beyond_weight(std::uint64_t seed) const { return weight < 1 && place_of(content.high, seed) >= weight; }
};

/// Read all inputs in order.
/// @param on_group    returns whether it took the group
/// @param on_dropped  gets every row that cannot be a group
/// @return path, format and number of groups taken of each input
/// @throws IoError, DataError
std::vector<IngestReport::Input> read_inputs(const IngestRequest& request, const std::function<bool(InputGroup&&)>& on_group,
                                             const std::function<void(const preference::Dropped&)>& on_dropped);

}  // namespace dmoerm::data
