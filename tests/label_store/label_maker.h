// Labels for the tests of the store: a number `i` always gives the same label.
#pragma once
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "label_store/reader.h"

namespace dmoerm::label_store::test {

inline Label make_label(int i, Verdict verdict = Verdict::first) {
  Label l;
  l.key = sha256(fmt::format("key {}", i));
  l.pair = sha256(fmt::format("pair {}", i / 2));
  l.category = i % 3 == 0 ? "chat" : "summarization";
  l.point = fmt::format("point-{}", i % 5);
  l.judge = "judge-8b";
  l.template_name = "pairwise-en@3f9c01d2a4b7";
  l.swapped = i % 2 == 1;
  l.sample = i % 7;
  l.verdict = verdict;
  l.reply = fmt::format("{{\"reason\": \"number {}\", \"better\": \"{}\"}}", i, to_string(verdict));
  l.first_probability = i % 4 == 0 ? -1.0F : 0.25F;
  l.prompt_tokens = 500 + i;
  l.completion_tokens = 20 + i % 10;
  l.cost_micros = 30 + i;
  l.time_ms = 1'780'000'000'000 + i;
  return l;
}

/// Labels first .. first + count - 1.
inline std::vector<Label> make_labels(int first, int count) {
  std::vector<Label> labels;
  for (int i = first; i < first + count; ++i) labels.push_back(make_label(i));
  return labels;
}

/// The labels in a store's segments.
inline LabelColumns read_labels(const std::filesystem::path& directory, const LabelFilter& filter) {
  return LabelReader(directory).read(filter);
}

}  // namespace dmoerm::label_store::test
