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

/// How texts become ids. A run uses a ChatTemplate; tests number words by themselves.
struct Renderer {
  /// The prompt and one response.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>, std::string_view)> render;
  /// The prompt alone.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>)> render_prompt;
  std::int64_t head_tokens = 0;   ///< tokens at the start of every text that are never cut
  std::string provenance = "{}";  ///< JSON about tokenizer and template
};

struct IngestRequest {
  config::DataConfig data;
  std::vector<config::CategoryConfig> categories;  ///< categories to keep; empty: all of the data, sorted, with all their points
  std::uint64_t seed = 17;
  Renderer renderer;
  std::filesystem::path output;
};

}  // namespace dmoerm::data
