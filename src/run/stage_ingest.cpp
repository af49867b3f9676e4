#include "run/stage_ingest.h"

#include "data/group_selection.h"
#include "data/ingest.h"
#include "data/token_store_schema.h"
#include "plan/task_id.h"
#include "run/changes.h"
#include "tokenizer/chat_template.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kStore = "store.h5";

TaskIdentity ingest_identity(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                             const tokenizer::ChatTemplate& chat_template) {
  const config::DataConfig& d = config.data;
  json settings = data::selection_settings(config);
  settings.update({{"schema", data::kStoreSchema},
                   {"tokenizer", tokenizer.digest()},
                   {"template", chat_template.digest()},
                   {"seed", config.seed},
                   {"data",
                    {{"max_length", d.max_length},
                     {"min_prompt_tokens", d.min_prompt_tokens},
                     {"bad_lines_max", d.bad_lines_max},
                     {"responses_per_group_max", d.responses_per_group_max},
                     {"groups_per_category_max", d.groups_per_category_max},
                     {"validation_share", d.validation_share},
                     {"test_share", d.test_share},
                     {"special_tokens_in_text", d.special_tokens_in_text}}}});
  return {settings, {}};
}

}  // namespace

TaskIdentity run_ingest(const config::RunConfig& config, const RunDirectory& directory, bool update) {
  const std::string task = plan::TaskId::ingest().text();
  const tokenizer::Tokenizer tokenizer = tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json");
  const tokenizer::ChatTemplate chat_template(config.backbone.chat_template, tokenizer, config.data.special_tokens_in_text);
  TaskIdentity identity = ingest_identity(config, tokenizer, chat_template);
  if (directory.done(task, identity)) return identity;
  stale_tasks(directory, {{task, identity}}, update);
  data::ingest_for_run(config, tokenizer, chat_template, token_store_path(directory));
  directory.complete(task, identity, {kStore}, json::object());
  return identity;
}

fs::path token_store_path(const RunDirectory& directory) { return directory.task(plan::TaskId::ingest().text()) / kStore; }

}  // namespace dmoerm::run
