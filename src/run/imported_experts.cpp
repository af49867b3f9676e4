#include "run/imported_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "hf/compare_bases.h"
#include "hf/foreign_adapter.h"
#include "hf/import_adapter.h"
#include "moe/bundle_files.h"
#include "run/model_shape.h"
#include "run/point_labels.h"
#include "run/training_task.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "train/group_scorer.h"

namespace dmoerm::run {
namespace {

namespace fs = std::filesystem;

/// One hash over the files that an adapter may have. @param sha256  of a file
std::string digest_of(const fs::path& directory, const std::function<std::string(const fs::path&)>& sha256) {
  std::string parts;
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors", "value_head.safetensors"}) {
    if (fs::exists(directory / file)) parts += fmt::format("{} {}\n", file, sha256(directory / file));
  }
  return sha256_hex(parts);
}

/// Whether a directory may be what a name on a hub or a path of another machine means.
bool may_be(const fs::path& directory, const std::string& name) {
  const auto last = [](const fs::path& path) { return path.has_filename() ? path.filename() : path.parent_path().filename(); };
  std::string in_cache = "models--" + name;  // as the Hub's own cache calls the folder
  if (const std::size_t slash = in_cache.find('/'); slash != std::string::npos) in_cache.replace(slash, 1, "--");
  return last(directory.lexically_normal()) == last(fs::path(name).lexically_normal()) ||
         directory.string().find(in_cache + "/") != std::string::npos;
}

/// What a bundle's manifest says about the model that its experts adapt.
struct BundleFacts {
  fs::path base;
  std::string template_name, template_sha256;  ///< "" in a manifest without them
};

/// The facts of the bundle in which an expert lies, whose adapter_config.json names no base; nothing elsewhere.
std::optional<BundleFacts> bundle_of(const fs::path& adapter) {
  std::error_code ignored;
  const fs::path category = fs::weakly_canonical(adapter, ignored).parent_path(), root = category.parent_path().parent_path();
  if (!fs::exists(root / moe::kBundleManifest, ignored)) return std::nullopt;
  const nlohmann::json manifest = read_json(root / moe::kBundleManifest);
  for (const nlohmann::json& c : manifest.value("categories", nlohmann::json::array())) {
    if (c.value("name", "") != category.filename().string()) continue;
    const nlohmann::json about = manifest.value("template", nlohmann::json::object());
    return BundleFacts{root / c.value("base", "base"), about.value("name", ""), about.value("sha256", "")};
  }
  return std::nullopt;
}

std::string word(nn::HeadReads reads) {
  return reads == nn::HeadReads::mean ? "the mean of the response's states" : "one token's state";
}

/// Compares the models that adapters adapt with the backbone, each model once.
class BaseChecks {
 public:
  BaseChecks(const config::RunConfig& config, HashCache& hashes)
      : config_(config), hashes_(hashes), spec_(spec_of(config)), backbone_(config.backbone.dir) {
    spec_.head_reads = config.head.reads == config::Pooling::mean ? nn::HeadReads::mean : nn::HeadReads::last;
  }
  [[nodiscard]] const nn::BackboneSpec& spec() const { return spec_; }

  /// Compare the model of one adapter, as far as it is known. @throws DataError if it is another one than the backbone
  void check(const std::string& expert, const fs::path& adapter) {
    const std::string name = hf::base_name_of_adapter(adapter), file = (adapter / "adapter_config.json").string();
    const std::optional<BundleFacts> bundle = name.empty() ? bundle_of(adapter) : std::nullopt;
    const std::optional<fs::path> base = bundle ? bundle->base : hf::find_base_of_adapter(adapter);
    if (!base) return tell_unknown(expert, file, name);
    const Compared& compared = compare(*base);
    if (!compared.problem.empty())
      return warn(expert, file, fmt::format("it adapts {}, which cannot be compared ({})", base->string(), compared.problem));
    if (!compared.difference.empty())
      throw DataError("adapter-of-another-base",
                      fmt::format("{}: it adapts {}, {}: an adapter fits only the model that it was trained on; set backbone.dir "
                                  "to that, or train the adapter over this one",
                                  file, base->string(), compared.difference));
    if (bundle) check_template(expert, adapter, *bundle);
  }

 private:
  /// Both "": the model is the backbone.
  struct Compared {
    std::string difference, problem = {};  ///< What differs; why nothing can be said
  };

  const Compared& compare(const fs::path& base) {
    std::error_code ignored;
    const auto [found, is_new] = compared_.try_emplace(fs::weakly_canonical(base, ignored));
    if (!is_new) return found->second;
    try {
      found->second.difference = difference_of(base);
    } catch (const Error& e) {
      found->second.problem = e.what();
    }
    return found->second;
  }

  /// What tells a base from the backbone; "" if they are the same. @throws DataError, IoError if it cannot be read
  std::string difference_of(const fs::path& base) {
    const nn::BackboneSpec spec = nn::read_backbone_spec(base);
    if (spec.layers != spec_.layers)
      return fmt::format("and its head reads the state after {} layers, but the run's heads after {} (backbone.layers)",
                         spec.layers, spec_.layers);
    if (spec.head_reads != spec_.head_reads)
      return fmt::format("and its head reads {} ({} in config.json), but the run's heads {} (head.reads)", word(spec.head_reads),
                         nn::kHeadReadsKey, word(spec_.head_reads));
    std::error_code ignored;
    if (fs::equivalent(base, backbone_, ignored)) return "";
    const std::string tensor = differing_tensor(base);
    return tensor.empty() ? "" : fmt::format("whose tensor {} is not that of backbone.dir {}", tensor, backbone_.string());
  }

  /// hf::first_difference(), computed again only if a file of either model has changed.
  std::string differing_tensor(const fs::path& base) {
    constexpr const char* none = "none differs";
    std::vector<fs::path> files = model_files(base);
    std::ranges::copy(model_files(backbone_), std::back_inserter(files));
    const std::string name = fmt::format("tensors of {} and {} layers {}", fs::absolute(base).lexically_normal().string(),
                                         fs::absolute(backbone_).lexically_normal().string(), spec_.layers);
    const std::string found = find_or_compute(hashes_, shared_hashes_file(), name, files, [&] {
      spdlog::info("[expert] compares the weights of {} with those of backbone.dir {}", base.string(), backbone_.string());
      const std::string tensor = hf::first_difference(base, backbone_, spec_);
      return tensor.empty() ? none : tensor;
    });
    return found == none ? "" : found;
  }

  /// Say what is not known of a base that is not found. @param name  what the adapter says that it adapts, or ""
  void tell_unknown(const std::string& expert, const std::string& file, const std::string& name) {
    const bool cut = nn::read_backbone_spec(backbone_).layers > spec_.layers;
    const std::string depth =
        cut ? fmt::format(", nor is it known after how many layers its head reads (the run's heads: {}, backbone.layers)",
                          spec_.layers)
            : "";
    if (name.empty()) return warn(expert, file, "it does not say which model it adapts" + depth);
    if (cut || !may_be(backbone_, name))
      return warn(expert, file, fmt::format("it adapts {}, and there is no such directory to compare with{}", name, depth));
    if (!told_.insert(name).second) return;
    spdlog::info("[expert] {}: {}: its base {} is not here, so its weights were not compared with backbone.dir {}", expert, file,
                 name, backbone_.string());
  }

  /// Warn if the bundle's texts were written by another template.
  void check_template(const std::string& expert, const fs::path& adapter, const BundleFacts& bundle) {
    if (bundle.template_sha256.empty()) return;
    const std::string& own = template_sha256();
    if (own == bundle.template_sha256) return;
    spdlog::warn(
        "[expert] {}: {}: its bundle has the chat template {} (SHA-256 {}), but backbone.chat_template is {} (SHA-256 {}), and "
        "its rewards depend on it: look at its validation accuracy, or set backbone.chat_template to that of the bundle",
        expert, adapter.string(), bundle.template_name, bundle.template_sha256, config_.backbone.chat_template, own);
  }

  const std::string& template_sha256() {
    if (!template_sha256_.empty()) return template_sha256_;
    const auto tokenizer = tokenizer::Tokenizer::load(backbone_ / "tokenizer.json");
    template_sha256_ =
        tokenizer::ChatTemplate(config_.backbone.chat_template, tokenizer, config_.data.special_tokens_in_text).digest();
    return template_sha256_;
  }

  void warn(const std::string& expert, const std::string& file, const std::string& why) const {
    spdlog::warn("[expert] {}: {}: {}. If the backbone {} is not the model that it adapts, the expert's rewards are worthless",
                 expert, file, why, backbone_.string());
  }

  const config::RunConfig& config_;
  HashCache& hashes_;
  nn::BackboneSpec spec_;
  fs::path backbone_;
  std::map<fs::path, Compared> compared_;
  std::set<std::string> told_;  ///< Bases that are not here and of which the log says so
  std::string template_sha256_;
};

/// Say what is taken over, and what that means.
void tell(const std::string& expert, const std::string& directory, const hf::ImportedAdapter& imported,
          const config::RunConfig& config) {
  const nn::LoraSpec& lora = imported.adapter.lora();
  spdlog::info("[expert] {} is not trained but taken over from {} (rank {}, alpha {:g}, layers from {} on)", expert, directory,
               lora.rank, lora.alpha, lora.first_layer);
  if (imported.bias != 0)
    spdlog::info(
        "[expert] {}: the head's bias {:g} is left out; it adds the same to all rewards and changes nothing that is read of them",
        expert, imported.bias);
  spdlog::info(
      "[expert] {}: nobody knows here what it was trained on, so its rewards are used as they are{}. If it has seen train "
      "groups, "
      "the aggregator trusts it more than new prompts justify",
      expert, config.folds > 0 ? ", in every fold the same" : "");
}

/// A decoder's classifier is read at the last token that is not padding; experts read the last token.
void tell_if_read_elsewhere(const RunContext& context, const std::string& expert,
                            const std::vector<train::LabelledGroup>& groups) {
  const nlohmann::json config = read_json(fs::path(context.config().backbone.dir) / "config.json");
  const auto pad = config.find("pad_token_id");
  if (groups.empty() || pad == config.end() || !pad->is_number_integer()) return;
  const data::TokenGroup group = context.store().group(groups.front().group);
  const auto& response = group.responses.front();
  if (response.empty() || response.back() != pad->get<std::int64_t>()) return;
  spdlog::warn(
      "[expert] {}: texts end with token {}, which is pad_token_id in {}/config.json. transformers reads the token before it, "
      "and "
      "an expert reads it: if the adapter was trained that way, its rewards differ here; look at its validation accuracy",
      expert, response.back(), context.config().backbone.dir);
}

}  // namespace

std::map<std::string, std::string> check_imported_experts(const config::RunConfig& config, HashCache& hashes) {
  std::map<std::string, std::string> digests;
  std::optional<BaseChecks> bases;  // a run without imported experts reads nothing here
  for (std::size_t c = 0; c < config.categories.size(); ++c) {
    const config::CategoryConfig& category = config.categories[c];
    for (std::size_t i = 0; i < category.imported_experts.size(); ++i) {
      const config::ImportedExpertConfig& expert = category.imported_experts[i];
      const std::string name = category.name + "/" + expert.point;
      const auto placed = [&](const Error& e) {
        return fmt::format("categories.{}.imported_experts.{} ({}): {}", c, i, name, e.what());
      };
      if (!bases) bases.emplace(config, hashes);
      try {
        tell(name, expert.dir, hf::import_adapter(expert.dir, bases->spec()), config);
        bases->check(name, expert.dir);
        digests[name] = digest_of(expert.dir, [&](const fs::path& file) { return hashes.sha256(file); });
      } catch (const DataError& e) {
        throw DataError(e.code(), placed(e));
      } catch (const IoError& e) {
        throw IoError(e.code(), placed(e));
      }
    }
  }
  return digests;
}

std::map<std::string, HashedContent> imported_contents(const config::CategoryConfig& category, const plan::TaskId& experts) {
  std::map<std::string, HashedContent> contents;
  for (const std::string& point : experts.points) {
    if (const std::string directory = category.imported(point); !directory.empty())
      contents["imported." + point] = {fmt::format("imported expert of {} in {}", point, category.name), directory};
  }
  return contents;
}

nlohmann::json imported_settings(const config::CategoryConfig& category, const plan::TaskId& experts,
                                 const std::map<std::string, std::string>& digests) {
  nlohmann::json imported = nlohmann::json::object();
  for (const std::string& point : experts.points) {
    if (category.imported(point).empty()) continue;
    const auto found = digests.find(category.name + "/" + point);
    imported[point] = found == digests.end() ? "" : found->second;
  }
  return imported.empty() ? nlohmann::json::object() : nlohmann::json{{"imported", imported}};
}

FinishedExpert import_expert(RunContext& context, const plan::TaskId& task, const std::string& point, const std::string& digest,
                             const nn::RewardModel& base, comm::Communicator& ranks) {
  const std::string directory = context.category(context.category_index(task)).imported(point);
  const std::string name = plan::TaskId::expert(task.category, {point}, task.round, task.fold).text();
  if (const std::string now = digest_of(directory, sha256_file); now != digest)
    throw DataError("imported-expert-changed",
                    fmt::format("{}: {} has checksum {} now, and had {} when the run started: start the run again with --update",
                                name, directory, now, digest));
  const config::TrainConfig& train = context.config().experts.train;
  const PointLabels labels(context, plan::TaskId::label(task.category, point, task.round));
  train::Trainee expert{
      name, hf::import_adapter(directory, base.backbone().spec()).over(base.shared_backbone()), {}, labels.measured_on()};
  if (context.progress().doing) context.progress().doing("measures " + name);
  const std::vector<train::LabelledGroup> groups =
      train::drawn_groups(expert.validation, train.eval_groups_max, context.config().seed, "validation/" + name);
  const train::PairFigures figures = train::pair_figures(context.scorer(ranks).rewards(expert.model, groups), groups);
  if (ranks.rank() == 0) {
    tell_if_read_elsewhere(context, name, groups);
    if (figures.pairs == 0)
      spdlog::warn("[expert] task={}: the validation split has no label of this point to measure the imported expert by", name);
    else
      spdlog::info("[expert] task={} is imported: validation_accuracy={:.4f} validation_loss={:.4f}", name, figures.accuracy,
                   figures.loss);
  }
  train::TrainOutcome outcome;
  outcome.accuracy = figures.accuracy;
  outcome.loss = figures.loss;
  nlohmann::json metrics = metrics_of(outcome, expert);
  metrics["imported_from"] = directory;
  return {point, expert.model, std::move(metrics)};
}

}  // namespace dmoerm::run
