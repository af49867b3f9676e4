// Preference files to a token store: read, split by prompt, deduplicated, tokenised, cut, counted.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "data/chat_template.h"
#include "data/tokenizer.h"
#include "pair/group.h"

namespace dmoerm::data {

/// How texts become ids.
struct Renderer {
  std::function<std::vector<std::int32_t>(std::span<const pair::Message>, std::string_view)> render;         ///< prompt + response in full
  std::function<std::vector<std::int32_t>(std::span<const pair::Message>)> render_prompt;                    ///< the prompt alone
  std::int64_t head_tokens = 0;                                                                              ///< never cut
  std::string provenance = "{}";                                                                             ///< JSON about tokenizer and template
};

struct IngestRequest {
  config::DataConfig data;
  std::vector<config::CategoryConfig> categories;   ///< empty: those of the data, sorted, with all their points
  std::uint64_t seed = 17;
  Renderer renderer;
  std::filesystem::path output;
};

/// Counts of one category in one split.
struct SplitCounts {
  std::int64_t groups = 0, responses = 0, tokens = 0;
};

struct IngestReport {
  struct Input {
    std::string path, form;
    std::int64_t groups = 0;
  };
  std::vector<Input> inputs;
  std::map<std::string, std::map<std::string, SplitCounts>> counts;         ///< category -> split
  std::map<std::string, std::map<std::string, std::int64_t>> cut;           ///< category -> "prompts" | "responses" that lost tokens
  std::map<std::string, std::int64_t> dropped;                              ///< reason -> rows
  std::map<std::string, std::map<std::string, std::int64_t>> verdicts;      ///< category/point -> outcome -> count
  std::filesystem::path dropped_file;                                       ///< JSON lines: file, line, reason
};

/// Read all inputs and write the store. Nothing is left at `output` when it fails.
/// @throws DataError for more bad lines than tolerated (file:line, expected, found), ConfigError for a configured category without data, IoError
IngestReport ingest(const IngestRequest& request);

/// ingest() for a run: tokenizer and template bound, the report logged.
IngestReport ingest_for_run(const config::RunConfig& config, const Tokenizer& tokenizer, const ChatTemplate& chat_template, const std::filesystem::path& output);

/// The report as a text for people.
std::string to_text(const IngestReport& report);

}  // namespace dmoerm::data
