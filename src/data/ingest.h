// Preference files to a token store: read, split by prompt, deduplicated, tokenised, cut, counted.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "data/ingest_report.h"
#include "data/ingest_request.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::data {

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
