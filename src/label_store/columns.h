// Labels as flat columns: the form in which the journal returns them, segments hold them and readers get them.
#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "judge/usage.h"
#include "label_store/label.h"

namespace dmoerm::label_store {

/// Checksum over a whole label and its number: the first 8 bytes of a SHA-256. The row keeps it from the journal to the segments,
/// so that a row can be verified wherever it is found.
std::uint64_t row_check(const Label& label, std::int64_t sequence);

/// The names by which costs and statistics are summed.
struct PointKey {
  std::string category, point, judge, template_name;
  auto operator<=>(const PointKey&) const = default;
};

/// Every column but reply_bytes has one value per label. Columns that were not read are empty.
struct LabelColumns {
  std::vector<Digest> key, pair;
  std::vector<std::int32_t> category, point, judge, template_name;  ///< Indices into names
  std::vector<std::uint8_t> swapped, verdict;
  std::vector<std::int32_t> sample;
  std::vector<float> first_probability;
  std::vector<std::int32_t> prompt_tokens, completion_tokens;
  std::vector<std::int64_t> cost_micros, time_ms;
  std::vector<std::int64_t> sequence;  ///< Number of the label in its store; the highest number of a key counts
  std::vector<std::uint64_t> check;    ///< row_check()
  std::vector<std::int32_t> reply_length;
  std::vector<std::uint8_t> reply_bytes;  ///< Text of all replies, concatenated
  std::vector<std::string> names;

  [[nodiscard]] std::size_t size() const { return key.size(); }
  /// Index of a name; a new name is added.
  std::int32_t name(std::string_view word);
  void add(const Label& label, std::int64_t sequence, std::uint64_t check);
  /// Add row `row` of `other`, whose reply starts at `reply_at` of its reply_bytes; without the reply if `other` has none.
  void add_row(const LabelColumns& other, std::size_t row, std::size_t reply_at);
  /// Offset in reply_bytes at which the reply of each row starts.
  [[nodiscard]] std::vector<std::size_t> reply_starts() const;
  /// A row as a label. @param reply_at  its value in reply_starts(); ignored if there are no replies
  [[nodiscard]] Label label(std::size_t row, std::size_t reply_at) const;
  [[nodiscard]] Verdict verdict_of(std::size_t row) const { return static_cast<Verdict>(verdict[row]); }
  [[nodiscard]] PointKey point_key(std::size_t row) const;
  /// Cost of one row.
  [[nodiscard]] judge::Usage spent(std::size_t row) const;
  /// Row numbers in a segment's order: by category, point, judge, template, pair, order, sample, number.
  [[nodiscard]] std::vector<std::uint32_t> sorted() const;

  /// Call visit(name, column of self, same column of others...) for every column with one value per label, in the file's order.
  template <class Visit, class Self, class... Others>
  static void each(const Visit& visit, Self& self, Others&... others) {
    using C = LabelColumns;
    const auto column = [&](const char* name, auto member) { visit(name, self.*member, (others.*member)...); };
    column("key", &C::key);
    column("pair", &C::pair);
    column("category", &C::category);
    column("point", &C::point);
    column("judge", &C::judge);
    column("template_name", &C::template_name);
    column("swapped", &C::swapped);
    column("sample", &C::sample);
    column("verdict", &C::verdict);
    column("first_probability", &C::first_probability);
    column("prompt_tokens", &C::prompt_tokens);
    column("completion_tokens", &C::completion_tokens);
    column("cost_micros", &C::cost_micros);
    column("time_ms", &C::time_ms);
    column("sequence", &C::sequence);
    column("check", &C::check);
    column("reply_length", &C::reply_length);
  }

 private:
  std::unordered_map<std::string, std::int32_t> name_index_;
};

}  // namespace dmoerm::label_store
