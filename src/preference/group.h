// Preference data as read: a prompt, at least two responses, and what is known about their order.
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

/// Name of the labels that say which response is better overall. Labels of capability points have the names of the points.
inline constexpr std::string_view kOverall = "overall";

enum class Split : std::uint8_t { train = 0, validation = 1, test = 2, unset = 255 };

struct Message {
  std::string role;  ///< system, user, assistant
  std::string content;
};

/// A judge's verdicts on one pair and one point, asked in both orders. In `first_order` response a was shown first, in
/// `second_order` response b. Each verdict refers to the order shown.
struct RecordedVerdict {
  std::string point;
  int a = 0, b = 0;  ///< indices into Group::responses
  Verdict first_order = Verdict::error, second_order = Verdict::error;
};

/// A stated preference between two responses of the group.
struct StatedPair {
  std::string label;  ///< kOverall or a capability point
  int winner = 0, loser = 0;
  double margin = 0.0;  ///< reward gap that training demands, 0 if the row states none
};

struct Response {
  std::string text;                                 ///< the last assistant turn
  double overall = kMissing;                        ///< overall score, higher is better; a rank is stored as its negative
  std::map<std::string, double> scores;             ///< capability point -> score, higher is better
  std::map<std::string, std::int64_t> raters = {};  ///< label -> number of single raters whose scores the row states
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
  std::vector<std::string> unread;    ///< keys of messages that hold reasoning beside the text, such as reasoning_content
  bool raters_alone = false;          ///< whether single raters scored a point under which the row says nothing else
  std::vector<std::string> clusters;  ///< what its rows belong to, if the reader was told which key says so; else empty
  std::vector<int> places;            ///< place in `responses` of each response as read, if equal ones were merged; else empty
  std::int64_t merged = 0;            ///< how many equal ones were merged, of those that are worth telling (kMergedNote)
  std::string file;                   ///< file that the group was read from
  std::int64_t line = 0;              ///< 1-based line of its first row
};

std::string_view to_string(Split split);

/// Replace the responses of a group by `kept` and renumber its pairs and verdicts. Pairs and verdicts are dropped if a response
/// of theirs is gone or if both responses became one.
/// @param place  number in `kept` of each old response, or -1
void replace_responses(Group& group, std::vector<Response> kept, const std::vector<int>& place);

}  // namespace dmoerm::preference
