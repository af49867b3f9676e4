// Takes labels of others into a store: `dmoerm labels import`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "label_store/label_store.h"

namespace dmoerm::label_store {

inline constexpr const char* kImportedJudge = "imported";

struct Import {
  std::int64_t rows = 0;           ///< of the file
  std::int64_t added = 0;          ///< labels
  std::int64_t already_there = 0;  ///< labels whose key is known with the same verdict: left alone
};

/// Add the labels of a file of lines, plain, gzip or zstd, to a store. All lines are checked before the first label is stored.
/// Two kinds of rows:
/// - what export_labels() writes as JSONL: the label as it stands there;
/// - a points file {"query", "responses": [a, b], "rank": [1, 2], "point"}, a lower rank being better: two labels, one for each
///   order, that agree, or two ties for equal ranks. Their judge is "imported", their template "points-file", they cost nothing.
///   Their key is the SHA-256 of "imported\n" and the canonical JSON [category, point, pair in hexadecimal, swapped]; the pair's
///   digest is that of a question about the same texts.
/// @param category  of a points file's rows that name none ("category" or "label")
/// @throws IoError, DataError with file:line
Import import_labels(LabelStore& store, const std::filesystem::path& file, const std::string& category);

}  // namespace dmoerm::label_store
