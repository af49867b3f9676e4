// Adds labels from a file to a store: `dmoerm label-store import`.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "label_store/label_store.h"

namespace dmoerm::label_store {

inline constexpr const char* kImportedJudge = "imported";

struct Import {
  std::int64_t rows = 0;           ///< Rows of the file
  std::int64_t added = 0;          ///< Labels added
  std::int64_t already_there = 0;  ///< Labels whose key the store has with the same verdict: they are not added
};

/// Add the labels of a file of lines, plain, gzip or zstd, to a store. All lines are checked before the first label is stored.
/// Two kinds of rows:
/// - a row that export_labels() wrote as JSONL: the label itself;
/// - a row of a points file {"query", "responses": [a, b], "rank": [1, 2], "point"}, where the lower rank is better: two labels,
///   one for each order, that agree; equal ranks give two ties. Their judge is "imported", their template "points-file", and they
///   cost nothing. Their key is the SHA-256 of "imported\n" and the canonical JSON [category, point, pair in hexadecimal,
///   swapped]; the pair's digest is that of a question about the same texts.
/// @param category  category of points-file rows that name none (as "category" or "label")
/// @throws IoError, DataError with file:line
Import import_labels(LabelStore& store, const std::filesystem::path& file, const std::string& category);

}  // namespace dmoerm::label_store
