// Preference data as read: one prompt, n >= 2 responses, and what is known about their order.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "preference/verdict.h"

namespace dmoerm::preference {

inline constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

/// The label stream that says which response is better over all; capability points are other streams.
inline constexpr std::string_view kOverall = "overall";

enum class Split : std::uint8_t { train = 0, validation = 1, test = 2, unset = 255 };

struct Message {
  std::string role;  ///< system, user, assistant
  std::string content;
};

/// What a judge said about one pair and one point, asked in both orders. `first_order`: response a shown first; `second_order`: b
/// shown first. Each is the verdict about what the judge was shown.
struct RecordedVerdict {
  std::string point;
  int a = 0, b = 0;  ///< indices into Group::responses
  Verdict first_order = Verdict::error, second_order = Verdict::error;
};

/// A stated preference between two responses of the group.
struct StatedPair {
  std::string label;  ///< kOverall or a capability point
  int winner = 0, loser = 0;
  double margin = 0.0;  ///< demanded reward gap, 0 if none was given
};

struct Response {
  std::string text;                      ///< the last assistant turn
  double overall = kMissing;             ///< higher is better; ranks are stored as their negative
  std::map<std::string, double> scores;  ///< capability point -> score, higher is better
};

/// One prompt with its responses.
struct Group {
  std::string id;
  std::string category;  ///< "" if the row names none
  Split split = Split::unset;
  std::vector<Message> prompt;  ///< everything before the responses
  std::vector<Response> responses;
  std::vector<StatedPair> pairs;
  std::vector<RecordedVerdict> verdicts;
  std::string file;       ///< provenance
  std::int64_t line = 0;  ///< 1-based line of the (first) row it came from
};

std::string_view to_string(Split split);

/// Put `kept` in the place of the group's responses; pairs and verdicts follow. Those that name a response that is gone, or one
/// response twice, are dropped.
/// @param place  for each old response its number in `kept`, or -1
void replace_responses(Group& group, std::vector<Response> kept, const std::vector<int>& place);

}  // namespace dmoerm::preference
