#include "run/run_directory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/summed_json.h"
#include "run/changes.h"
#include "run/training_task.h"
#include "support/captured_log.h"
#include "support/scratch.h"
#include "train/checkpoint.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

class RunDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("dmoerm_run_directory_" + std::to_string(::getpid()));
    fs::remove_all(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_;
};

TEST_F(RunDirectoryTest, ListsWhatChangedSinceATaskWasBegun) {
  const RunDirectory run(directory_, begun_training);
  const TaskIdentity before{{{"lr", 0.1}}, {}}, after{{{"lr", 0.2}}, {}};
  const train::Checkpoint begun{3, {}, {{"key", before.key()}, {"settings", before.settings}}, {{"a", at::zeros({3})}}};
  train::save_checkpoint(run.task("base/b"), begun, 2);
  EXPECT_FALSE(run.change("base/b", before));
  ASSERT_TRUE(run.change("base/b", after));
  EXPECT_EQ(run.change("base/b", after)->differences, std::vector<std::string>{"lr: 0.1 -> 0.2"});
}

TEST_F(RunDirectoryTest, KnowsWhatIsDoneAndWhatChanged) {
  const RunDirectory run(directory_);
  const TaskIdentity before{{{"lr", 0.1}, {"nested", {{"rank", 4}}}}, {{"input", "abc"}}},
      after{{{"lr", 0.2}, {"nested", {{"rank", 4}}}}, {{"input", "abc"}}};
  EXPECT_FALSE(run.done("base/a", before));
  fs::create_directories(run.task("base/a"));
  write_file_atomically(run.task("base/a") / "out.bin", "content");
  run.complete("base/a", before, {"out.bin"}, {{"accuracy", 0.7}});
  EXPECT_TRUE(run.done("base/a", before));
  EXPECT_FALSE(run.change("base/a", before));
  EXPECT_FALSE(run.done("base/a", after));
  const auto change = run.change("base/a", after);
  ASSERT_TRUE(change);
  EXPECT_EQ(change->differences, std::vector<std::string>{"lr: 0.1 -> 0.2"});
  EXPECT_EQ(run.metrics("base/a").at("accuracy"), 0.7);
  write_file_atomically(run.task("base/a") / "out.bin", "damaged");
  EXPECT_FALSE(run.done("base/a", before));
}

TEST_F(RunDirectoryTest, DoesATaskAgainWhoseManifestIsDamaged) {
  const RunDirectory run(directory_);
  const TaskIdentity identity{{{"lr", 0.1}}, {}}, other{{{"lr", 0.2}}, {}};
  for (const std::string id : {"base/a", "bundle"}) {
    run.complete(id, identity, {}, {{"score", 0.25}});
    const fs::path manifest = id == "bundle" ? directory_ / "bundle.manifest.json" : run.task(id) / "manifest.json";
    const std::string whole = read_file(manifest);
    nlohmann::json earlier = nlohmann::json::parse(whole);
    earlier.erase(kOwnSum);
    write_json_atomically(manifest, earlier);
    EXPECT_TRUE(run.done(id, identity)) << "earlier versions wrote no checksum";
    std::vector<std::string> damaged = {
        "", "[]", "{}", "7", whole.substr(0, whole.size() / 2), earlier.dump().replace(2, 1, "\xff")};
    damaged.push_back(std::string(whole).replace(whole.find("0.25"), 4, "0.26"));
    for (const char* part : {"key", "outputs", "settings", "schema"}) {
      nlohmann::json without = earlier;
      without[part] = {nlohmann::json::array()};
      damaged.push_back(without.dump());
    }
    for (const std::string& text : damaged) {
      write_file_atomically(manifest, text);
      const test::CapturedLog log;
      EXPECT_FALSE(run.done(id, identity)) << text;
      EXPECT_TRUE(log.has("manifest.json: missing or damaged, task " + id + " is done again")) << log.text();
      EXPECT_FALSE(run.change(id, other)) << text;
      EXPECT_EQ(run.with_revision(id, identity).settings.at("revision"), 0);
    }
    EXPECT_EQ(run.complete_revision(id, run.with_revision(id, identity), {}, {}).settings.at("revision"), 0);
    EXPECT_TRUE(run.done(id, run.with_revision(id, identity)));
  }
}

TEST_F(RunDirectoryTest, DoesATaskAgainThatWasMadeOfOtherResults) {
  const RunDirectory run(directory_);
  const TaskIdentity base{{{"lr", 0.1}}, {}}, expert{{{"lr", 0.2}}, {}, {}, {"base/a"}};
  const auto finish = [&](const char* weights) {
    fs::create_directories(run.task("base/a"));
    write_file_atomically(run.task("base/a") / "weights", weights);
    run.complete("base/a", base, {"weights"}, {});
  };
  finish("one");
  run.complete("expert/a", expert, {}, {});
  EXPECT_TRUE(run.done("expert/a", expert) && run.still_done("expert/a", expert));
  finish("two");
  const test::CapturedLog log;
  EXPECT_FALSE(run.done("expert/a", expert));
  EXPECT_TRUE(log.has("task expert/a is done again: task base/a, of whose results it was made")) << log.text();
  EXPECT_FALSE(run.still_done("expert/a", expert));
  finish("one");
  EXPECT_TRUE(run.done("expert/a", expert) && run.still_done("expert/a", expert)) << "the same bits again";
  run.complete("expert/a", {expert.settings, {}}, {}, {});  // as earlier versions wrote it
  EXPECT_TRUE(run.done("expert/a", expert));
  EXPECT_FALSE(run.still_done("expert/a", expert)) << "not known once the base was done again";
}

TEST_F(RunDirectoryTest, NamesAnOutputThatIsNotAsItsTaskLeftIt) {
  const RunDirectory run(directory_);
  fs::create_directories(run.task("base/a"));
  const fs::path file = run.task("base/a") / "weights";
  write_file_atomically(file, "content");
  run.complete("base/a", {{}, {}}, {"weights"}, {});
  EXPECT_NO_THROW(run.expect_whole("base/a"));
  write_file_atomically(file, "contemt");
  const std::string said = test::message_of<DataError>([&] { run.expect_whole("base/a"); });
  EXPECT_NE(said.find("weights: missing or damaged since task base/a was done: run again"), std::string::npos) << said;
  fs::remove(file);
  EXPECT_NE(test::message_of<DataError>([&] { run.expect_whole("base/a"); }), "");
}

TEST_F(RunDirectoryTest, NamesAnotherVersionInsteadOfListingEverySetting) {
  const RunDirectory run(directory_);
  const TaskIdentity old{{{"trains", "all"}, {"wire", "float32"}}, {}}, now{{{"tuning", "full"}}, {}};
  run.complete("base/a", old, {}, {});
  const fs::path manifest = run.task("base/a") / "manifest.json";
  nlohmann::json written = read_json(manifest);
  EXPECT_EQ(written.at("schema"), kIdentitySchema);
  written.erase("schema");
  written.erase(kOwnSum);
  write_json_atomically(manifest, written);
  ASSERT_TRUE(run.change("base/a", now));
  EXPECT_EQ(run.change("base/a", now)->differences,
            std::vector<std::string>{"schema of the identity: 1 -> 2 (another version of dmoerm made it)"});
}

TEST_F(RunDirectoryTest, RaisesTheRevisionWhenOutputsChangeUnderTheSameSettings) {
  const RunDirectory run(directory_);
  const auto revision = [](const TaskIdentity& identity) { return identity.settings.at("revision").get<int>(); };
  const TaskIdentity plain{{{"judge", "a"}}, {}}, other{{{"judge", "b"}}, {}};
  const auto finish = [&](const TaskIdentity& identity, const char* verdicts) {
    fs::create_directories(run.task("label/c/p"));
    write_file_atomically(run.task("label/c/p") / "verdicts", verdicts);
    return run.complete_revision("label/c/p", run.with_revision("label/c/p", identity), {"verdicts"}, {});
  };
  const TaskIdentity first = finish(plain, "one");
  EXPECT_EQ(revision(first), 0);
  EXPECT_EQ(revision(finish(plain, "one")), 0) << "nothing has changed";
  EXPECT_EQ(revision(finish(plain, "two")), 1);
  EXPECT_TRUE(run.done("label/c/p", run.with_revision("label/c/p", plain)));
  EXPECT_FALSE(run.done("label/c/p", first)) << "tasks that read the old verdicts are stale";
  EXPECT_EQ(revision(finish(other, "three")), 0) << "other settings restart the revisions";
}

TEST_F(RunDirectoryTest, KeepsTheBundleUntilAnotherReplacesIt) {
  const RunDirectory run(directory_);
  const TaskIdentity identity{{}, {{"report", "abc"}}};
  fs::create_directories(run.task("bundle"));
  write_file_atomically(run.task("bundle") / "dmoerm.json", "{}");
  run.complete("bundle", identity, {"dmoerm.json"}, {});
  EXPECT_TRUE(run.done("bundle", identity));
  EXPECT_EQ(std::distance(fs::directory_iterator(run.task("bundle")), fs::directory_iterator()), 1) << "nothing is added to it";
  run.forget("bundle");
  EXPECT_FALSE(run.done("bundle", identity));
  EXPECT_TRUE(fs::exists(run.task("bundle") / "dmoerm.json"));
}

TEST_F(RunDirectoryTest, RefusesChangedTasksNamingEverythingThatDiffers) {
  const RunDirectory run(directory_);
  const TaskIdentity before{{{"lr", 0.1}}, {}}, after{{{"lr", 0.2}}, {}};
  run.complete("base/a", before, {}, {});
  run.complete("base/b", before, {}, {});
  run.complete("base/same", before, {}, {});
  const std::vector<IdentifiedTask> tasks = {{"base/a", after}, {"base/b", after}, {"base/same", before}, {"base/new", after}};
  const std::string said = test::message_of<ConfigError>([&] { stale_tasks(run, tasks, false); });
  EXPECT_NE(said.find("other data:\n  lr: 0.1 -> 0.2 (base/a, base/b)\n2 tasks would be done again. Run with --update"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("--update"), std::string::npos);
  EXPECT_EQ(stale_tasks(run, tasks, true), (std::vector<std::string>{"base/a", "base/b"}));
  const TaskIdentity used{{{"lr", 0.1}}, {{"base/a", "before"}}}, changed{{{"lr", 0.1}}, {{"base/a", "after"}}};
  run.complete("expert/a", used, {}, {});
  const std::string both = test::message_of<ConfigError>([&] {
    stale_tasks(run, {{"base/a", after}, {"expert/a", changed}}, false);
  });
  EXPECT_NE(both.find("2 tasks would be done again, 1 of them only because they use changed results"), std::string::npos) << both;
}

TEST_F(RunDirectoryTest, CountsTheFinishedTasksThatReadFromAChangedOne) {
  const RunDirectory run(directory_);
  const TaskIdentity before{{{"seed", 1}}, {}}, after{{{"seed", 2}}, {}};
  for (const char* id : {"ingest", "router", "base/chat", "expert/chat/tone", "bundle", "label/groups"})
    run.complete(id, before, {}, {});
  fs::create_directories(run.task("bundle"));
  write_file_atomically(run.task("bundle") / "manifest.json", "{}");  // no task's: that of the bundle lies beside its folder
  std::set<std::string> finished;
  for (const plan::TaskId& id : run.finished()) finished.insert(id.text());
  EXPECT_EQ(finished, (std::set<std::string>{"ingest", "router", "base/chat", "expert/chat/tone", "bundle", "label/groups"}));
  const std::string said = test::message_of<ConfigError>([&] { stale_tasks(run, {{"ingest", after}}, false, 4); });
  EXPECT_NE(said.find("(ingest)\nup to 5 tasks would be done again, 4 of them only because they use changed results. Run with"),
            std::string::npos)
      << said;
}

TEST_F(RunDirectoryTest, NamesWhatAHashStandsForAndNotOnlyTheHash) {
  const RunDirectory run(directory_);
  const auto imported = [](char digit, const std::string& folder) {
    return TaskIdentity{
        {{"imported", {{"tone", std::string(64, digit)}}}}, {}, {{"imported.tone", {"imported expert of tone in chat", folder}}}};
  };
  const std::string task = "expert/chat/tone";
  const auto said = [&](const TaskIdentity& now) {
    return test::message_of<ConfigError>([&] { stale_tasks(run, {{task, now}}, false); });
  };
  const std::string title = "\n  imported expert of tone in chat: ";
  run.complete(task, imported('a', "adapters/old"), {}, {});
  EXPECT_TRUE(run.done(task, imported('a', "elsewhere"))) << "the place does not count";
  EXPECT_NE(said(imported('b', "adapters/new"))
                .find(title + "adapters/old (SHA-256 aaaaaaaaaaaa) -> adapters/new (SHA-256 bbbbbbbbbbbb) (expert/chat/tone)"),
            std::string::npos)
      << said(imported('b', "adapters/new"));
  const std::string without = said({{{"lr", 0.1}}, {}});
  EXPECT_NE(without.find(title + "adapters/old (SHA-256 aaaaaaaaaaaa) -> (absent)"), std::string::npos) << without;
  TaskIdentity unnamed = imported('a', "");  // as an earlier version wrote it
  unnamed.contents.clear();
  run.complete(task, unnamed, {}, {});
  const std::string earlier = said(imported('b', "adapters/new"));
  EXPECT_NE(earlier.find(title + "SHA-256 aaaaaaaaaaaa -> adapters/new (SHA-256 bbbbbbbbbbbb)"), std::string::npos) << earlier;
}

}  // namespace
}  // namespace dmoerm::run
