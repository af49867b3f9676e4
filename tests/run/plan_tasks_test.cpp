// Planning a run: the data it refuses, the identities of its tasks, and how much its baselines train.
#include "run/plan_tasks.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "base/error.h"
#include "config/fields.h"
#include "config/identity.h"
#include "data/group_selection.h"
#include "run/check_labels.h"
#include "run/store_sizes.h"
#include "support/captured_log.h"
#include "support/scratch.h"
#include "support/word_renderer.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;

/// Gives one of a configuration's keys another value: those of sections, and those of the first element of a list.
class Change {
 public:
  explicit Change(std::size_t number) : number_(number) {}
  template <class Member>
  void operator()(const char* name, Member& member, const config::Rule& rule, config::Affects affects, const char* /*meaning*/) {
    const std::string outside = path_;
    path_ += (outside.empty() ? "" : ".") + std::string(name);
    if constexpr (config::is_section<Member>) {
      config::describe(*this, member);
    } else if constexpr (config::is_value_list<Member>) {
      if (!member.empty() && seen_++ == number_) {
        changed(affects);
        member.pop_back();
      }
    } else if constexpr (config::is_list<Member>) {
      if (!member.empty()) config::describe(*this, member.front());
    } else if (seen_++ == number_) {
      changed(affects);
      if constexpr (std::is_same_v<Member, bool>) {
        member = !member;
      } else if constexpr (config::WordSetting<Member>) {
        const Member first = *config::from_word<Member>(rule.words.front());
        member = member == first ? *config::from_word<Member>(rule.words.back()) : first;
      } else if constexpr (std::is_same_v<Member, std::string>) {
        member += "x";
      } else if constexpr (std::is_floating_point_v<Member>) {
        member = member / 2 + 0.001;
      } else if constexpr (std::is_same_v<Member, config::ScoreGap>) {
        member.of_all += 1;
      } else {
        member += 1;
      }
    }
    path_ = outside;
  }
  /// The dotted path of the key; empty if there are fewer keys.
  [[nodiscard]] const std::string& key() const { return key_; }
  /// Whether the table says that a stage's identity holds it.
  [[nodiscard]] bool affects(config::Affects stages) const {
    return config::share_a_stage(affects_, stages) && !config::by_content(affects_);
  }

 private:
  void changed(config::Affects affects) {
    key_ = path_;
    affects_ = affects;
  }
  std::size_t number_, seen_ = 0;
  std::string path_, key_;
  config::Affects affects_ = config::Affects::nothing;
};

class Planning : public test::Scratch {
 protected:
  Planning() {
    config_.categories = {{"chat", {"tone"}, 0.0}, {"code", {"style"}, 0.0}};  // fact is 0 for all, so it cannot train
    config_.experts.labels_min = 4;
    config_.base.tuning = config::Tuning::lora;
    for (const char* split : {"train", "validation", "test"}) {
      for (int i = 0; i < 20; ++i) {
        rows_.push_back(row("chat", split, {{"tone", 1}, {"fact", 0}}));
        rows_.push_back(row("code", split, {{"style", 1}}));
      }
    }
  }

  /// A prompt of its own with two responses, the first better in everything that `scores` names with a 1.
  json row(const char* category, const char* split, const std::map<std::string, int>& scores) {
    json first = json::object(), second = json::object();
    for (const auto& [point, score] : scores) first[point] = score, second[point] = 0;
    const int number = rows_made_++;
    return {{"id", std::to_string(number)},
            {"category", category},
            {"split", split},
            {"prompt", "prompt number " + std::to_string(number)},
            {"responses",
             {{{"text", "one " + std::to_string(number)}, {"overall", 1}, {"scores", first}},
              {{"text", "two " + std::to_string(number)}, {"overall", 0}, {"scores", second}}}}};
  }

  std::vector<RunTask> plan() { return plan_tasks(config_, store()); }
  data::TokenStore store() {
    std::string text;
    for (const json& r : rows_) text += r.dump() + "\n";
    data::IngestRequest request;
    request.data.inputs.push_back({write("rows.jsonl", text), "auto", "", config::InputSplit::own, 1.0});
    request.categories = config_.categories;
    request.renderer = test::word_renderer(1 << 30);
    request.output = directory_ / "store.h5";
    data::ingest(request);
    return data::TokenStore::open(request.output);
  }
  std::string refusal() {
    return test::message_of<ConfigError>([&] { (void)plan(); });
  }
  /// Remove a label from the rows of some splits.
  void forget(const std::string& point, const std::vector<std::string>& splits) {
    for (json& r : rows_) {
      if (std::ranges::find(splits, r["split"].get<std::string>()) == splits.end()) continue;
      for (json& response : r["responses"]) response["scores"].erase(point);
    }
  }

  int rows_made_ = 0;
  std::vector<json> rows_;
  config::RunConfig config_;
};

TEST_F(Planning, AcceptsCompleteData) { EXPECT_EQ(refusal(), ""); }

TEST_F(Planning, ListsEveryProblemAtOnce) {
  config_.categories[0].points = {"tone", "fact", "humour"};
  config_.categories[1].points = {"stile"};
  config_.experts.labels_min = 15;  // phase 1 has about 12 of 20 groups
  const std::string said = refusal();
  EXPECT_NE(said.find("category chat, tone: 1"), std::string::npos) << said;
  EXPECT_NE(said.find("ordered pairs, at least 15 needed, in the groups of phase 1 and 2 (phase1_share 0.6 of the train split"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("category chat, fact: all labels are of one kind: no two responses to a prompt differ"), std::string::npos)
      << said;
  EXPECT_NE(said.find("category chat, humour: no labels; the inputs label fact, tone"), std::string::npos) << said;
  EXPECT_NE(said.find("category code, stile: no labels; did you mean style?"), std::string::npos) << said;
}

TEST_F(Planning, PointsToTheDroppedRows) {
  config_.categories[0].points = {"humour"};
  EXPECT_EQ(refusal().find("dropped"), std::string::npos);
  rows_.push_back(row("poetry", "train", {{"tone", 1}}));  // not a configured category
  EXPECT_NE(refusal().find("rows were dropped: `dmoerm ingest --config FILE"), std::string::npos);
}

TEST_F(Planning, RefusesMissingLabelsBesideUnusedOnes) {
  forget("style", {"train", "validation", "test"});
  EXPECT_NE(refusal().find("category code, style: no labels; the inputs label no point of this category"), std::string::npos);
}

TEST_F(Planning, RefusesMissingValidationOrTestLabels) {
  forget("tone", {"validation"});
  const std::string no_point = refusal();
  EXPECT_NE(no_point.find("category chat, tone: 0 ordered pairs, at least 1 needed, in the validation split"), std::string::npos)
      << no_point;
  EXPECT_EQ(no_point.find("overall"), std::string::npos) << no_point;

  for (json& r : rows_) {
    if (r["split"] != "train") r["responses"][0]["overall"] = 0;
  }
  const std::string no_overall = refusal();
  for (const char* category : {"chat", "code"}) {
    for (const char* split : {"validation split", "test split"}) {
      EXPECT_NE(
          no_overall.find(std::string("category ") + category + ", overall: 0 ordered pairs, at least 1 needed, in the " + split),
          std::string::npos)
          << no_overall;
    }
  }
}

TEST_F(Planning, WarnsOfFewValidationPrompts) {
  const auto warning = [&] {
    const data::TokenStore read = store();
    const test::CapturedLog log;
    warn_of_few_validation_prompts(config_, read);
    return log.text();
  };
  EXPECT_EQ(warning(), "") << "20 prompts";
  int left = 0;
  for (json& r : rows_) {
    if (r["split"] == "validation" && r["category"] == "chat" && ++left > 10)
      for (json& response : r["responses"]) response["scores"].erase("tone");
    if (r["split"] == "validation" && r["category"] == "code") r["prompt"] = "the same for all";
  }
  EXPECT_EQ(warning().find("category=chat"), std::string::npos) << "10 prompts have labels of tone";
  EXPECT_NE(warning().find("category=code: the validation split decides when training stops"), std::string::npos) << warning();
  EXPECT_NE(warning().find("(overall 1, style 1): raise data.validation_share"), std::string::npos) << warning();
  for (json& r : rows_) {
    if (r["split"] == "validation" && r["category"] == "chat" && left-- > 18) r["responses"][0]["scores"].erase("tone");
  }
  EXPECT_NE(warning().find("(tone 8)"), std::string::npos) << warning();
  config_.labels.judges.resize(1);
  EXPECT_EQ(warning().find("tone"), std::string::npos) << "judges will label it: " << warning();
}

TEST_F(Planning, PutsOnlySettingsThatAffectAStageIntoItsIdentity) {
  using config::Affects;
  config_.base.tuning = config::Tuning::full;
  config_.labels.judges.resize(1);
  config_.labels.judges[0].endpoints.resize(1);
  config_.data.inputs.push_back({write("rows.jsonl", ""), "auto", "", config::InputSplit::own, 1.0});
  const data::TokenStore store = this->store();
  const ExternalTasks labels = {{"label/chat/tone", TaskIdentity{{{"task", "label/chat/tone"}}, {}}}};
  const auto keys_of = [&](const config::RunConfig& config, const ComputedOn& on) {
    std::map<std::string, std::string> keys;
    try {
      for (const RunTask& task : plan_tasks(config, store, on, labels)) keys[task.node.id] = task.identity.key();
    } catch (const ConfigError& e) {  // the store has other categories or points
      keys["refused"] = e.what();
    }
    return keys;
  };
  const auto selection = [](const config::RunConfig& config, Affects stages) {
    nlohmann::json settings = data::selection_settings(config, stages);
    settings["data"]["inputs"][0].erase("sha256");
    return settings;
  };
  const auto before = keys_of(config_, {"weights", "cpu"});
  EXPECT_NE(before, keys_of(config_, {"other weights", "cpu"}));
  EXPECT_NE(before, keys_of(config_, {"weights", "cuda"}));
  for (std::size_t number = 0;; ++number) {
    config::RunConfig config = config_;
    Change change(number);
    config::describe(change, config);
    if (change.key().empty()) {
      EXPECT_GT(number, 150U);
      break;
    }
    EXPECT_EQ(keys_of(config, {"weights", "cpu"}) != before, change.affects(Affects::result)) << change.key();
    EXPECT_EQ(config::settings_that_affect(config, Affects::labels) != config::settings_that_affect(config_, Affects::labels),
              change.affects(Affects::labels))
        << change.key();
    if (change.key() == "data.inputs.path") continue;  // the new file would have to exist
    EXPECT_EQ(selection(config, Affects::groups) != selection(config_, Affects::groups), change.affects(Affects::groups))
        << change.key();
    EXPECT_EQ(selection(config, Affects::groups | Affects::tokens) != selection(config_, Affects::groups | Affects::tokens),
              change.affects(Affects::groups | Affects::tokens))
        << change.key();
  }
}

TEST_F(Planning, AnImportedExpertCountsByItsChecksumInItsOwnTaskAndInWhatReadsIt) {
  config_.categories[0].points = {"tone", "humour"};
  EXPECT_NE(refusal().find("humour: no labels"), std::string::npos);
  config_.categories[0].imported_experts = {{"humour", "/adapters/humour"}};
  EXPECT_EQ(refusal(), "") << "a point whose expert is imported needs no labels";
  const data::TokenStore store = this->store();
  const auto keys_of = [&](const std::string& checksum) {
    std::map<std::string, std::string> keys;
    for (const RunTask& task : plan_tasks(config_, store, {"weights", "cpu", {{"chat/humour", checksum}}}))
      keys[task.node.id] = task.identity.key();
    return keys;
  };
  const auto before = keys_of("first"), after = keys_of("second");
  std::set<std::string> changed;
  for (const auto& [id, key] : before) {
    if (after.at(id) != key) changed.insert(id);
  }
  for (const char* id : {"expert/chat/humour", "features/chat", "aggregator/chat", "eval/chat", "eval/code", "report", "bundle"})
    EXPECT_TRUE(changed.contains(id)) << id;
  for (const char* id : {"base/chat", "expert/chat/tone", "expert/code/style", "aggregator/code", "router", "single"})
    EXPECT_FALSE(changed.contains(id)) << id;
  for (const RunTask& task : plan_tasks(config_, store, {"weights", "cpu", {{"chat/humour", "first"}}})) {
    const auto& contents = task.identity.contents;
    EXPECT_EQ(contents.contains("imported.humour"), task.node.id == "expert/chat/humour") << task.node.id;
    if (task.node.id != "expert/chat/humour") continue;
    EXPECT_EQ(contents.at("imported.humour").title, "imported expert of humour in chat");
    EXPECT_EQ(contents.at("imported.humour").place, "/adapters/humour");
  }
  config_.categories[0].imported_experts[0].dir = "/elsewhere/humour";
  EXPECT_EQ(keys_of("first"), before) << "the files count, not their place";
}

TEST_F(Planning, LetsBaselinesTakeAsManyTokensAsBaseAndExperts) {
  config_.base.steps_max = 10;
  config_.base.groups_per_step = 8;
  config_.experts.train.steps_max = 13;
  const auto steps = [&](std::int64_t groups_per_step) {
    config_.experts.train.groups_per_step = groups_per_step;
    std::map<std::string, std::int64_t> found;
    for (const RunTask& task : plan()) {
      if (task.identity.settings.contains("steps")) found[task.node.id] = task.identity.settings["steps"];
    }
    return found;
  };
  const data::TokenStore store = this->store();
  const auto tokens = [&](std::int32_t category, train::Subset subset, std::string_view label) {  // of a group, on average
    double sum = 0;
    const auto groups = train::labelled_groups(store, category, subset, label, config_);
    for (const train::LabelledGroup& g : groups)
      sum += static_cast<double>(data::packed_tokens(store.group(g.group), g.responses, data::PackingRule::causal));
    return sum / static_cast<double>(groups.size());
  };
  double all = 0;
  const auto found = steps(4);
  for (const auto& [category, name, point] : {std::tuple(0, "chat", "tone"), {1, "code", "style"}}) {
    const double base = 10 * 8 * tokens(category, train::Subset::phase1, preference::kOverall),
                 experts = 13 * 4 * tokens(category, train::Subset::phase1, point);
    EXPECT_EQ(found.at(std::string("base/") + name), 10);
    const double step = 8 * tokens(category, train::Subset::train, preference::kOverall);
    EXPECT_NEAR(static_cast<double>(found.at(std::string("category/") + name)), (base + experts) / step, 0.5001);
    all += base + experts;
  }
  EXPECT_NEAR(static_cast<double>(found.at("single")), all / (8 * tokens(-1, train::Subset::train, preference::kOverall)),
              0.5001);
  EXPECT_GT(steps(16).at("single"), found.at("single"));
}

TEST_F(Planning, HasATaskForEveryNodeOfTheDrawnGraph) {
  const auto ids = [&] {
    std::vector<std::string> found;
    for (const RunTask& task : plan()) {
      found.push_back(task.node.id);
      EXPECT_EQ(task.node.external, !task.run) << task.node.id;
      EXPECT_EQ(plan::TaskId::parse(task.node.id), task.id);
    }
    return found;
  };
  const std::vector<std::string> without = {"ingest",          "router",        "base/chat", "expert/chat/tone",  "features/chat",
                                            "aggregator/chat", "category/chat", "base/code", "expert/code/style", "features/code",
                                            "aggregator/code", "category/code", "single",    "eval/chat",         "eval/code",
                                            "report",          "bundle"};
  EXPECT_EQ(ids(), without);
  config_.labels.judges.resize(1);
  std::vector<std::string> with = without;
  with.insert(with.begin() + 1, {"label/groups", "label/chat/tone", "label/code/style"});
  EXPECT_EQ(ids(), with);
}

TEST_F(Planning, GivesLabelsOfALaterRoundTheKeysThatChooseTheirPairs) {
  config_.labels.judges.resize(1);
  config_.labels.pairs.choose = config::PairChoice::uncertain;
  config_.labels.rounds = 2;
  const data::TokenStore store = this->store();
  const auto tasks = [&](int revision) {
    const TaskIdentity first{{{"task", "label-round-1/chat/tone"}, {"revision", revision}}, {}},
        second{{{"task", "label/chat/tone"}}, {}};
    std::map<std::string, RunTask> found;
    std::set<std::string> revised;
    const Revise revise = [&](const std::string& task, TaskIdentity identity) {
      revised.insert(task);
      identity.settings["revision"] = 7;
      return identity;
    };
    for (RunTask& task :
         plan_tasks(config_, store, {}, {{"label-round-1/chat/tone", first}, {"label/chat/tone", second}}, revise))
      found.emplace(task.node.id, std::move(task));
    EXPECT_EQ(revised, (std::set<std::string>{"label/chat/tone", "label/code/style"})) << "they read what the ranks make";
    return found;
  };
  const auto before = tasks(0), after = tasks(1);
  const TaskIdentity& last = before.at("label/chat/tone").identity;
  EXPECT_EQ(last.inputs,
            (std::map<std::string, std::string>{{"gaps-round-1/chat/tone", before.at("gaps-round-1/chat/tone").identity.key()}}));
  EXPECT_EQ(last.settings["revision"], 7);
  for (const char* changed :
       {"expert-round-1/chat/tone", "gaps-round-1/chat/tone", "label/chat/tone", "expert/chat/tone", "bundle"})
    EXPECT_NE(before.at(changed).identity.key(), after.at(changed).identity.key()) << changed;
  EXPECT_EQ(before.at("base/chat").identity.key(), after.at("base/chat").identity.key());
}

TEST_F(Planning, CountsTheTiesThatExpertsTrainOn) {
  const auto groups = [&](config::Ties kept) {
    config_.experts.train.ties = kept;
    const data::TokenStore read = store();
    return StoreSizes(config_, read).labelled("code", "style").groups;
  };
  const double without = groups(config::Ties::none);
  const json tie = {{"point", "style"}, {"a", 0}, {"b", 1}, {"first_order", "tie"}, {"second_order", "tie"}};
  for (int i = 0; i < 20; ++i) rows_.push_back(row("code", "train", {{"style", 0}}));  // equal scores
  for (int i = 0; i < 10; ++i) {
    rows_.push_back(row("code", "train", {}));
    rows_.back()["verdicts"] = json::array({tie});
  }
  const double judged = groups(config::Ties::judged);
  EXPECT_EQ(groups(config::Ties::none), without);
  EXPECT_GT(judged, without) << "a judge's ties";
  EXPECT_GT(groups(config::Ties::all), judged) << "equal scores too";
}

/// The settings that a run of 0.2 without rounds has in the identity of a point's labels: were they others, labels of finished
/// runs would be written again.
TEST_F(Planning, LeavesTheIdentityOfARunWithoutRoundsAsItWas) {
  config_.labels.judges.resize(1);
  config_.labels.judges[0].model = "judge";
  EXPECT_EQ(config::settings_that_affect(config_.labels, config::Affects::labels).dump(),
            R"({"judges":[{"answer":"auto","context_tokens":8192,"extra":"","max_tokens":64,"model":"judge",)"
            R"("probabilities":false,"seed":-1,"temperature":0.0,"tokenizer":"","top_p":1.0,"weight":1.0}],)"
            R"("pairs":{"choose":"all","pairs_max":0,"per_group":4},"samples":1,"splits":["train","validation"],)"
            R"("too_long":"truncate","vote":"majority"})");
  config_.labels.pairs.choose = config::PairChoice::uncertain;  // with a bundle
  const data::TokenStore store = this->store();
  for (const RunTask& task : plan_tasks(config_, store, {}, {{"label/chat/tone", {{{"task", "label/chat/tone"}}, {}}}})) {
    EXPECT_EQ(task.id.round, 0) << task.node.id;
    EXPECT_FALSE(task.node.id == "label/chat/tone" && !task.identity.inputs.empty());
    EXPECT_TRUE(std::ranges::none_of(task.node.inputs, [](const std::string& i) { return i.starts_with("gaps"); }))
        << task.node.id;
  }
}

TEST_F(Planning, KnowsAllTasksOfWhoseResultsATaskIsMade) {
  config_.labels.judges.resize(1);
  const data::TokenStore store = this->store();
  std::map<std::string, std::set<std::string>> sources;
  for (const RunTask& task : plan_tasks(config_, store, {}, {})) {
    std::set<std::string> all;
    for (const auto& [before, ignored] : sources) {
      if (!before.starts_with("label/") && before != "ingest") all.insert(before);
    }
    sources[task.node.id] = task.identity.sources;
    if (task.node.id == "bundle" || task.node.id == "report") {
      EXPECT_EQ(task.identity.sources, all) << task.node.id << " waits for each that is done again";
    }
  }
  EXPECT_EQ(sources.at("features/chat"), (std::set<std::string>{"base/chat", "expert/chat/tone"}));
  EXPECT_EQ(sources.at("expert/code/style"), std::set<std::string>{"base/code"}) << "labels are kept by what was asked";
  EXPECT_TRUE(sources.at("label/chat/tone").empty());
}

TEST_F(Planning, ChangesAKeyOnlyWithTheInputsThatATaskReads) {
  config_.labels.judges.resize(1);
  const data::TokenStore store = this->store();
  const auto tasks = [&](const ExternalTasks& external) {
    std::map<std::string, RunTask> found;
    for (RunTask& task : plan_tasks(config_, store, {}, external)) found.emplace(task.node.id, std::move(task));
    return found;
  };
  const auto before = tasks({});
  const auto changed = [&](const std::string& external) {
    const auto after = tasks({{external, {{{"revision", 1}}, {}}}});
    std::set<std::string> ids;
    for (const auto& [id, task] : after) {
      if (!task.node.external && task.identity.key() != before.at(id).identity.key()) ids.insert(id);
    }
    return ids;
  };
  const auto waits = [&](const std::string& task, const std::string& input) {
    return std::ranges::count(before.at(task).node.inputs, input) == 1;
  };
  EXPECT_TRUE(waits("router", "ingest") && waits("label/chat/tone", "label/groups") && waits("bundle", "report"));
  EXPECT_TRUE(changed("ingest").empty()) << "identities have the digest of the store instead";
  EXPECT_TRUE(changed("label/groups").empty());
  EXPECT_EQ(changed("label/chat/tone"), (std::set<std::string>{"expert/chat/tone", "features/chat", "aggregator/chat",
                                                               "eval/chat", "eval/code", "report", "bundle"}));
}

}  // namespace
}  // namespace dmoerm::run
