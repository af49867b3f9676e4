#include "nn/model_directory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/hub_name.h"

namespace dmoerm::nn {
namespace {

namespace fs = std::filesystem;

std::string absent(const fs::path& path) {
  std::error_code refused;
  const fs::file_status status = fs::symlink_status(path, refused);
  return status.type() == fs::file_type::symlink ? "this link points to nothing" : no_such_directory(path);
}

/// The files and folders of a directory, by name.
class Listing {
 public:
  explicit Listing(const fs::path& directory) : directory_(directory) {
    for (const auto& entry : fs::directory_iterator(directory)) names_.insert(entry.path().filename().string());
  }
  [[nodiscard]] bool has(const std::string& name) const { return names_.contains(name); }
  [[nodiscard]] bool empty() const { return names_.empty(); }
  /// The first name for which `fits` holds; "" if there is none.
  template <class Fits>
  [[nodiscard]] std::string first(const Fits& fits) const {
    const auto found = std::ranges::find_if(names_, fits);
    return found == names_.end() ? "" : *found;
  }
  [[nodiscard]] std::string ending(std::initializer_list<const char*> ends) const {
    return first(
        [&](const std::string& name) { return std::ranges::any_of(ends, [&](const char* e) { return name.ends_with(e); }); });
  }
  [[nodiscard]] std::string starting(const char* start) const {
    return first([&](const std::string& name) { return name.starts_with(start); });
  }
  /// A folder in it that holds `file`; "" if there is none.
  [[nodiscard]] std::string folder_with(const char* file) const {
    return first([&](const std::string& name) { return fs::is_regular_file(directory_ / name / file); });
  }
  /// Some names, for messages.
  [[nodiscard]] std::string some() const {
    constexpr std::size_t kShown = 6;
    std::vector<std::string> shown(names_.begin(),
                                   std::next(names_.begin(), static_cast<std::ptrdiff_t>(std::min(kShown, names_.size()))));
    return fmt::format("{}{}", fmt::join(shown, ", "), names_.size() > kShown ? ", ..." : "");
  }

 private:
  fs::path directory_;
  std::set<std::string> names_;
};

std::string adapter(const fs::path& directory) {
  std::string base;
  try {
    base = read_json(directory / "adapter_config.json").value("base_model_name_or_path", "");
  } catch (const std::exception&) {  // a damaged file, or a base that is null
    base.clear();
  }
  return fmt::format(
      "this is a PEFT adapter, not a whole model. Give the directory of the model that it adapts{}, or merge the adapter into it "
      "(merge_and_unload() in peft) and give the result",
      base.empty() ? "" : fmt::format(" ({})", base));
}

/// What a model directory of another program or a half-finished download looks like; "" if nothing is recognised.
std::string other_weights(const Listing& files) {
  const std::string pending = files.ending({".incomplete", ".part", ".crdownload", ".aria2", ".tmp"});
  if (!pending.empty()) return fmt::format("{} is a download that has not ended: wait for it, or start it again", pending);
  const std::string shard = files.first(
      [](const std::string& name) { return name.ends_with(".safetensors") && name.find("-of-") != std::string::npos; });
  if (!shard.empty())
    return fmt::format("there is {}, but model.safetensors.index.json is missing: copy it from where the model came from", shard);
  const char* convert = "read it with transformers and write it with save_pretrained(DIR), which makes model.safetensors";
  const std::string gguf = files.ending({".gguf", ".ggml"});
  if (!gguf.empty())
    return fmt::format("{} holds weights in llama.cpp's format, mostly quantised: use the model that it was made from", gguf);
  if (files.has("consolidated.safetensors") || !files.starting("consolidated.").empty())
    return "these are weights in the layout of their maker (consolidated.*): use the edition in the layout of transformers";
  const std::string torch = files.ending({".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx"});
  if (!torch.empty() && torch != "training_args.bin")
    return fmt::format("{} holds weights in another format than safetensors: {}", torch, convert);
  if (!files.ending({".distcp"}).empty() || files.has("zero_to_fp32.py") || !files.starting("global_step").empty())
    return "this is a sharded training checkpoint (DeepSpeed or FSDP): join its shards first (zero_to_fp32.py, accelerate "
           "merge-weights)";
  const std::string single = files.ending({".safetensors"});
  if (!single.empty()) return fmt::format("there is {}; a model has its weights in model.safetensors", single);
  return "";
}

std::string what_lies_in(const fs::path& directory) {
  const Listing files(directory);
  if (files.empty()) return "the directory is empty";
  if (files.has("dmoerm.json"))
    return fmt::format("this is a bundle of dmoerm. The model that its experts adapt is {}", (directory / "base").string());
  if (files.has("owner.json") || (files.has("ingest") && files.has("config.yaml")))
    return "this is the directory of a run of dmoerm, not a model";
  if (files.has("adapter_config.json")) return adapter(directory);
  if (files.has("snapshots") && files.has("refs")) {
    std::string newest = "HASH";
    for (const auto& entry : fs::directory_iterator(directory / "snapshots")) newest = entry.path().filename().string();
    return fmt::format("this is a folder of the Hub's cache. The model is in {}", (directory / "snapshots" / newest).string());
  }
  if (const std::string weights = other_weights(files); !weights.empty()) return weights;
  const std::string inner = files.folder_with("config.json");
  if (!inner.empty()) return fmt::format("did you mean {}?", (directory / inner).string());
  const std::string adapted = files.folder_with("adapter_config.json");
  if (!adapted.empty()) return fmt::format("{} in it is a PEFT adapter, not a whole model", adapted);
  return fmt::format("a Hugging Face model directory has config.json, model.safetensors and tokenizer.json; this one has {}",
                     files.some());
}

}  // namespace

std::string adapter_beside(const fs::path& directory) {
  const Listing files(directory);
  const bool whole = files.has("model.safetensors") || files.has("model.safetensors.index.json");
  return whole && files.has("adapter_config.json") ? files.starting("adapter_model.") : "";
}

void refuse_model_directory(const fs::path& directory, const std::string& missing) {
  const auto refuse = [&](const std::string& why) {
    return DataError("not-a-model-directory", fmt::format("{}: {}", directory.string(), why));
  };
  if (!fs::exists(directory)) throw refuse(absent(directory));
  if (!fs::is_directory(directory)) {
    const bool gguf = directory.extension() == ".gguf";
    throw refuse(fmt::format("this is a file{}; give the directory of a Hugging Face model",
                             gguf ? " in llama.cpp's format, which dmoerm does not read" : ""));
  }
  std::error_code ignored;
  if (const fs::path link = directory / missing; fs::is_symlink(fs::symlink_status(link, ignored)))
    throw refuse(fmt::format("{} is a link to {}, which is not there: copy the model with cp -rL, or fetch it again", missing,
                             fs::read_symlink(link, ignored).string()));
  throw refuse(fmt::format("no {}: {}", missing, what_lies_in(directory)));
}

}  // namespace dmoerm::nn
