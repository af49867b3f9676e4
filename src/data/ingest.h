// Preference files to a token store: read, split by prompt, deduplicated, tokenised, cut, counted.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/run_config.h"
#include "data/ingest_report.h"
#include "preference/group.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

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

/// Read all inputs and write the store, and beside it what was dropped (.dropped.jsonl) and the report (.report.json). The inputs
/// are read twice: what is wrong with them is found, and splits are settled, before anything is tokenised. Memory holds two
/// hashes a group. Nothing is left at `output` or beside it when it fails.
/// @throws DataError for more bad lines than tolerated (file:line, expected, found), ConfigError for a configured category
/// without data, IoError
IngestReport ingest(const IngestRequest& request);

/// ingest() for a run: tokenizer and template bound, the report logged.
IngestReport ingest_for_run(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            const tokenizer::ChatTemplate& chat_template, const std::filesystem::path& output);

}  // namespace dmoerm::data
