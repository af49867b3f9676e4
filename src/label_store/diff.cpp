#include "label_store/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace dmoerm::label_store {
namespace {

/// A store's labels, ordered by key.
struct Side {
  LabelColumns rows;
  std::vector<std::uint32_t> order;

  explicit Side(const LabelReader& reader) : rows(reader.read({})), order(rows.size()) {
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {}, [&](std::uint32_t i) -> const Digest& { return rows.key[i]; });
  }
  [[nodiscard]] const Digest& key(std::size_t at) const { return rows.key[order[at]]; }
  [[nodiscard]] Verdict verdict(std::size_t at) const { return rows.verdict_of(order[at]); }
  [[nodiscard]] DiffRow row(std::size_t at) const {
    const Label l = rows.label(order[at], 0);
    return {l.key, l.category, l.point, l.judge, {}, {}};
  }
};

}  // namespace

StoreDiff diff_stores(const LabelReader& reader_a, const LabelReader& reader_b) {
  const Side a(reader_a), b(reader_b);
  StoreDiff diff;
  const auto report = [&](DiffRow row, std::optional<Verdict> in_a, std::optional<Verdict> in_b, std::int64_t& count) {
    row.a = in_a;
    row.b = in_b;
    diff.rows.push_back(std::move(row));
    ++count;
  };
  std::size_t i = 0, j = 0;
  while (i < a.order.size() || j < b.order.size()) {
    if (j == b.order.size() || (i < a.order.size() && a.key(i) < b.key(j))) {
      report(a.row(i), a.verdict(i), std::nullopt, diff.only_a);
      ++i;
    } else if (i == a.order.size() || b.key(j) < a.key(i)) {
      report(b.row(j), std::nullopt, b.verdict(j), diff.only_b);
      ++j;
    } else {
      if (a.verdict(i) == b.verdict(j)) {
        ++diff.same;
      } else {
        report(a.row(i), a.verdict(i), b.verdict(j), diff.differing);
      }
      ++i;
      ++j;
    }
  }
  return diff;
}

std::string diff_text(const StoreDiff& diff, const std::string& a, const std::string& b, bool with_keys) {
  std::string text =
      fmt::format("{} the same, {} only in {}, {} only in {}, {} with different verdicts{}\n", diff.same, diff.only_a, a,
                  diff.only_b, b, diff.differing, diff.equal() || with_keys ? "" : " (--all lists them)");
  if (!with_keys) return text;
  const auto word = [](const std::optional<Verdict>& v) { return v ? to_string(*v) : "-"; };
  for (const DiffRow& r : diff.rows)
    text += fmt::format("{} {}/{} {}: {} {}\n", to_hex(r.key), r.category, r.point, r.judge, word(r.a), word(r.b));
  return text;
}

}  // namespace dmoerm::label_store
