// Tests stats, verify, repair, compact, export, import and diff.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "label_store/compact.h"
#include "label_store/diff.h"
#include "label_store/import.h"
#include "label_store/label_maker.h"
#include "label_store/repair.h"
#include "label_store/stats.h"
#include "label_store/text_export.h"
#include "label_store/verify.h"
#include "preference/pair_digest.h"
#include "preference/swap_check.h"
#include "support/scratch.h"

namespace dmoerm::label_store::test {
namespace {

namespace fs = std::filesystem;
using dmoerm::test::message_of;

class Tools : public dmoerm::test::Scratch {
 protected:
  [[nodiscard]] fs::path path() const { return directory_ / "labels"; }
  [[nodiscard]] fs::path segment(int number) const { return path() / fmt::format("segment-{:06}.h5", number); }

  /// Store labels 0 .. count - 1 in segments of `each`.
  void make_store(int count, int each) const {
    auto store = LabelStore::open(path());
    for (int i = 0; i < count; i += each) {
      store.append(make_labels(i, std::min(each, count - i)));
      store.seal();
    }
  }
  [[nodiscard]] std::string exported(TextFormat form = TextFormat::jsonl) const {
    std::ostringstream out;
    export_labels(LabelReader(path()), {}, form, out);
    return out.str();
  }
  /// The store's labels as sorted lines, equal for equal sets of labels.
  static std::vector<std::string> sorted_lines(const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    std::ranges::sort(lines);
    return lines;
  }
  static void flip(const fs::path& file, std::size_t at, unsigned char mask = 0x10) {
    std::string bytes = read_file(file);
    bytes[at] = static_cast<char>(bytes[at] ^ mask);
    fs::remove(file);
    std::ofstream(file, std::ios::binary) << bytes;
  }
  /// Expect that every label in the store is one of make_labels(0, count). @return the number of labels
  [[nodiscard]] int expect_only_true_labels(int count) const {
    LabelStore::open(path()).seal();
    const LabelColumns rows = test::read_labels(path(), {"", "", true});
    const auto starts = rows.reply_starts();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Label l = rows.label(i, starts[i]);
      const int number = static_cast<int>(l.time_ms - 1'780'000'000'000);
      EXPECT_TRUE(number >= 0 && number < count && row_check(l, 1) == row_check(make_label(number), 1)) << number;
    }
    return static_cast<int>(rows.size());
  }
};

TEST_F(Tools, StatsCountLatestVerdictsAndAllCosts) {
  {
    auto store = LabelStore::open(path());
    store.append(std::vector{make_label(0, Verdict::error), make_label(15, Verdict::tie)});
    store.seal();
    store.append(std::vector{make_label(0, Verdict::second)});
    store.seal();
    store.append(make_labels(1, 2));
  }
  const StoreStats stats = store_stats(path());
  ASSERT_EQ(stats.points.size(), 1U);
  const PointStats& p = stats.points[0];
  EXPECT_EQ(p.category + "/" + p.point + "/" + p.judge + "/" + p.template_name, "chat/point-0/judge-8b/pairwise-en@3f9c01d2a4b7");
  EXPECT_EQ(p.labels, 2);
  EXPECT_EQ(p.verdicts, (std::array<std::int64_t, 6>{0, 1, 1, 0, 0, 0}));
  EXPECT_EQ(p.spent, (judge::Usage{3, 500 + 500 + 515, 20 + 20 + 25, 30 + 30 + 45}));
  EXPECT_EQ(stats.segments, 2);
  EXPECT_EQ(stats.lock->journal_rows, 2);
  EXPECT_FALSE(stats.lock->held);
}

TEST_F(Tools, VerifyAndOpenNoticeAnyChangedByteOfASegment) {
  make_store(120, 120);
  const std::string whole = read_file(segment(1));
  fs::remove(segment(1));
  for (std::size_t at = 0; at < whole.size(); at += at < 600 ? 37 : 151) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << at % 8));
    std::ignore = write("labels/segment-000001.h5", bytes);
    EXPECT_THROW(Segment{segment(1)}, DataError) << "byte " << at;
  }
  for (const std::size_t length : {std::size_t{0}, std::size_t{100}, std::size_t{512}, whole.size() / 2, whole.size() - 1}) {
    std::ignore = write("labels/segment-000001.h5", whole.substr(0, length));
    EXPECT_THROW(Segment{segment(1)}, DataError) << length << " bytes";
  }
  const Verification result = verify_store(path());
  ASSERT_EQ(result.damaged.size(), 1U);
  EXPECT_EQ(result.damaged[0].path, segment(1));
  EXPECT_NE(
      message_of<DataError>([&] { LabelStore::open(path()); }).find("segment-000001.h5: the content does not match the seal"),
      std::string::npos);
}

TEST_F(Tools, RepairSavesWhatIsReadableAndNothingElse) {
  make_store(5000, 5000);
  const std::string whole = read_file(segment(1));
  int fully = 0, partly = 0;
  for (int i = 0; i < 12; ++i) {
    fs::remove_all(path());
    LabelStore::open(path());
    std::ignore = write("labels/segment-000001.h5", whole);
    const std::size_t at = 512 + (whole.size() - 512) * static_cast<std::size_t>(i) / 12 + static_cast<std::size_t>(i * 7);
    flip(segment(1), at, static_cast<unsigned char>(1U << i % 8));
    const auto repaired = repair_store(path());
    ASSERT_EQ(repaired.size(), 1U) << "byte " << at;
    EXPECT_EQ(repaired[0].moved_to, path() / "damaged" / "segment-000001.h5");
    EXPECT_TRUE(fs::exists(repaired[0].moved_to));
    EXPECT_TRUE(verify_store(path()).whole()) << "byte " << at;
    const int left = expect_only_true_labels(5000);
    EXPECT_EQ(left, repaired[0].lost >= 0 ? 5000 - static_cast<int>(repaired[0].lost) : 0) << "byte " << at;
    if (repaired[0].lost >= 0) {
      EXPECT_EQ(store_stats(path()).spent.requests, 5000) << "what was lost stays paid";
    }
    fully += left == 5000 ? 1 : 0;
    partly += left > 0 && left < 5000 ? 1 : 0;
  }
  EXPECT_GT(partly, 4) << "a damaged chunk costs its rows only";
  std::printf("of 12 flips: %d lost nothing, %d some rows, %d all rows of the segment\n", fully, partly, 12 - fully - partly);
}

TEST_F(Tools, ContinuesAnInterruptedRepair) {
  make_store(200, 100);
  const std::string whole = read_file(segment(2));
  flip(segment(2), whole.size() - 2000);
  const std::string damaged = read_file(segment(2));
  repair_store(path());
  const auto before = sorted_lines(exported());
  fs::rename(path() / "damaged" / "segment-000002.h5", segment(2));  // as if it had not been put aside
  EXPECT_EQ(sorted_lines(exported()), before);
  LabelStore::open(path());
  EXPECT_FALSE(fs::exists(segment(2)));
  EXPECT_TRUE(fs::exists(path() / "damaged" / "segment-000002.h5"));
  EXPECT_TRUE(repair_store(path()).empty());
  EXPECT_EQ(sorted_lines(exported()), before);
}

/// A store whose writer was killed after 30 batches of 10 labels, with a database and a write-ahead log.
void leave_killed_store(const fs::path& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = LabelStore::open(path);
    for (int i = 0; i < 30; ++i) store.append(make_labels(i * 10, 10));
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
}

TEST_F(Tools, NoticesEveryHarmfulDamageToTheJournal) {
  leave_killed_store(path());
  const fs::path original = directory_ / "original";
  fs::copy(path(), original);
  ASSERT_GT(fs::file_size(original / "journal.sqlite-wal"), 100'000U);
  std::mt19937 random(7);
  int noticed = 0, harmless = 0;
  for (int i = 0; i < 40; ++i) {
    fs::remove_all(path());
    fs::copy(original, path());
    const fs::path file = path() / (i % 4 == 0 ? "journal.sqlite" : "journal.sqlite-wal");
    const std::size_t size = fs::file_size(file), at = i < 8 ? static_cast<std::size_t>(i) * 5 : random() % size;
    if (i % 7 == 6) {
      fs::resize_file(file, at);
    } else {
      flip(file, at, static_cast<unsigned char>(1U << i % 8));
    }
    const bool whole = verify_store(path()).whole();
    if (whole) {
      const int left = expect_only_true_labels(300);
      // A log cut off or damaged in its last transaction looks like a crash before that was acknowledged.
      EXPECT_GE(left, i % 7 == 6 ? 0 : 290) << file << " byte " << at;
      ++harmless;
      continue;
    }
    EXPECT_NE(message_of<DataError>([&] { LabelStore::open(path()); }), "") << file << " byte " << at;
    const auto repaired = repair_store(path());
    ASSERT_EQ(repaired.size(), 1U) << file << " byte " << at;
    EXPECT_TRUE(verify_store(path()).whole()) << file << " byte " << at;
    EXPECT_EQ(expect_only_true_labels(300), static_cast<int>(repaired[0].saved));
    ++noticed;
  }
  EXPECT_GT(noticed, 15);
  std::printf("of 40 damaged journals: %d noticed, %d harmless\n", noticed, harmless);
}

// ---- missing files ----

TEST_F(Tools, RefusesToGoOnWithoutASegmentAndNamesIt) {
  for (const int gone : {1, 2, 3}) {
    fs::remove_all(path());
    make_store(300, 100);
    fs::remove(segment(gone));
    const std::string message = message_of<DataError>([&] { LabelStore::open(path()); });
    EXPECT_NE(message.find(fmt::format("expected 300 labels in its segments, found 200: not there: segment-{:06}.h5;", gone)),
              std::string::npos)
        << message;
    EXPECT_FALSE(verify_store(path()).whole());
    EXPECT_EQ(LabelReader(path()).rows(), 200) << "what is there stays readable";
  }
}

TEST_F(Tools, RefusesToGoOnWithTheJournalAlone) {
  make_store(100, 100);
  fs::remove(segment(1));
  EXPECT_NE(message_of<DataError>([&] { LabelStore::open(path()); }).find("found 0: not there: segment-000001.h5;"),
            std::string::npos);
}

TEST_F(Tools, RefusesToGoOnWithoutTheJournalAndTheNewestSegments) {
  const auto lose = [&](const std::vector<int>& segments) {
    fs::remove_all(path());
    make_store(300, 100);
    for (const int gone : segments) fs::remove(segment(gone));
    fs::remove(path() / "journal.sqlite");
  };
  lose({});
  EXPECT_TRUE(verify_store(path()).whole()) << "nothing was in the journal";
  EXPECT_EQ(LabelStore::open(path()).size(), 300U);
  for (const std::vector<int>& segments : {std::vector{3}, std::vector{2, 3}, std::vector{1, 2, 3}}) {
    lose(segments);
    EXPECT_FALSE(verify_store(path()).whole());
    for (int start = 0; start < 2; ++start) {
      const std::string message = message_of<DataError>([&] { LabelStore::open(path()); });
      EXPECT_NE(message.find(fmt::format("expected 300 labels in its segments, found {}:", 300 - 100 * segments.size())),
                std::string::npos)
          << message;
    }
    ASSERT_EQ(repair_store(path()).size(), 1U);
    EXPECT_TRUE(verify_store(path()).whole());
    LabelStore::open(path()).append(make_labels(300, 10));
    EXPECT_TRUE(verify_store(path()).whole());
    fs::remove(path() / "journal.sqlite");  // with 10 labels
    EXPECT_FALSE(verify_store(path()).whole());
  }
}

TEST_F(Tools, RefusesToGoOnWithoutLabelsThatWereInTheJournalAlone) {
  make_store(100, 100);
  LabelStore::open(path()).append(make_labels(100, 20));
  for (const char* file : {"journal.sqlite", "journal.sqlite-wal"}) fs::remove(path() / file);
  EXPECT_FALSE(verify_store(path()).whole());
  for (int start = 0; start < 2; ++start) {
    const std::string message = message_of<DataError>([&] { LabelStore::open(path()); });
    EXPECT_NE(message.find("expected 120 labels in its segments and its journal, found 100: not there: journal.sqlite;"),
              std::string::npos)
        << message;
  }
  ASSERT_EQ(repair_store(path()).size(), 1U);
  EXPECT_TRUE(repair_store(path()).empty());
  LabelStore::open(path()).append(make_labels(120, 20));
  LabelStore::open(path()).seal();
  EXPECT_EQ(LabelReader(path()).rows(), 120);
  EXPECT_TRUE(verify_store(path()).whole());
}

TEST_F(Tools, CountsACopiedSegmentOnce) {
  make_store(40, 20);
  fs::copy(segment(1), segment(9));
  EXPECT_EQ(store_stats(path()).spent.requests, 40);
  EXPECT_EQ(verify_store(path()).remarks.size(), 1U) << "it is named";
  EXPECT_EQ(LabelStore::open(path()).spent().requests, 40);
  EXPECT_FALSE(fs::exists(segment(9)));
}

TEST_F(Tools, RepairGivesUpMissingSegmentsAndLabellingGoesOn) {
  for (const int gone : {1, 3}) {
    fs::remove_all(path());
    make_store(300, 100);
    fs::remove(segment(gone));
    const auto repaired = repair_store(path());
    ASSERT_EQ(repaired.size(), 1U);
    EXPECT_EQ(repaired[0].lost, 100);
    EXPECT_TRUE(repair_store(path()).empty());
    EXPECT_TRUE(verify_store(path()).whole());
    {
      auto store = LabelStore::open(path());
      EXPECT_EQ(store.size(), 200U);
      store.append(make_labels(300, 50));
      store.seal();
    }
    EXPECT_EQ(LabelReader(path()).rows(), 250);
    fs::remove(segment(2));  // another one
    EXPECT_NE(message_of<DataError>([&] { LabelStore::open(path()); }), "");
  }
}

TEST_F(Tools, GoesOnAfterCompactionsAndRepairs) {
  make_store(300, 50);
  LabelStore::open(path()).append(std::vector{make_label(3, Verdict::error)});
  compact_store(path(), 120);
  LabelStore::open(path()).append(make_labels(300, 10));
  compact_store(path(), 1000);
  LabelStore::open(path()).seal();
  const fs::path last = segment(static_cast<int>(fs::exists(segment(12)) ? 12 : 11));
  ASSERT_TRUE(fs::exists(last)) << last;
  EXPECT_TRUE(verify_store(path()).whole());
  fs::permissions(last, fs::perms::owner_all);
  fs::resize_file(last, 2000);  // nothing of it can be read, not even how many labels it had
  ASSERT_EQ(repair_store(path()).size(), 1U);
  LabelStore::open(path()).append(make_labels(400, 10));
  fs::remove_all(path() / "damaged");
  LabelStore::open(path()).append(make_labels(410, 10));
  EXPECT_TRUE(verify_store(path()).whole());
}

TEST_F(Tools, TakesAStoreThatAnEarlierVersionRepairedAsItIs) {
  make_store(300, 100);
  fs::create_directory(path() / "damaged");
  fs::rename(segment(2), path() / "damaged" / "segment-000002.h5");
  EXPECT_TRUE(verify_store(path()).whole());
  EXPECT_EQ(LabelStore::open(path()).size(), 200U);
}

// ---- compaction ----

TEST_F(Tools, CompactKeepsLabelsAndCosts) {
  make_store(500, 50);
  {
    auto store = LabelStore::open(path());
    store.append(std::vector{make_label(3, Verdict::error), make_label(4, Verdict::error)});
    store.seal();
    store.append(std::vector{make_label(3), make_label(4)});
    store.seal();
  }
  const auto before = sorted_lines(exported());
  const StoreStats stats = store_stats(path());
  const Compaction done = compact_store(path(), 1000);
  EXPECT_EQ(done.segments_before, 12);
  EXPECT_EQ(done.segments_after, 1);
  EXPECT_EQ(done.rows_dropped, 4);
  EXPECT_LT(done.bytes_after, done.bytes_before);
  EXPECT_EQ(sorted_lines(exported()), before);
  EXPECT_TRUE(verify_store(path()).whole());
  const StoreStats after = store_stats(path());
  EXPECT_EQ(after.spent, stats.spent);
  EXPECT_EQ(LabelStore::open(path()).spent(), stats.spent);
  ASSERT_EQ(after.points.size(), stats.points.size());
  for (std::size_t i = 0; i < after.points.size(); ++i) EXPECT_EQ(after.points[i].spent, stats.points[i].spent);
  EXPECT_EQ(compact_store(path(), 1000).segments_after, 1) << "nothing to do";
  EXPECT_EQ(compact_store(path(), 100).segments_after, 1) << "segments are not split";
}

TEST_F(Tools, CompactFillsSegmentsUpToTheLimit) {
  make_store(500, 50);
  EXPECT_EQ(compact_store(path(), 120).segments_after, 5);
  EXPECT_EQ(expect_only_true_labels(500), 500);
}

TEST_F(Tools, CountsEveryLabelOnceAfterACompactionInterruptedBeforeRemoval) {
  make_store(200, 50);
  const StoreStats stats = store_stats(path());
  const auto before = sorted_lines(exported());
  fs::copy(path(), directory_ / "old");
  compact_store(path(), 1000);
  for (int removed = 0; removed <= 4; ++removed) {  // as if it had stopped after removing that many
    for (int i = removed + 1; i <= 4; ++i) {
      fs::copy(directory_ / "old" / segment(i).filename(), segment(i), fs::copy_options::overwrite_existing);
    }
    EXPECT_EQ(sorted_lines(exported()), before);
    EXPECT_EQ(store_stats(path()).spent, stats.spent);
    const auto store = LabelStore::open(path());
    EXPECT_EQ(store.spent(), stats.spent);
    EXPECT_EQ(store.size(), 200U);
    EXPECT_FALSE(fs::exists(segment(4))) << "the next writer removes what was replaced";
  }
}

TEST_F(Tools, LosesNothingInACompactionKilledAnywhere) {
  std::mt19937 random(3);
  make_store(2000, 100);
  const StoreStats stats = store_stats(path());
  const auto before = sorted_lines(exported());
  fs::copy(path(), directory_ / "old");
  for (int i = 0; i < 8; ++i) {
    fs::remove_all(path());
    fs::copy(directory_ / "old", path());
    const pid_t child = ::fork();
    if (child == 0) {
      compact_store(path(), 500);
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    EXPECT_EQ(sorted_lines(exported()), before);
    EXPECT_EQ(store_stats(path()).spent, stats.spent);
    EXPECT_TRUE(verify_store(path()).whole());
    compact_store(path(), 500);
    EXPECT_EQ(sorted_lines(exported()), before);
    EXPECT_EQ(store_stats(path()).segments, 4);
  }
}

// ---- text ----

TEST_F(Tools, ExportedLabelsAreImportedAsTheyWere) {
  {
    std::vector<Label> labels = make_labels(0, 50);
    labels[1].reply = "with \"quotes\", commas,\nand lines; \xe6\xbc\xa2\xe5\xad\x97";
    labels[2].reply = "no UTF-8: \xff\x00";
    labels[3].first_probability = 0.1F;
    labels[4].verdict = Verdict::refused;
    auto store = LabelStore::open(path());
    store.append(labels);
    store.seal();
  }
  const std::string text = exported();
  std::ignore = write("labels.jsonl", text);
  const LabelReader original(path());
  auto copy = LabelStore::open(directory_ / "copy");
  const Import done = import_labels(copy, directory_ / "labels.jsonl", "");
  EXPECT_EQ(done.rows, 50);
  EXPECT_EQ(done.added, 50);
  const LabelReader imported(directory_ / "copy");
  EXPECT_TRUE(diff_stores(original, imported).equal());
  std::ostringstream again;
  export_labels(imported, {}, TextFormat::jsonl, again);
  EXPECT_EQ(again.str(), text);
  EXPECT_EQ(import_labels(copy, directory_ / "labels.jsonl", "").already_there, 50);
}

TEST(DiffText, HasTheCountsFirstAndKeysOnRequest) {
  StoreDiff diff;
  diff.same = 7;
  diff.only_a = 1;
  diff.differing = 1;
  diff.rows = {{sha256("x"), "chat", "tone", "j", Verdict::first, std::nullopt},
               {sha256("y"), "chat", "fact", "j", Verdict::tie, Verdict::error}};
  EXPECT_EQ(diff_text(diff, "A", "B", false),
            "7 the same, 1 only in A, 0 only in B, 1 with different verdicts (--all lists them)\n");
  EXPECT_EQ(diff_text(diff, "A", "B", true), "7 the same, 1 only in A, 0 only in B, 1 with different verdicts\n" +
                                                 to_hex(sha256("x")) + " chat/tone j: first -\n" + to_hex(sha256("y")) +
                                                 " chat/fact j: tie error\n");
  EXPECT_EQ(diff_text({}, "A", "B", false), "0 the same, 0 only in A, 0 only in B, 0 with different verdicts\n");
}

TEST_F(Tools, CsvHasOneHeaderAndQuotedTexts) {
  {
    Label l = make_label(3);
    l.reply = "a \"b\",\nc\xff";
    auto store = LabelStore::open(path());
    store.append(std::vector{l});
    store.seal();
  }
  EXPECT_EQ(
      exported(TextFormat::csv),
      "key,pair,category,point,judge,template,swapped,sample,verdict,reply,first_probability,prompt_tokens,completion_tokens,"
      "cost_micros,time_ms\n" +
          to_hex(make_label(3).key) + "," + to_hex(make_label(3).pair) +
          ",\"chat\",\"point-3\",\"judge-8b\",\"pairwise-en@3f9c01d2a4b7\",true,3,first,\"a "
          "\"\"b\"\",\nc\xef\xbf\xbd\",0.25,503,23,"
          "33,1780000000003\n");
}

TEST_F(Tools, ImportsAPointsFileAsTwoAgreeingLabelsPerPair) {
  std::ignore =
      write("points.jsonl", R"({"query": "q", "responses": ["a", "b"], "rank": [1, 2], "point": "logic"})"
                            "\n"
                            R"({"query": "q", "responses": ["c", "d"], "rank": [2, 1], "point": "logic", "category": "chat"})"
                            "\n"
                            R"({"query": "q", "responses": ["e", "f"], "rank": [1, 1], "point": "logic"})"
                            "\n");
  {
    auto store = LabelStore::open(path());
    EXPECT_EQ(import_labels(store, directory_ / "points.jsonl", "text").added, 6);
    EXPECT_EQ(import_labels(store, directory_ / "points.jsonl", "text").already_there, 6);
  }
  const std::vector<std::pair<Digest, preference::SwapOutcome>> expected{
      {preference::pair_digest({{"user", "q"}}, "a", "b"), preference::SwapOutcome::first},
      {preference::pair_digest({{"user", "q"}}, "c", "d"), preference::SwapOutcome::second},
      {preference::pair_digest({{"user", "q"}}, "e", "f"), preference::SwapOutcome::tie}};
  const LabelColumns rows = test::read_labels(path(), {});
  ASSERT_EQ(rows.size(), 6U);
  for (const auto& [digest, outcome] : expected) {
    preference::Verdict order[2] = {};
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (rows.pair[i] == digest) order[rows.swapped[i]] = rows.verdict_of(i);
      EXPECT_EQ(rows.label(i, 0).judge, "imported");
    }
    EXPECT_EQ(preference::check_swap(order[0], order[1]), outcome);
  }
  EXPECT_EQ(test::read_labels(path(), {"chat", "logic", false}).size(), 2U);
}

TEST_F(Tools, StoresNothingFromAFileWithABadLine) {
  auto store = LabelStore::open(path());
  const std::string good = to_json(make_label(1)).dump();
  const auto message = [&](const std::string& line) {
    const std::string file = write("in.jsonl", good + "\n" + line + "\n");
    return message_of<DataError>([&] { import_labels(store, file, ""); });
  };
  EXPECT_NE(message("{").find("in.jsonl:2: expected one JSON object"), std::string::npos);
  EXPECT_NE(message("[1]").find("in.jsonl:2: expected a JSON object, found [1]"), std::string::npos);
  EXPECT_NE(message(R"({"a": 1})").find("found the keys"), std::string::npos);
  nlohmann::json row = to_json(make_label(2));
  row["verdict"] = "12";
  EXPECT_NE(message(row.dump()).find("\"12\" is not a verdict"), std::string::npos);
  row = to_json(make_label(2)), row["key"] = "0g";
  EXPECT_NE(message(row.dump()).find("hexadecimal in \"key\""), std::string::npos);
  row = to_json(make_label(2)), row["sample"] = 1e10;
  EXPECT_NE(message(row.dump()).find("expected an integer in \"sample\""), std::string::npos);
  row = to_json(make_label(2)), row["first_probability"] = 1.5;
  EXPECT_NE(message(row.dump()).find("expected null or 0 to 1"), std::string::npos);
  EXPECT_NE(message(R"({"query": "q", "responses": ["a", "b"], "rank": [1, 2], "point": "p"})").find("--category"),
            std::string::npos);
  EXPECT_EQ(store.size(), 0U);
}

TEST_F(Tools, DiffFindsKeysOfOneStoreAndDifferentVerdicts) {
  make_store(10, 10);
  {
    auto other = LabelStore::open(directory_ / "other");
    other.append(make_labels(2, 10));
    other.append(std::vector{make_label(5, Verdict::tie)});
    other.seal();
  }
  const StoreDiff diff = diff_stores(LabelReader(path()), LabelReader(directory_ / "other"));
  EXPECT_EQ(diff.same, 7);
  EXPECT_EQ(diff.only_a, 2);
  EXPECT_EQ(diff.only_b, 2);
  EXPECT_EQ(diff.differing, 1);
  for (const DiffRow& row : diff.rows) {
    if (row.a && row.b) {
      EXPECT_EQ(row.key, make_label(5).key);
      EXPECT_EQ(*row.b, Verdict::tie);
    }
  }
  EXPECT_TRUE(diff_stores(LabelReader(path()), LabelReader(path())).equal());
}

}  // namespace
}  // namespace dmoerm::label_store::test
