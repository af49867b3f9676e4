// Reads the inputs of an ingest as one stream of groups.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/ingest_report.h"
#include "data/ingest_request.h"
#include "preference/group_reader.h"

namespace dmoerm::data {

/// 128 bits of a SHA-256, kept in memory in place of a text.
struct TextKey {
  std::uint64_t high = 0, low = 0;
  bool operator==(const TextKey&) const = default;
  /// stable_hash() of the text.
  [[nodiscard]] std::uint64_t stable() const { return __builtin_bswap64(high); }
};
struct TextKeyHash {
  std::size_t operator()(const TextKey& key) const { return key.low; }
};

/// A number in [0, 1) that depends only on the key and the seed.
double place_of(std::uint64_t key, std::uint64_t seed);

/// A group with the settings of its input applied: category, split, points.
struct InputGroup {
  preference::Group group;
  TextKey prompt;                 ///< key of preference::prompt_text()
  TextKey session;                ///< key of its conversation, preference::session_text()
  TextKey content;                ///< key of category, prompt, responses and names of labels; it decides random choices
  TextKey statement;              ///< key of content and values of the labels; duplicates have equal ones
  bool configured = true;         ///< whether the request names its category
  bool without_category = false;  ///< whether it has kNoCategory, as neither its rows nor its file name one
  double weight = 1.0;            ///< weight of its input file
  std::size_t input = 0;          ///< number of that file among the inputs

  /// Whether the weight of its input file leaves this group out of the train split.
  [[nodiscard]] bool beyond_weight(std::uint64_t seed) const { return weight < 1 && place_of(content.high, seed) >= weight; }
};

/// Bytes of the prompt and the responses.
std::size_t text_bytes(const preference::Group& group);

/// Read all inputs in order. Rows are parsed and hashed on IngestRequest::threads threads; the callbacks are called on this one.
/// @param on_group    called with each group; returns whether the group is used
/// @param on_dropped  called with each row that cannot become a group
/// @return path, format and number of groups taken of each input
/// @throws IoError, DataError
std::vector<IngestReport::Input> read_inputs(const IngestRequest& request, const std::function<bool(InputGroup&&)>& on_group,
                                             const std::function<void(const preference::Dropped&)>& on_dropped);

}  // namespace dmoerm::data
