#include "run/stage_ingest.h"

#include "data/group_selection.h"
#include "data/ingest.h"
#include "data/token_store_schema.h"
#include "plan/task_id.h"
#include "run/changes.h"
#include "run/task_settings.h"
#include "tokenizer/chat_template.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kStore = "store.h5";

TaskIdentity ingest_identity(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                             const tokenizer::ChatTemplate& chat_template) {
  json settings = data::selection_settings(config, config::Affects::groups | config::Affects::tokens);
  settings.update({{"schema", data::kStoreSchema}, {"tokenizer", tokenizer.digest()}, {"template", chat_template.digest()}});
  std::map<std::string, HashedContent> contents = contents_of_inputs(config);
  contents["tokenizer"] = {"tokenizer", (fs::path(config.backbone.dir) / "tokenizer.json").string()};
  contents["template"] = {"chat template", config.backbone.chat_template};
  return {settings, {}, contents};
}

}  // namespace

TaskIdentity run_ingest(const config::RunConfig& config, const RunDirectory& directory, bool update) {
  const plan::TaskId task = plan::TaskId::ingest();
  const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json");
  const tokenizer::ChatTemplate chat_template(config.backbone.chat_template, tokenizer, config.data.special_tokens_in_text);
  TaskIdentity identity = ingest_identity(config, tokenizer, chat_template);
  if (directory.done(task, identity)) return identity;
  stale_tasks(directory, {{task.text(), identity}}, update, update ? 0 : finished_by_ranks(directory));
  fs::create_directories(directory.task(task));
  data::ingest_for_run(config, tokenizer, chat_template, token_store_path(directory));
  directory.complete(task, identity, {kStore}, json::object());
  return identity;
}

fs::path token_store_path(const RunDirectory& directory) { return directory.task(plan::TaskId::ingest()) / kStore; }

}  // namespace dmoerm::run
