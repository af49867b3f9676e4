#include "label_store/label_store.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/files.h"
#include "label_store/journal.h"
#include "label_store/label_maker.h"
#include "label_store/reader.h"
#include "label_store/store_lock.h"
#include "label_store/verify.h"
#include "support/scratch.h"

namespace dmoerm::label_store::test {
namespace {

using dmoerm::test::message_of;

/// Run `work` in a separate process that ends without closing anything. @return its id
pid_t in_child(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  try {
    work();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "child: %s\n", e.what());
    ::_exit(1);
  }
  ::_exit(0);
}

int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

class Store : public dmoerm::test::Scratch {
 protected:
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "labels"; }

  /// Expect labels first .. first + count - 1 in the store, once each and equal to what was appended.
  void expect_labels(int count) const {
    LabelStore::open(path()).seal();
    const LabelColumns rows = test::read_labels(path(), {"", "", true});
    ASSERT_EQ(rows.size(), static_cast<std::size_t>(count));
    VerdictIndex seen;
    const auto starts = rows.reply_starts();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Label l = rows.label(i, starts[i]);
      const int number = static_cast<int>(l.time_ms - 1'780'000'000'000);
      EXPECT_EQ(row_check(l, 1), row_check(make_label(number), 1)) << number;
      seen.put(l.key, {}, 1);
    }
    EXPECT_EQ(seen.size(), rows.size());
    EXPECT_TRUE(verify_store(path()).whole());
  }
};

TEST_F(Store, ShowsUnparsableRepliesToANewerReaderAndStoresNothing) {
  const auto folder = directory_ / "store";
  {
    LabelStore store = LabelStore::open(folder);
    std::vector<Label> labels = test::make_labels(0, 6);
    for (const int i : {1, 2, 4}) labels[static_cast<std::size_t>(i)].verdict = Verdict::unparsable;
    store.append(labels);
    store.seal();
    store.append(std::vector{test::make_label(2, Verdict::second), test::make_label(7, Verdict::unparsable)});  // in the journal
  }
  LabelStore store = LabelStore::open(folder);
  const judge::Usage spent = store.spent();
  std::vector<std::string> shown;
  const auto reader = [&](const Label& label) {
    shown.push_back(label.reply);
    return label.key == test::make_label(4).key || label.key == test::make_label(7).key ? std::optional(Verdict::first)
                                                                                        : std::nullopt;
  };
  EXPECT_EQ(store.read_again(reader), 2);
  EXPECT_EQ(shown.size(), 3U) << "of 1, 4 and 7; 2 has a later label";
  EXPECT_EQ(store.find(test::make_label(4).key)->verdict, Verdict::first);
  EXPECT_EQ(store.find(test::make_label(7).key)->verdict, Verdict::first);
  EXPECT_EQ(store.find(test::make_label(1).key)->verdict, Verdict::unparsable);
  EXPECT_EQ(store.find(test::make_label(2).key)->verdict, Verdict::second);
  EXPECT_EQ(store.spent(), spent);
  EXPECT_EQ(store.read_again(reader), 0) << "those with a verdict are not shown again";
}

TEST_F(Store, FindsWhatWasAppendedAfterReopening) {
  {
    auto store = LabelStore::open(path());
    EXPECT_EQ(store.find(make_label(1).key), nullptr);
    store.append(make_labels(0, 10));
    ASSERT_NE(store.find(make_label(1).key), nullptr);
    store.seal();
    store.append(make_labels(10, 5));
  }
  {
    const auto store = LabelStore::open(path());
    EXPECT_EQ(store.size(), 15U);
    EXPECT_EQ(store.journal_rows(), 5);
    for (int i = 0; i < 15; ++i) {
      const CachedVerdict* known = store.find(make_label(i).key);
      ASSERT_NE(known, nullptr) << i;
      EXPECT_EQ(known->verdict, Verdict::first);
      EXPECT_EQ(known->first_probability, make_label(i).first_probability);
    }
    EXPECT_EQ(store.find(make_label(15).key), nullptr);
    EXPECT_EQ(store.spent().requests, 15);
    EXPECT_EQ(store.spent().cost_micros, 15 * 30 + 105);
  }
  expect_labels(15);
}

TEST_F(Store, CountsTheLatestLabelOfAKeyRegardlessOfTheClock) {
  Label later = make_label(1, Verdict::second);
  later.time_ms -= 3'600'000;
  {
    auto store = LabelStore::open(path());
    store.append(std::vector{make_label(1, Verdict::error), make_label(2)});
    store.seal();
    store.append(std::vector{later});
    EXPECT_EQ(store.find(later.key)->verdict, Verdict::second);
    store.seal();
  }
  const auto store = LabelStore::open(path());
  EXPECT_EQ(store.find(later.key)->verdict, Verdict::second);
  EXPECT_EQ(store.size(), 2U);
  EXPECT_EQ(store.spent().requests, 3);
  const LabelColumns rows = test::read_labels(path(), {"", later.point, false});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows.verdict_of(0), Verdict::second);
}

TEST_F(Store, FindsTheLatestLabelsOfAJudgeWithATemplate) {
  const auto points_of = [&](const LabelStore& store, std::size_t count) {
    std::vector<std::string> keys;
    for (const Label& label : store.latest(count, "judge-8b", "pairwise-en@3f9c01d2a4b7")) keys.push_back(to_hex(label.key));
    return keys;
  };
  const auto keys = [&](const std::vector<int>& numbers) {
    std::vector<std::string> texts;
    for (const int i : numbers) texts.push_back(to_hex(make_label(i).key));
    return texts;
  };
  LabelStore store = LabelStore::open(path());
  EXPECT_TRUE(store.latest(3, "judge-8b", "pairwise-en@3f9c01d2a4b7").empty());
  store.append(make_labels(0, 20));
  store.seal();
  store.append(make_labels(20, 2));
  std::vector<Label> others = make_labels(22, 2);
  others[0].judge = "another";
  others[1].template_name = "another@0";
  store.append(others);
  EXPECT_EQ(points_of(store, 3), keys({19, 20, 21})) << "from a segment and the journal";
  EXPECT_EQ(points_of(store, 100).size(), 22U);
  store.append(std::vector<Label>{make_label(3, Verdict::unparsable)});
  store.seal();
  EXPECT_EQ(points_of(store, 3), keys({20, 21, 3})) << "a label that was asked for again is a later one";
  EXPECT_EQ(store.latest(1, "judge-8b", "pairwise-en@3f9c01d2a4b7")[0].verdict, Verdict::unparsable);
  store.read_again([](const Label&) { return Verdict::second; });
  EXPECT_EQ(store.latest(1, "judge-8b", "pairwise-en@3f9c01d2a4b7")[0].verdict, Verdict::second);
}

TEST_F(Store, SealsByItselfWhenTheJournalIsLarge) {
  auto store = LabelStore::open(path(), {.seal_rows = 100});
  for (int i = 0; i < 25; ++i) store.append(make_labels(i * 10, 10));
  EXPECT_EQ(store.journal_rows(), 50);
  const auto segment = path() / "segment-000002.h5";
  ASSERT_TRUE(std::filesystem::exists(segment));
  EXPECT_EQ(std::filesystem::status(segment).permissions(), static_cast<std::filesystem::perms>(0444));
  EXPECT_EQ(LabelReader(path()).rows(), 200);
  EXPECT_EQ(StoreLock::read(path())->journal_rows, 50);
}

TEST_F(Store, ReadsOnePointAlone) {
  {
    auto store = LabelStore::open(path(), {.seal_rows = 70});
    for (int i = 0; i < 20; ++i) store.append(make_labels(i * 10, 10));
    store.seal();
  }
  const LabelColumns rows = test::read_labels(path(), {"chat", "point-3", true});
  const auto starts = rows.reply_starts();
  ASSERT_EQ(rows.size(), 14U);  // i % 3 == 0 and i % 5 == 3
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Label l = rows.label(i, starts[i]);
    EXPECT_EQ(l.category + "/" + l.point, "chat/point-3");
    EXPECT_EQ(l.reply, make_label(static_cast<int>(l.time_ms - 1'780'000'000'000)).reply);
  }
  EXPECT_EQ(test::read_labels(path(), {"chat", "no such point", false}).size(), 0U);
}

TEST_F(Store, RefusesALabelThatCouldNotBeReadBack) {
  auto store = LabelStore::open(path());
  std::vector<Label> labels{make_label(0), make_label(1)};
  labels[1].point = "bad\xff";
  EXPECT_NE(message_of<DataError>([&] { store.append(labels); }).find("UTF-8"), std::string::npos);
  labels[1].point = "good";
  labels[1].first_probability = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message_of<DataError>([&] { store.append(labels); }).find("not a number"), std::string::npos);
  EXPECT_EQ(store.size(), 0U);
  labels[1].first_probability = 0.5F;
  labels[1].reply = std::string("\0\xff\x01\n", 4);  // a reply may be any bytes
  store.append(labels);
  store.seal();
  const LabelColumns rows = test::read_labels(path(), {"", "good", true});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows.label(0, 0).reply, labels[1].reply);
}

// ---- opening ----

TEST_F(Store, RefusesASecondWriterAndNamesTheFirst) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = in_child([&] {
    const auto store = LabelStore::open(path());
    if (::write(ready[1], "x", 1) != 1) return;
    ::pause();
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string message = message_of<ConfigError>([&] { LabelStore::open(path()); });
  EXPECT_NE(message.find("in use by pid " + std::to_string(child) + " of user "), std::string::npos) << message;
  EXPECT_NE(message.find(", since 2"), std::string::npos) << message;
  EXPECT_NE(message.find("label_store_test"), std::string::npos) << message;
  EXPECT_TRUE(StoreLock::read(path())->held);
  EXPECT_EQ(LabelReader(path()).rows(), 0) << "readers need no lock";
  ::kill(child, SIGKILL);
  wait_for(child);
  LabelStore::open(path()).append(make_labels(0, 1));
  EXPECT_FALSE(StoreLock::read(path())->held);
  ::close(ready[0]), ::close(ready[1]);
}

TEST_F(Store, RefusesADirectoryThatIsNotAStore) {
  const std::string other = write("notes.txt", "mine");
  EXPECT_NE(message_of<ConfigError>([&] { LabelStore::open(directory_); }).find("not a label store, and it contains notes.txt"),
            std::string::npos);
  EXPECT_EQ(read_file(other), "mine");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "LOCK"));
  EXPECT_NE(message_of<ConfigError>([&] { LabelReader reader(directory_); }).find("found a directory without it"),
            std::string::npos);
  EXPECT_NE(message_of<ConfigError>([&] { LabelReader reader(directory_ / "absent"); }).find("found nothing"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "absent"));
}

TEST_F(Store, ThatLostItsMarkIsNotTakenForAnotherFolder) {
  LabelStore::open(path()).append(make_labels(0, 3));
  std::filesystem::remove(path() / "store.json");
  for (const std::string& said :
       {message_of<ConfigError>([&] { LabelStore::open(path()); }), message_of<ConfigError>([&] { LabelReader reader(path()); })})
    EXPECT_NE(said.find("found journal.sqlite without it: copy store.json"), std::string::npos) << said;
  write_file_atomically(path() / "store.json", R"({"what": "dmoerm label store", "schema": 1})");
  expect_labels(3);
}

TEST_F(Store, NamesAPointerInPlaceOfASegment) {
  LabelStore::open(path());
  std::ignore = write("labels/segment-000001.h5", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 7\n");
  EXPECT_NE(message_of<DataError>([&] { LabelStore::open(path()); }).find("a Git LFS pointer, not the file itself"),
            std::string::npos);
}

TEST_F(Store, RefusesAStoreOfANewerVersion) {
  LabelStore::open(path()).append(make_labels(0, 3));
  write_file_atomically(path() / "store.json", R"({"what": "dmoerm label store", "schema": 2})");
  EXPECT_NE(message_of<ConfigError>([&] { LabelStore::open(path()); }).find("schema 1 or older, found 2"), std::string::npos);
  write_file_atomically(path() / "store.json", R"({"what": "a cake"})");
  EXPECT_NE(message_of<ConfigError>([&] { LabelStore::open(path()); }).find("expected the mark of a label store"),
            std::string::npos);
}

TEST_F(Store, ContinuesAnInterruptedCreation) {
  std::filesystem::create_directories(path());
  std::ignore = write("labels/LOCK", "");
  std::ignore = write("labels/store.json.tmp-a-1", "{");
  EXPECT_TRUE(verify_store(path()).whole());
  EXPECT_EQ(read_labels(path(), {}).size(), 0U);
  LabelStore::open(path()).append(make_labels(0, 3));
  EXPECT_FALSE(std::filesystem::exists(path() / "store.json.tmp-a-1"));
  expect_labels(3);
}

// ---- faults ----

TEST_F(Store, KeepsEveryAcknowledgedLabelOfAKilledWriter) {
  std::mt19937 random(20261124);
  int stored = 0;
  for (int round = 0; round < 12; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = in_child([&] {
      auto store = LabelStore::open(path(), {.seal_rows = 40});
      std::mt19937 sizes(static_cast<unsigned>(round));
      for (int next = stored;;) {
        const int count = 1 + static_cast<int>(sizes() % 12);
        store.append(make_labels(next, count));
        next += count;
        if (::write(pipe_ends[1], &next, sizeof next) != sizeof next) return;
      }
    });
    ::close(pipe_ends[1]);
    int acknowledged = stored;
    ASSERT_EQ(::read(pipe_ends[0], &acknowledged, sizeof acknowledged), static_cast<ssize_t>(sizeof acknowledged));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 120'000));
    ::kill(child, SIGKILL);
    wait_for(child);
    for (int value = 0; ::read(pipe_ends[0], &value, sizeof value) == sizeof value;) acknowledged = value;
    ::close(pipe_ends[0]);
    const auto store = LabelStore::open(path());
    ASSERT_GE(static_cast<int>(store.size()), acknowledged) << "round " << round;
    ASSERT_LE(static_cast<int>(store.size()), acknowledged + 12);
    stored = static_cast<int>(store.size());
    for (int i = 0; i < stored; ++i) ASSERT_NE(store.find(make_label(i).key), nullptr) << i;
    ASSERT_EQ(store.spent().requests, stored) << "counted once, wherever it was killed";
  }
  EXPECT_GT(stored, 12);
  expect_labels(stored);
}

TEST_F(Store, CountsLabelsOnceThatWereSealedButNotClearedFromTheJournal) {
  LabelStore::open(path()).append(make_labels(0, 20));
  LabelStore::open(path()).append(std::vector{make_label(3, Verdict::tie)});  // supersedes one of them
  std::filesystem::copy(path() / "journal.sqlite", directory_ / "before");
  LabelStore::open(path()).seal();
  std::filesystem::copy(directory_ / "before", path() / "journal.sqlite", std::filesystem::copy_options::overwrite_existing);
  auto store = LabelStore::open(path());
  EXPECT_EQ(store.journal_rows(), 0);
  EXPECT_EQ(store.spent().requests, 21);
  store.append(make_labels(20, 1));
  store.seal();
  EXPECT_EQ(LabelReader(path()).rows(), 22);
  EXPECT_EQ(store.size(), 21U);
}

TEST_F(Store, IsReadableAfterItsJournalWasRemoved) {
  {
    auto store = LabelStore::open(path());
    store.append(make_labels(0, 20));
    store.seal();
  }
  std::filesystem::remove(path() / "journal.sqlite");
  LabelStore::open(path()).append(make_labels(20, 20));
  expect_labels(40);
}

TEST_F(Store, ReadsSegmentsCopiedFromAnotherStore) {
  {
    auto other = LabelStore::open(directory_ / "other");
    other.append(make_labels(10, 50));
    other.seal();
  }
  LabelStore::open(path()).append(make_labels(0, 10));
  std::filesystem::copy(directory_ / "other" / "segment-000001.h5", path());
  LabelStore::open(path()).append(make_labels(60, 5));
  expect_labels(65);
}

/// Append until the disk is full and the message contains `expected`, then make room and go on.
/// @param make_room  called once the disk is full
void fill_and_go_on(const std::filesystem::path& path, const std::string& expected, const std::function<void()>& make_room,
                    int& stored) {
  auto store = LabelStore::open(path, {.seal_rows = 1'000'000});
  std::string message;
  for (stored = 0; message.empty() && stored < 100'000;) {
    message = message_of<IoError>([&] { store.append(make_labels(stored, 50)); });
    if (message.empty()) stored += 50;
  }
  if (message.find(expected) == std::string::npos) throw DataError("expected a full disk, found: " + message);
  if (message.find(path.string()) == std::string::npos) throw DataError("the message names no file: " + message);
  if (static_cast<int>(store.size()) != stored) throw DataError("labels that were not acknowledged are known");
  const std::string sealing = message_of<IoError>([&] { store.seal(); });
  if (sealing.empty()) throw DataError("expected no room for a segment");
  make_room();
  store.append(make_labels(stored, 50));
  stored += 50;
  store.seal();
}

TEST_F(Store, LosesNothingWhenAFileMayNotGrow) {
  const pid_t child = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    LabelStore::open(path());  // the empty store fits
    const rlimit small{40'000, RLIM_INFINITY}, large{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &small);
    int stored = 0;
    fill_and_go_on(
        path(), "a limit on file sizes", [&] { ::setrlimit(RLIMIT_FSIZE, &large); }, stored);
    write_file_atomically(directory_ / "stored", std::to_string(stored));
  });
  ASSERT_EQ(wait_for(child), 0);
  expect_labels(std::stoi(read_file(directory_ / "stored")));
}

/// A small file system that exists as long as the object.
class Mount {
 public:
  explicit Mount(const std::filesystem::path& at) : at_(at) {
    std::filesystem::create_directories(at);
    mounted_ = ::mount("none", at.c_str(), "tmpfs", 0, "size=1m") == 0;
  }
  ~Mount() {
    if (mounted_) ::umount2(at_.c_str(), MNT_DETACH);
  }
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  void make_read_only() const { ::mount("none", at_.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr); }

 private:
  std::filesystem::path at_;
  bool mounted_ = false;
};

TEST_F(Store, LosesNothingWhenTheDiskIsFull) {
  const Mount disk(directory_);
  if (!disk.mounted()) GTEST_SKIP() << "skipped: no right to mount a small file system";
  std::ignore = write("ballast", std::string(500'000, 'x'));
  int stored = 0;
  fill_and_go_on(
      path(), "no space left", [&] { std::filesystem::remove(directory_ / "ballast"); }, stored);
  EXPECT_GT(stored, 100);
  expect_labels(stored);
}

TEST_F(Store, RefusesToWriteToAReadOnlyDirectoryButReadsIt) {
  const Mount disk(directory_);
  {
    auto store = LabelStore::open(path());
    store.append(make_labels(0, 10));
    store.seal();
    store.append(make_labels(10, 1));
  }
  if (disk.mounted()) {
    disk.make_read_only();
  } else if (::geteuid() != 0) {
    ::chmod(path().c_str(), 0555);
    ::chmod((path() / "LOCK").c_str(), 0444);
  } else {
    GTEST_SKIP() << "skipped: root without the right to mount writes anywhere";
  }
  const std::string message = message_of<IoError>([&] { LabelStore::open(path()); });
  EXPECT_NE(message.find("must be able to write"), std::string::npos) << message;
  EXPECT_EQ(test::read_labels(path(), {}).size(), 10U);
  EXPECT_EQ(StoreLock::read(path())->journal_rows, 1);
  EXPECT_TRUE(verify_store(path()).whole());
  ::chmod(path().c_str(), 0755);
}

TEST_F(Store, IsReadByH5py) {
  const char* python = std::getenv("DMOERM_PYTHON");
  if (python == nullptr || !std::filesystem::exists(python)) GTEST_SKIP() << "skipped: DMOERM_PYTHON names no interpreter";
  {
    auto store = LabelStore::open(path());
    store.append(make_labels(0, 5000));
    store.seal();
  }
  const std::string command = std::string(python) + " " DMOERM_SOURCE "/tests/label_store/read_segment.py " +
                              (path() / "segment-000001.h5").string() + " > " + (directory_ / "out").string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_file(directory_ / "out"), "5000 labels, 10 runs, " + std::to_string(5000LL * 30 + 4999LL * 2500) + " micros\n");
}

}  // namespace
}  // namespace dmoerm::label_store::test
