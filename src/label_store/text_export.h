// Labels as text, for other programs: `dmoerm labels export`.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>

#include "label_store/reader.h"

namespace dmoerm::label_store {

enum class TextForm { jsonl, csv };

/// A label as an object: key and pair in hexadecimal, "template", first_probability null if not known; a reply that is no UTF-8
/// as "reply_hex" in place of "reply".
nlohmann::json to_json(const Label& label);
/// to_json() the other way round. @throws pair::RowError saying what was expected and found
Label label_from_json(const nlohmann::json& row);

/// Write the latest label of every key, replies included. CSV has one header, always the same columns, texts in quotes (RFC 4180)
/// with a quote doubled, an empty field for a probability that is not known; bytes that are no UTF-8 become U+FFFD there.
/// @return the number of labels @throws IoError if `out` fails
std::int64_t export_labels(const LabelReader& reader, LabelFilter filter, TextForm form, std::ostream& out);

}  // namespace dmoerm::label_store
