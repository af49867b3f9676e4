#include "plan/task_id.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace dmoerm::plan {
namespace {

/// What follows the first word of a task's folder.
enum class Shape { bare, category, points, point, groups };

struct Spelling {
  TaskKind kind;
  std::string_view word;
  Shape shape;
};

constexpr std::array<Spelling, 16> kSpellings = {{{TaskKind::ingest, "ingest", Shape::bare},
                                                  {TaskKind::selection, "label", Shape::groups},
                                                  {TaskKind::label, "label", Shape::point},
                                                  {TaskKind::router, "router", Shape::bare},
                                                  {TaskKind::base, "base", Shape::category},
                                                  {TaskKind::base_of_all, "base-of-all", Shape::bare},
                                                  {TaskKind::single, "single", Shape::bare},
                                                  {TaskKind::category_baseline, "category", Shape::category},
                                                  {TaskKind::pooled_baseline, "pooled", Shape::category},
                                                  {TaskKind::expert_set, "expert", Shape::points},
                                                  {TaskKind::gaps, "gaps", Shape::points},
                                                  {TaskKind::features, "features", Shape::category},
                                                  {TaskKind::aggregator, "aggregator", Shape::category},
                                                  {TaskKind::eval, "eval", Shape::category},
                                                  {TaskKind::report, "report", Shape::bare},
                                                  {TaskKind::bundle, "bundle", Shape::bare}}};
constexpr std::string_view kGroups = "groups", kRound = "-round-", kFold = "-fold-";

const Spelling& spelling(TaskKind kind) { return *std::ranges::find(kSpellings, kind, &Spelling::kind); }

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Cut "-round-3" or "-fold-3" off the first word of a task's folder. @return 3; 0 if it has no such end
std::int32_t cut_number(std::string& word, std::string_view before) {
  const std::size_t at = word.find(before);
  if (at == std::string::npos) return 0;
  std::int32_t number = 0;
  std::from_chars(word.data() + at + before.size(), word.data() + word.size(), number);
  word.resize(at);
  return number;
}

/// "-round-3", "-fold-3" or "".
std::string numbers_of(const TaskId& id) {
  if (id.round > 0) return fmt::format("{}{}", kRound, id.round);
  return id.fold > 0 ? fmt::format("{}{}", kFold, id.fold) : "";
}

bool has_rounds(TaskKind kind) { return kind == TaskKind::label || kind == TaskKind::expert_set || kind == TaskKind::gaps; }
bool has_folds(TaskKind kind) { return kind == TaskKind::base || kind == TaskKind::base_of_all || kind == TaskKind::expert_set; }

}  // namespace

std::string TaskId::text() const {
  const Spelling& own = spelling(kind);
  switch (own.shape) {
    case Shape::groups:
      return fmt::format("{}/{}", own.word, kGroups);
    case Shape::category:
      return fmt::format("{}{}/{}", own.word, numbers_of(*this), category);
    case Shape::point:
    case Shape::points:
      return fmt::format("{}{}/{}/{}", own.word, numbers_of(*this), category, fmt::join(points, "+"));
    default:
      return std::string(own.word) + numbers_of(*this);
  }
}

std::optional<TaskId> TaskId::parse(std::string_view text) {
  std::vector<std::string> words = split(text, '/');
  const std::int32_t round = cut_number(words.front(), kRound), fold = cut_number(words.front(), kFold);
  if (std::ranges::any_of(words, &std::string::empty)) return std::nullopt;
  for (const Spelling& own : kSpellings) {
    if (words.front() != own.word || (round > 0 && !has_rounds(own.kind)) || (round <= 0 && own.kind == TaskKind::gaps)) continue;
    if (fold > 0 && !has_folds(own.kind)) continue;
    TaskId id{own.kind};
    id.round = round;
    id.fold = fold;
    if (words.size() >= 2 && own.shape != Shape::groups) id.category = words[1];
    if (words.size() >= 3) id.points = split(words[2], '+');
    if (id.text() == text && (own.shape != Shape::point || id.points.size() == 1) &&
        std::ranges::none_of(id.points, &std::string::empty))
      return id;
  }
  return std::nullopt;
}

std::string_view kind_text(TaskKind kind) { return spelling(kind).word; }

std::string kind_text(const std::string& task) {
  const auto id = TaskId::parse(task);
  return id ? std::string(kind_text(id->kind)) : task;
}

bool is_external(TaskKind kind) { return kind == TaskKind::ingest || kind == TaskKind::selection || kind == TaskKind::label; }

bool trains(TaskKind kind) {
  return kind == TaskKind::base || kind == TaskKind::base_of_all || kind == TaskKind::single ||
         kind == TaskKind::category_baseline || kind == TaskKind::pooled_baseline || kind == TaskKind::expert_set;
}

}  // namespace dmoerm::plan
