#include "hf/export_bundle.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/hub_name.h"
#include "hf/fold.h"
#include "hf/golden_texts.h"
#include "hf/jinja_template.h"
#include "hf/out_folder.h"
#include "moe/bundle_files.h"
#include "moe/classifier_files.h"
#include "moe/load_bundle.h"
#include "preference/group.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kTolerance = 1e-4;

/// The bundle's golden texts as token ids.
std::vector<moe::TokenTexts> golden_ids(const moe::Bundle& bundle) {
  std::vector<moe::TokenTexts> ids;
  for (const auto& [prompt, responses] : golden_texts(read_json(bundle.directory / moe::kBundleManifest)))
    ids.push_back(moe::tokenize(bundle, prompt, responses));
  return ids;
}

class Export {
 public:
  Export(const moe::Bundle& bundle, const ExportOptions& options, const fs::path& folder)
      : bundle_(bundle),
        layout_(options.layout),
        facts_(facts_of(options)),
        folder_(folder),
        golden_(golden_ids(bundle)),
        pad_(moe::pad_id(bundle.directory / "base", *bundle.tokenizer, *bundle.chat_template)),
        pad_token_(bundle.tokenizer->token_of(static_cast<std::int32_t>(pad_))) {
    if (bundle.model.backbone->spec().head_reads == nn::HeadReads::mean)
      throw DataError(
          "export-reads-mean",
          fmt::format("{}: the heads read the mean over a response's tokens (head.reads: mean), which a sequence "
                      "classifier of transformers cannot: it would read the last token. Use dmoerm_hf or dmoerm serve",
                      bundle.directory.string()));
    if (pad_token_.empty() || (!has_end() && written_by_texts(pad_)))
      throw DataError(
          "no-padding-token",
          fmt::format("{}: no token of the tokenizer can pad: transformers reads the reward at the last token that is not "
                      "padding, and texts may end with each candidate. Use dmoerm_hf, which reads by length",
                      (bundle.directory / "base").string()));
  }

  void write(const Part& part, const std::string& place) {
    const fs::path directory = folder_ / place;
    const nn::LoraAdapter* adapter = part.model.adapter();
    const bool whole = adapter == nullptr || layout_ != Layout::peft;
    if (whole) {
      write_classifier(directory, {part.model.backbone().spec(), fold(part.model.backbone(), adapter), part.model.head().w_D});
      write_file_atomically(directory / "README.md", model_card(bundle_, layout_, {part}, {"."}, facts_));
    } else {
      write_adapter(part, directory);
    }
    compare(part, directory);
  }

  /// Write the card of the whole export.
  void write_card(const std::vector<Part>& parts, const std::vector<std::string>& places) const {
    write_file_atomically(folder_ / "README.md", model_card(bundle_, layout_, parts, places, facts_));
  }

 private:
  [[nodiscard]] CardFacts facts_of(const ExportOptions& options) const {
    CardFacts facts = options.facts;
    const json name = read_json(bundle_.directory / "base" / "config.json").value("_name_or_path", json());
    if (facts.base_model.empty() && name.is_string() && is_hub_name(name.get<std::string>())) facts.base_model = name;
    return facts;
  }

  /// Whether every text ends with the same token.
  [[nodiscard]] bool has_end() const {
    const auto last = [&](const char* response) {
      return bundle_.chat_template->render(std::vector<preference::Message>{{"user", "a"}}, response).back();
    };
    return last("b") == last("c d.");
  }

  /// Whether the token may stand in a text, as special tokens may not.
  [[nodiscard]] bool written_by_texts(std::int64_t token) const {
    const std::vector<std::int32_t> ids = bundle_.tokenizer->encode(pad_token_, false);
    return bundle_.chat_template->special_in_text() || (ids.size() == 1 && ids.front() == token);
  }

  void write_classifier(const fs::path& directory, const moe::Classifier& classifier) {
    moe::save_classifier(directory, bundle_.directory / "base", classifier, pad_);
    finish_classifier(directory);
  }

  /// What other programs need beside a classifier's weights.
  void finish_classifier(const fs::path& directory) {
    json config = read_json(directory / "config.json");
    config["problem_type"] = "regression";
    write_json_atomically(directory / "config.json", config);
    const fs::path base = bundle_.directory / "base";
    moe::copy_tokenizer(base, directory, pad_token_);
    json tokenizer =
        fs::exists(directory / "tokenizer_config.json") ? read_json(directory / "tokenizer_config.json") : json::object();
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast";  // which takes tokenizer.json as it stands
    tokenizer["pad_token"] = pad_token_;
    tokenizer["padding_side"] = "right";
    tokenizer["model_max_length"] = bundle_.model.limits.layout.max_length;
    tokenizer["chat_template"] = jinja_template(*bundle_.chat_template);
    for (const char* key : {"add_bos_token", "add_eos_token", "auto_map", "tokenizer_file"}) tokenizer.erase(key);
    write_json_atomically(directory / "tokenizer_config.json", tokenizer);
  }

  void write_adapter(const Part& part, const fs::path& directory) {
    const bool shared = &part.model.backbone() == bundle_.model.backbone.get();
    const std::string base = shared ? "base" : "base/" + part.category->name;
    const nn::Backbone& backbone = part.model.backbone();
    if (bases_.insert(base).second)
      write_classifier(folder_ / base, {backbone.spec(), backbone.weights(), at::zeros({backbone.spec().width})});
    part.model.save(directory);
    const fs::path file = directory / "adapter_config.json";
    json config = read_json(file);
    config["base_model_name_or_path"] = base;
    const json standard = {{"revision", nullptr},
                           {"use_dora", false},
                           {"use_rslora", false},
                           {"rank_pattern", json::object()},
                           {"alpha_pattern", json::object()},
                           {"layers_pattern", nullptr},
                           {"layers_to_transform", nullptr}};
    for (const auto& [key, value] : standard.items()) {
      if (!config.contains(key)) config[key] = value;
    }
    write_json_atomically(file, config);
    write_file_atomically(directory / "README.md", adapter_card(part, base, facts_));
  }

  /// Read what was written and compare its rewards with the part's. @throws DataError
  void compare(const Part& part, const fs::path& directory) const {
    // A bfloat16 backbone rounds its states; the folded weights are float32. Both are compared in float32.
    const auto wide =
        std::make_shared<nn::Backbone>(part.model.backbone().spec(), part.model.backbone().weights().clone(at::kFloat));
    const nn::BackboneSource over{[&] { return wide; }, [&] { return wide; }};
    const nn::RewardModel expected = with_backbone(part.model, wide), found = nn::RewardModel::load(directory, over);
    for (const moe::TokenTexts& texts : golden_) {
      OutFolder::expect_no_stop();
      const at::Tensor ours = moe::rewards_of(expected, texts, bundle_.model.limits),
                       theirs = moe::rewards_of(found, texts, bundle_.model.limits);
      for (std::int64_t i = 0; i < ours.size(0); ++i) {
        const double wanted = ours[i].item<double>(), got = theirs[i].item<double>();
        if (std::abs(wanted - got) <= kTolerance * (1 + std::abs(wanted))) continue;
        throw DataError(
            "export-differs",
            fmt::format("{}: what was written gives {:.6f} to a golden text, the model in {} gives {:.6f}; nothing was "
                        "exported",
                        part.name, got, bundle_.directory.string(), wanted));
      }
    }
  }

  /// The same model over another copy of its backbone.
  static nn::RewardModel with_backbone(const nn::RewardModel& model, const std::shared_ptr<nn::Backbone>& backbone) {
    nn::RewardModel copy =
        model.adapter() != nullptr ? nn::RewardModel(backbone, model.adapter()->lora()) : nn::RewardModel(backbone);
    if (model.adapter() != nullptr) copy.adapter()->flat.copy_(model.adapter()->flat);
    copy.head().w_D.copy_(model.head().w_D);
    return copy;
  }

  const moe::Bundle& bundle_;
  Layout layout_;
  CardFacts facts_;
  fs::path folder_;
  std::vector<moe::TokenTexts> golden_;
  std::int64_t pad_;
  std::string pad_token_;
  std::set<std::string> bases_;
};

}  // namespace

std::vector<Exported> export_bundle(const ExportOptions& options, const OnExported& on_exported) {
  OutFolder folder(options.bundle, options.out);
  const moe::Bundle bundle = moe::load_bundle(options.bundle, at::kCPU, nn::BaseWeights::float32, moe::Backbones::whole);
  const std::vector<Part> parts = chosen_parts(bundle, options.parts);
  Export writer(bundle, options, folder.path());
  const bool alone = parts.size() == 1 && (options.layout != Layout::peft || parts[0].model.adapter() == nullptr);
  std::vector<Exported> exported;
  std::vector<std::string> places;
  for (const Part& part : parts) {
    OutFolder::expect_no_stop();
    places.push_back(alone ? "." : part.folder);
    writer.write(part, alone ? "" : part.folder);
    exported.push_back({part.name, alone ? "" : part.folder});
    on_exported(exported.size(), parts.size());
  }
  writer.write_card(parts, places);
  OutFolder::expect_no_stop();
  folder.publish();
  return exported;
}

}  // namespace dmoerm::hf
