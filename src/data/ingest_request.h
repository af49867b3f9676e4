// What an ingest is asked to do.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"
#include "preference/group.h"

namespace dmoerm::data {

/// How texts become ids.
struct Renderer {
  /// Prompt and response in full.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>, std::string_view)> render;
  /// The prompt alone.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>)> render_prompt;
  std::int64_t head_tokens = 0;   ///< never cut
  std::string provenance = "{}";  ///< JSON about tokenizer and template
};

struct IngestRequest {
  config::DataConfig data;
  std::vector<config::CategoryConfig> categories;  ///< empty: those of the data, sorted, with all their points
  std::uint64_t seed = 17;
  Renderer renderer;
  std::filesystem::path output;
};

}  // namespace dmoerm::data
