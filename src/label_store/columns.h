// Labels as flat columns: what the journal gives, a sealed segment holds and readers get.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "judge/usage.h"
#include "label_store/label.h"

namespace dmoerm::label_store {

/// Checksum of everything that is kept of a label, its number included: the first 8 bytes of a SHA-256. It goes with the row from
/// the journal to the segments, so that a row can be trusted wherever it is found.
std::uint64_t row_check(const Label& label, std::int64_t sequence);

/// One value a label in every column, all of the same length but reply_bytes. A reader that was not asked for a part leaves its
/// columns empty.
struct LabelColumns {
  std::vector<Digest> key, pair;
  std::vector<std::int32_t> category, point, judge, template_name;  ///< indices into names
  std::vector<std::uint8_t> swapped, verdict;
  std::vector<std::int32_t> sample;
  std::vector<float> first_probability;
  std::vector<std::int32_t> prompt_tokens, completion_tokens;
  std::vector<std::int64_t> cost_micros, time_ms;
  std::vector<std::int64_t>
      sequence;                      ///< number of the label in its store, in the order of append(); of a key the highest counts
  std::vector<std::uint64_t> check;  ///< row_check()
  std::vector<std::int32_t> reply_length;
  std::vector<std::uint8_t> reply_bytes;  ///< of all replies, one after the other
  std::vector<std::string> names;

  [[nodiscard]] std::size_t size() const { return key.size(); }
  /// Index of a name, which is taken up if it is new.
  std::int32_t name(std::string_view word);
  void add(const Label& label, std::int64_t sequence, std::uint64_t check);
  /// Row `row` of `other`, whose reply starts at `reply_at` of its reply_bytes; the reply is left out if `other` holds none.
  void add_row(const LabelColumns& other, std::size_t row, std::size_t reply_at);
  /// Where the reply of each row starts in reply_bytes.
  [[nodiscard]] std::vector<std::size_t> reply_starts() const;
  /// Row as a label. @param reply_at  of reply_starts(); ignored if there are no replies
  [[nodiscard]] Label label(std::size_t row, std::size_t reply_at) const;
  [[nodiscard]] Verdict verdict_of(std::size_t row) const { return static_cast<Verdict>(verdict[row]); }
  /// What one row cost.
  [[nodiscard]] judge::Usage spent(std::size_t row) const;
  /// Row numbers in the order of a segment: category, point, judge, template, pair, order, sample, number.
  [[nodiscard]] std::vector<std::uint32_t> sorted() const;

  /// Call visit(name, column of self, same column of others...) for every column of one value a label, in the file's order.
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
