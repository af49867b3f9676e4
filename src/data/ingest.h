// Turns preference files into a token store: reads the groups, splits them by prompt, drops duplicates, tokenises, cuts and
// counts.
#pragma once
#include <filesystem>

#include "config/run_config.h"
#include "data/ingest_report.h"
#include "data/ingest_request.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::data {

/// Read all inputs and write the store, with a list of dropped rows (.dropped.jsonl) and a report (.report.json) beside it. The
/// inputs are read twice: the first pass finds errors and decides the splits before anything is tokenised. Memory holds two
/// hashes per group. If it fails, nothing is left at `output` or beside it.
/// @throws DataError if there are more bad lines than tolerated (file:line, expected, found), ConfigError if a configured
///         category has no data, IoError
IngestReport ingest(const IngestRequest& request);

/// ingest() with the settings, tokenizer and template of a run. The report is logged.
IngestReport ingest_for_run(const config::RunConfig& config, const tokenizer::Tokenizer& tokenizer,
                            const tokenizer::ChatTemplate& chat_template, const std::filesystem::path& output,
                            const IngestProgress& progress = {});

}  // namespace dmoerm::data
