// Writes labels as text, for other programs: `dmoerm label-store export`.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>

#include "label_store/reader.h"

namespace dmoerm::label_store {

enum class TextFormat { jsonl, csv };

/// A label as an object: key and pair in hexadecimal, first_probability null if not known; a reply that is not UTF-8 becomes
/// "reply_hex" instead of "reply".
nlohmann::json to_json(const Label& label);
/// The inverse of to_json(). @throws preference::RowError naming what was expected and found
Label label_from_json(const nlohmann::json& row);

/// Write the latest label of every key, replies included. CSV has one header, always the same columns, quoted texts (RFC 4180),
/// and an empty field for an unknown probability; bytes that are not UTF-8 become U+FFFD in it.
/// @return the number of labels @throws IoError if `out` fails
std::int64_t export_labels(const LabelReader& reader, LabelFilter filter, TextFormat format, std::ostream& out);

}  // namespace dmoerm::label_store
