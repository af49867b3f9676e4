// What files of preference data hold, before there is a configuration: categories, labels, gaps of scores, and what is odd.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "data/ingest_report.h"
#include "data/ingest_request.h"

namespace dmoerm::data {

/// One label of a category: preference::kOverall, a capability point, or preference::kFirstRater.
struct LabelSummary {
  std::int64_t prompts = 0;  ///< Prompts that have an ordered pair of any gap
  std::int64_t scores = 0;   ///< responses with a score
  double least = std::numeric_limits<double>::infinity(), most = -std::numeric_limits<double>::infinity();  ///< scores
  std::int64_t raters_least = 0, raters_most = 0;  ///< single raters of a response that names some; 0 = none does
  double score_gap_min = 0;                        ///< by ScoreGapRule, of the prompts outside the test split
  std::int64_t learnable = 0;                      ///< prompts outside the test split with an ordered pair at this gap
};

struct CategorySummary {
  std::int64_t prompts = 0;
  std::map<std::int64_t, std::int64_t> responses;    ///< number of responses -> prompts that have as many
  std::map<preference::Split, std::int64_t> splits;  ///< as the rows name them -> prompts
  std::map<std::string, LabelSummary> labels;        ///< kOverall is always there
  bool labels_left_out = false;                      ///< whether there are more than are listed
};

/// How often something was noted, and where first: "file:line".
struct Noted {
  std::int64_t times = 0;
  std::string first;
};

struct DataSummary {
  std::vector<IngestReport::Input> inputs;
  std::map<std::string, CategorySummary> categories;
  std::map<std::string, std::int64_t> dropped;  ///< reason -> number of rows
  std::map<std::string, Noted> noted;           ///< remark on prompts that were kept all the same
};

/// Read the files as an ingest does: the same rows are left out, and the same prompts are in the test split, which decides about
/// no gap. @param request  without categories; its output and renderer are not used
/// @throws what ingest() throws
DataSummary summarise(const IngestRequest& request);

/// The names of the labels that may be capability points: neither kOverall nor kFirstRater.
std::vector<std::string> point_names(const CategorySummary& category);
/// What is wrong with a category's name in a configuration, or "".
std::string unusable_category(const std::string& name, std::size_t categories);
/// What is wrong with a point's name in a configuration, or "".
std::string unusable_point(const std::string& name);

/// The summary for people: tables of files, categories and labels, then what is odd.
/// @param labelled_min  prompts with an ordered pair below which a point is odd
std::string to_text(const DataSummary& summary, std::int64_t labelled_min);

}  // namespace dmoerm::data
