#include "run/model_shape.h"

#include <algorithm>

namespace dmoerm::run {

nn::BackboneSpec spec_of(const config::RunConfig& config) {
  nn::BackboneSpec spec = nn::read_backbone_spec(config.backbone.dir);
  if (config.backbone.layers > 0) spec.layers = std::min(spec.layers, config.backbone.layers);
  return spec;
}

std::vector<std::filesystem::path> model_files(const std::filesystem::path& directory) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".json" || extension == ".safetensors") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

plan::ModelShape shape_of(const config::RunConfig& config) {
  const nn::BackboneSpec spec = spec_of(config);
  const auto number = [](std::int64_t n) { return static_cast<double>(n); };
  plan::ModelShape shape =
      plan::decoder_shape(config.backbone.dir, number(spec.vocab), number(spec.width), number(spec.intermediate),
                          number(spec.layers), number(spec.heads), number(spec.kv_heads), number(spec.head_dim), true);
  shape.linear_macs = spec.linear_macs_per_token();
  shape.shares_prefix = !spec.encoder();
  return shape;
}

}  // namespace dmoerm::run
