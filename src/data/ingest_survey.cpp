#include "data/ingest_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/rng.h"

namespace dmoerm::data {
namespace {

using preference::Split;
constexpr std::size_t kBadLinesShown = 10;
constexpr std::size_t kNamesShown = 20;

DrawKey draw_key(const InputGroup& item, std::uint64_t seed) {
  return {mix64(item.content.low ^ mix64(seed)), item.statement.low};
}

/// The split with the higher rank gets a prompt that rows put into several splits.
int rank_of(Split split) { return split == Split::unset ? -1 : static_cast<int>(split); }
static_assert(Split::train < Split::validation && Split::validation < Split::test);

std::string join(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

class Surveyor {
 public:
  explicit Surveyor(const IngestRequest& request) : request_(request) {}

  Survey run() {
    read_inputs(
        request_, [&](InputGroup&& item) { return add(item); }, [&](const preference::Dropped& d) { drop(d); });
    if (bad_lines_ > request_.data.bad_lines_max) refuse("");
    settle_categories();
    for (auto& [prompt, split] : survey_.splits) {
      if (split == Split::unset) split = split_of_session(prompt);
    }
    settle_draw();
    return std::move(survey_);
  }

 private:
  struct Draw {
    TextKey prompt;
    DrawKey key;
  };

  bool add(const InputGroup& item) {
    ++survey_.groups;
    if (request_.progress) request_.progress("reading", survey_.groups, 0);
    if (!item.configured) {
      if (other_.size() < kNamesShown) other_.insert(item.group.category);
      return false;
    }
    found_.insert(item.group.category);
    if (!(item.session == item.prompt)) sessions_.try_emplace(item.prompt, item.session);
    if (item.group.split != Split::unset) {
      Split& stated = stated_.try_emplace(item.session, Split::unset).first->second;
      if (rank_of(item.group.split) > rank_of(stated)) stated = item.group.split;
    }
    Split& split = survey_.splits.try_emplace(item.prompt, Split::unset).first->second;
    if (rank_of(item.group.split) > rank_of(split)) split = item.group.split;
    const bool counts = groups_max(request_, item.group.category) > 0 && !item.beyond_weight(request_.seed);
    if (counts && seen_.insert(item.statement).second) {
      draws_[item.group.category].push_back({item.prompt, draw_key(item, request_.seed)});
    }
    return true;
  }

  void drop(const preference::Dropped& d) {
    if (!d.bad) {
      const auto [first, fresh] = unused_.try_emplace(d.reason, Unused{fmt::format("{}:{}", d.file, d.line)});
      if (!fresh || unused_.size() <= kNamesShown) ++first->second.times;
      if (unused_.size() > kNamesShown) unused_.erase(first);
      return;
    }
    if (bad_.size() < kBadLinesShown) bad_.push_back(with_code(fmt::format("{}:{}: {}", d.file, d.line, d.reason), d.code));
    if (++bad_lines_ > request_.data.bad_lines_max && bad_.size() == kBadLinesShown) refuse("at least ");
  }

  [[noreturn]] void refuse(const char* at_least) const {
    std::string text =
        fmt::format("found {}{} bad line{}, but only {} may be skipped (data.bad_lines_max, --bad-lines):", at_least, bad_lines_,
                    bad_lines_ == 1 ? "" : "s", request_.data.bad_lines_max);
    for (const std::string& line : bad_) text += "\n  " + line;
    throw DataError("too-many-bad-lines", text);
  }

  [[noreturn]] void refuse_empty() const {
    std::string text = "the inputs contain no group that can be used:";
    for (const config::InputConfig& input : request_.data.inputs) {
      std::error_code error;
      const auto size = std::filesystem::file_size(input.path, error);
      text += fmt::format("\n  {}{}", input.path, !error && size == 0 ? ": the file is empty" : "");
    }
    for (const auto& [reason, unused] : unused_)
      text += fmt::format("\n  {} of {}, first {}", unused.times, reason, unused.first);
    if (!bad_.empty()) text += fmt::format("\n  bad lines: {}, first {}", bad_lines_, bad_.front());
    if (unused_.empty() && bad_.empty()) text += "\n  no rows";
    throw DataError("no-usable-groups", text);
  }

  void settle_categories() {
    if (found_.empty() && other_.empty()) refuse_empty();
    std::set<std::string> missing, all = other_;
    for (const config::CategoryConfig& c : request_.categories) {
      survey_.categories.push_back(c.name);
      if (!found_.contains(c.name)) missing.insert(c.name);
    }
    all.merge(std::set<std::string>(found_));
    if (!missing.empty()) {
      throw ConfigError("category-without-data",
                        fmt::format("these categories have no data: {}; the inputs have data of: {}{}", join(missing), join(all),
                                    all.contains(kNoCategory) ? fmt::format(". Rows that name no category count as {}: set "
                                                                            "data.inputs[].category to the category of all "
                                                                            "rows of a file, or write category into the rows",
                                                                            kNoCategory)
                                                              : ""));
    }
    if (request_.categories.empty()) survey_.categories.assign(found_.begin(), found_.end());
  }

  /// The split of a prompt for which no row states one: that of its conversation, which other rows may state.
  [[nodiscard]] Split split_of_session(const TextKey& prompt) const {
    const auto longer = sessions_.find(prompt);
    const TextKey& session = longer == sessions_.end() ? prompt : longer->second;
    if (const auto stated = stated_.find(session); stated != stated_.end()) return stated->second;
    const double place = place_of(session.high, request_.seed);
    if (place < request_.data.test_share) return Split::test;
    return place < request_.data.test_share + request_.data.validation_share ? Split::validation : Split::train;
  }

  void settle_draw() {
    for (const auto& [category, draws] : draws_) {
      const auto most = static_cast<std::size_t>(groups_max(request_, category));
      std::vector<DrawKey> keys;
      for (const Draw& draw : draws) {
        if (survey_.splits.at(draw.prompt) == Split::train) keys.push_back(draw.key);
      }
      if (keys.size() <= most) continue;
      const auto end = keys.begin() + static_cast<std::ptrdiff_t>(most);
      std::ranges::nth_element(keys, end);
      survey_.draw_end[category] = *end;
    }
  }

  const IngestRequest& request_;
  Survey survey_;
  std::set<std::string> found_, other_;
  std::unordered_set<TextKey, TextKeyHash> seen_;
  std::unordered_map<TextKey, TextKey, TextKeyHash> sessions_;  ///< conversation of every prompt of several turns
  std::unordered_map<TextKey, Split, TextKeyHash> stated_;      ///< split that rows state for a conversation
  std::map<std::string, std::vector<Draw>> draws_;
  std::vector<std::string> bad_;
  std::int64_t bad_lines_ = 0;
  struct Unused {
    std::string first;  ///< file:line
    std::int64_t times = 0;
  };
  std::map<std::string, Unused> unused_;  ///< well-formed rows that cannot be used, by reason
};

}  // namespace

bool Survey::thinned(const InputGroup& item, Split split, std::uint64_t seed) const {
  const auto end = draw_end.find(item.group.category);
  return split == Split::train && end != draw_end.end() && draw_key(item, seed) >= end->second;
}

std::int64_t groups_max(const IngestRequest& request, const std::string& category) {
  const auto own = std::ranges::find(request.categories, category, &config::CategoryConfig::name);
  return own != request.categories.end() && own->groups_max > 0 ? own->groups_max : request.data.groups_per_category_max;
}

std::int64_t responses_max(const IngestRequest& request, const std::string& category) {
  const auto own = std::ranges::find(request.categories, category, &config::CategoryConfig::name);
  return own != request.categories.end() && own->responses_per_group_max > 0 ? own->responses_per_group_max
                                                                             : request.data.responses_per_group_max;
}

Survey survey_inputs(const IngestRequest& request) { return Surveyor(request).run(); }

}  // namespace dmoerm::data
