#include "run/make_bundle.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "moe/bundle_files.h"
#include "moe/save_bundle.h"
#include "run/pipeline.h"

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

/// Whether a whole bundle made from these tasks is there.
bool stands(const fs::path& directory, const std::string& report_key) {
  const fs::path file = directory / moe::kBundleManifest;
  if (!fs::exists(file)) return false;
  try {
    const nlohmann::json manifest = read_json(file);
    if (manifest.at("provenance").at("report_key") != report_key) return false;
    const nlohmann::json found = moe::file_sums(directory);
    for (const auto& [name, sum] : manifest.at("files").items()) {
      if (found.value(name, "") == sum) continue;
      spdlog::warn("[bundle] {}: missing or damaged, the bundle is made again", (directory / name).string());
      return false;
    }
    return true;
  } catch (const std::exception& e) {  // of no form that we write
    spdlog::warn("[bundle] {}: damaged, the bundle is made again: {}", file.string(), e.what());
    return false;
  }
}

}  // namespace

void check_bundle_template(const std::string& named, const std::string& digest, const std::string& provenance) {
  const std::string learnt = nlohmann::json::parse(provenance).value("template_digest", digest);
  if (learnt == digest) return;
  throw DataError(fmt::format(
      "backbone.chat_template: {} has digest {}, the inputs were read with {}: put the old file back, or run with --update",
      named, digest, learnt));
}

fs::path make_bundle(run::RunContext& context) {
  const config::RunConfig& config = context.config();
  const fs::path directory = context.directory().root() / "bundle";
  const std::string source = read_json(context.directory().task("report") / "manifest.json").at("key");
  if (stands(directory, source)) return directory;

  moe::Bundle bundle;
  bundle.model = *context.assemble_model();
  bundle.tokenizer =
      std::make_shared<tokenizer::Tokenizer>(tokenizer::Tokenizer::load(fs::path(config.backbone.dir) / "tokenizer.json"));
  bundle.chat_template = std::make_shared<tokenizer::ChatTemplate>(config.backbone.chat_template, *bundle.tokenizer,
                                                                   config.data.special_tokens_in_text);
  check_bundle_template(config.backbone.chat_template, bundle.chat_template->digest(), context.store().provenance());
  bundle.provenance = {{"run", config.name}, {"report_key", source}, {"data", context.store().digest()}, {"seed", config.seed}};
  moe::save_bundle(bundle, directory, config.backbone.dir, golden_texts());
  spdlog::info("[bundle] saved, loaded again and compared: {}", directory.string());
  return directory;
}

}  // namespace dmoerm::run
