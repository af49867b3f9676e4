// Labelling as `dmoerm label` and `dmoerm run` do it: the configuration's points, texts, judges and store put together, and each
// finished point's verdicts written into the run directory.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "label/labeller.h"
#include "label/point_verdicts.h"
#include "label/targets.h"
#include "train/run_directory.h"

namespace dmoerm::cli {

class LabelJob {
 public:
  /// Select the groups (once a data set), load judges, template and criteria, choose the pairs. Sends nothing, needs no key and
  /// does not lock the store.
  /// @param only  points or categories; empty: all
  /// @throws ConfigError, DataError, IoError
  LabelJob(const config::RunConfig& config, train::RunDirectory directory, const std::vector<std::string>& only);

  /// "label/<category>/<point>"
  static std::string task(const label::Target& target) { return "label/" + target.category + "/" + target.point; }
  /// What decides a point's verdicts, by task.
  [[nodiscard]] const std::map<std::string, train::TaskIdentity>& identities() const { return identities_; }
  [[nodiscard]] const std::vector<label::Target>& targets() const { return targets_; }

  /// The dry run's table. Looks answers up in the store if it can be opened.
  std::string estimate();

  /// Ask what is not known. Opens the store for writing.
  /// @param point_done  told the task whose verdicts are in the run directory now
  /// @param run_limits  limits of this run alone
  label::LabelEnd run(const label::SpendLimits& run_limits, const std::function<bool()>& stop,
                      const std::function<void(const std::string& task)>& point_done);

 private:
  [[nodiscard]] label::PointQuestions questions(std::size_t target) const;
  void write_point(std::size_t target, const label::LabelStore& store);
  void write_report(const label::LabelStore& store);

  const config::RunConfig& config_;
  train::RunDirectory directory_;
  std::filesystem::path store_path_;
  std::vector<label::Judge> judges_;
  std::unique_ptr<label::GroupFile> groups_;
  std::vector<label::Target> targets_;
  std::vector<std::vector<label::GroupPairs>> pairs_;
  std::map<std::string, train::TaskIdentity> identities_;
};

/// Of `labels` where `store` is empty: `runs_dir`/labels.
std::filesystem::path label_store_path(const config::RunConfig& config);

}  // namespace dmoerm::cli
