#include "label_store/columns.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace dmoerm::label_store {
namespace {

void put(std::string& bytes, std::int64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(value >> shift & 0xff));
}
void put(std::string& bytes, std::string_view text) {
  put(bytes, static_cast<std::int64_t>(text.size()));
  bytes += text;
}
void put(std::string& bytes, const Digest& digest) { bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size()); }

}  // namespace

std::uint64_t row_check(const Label& label, std::int64_t sequence) {
  std::string bytes;
  bytes.reserve(256 + label.reply.size());
  put(bytes, label.key);
  put(bytes, label.pair);
  for (const std::string* text : {&label.category, &label.point, &label.judge, &label.template_name, &label.reply}) {
    put(bytes, *text);
  }
  for (const std::int64_t value :
       {std::int64_t{label.swapped}, std::int64_t{label.sample}, static_cast<std::int64_t>(label.verdict),
        static_cast<std::int64_t>(std::bit_cast<std::uint32_t>(label.first_probability)), std::int64_t{label.prompt_tokens},
        std::int64_t{label.completion_tokens}, label.cost_micros, label.time_ms, sequence}) {
    put(bytes, value);
  }
  return stable_hash(bytes);
}

std::int32_t LabelColumns::name(std::string_view word) {
  if (name_index_.size() != names.size()) {  // the names were read from a file
    for (std::size_t i = 0; i < names.size(); ++i) name_index_.emplace(names[i], static_cast<std::int32_t>(i));
  }
  const auto [at, is_new] = name_index_.emplace(word, static_cast<std::int32_t>(names.size()));
  if (is_new) names.emplace_back(word);
  return at->second;
}

void LabelColumns::add(const Label& l, std::int64_t number, std::uint64_t row_checksum) {
  key.push_back(l.key);
  pair.push_back(l.pair);
  category.push_back(name(l.category));
  point.push_back(name(l.point));
  judge.push_back(name(l.judge));
  template_name.push_back(name(l.template_name));
  swapped.push_back(l.swapped ? 1 : 0);
  verdict.push_back(static_cast<std::uint8_t>(l.verdict));
  sample.push_back(l.sample);
  first_probability.push_back(l.first_probability);
  prompt_tokens.push_back(l.prompt_tokens);
  completion_tokens.push_back(l.completion_tokens);
  cost_micros.push_back(l.cost_micros);
  time_ms.push_back(l.time_ms);
  sequence.push_back(number);
  check.push_back(row_checksum);
  reply_length.push_back(static_cast<std::int32_t>(l.reply.size()));
  reply_bytes.insert(reply_bytes.end(), l.reply.begin(), l.reply.end());
}

void LabelColumns::add_row(const LabelColumns& o, std::size_t row, std::size_t reply_at) {
  const auto renamed = [&](std::int32_t index) { return name(o.names[static_cast<std::size_t>(index)]); };
  key.push_back(o.key[row]);
  pair.push_back(o.pair[row]);
  category.push_back(renamed(o.category[row]));
  point.push_back(renamed(o.point[row]));
  judge.push_back(renamed(o.judge[row]));
  template_name.push_back(renamed(o.template_name[row]));
  swapped.push_back(o.swapped[row]);
  verdict.push_back(o.verdict[row]);
  sample.push_back(o.sample[row]);
  first_probability.push_back(o.first_probability[row]);
  prompt_tokens.push_back(o.prompt_tokens[row]);
  completion_tokens.push_back(o.completion_tokens[row]);
  cost_micros.push_back(o.cost_micros[row]);
  time_ms.push_back(o.time_ms[row]);
  sequence.push_back(o.sequence[row]);
  check.push_back(o.check[row]);
  if (o.reply_length.empty()) return;
  reply_length.push_back(o.reply_length[row]);
  const auto start = o.reply_bytes.begin() + static_cast<std::ptrdiff_t>(reply_at);
  reply_bytes.insert(reply_bytes.end(), start, start + o.reply_length[row]);
}

std::vector<std::size_t> LabelColumns::reply_starts() const {
  std::vector<std::size_t> starts(size(), 0);
  for (std::size_t i = 1; i < reply_length.size(); ++i) {
    starts[i] = starts[i - 1] + static_cast<std::size_t>(reply_length[i - 1]);
  }
  return starts;
}

Label LabelColumns::label(std::size_t row, std::size_t reply_at) const {
  const auto word = [&](const std::vector<std::int32_t>& column) { return names[static_cast<std::size_t>(column[row])]; };
  Label l;
  l.key = key[row];
  l.pair = pair[row];
  l.category = word(category);
  l.point = word(point);
  l.judge = word(judge);
  l.template_name = word(template_name);
  l.swapped = swapped[row] != 0;
  l.sample = sample[row];
  l.verdict = verdict_of(row);
  l.first_probability = first_probability[row];
  l.prompt_tokens = prompt_tokens[row];
  l.completion_tokens = completion_tokens[row];
  l.cost_micros = cost_micros[row];
  l.time_ms = time_ms[row];
  if (!reply_length.empty()) {
    l.reply.assign(reinterpret_cast<const char*>(reply_bytes.data()) + reply_at, static_cast<std::size_t>(reply_length[row]));
  }
  return l;
}

PointKey LabelColumns::point_key(std::size_t row) const {
  const auto word = [&](const std::vector<std::int32_t>& column) { return names[static_cast<std::size_t>(column[row])]; };
  return {word(category), word(point), word(judge), word(template_name)};
}

judge::Usage LabelColumns::spent(std::size_t row) const {
  return {1, prompt_tokens[row], completion_tokens[row], cost_micros[row]};
}

std::vector<std::uint32_t> LabelColumns::sorted() const {
  // Names are compared by their alphabetical order, computed once.
  std::vector<std::int32_t> by_name(names.size()), place(names.size());
  std::iota(by_name.begin(), by_name.end(), 0);
  std::ranges::sort(by_name, {}, [&](std::int32_t i) -> const std::string& { return names[static_cast<std::size_t>(i)]; });
  for (std::size_t i = 0; i < by_name.size(); ++i) place[static_cast<std::size_t>(by_name[i])] = static_cast<std::int32_t>(i);
  const auto at = [&](std::int32_t index) { return place[static_cast<std::size_t>(index)]; };
  std::vector<std::uint32_t> order(size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
    using Rank = std::tuple<int, int, int, int, const Digest&, int, std::int32_t, std::int64_t>;
    const auto rank = [&](std::uint32_t i) {
      return Rank(at(category[i]), at(point[i]), at(judge[i]), at(template_name[i]), pair[i], swapped[i], sample[i], sequence[i]);
    };
    return rank(a) < rank(b);
  });
  return order;
}

}  // namespace dmoerm::label_store
