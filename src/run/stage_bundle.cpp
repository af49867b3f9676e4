#include "run/stage_bundle.h"

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "moe/bundle.h"
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

/// Every file of a folder, relative to it.
std::vector<std::string> files_of(const fs::path& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().lexically_relative(folder).generic_string());
  }
  return files;
}

}  // namespace

void run_bundle(RunContext& context, const TaskIdentity& identity, comm::Communicator& group) {
  if (group.rank() != 0) return;
  const config::RunConfig& config = context.config();
  const std::string task = plan::TaskId::bundle().text();
  const fs::path directory = context.directory().task(task);
  moe::Bundle bundle;
  bundle.base = context.pretrained();
  bundle.tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json"));
  bundle.chat_template = std::make_shared<tokenizer::ChatTemplate>(config.backbone.chat_template, *bundle.tokenizer,
                                                                   config.data.special_tokens_in_text);
  bundle.max_length = config.data.max_length, bundle.min_prompt_tokens = config.data.min_prompt_tokens;
  bundle.batch_tokens = config.compute.micro_batch_tokens;
  bundle.router = moe::CategoryRouter::load(context.directory().task(plan::TaskId::router().text()));
  for (std::size_t i = 0; i < config.categories.size(); ++i) {
    const config::CategoryConfig& c = config.categories[i];
    const auto index = static_cast<std::int32_t>(i);
    const nlohmann::json metrics = context.directory().metrics(plan::TaskId::aggregator(c.name).text());
    const std::string chosen = metrics.at("chosen");
    moe::CategoryModel category{
        c.name,
        context.load_model(plan::TaskId::base(c.name).text()).backbone,
        c.points,
        {},
        moe::Aggregator::load(context.directory().task(plan::TaskId::aggregator(c.name).text()) / (chosen + ".safetensors"))};
    for (const auto& expert : context.load_experts(index)) category.experts.push_back(expert);
    bundle.categories.push_back(std::move(category));
    bundle.score_stats[c.name] = moe::stats_of(metrics.at(chosen).at("score"));
  }
  const LoadedModel single = context.load_model(plan::TaskId::single().text());
  bundle.single = {single.backbone, single.expert,
                   moe::stats_of(context.directory().metrics(plan::TaskId::single().text()).at("score"))};
  bundle.provenance = {{"run", config.name},
                       {"report_key", identity.inputs.at(plan::TaskId::report().text())},
                       {"data", context.store().digest()},
                       {"seed", config.seed}};
  moe::save_bundle(bundle, directory, config.backbone.dir, golden_texts());
  context.directory().complete(task, identity, files_of(directory), nlohmann::json::object());
  spdlog::info("[bundle] saved, loaded again and compared: {}", directory.string());
}

}  // namespace dmoerm::run
