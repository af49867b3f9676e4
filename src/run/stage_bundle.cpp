#include "run/stage_bundle.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "moe/bundle_files.h"
#include "moe/save_bundle.h"
#include "plan/task_id.h"
#include "preference/group.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// Texts whose scores every load of the bundle checks.
std::vector<std::pair<std::vector<preference::Message>, std::vector<std::string>>> golden_texts() {
  return {{{{"user", "How do I keep bread fresh for longer?"}},
           {"Store it in a paper bag at room temperature, or freeze what you will not eat within two days.", "Bread is bread."}},
          {{{"user", "My parcel is late and nobody answers."},
            {"assistant", "I am sorry to hear that."},
            {"user", "Then do something."}},
           {"I have just asked the carrier to trace it and will write to you before noon tomorrow.", "ok"}}};
}

/// Whether a task's results become files of the bundle.
bool is_in_bundle(const plan::TaskId& task) {
  using enum plan::TaskKind;
  const bool of_all_groups = task.round == 0 && task.fold == 0;
  return task.kind == router || task.kind == aggregator || task.kind == single ||
         (of_all_groups && (task.kind == base || task.kind == expert_set));
}

/// Every file of a folder, relative to it.
std::vector<std::string> files_of(const fs::path& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder).generic_string());
  }
  return files;
}

}  // namespace

void check_bundle_template(const std::string& named, const std::string& digest, const std::string& provenance) {
  const std::string learnt = nlohmann::json::parse(provenance).value("template_digest", digest);
  if (learnt == digest) return;
  throw DataError(
      "chat-template-changed",
      fmt::format(
          "backbone.chat_template: {} has digest {}, the inputs were read with {}: restore the old file, or run with --update",
          named, digest, learnt));
}

void run_bundle(RunContext& context, const TaskIdentity& identity, comm::Communicator& ranks) {
  if (ranks.rank() != 0) return;
  const config::RunConfig& config = context.config();
  const plan::TaskId task = plan::TaskId::bundle();
  const fs::path directory = context.directory().task(task);
  for (const std::string& source : identity.sources) {
    if (is_in_bundle(plan::TaskId::parse(source).value())) context.directory().expect_whole(source);
  }
  moe::Bundle bundle;
  bundle.model = *context.assemble_model();
  bundle.tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json"));
  bundle.chat_template = std::make_shared<tokenizer::ChatTemplate>(config.backbone.chat_template, *bundle.tokenizer,
                                                                   config.data.special_tokens_in_text);
  check_bundle_template(config.backbone.chat_template, bundle.chat_template->digest(), context.store().provenance());
  bundle.provenance = {{"run", config.name},
                       {"report_key", identity.inputs.at(plan::TaskId::report().text())},
                       {"data", context.store().digest()},
                       {"seed", config.seed}};
  moe::save_bundle(bundle, directory, config.backbone.dir, golden_texts());
  context.directory().complete(task, identity, files_of(directory), nlohmann::json::object());
  spdlog::info("[bundle] saved, and checked by loading it again: {}", directory.string());
}

}  // namespace dmoerm::run
