// Fills, opens and reads a label store and says how long that took; tests/bench/label_store.py drives it, a process a step.
#include "label_store/label_store.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "label_store/compact.h"
#include "label_store/reader.h"

namespace {

using namespace dmoerm;
constexpr int kPoints = 27, kBatch = 256;
constexpr const char* kWords[] = {"response", "clearer", "A",        "B",       "because", "the",      "summary", "misses",
                                  "main",     "point",   "of",       "article", "more",    "coherent", "and",     "gives",
                                  "concrete", "advice",  "while",    "other",   "repeats", "itself",   "too",     "long",
                                  "tone",     "fits",    "question", "wrong",   "detail",  "fact"};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string point_of(int number) { return fmt::format("capability-{}", number); }
std::string category_of(int number) { return fmt::format("category-{}", number / 6); }

/// Label `i` of a run that asks pair by pair: all points of a pair, both orders each.
label_store::Label make(std::int64_t i) {
  Rng random(1, "label", static_cast<std::uint64_t>(i));
  label_store::Label l;
  const std::int64_t pair = i / (2 * kPoints);
  const int point = static_cast<int>(i / 2 % kPoints);
  l.key = sha256(fmt::format("body {}", i));
  l.pair = sha256(fmt::format("pair {}", pair));
  l.category = category_of(point);
  l.point = point_of(point);
  l.judge = "gpt-4o-mini-2024-07-18";
  l.template_name = "pairwise-en@3f9c01d2a4b7";
  l.swapped = i % 2 == 1;
  const std::uint64_t drawn = random.below(100);
  l.verdict = drawn < 46   ? preference::Verdict::first
              : drawn < 90 ? preference::Verdict::second
              : drawn < 97 ? preference::Verdict::tie
              : drawn < 99 ? preference::Verdict::unparsable
                           : preference::Verdict::refused;
  if (drawn < 90) l.first_probability = static_cast<float>(random.uniform());
  l.reply = "{\"reason\": \"";
  for (std::uint64_t words = 6 + random.below(20); words > 0; --words) l.reply += std::string(kWords[random.below(30)]) + " ";
  l.reply += fmt::format("\", \"better\": \"{}\"}}", to_string(l.verdict));
  l.prompt_tokens = 300 + static_cast<std::int32_t>(random.below(1500));
  l.completion_tokens = 15 + static_cast<std::int32_t>(random.below(60));
  l.cost_micros = (l.prompt_tokens * 15 + l.completion_tokens * 60) / 100;
  l.time_ms = 1'780'000'000'000 + i * 5 + static_cast<std::int64_t>(random.below(2000));
  return l;
}

void fill(const std::string& directory, std::int64_t count) {
  auto store = label_store::LabelStore::open(directory);
  std::vector<label_store::Label> batch;
  double seconds = 0, longest = 0;
  for (std::int64_t i = 0; i < count;) {
    batch.clear();
    for (; i < count && static_cast<int>(batch.size()) < kBatch; ++i) batch.push_back(make(i));
    const auto start = std::chrono::steady_clock::now();
    store.append(batch);
    seconds += seconds_since(start);
    longest = std::max(longest, seconds_since(start));
  }
  const auto start = std::chrono::steady_clock::now();
  store.seal();
  seconds += seconds_since(start);
  fmt::print("{:.6f} {:.6f}\n", seconds, longest);
}

void open(const std::string& directory) {
  const auto start = std::chrono::steady_clock::now();
  const auto store = label_store::LabelStore::open(directory);
  const double seconds = seconds_since(start);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  fmt::print("{:.6f} {} {}\n", seconds, store.size(), usage.ru_maxrss);
}

/// Every point once: seconds to open, then rows and seconds over all points.
void read(const std::string& directory, bool replies) {
  const auto start = std::chrono::steady_clock::now();
  const label_store::LabelReader reader(directory);
  fmt::print("{:.6f}", seconds_since(start));
  std::size_t rows = 0;
  const auto reading = std::chrono::steady_clock::now();
  for (int point = 0; point < kPoints; ++point) rows += reader.read({category_of(point), point_of(point), replies}).size();
  fmt::print(" {} {:.6f}\n", rows, seconds_since(reading));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string step = argc > 2 ? argv[1] : "";
  try {
    init_log(0, 1, "warn");
    if (step == "fill" && argc == 4) {
      fill(argv[2], std::atoll(argv[3]));
    } else if (step == "open") {
      open(argv[2]);
    } else if (step == "read" || step == "read-replies") {
      read(argv[2], step == "read-replies");
    } else if (step == "compact") {
      const auto start = std::chrono::steady_clock::now();
      label_store::compact_store(argv[2], 1'000'000);
      fmt::print("{:.6f}\n", seconds_since(start));
    } else {
      std::fputs("usage: bench_label_store fill DIR LABELS | open DIR | read DIR | read-replies DIR | compact DIR\n", stderr);
      return 2;
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_label_store: %s\n", e.what());
    return 1;
  }
  return 0;
}
