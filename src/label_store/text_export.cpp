#include "label_store/text_export.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "preference/row_error.h"
#include "preference/row_fields.h"

namespace dmoerm::label_store {
namespace {

using nlohmann::json;
using preference::RowError;

constexpr std::string_view kHeader =
    "key,pair,category,point,judge,template,swapped,sample,verdict,reply,first_probability,prompt_tokens,completion_tokens,"
    "cost_micros,time_ms\n";

std::string hex_of(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

std::string bytes_of_hex(const json& row, const char* field) {
  const std::string hex = preference::text_of(preference::need(row, field), field);
  const auto digit = [&](char c) -> unsigned {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    throw RowError("label-field-not-hex",
                   fmt::format("expected lower-case hexadecimal in \"{}\", found {}", field, preference::shown(row[field])));
  };
  if (hex.size() % 2 != 0)
    throw RowError("label-field-not-hex",
                   fmt::format("expected an even number of digits in \"{}\", found {}", field, hex.size()));
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) bytes.push_back(static_cast<char>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return bytes;
}

Digest digest_of(const json& row, const char* field) {
  const std::string bytes = bytes_of_hex(row, field);
  Digest digest{};
  if (bytes.size() != digest.size()) {
    throw RowError("label-field-not-hex",
                   fmt::format("expected 64 hexadecimal digits in \"{}\", found {}", field, 2 * bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

template <class Int>
Int integer_of(const json& row, const char* field) {
  const json& value = preference::need(row, field);
  const bool fits = value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX) &&
                    value.get<std::int64_t>() >= std::numeric_limits<Int>::min() &&
                    value.get<std::int64_t>() <= std::numeric_limits<Int>::max();
  if (!fits)
    throw RowError("label-field-not-integer",
                   fmt::format("expected an integer in \"{}\", found {}", field, preference::shown(value)));
  return value.get<Int>();
}

std::string text(const json& row, const char* field) { return preference::text_of(preference::need(row, field), field); }

/// The bytes as valid UTF-8: those that are not part of a character become U+FFFD.
std::string readable(const std::string& bytes) {
  std::string result;
  for (std::size_t i = 0; i < bytes.size();) {
    const std::size_t length = utf8_length(bytes, i);
    result += length == 0 ? "\xef\xbf\xbd" : bytes.substr(i, length);
    i += std::max<std::size_t>(length, 1);
  }
  return result;
}

std::string quoted(const std::string& bytes) {
  std::string result = "\"";
  for (const char c : readable(bytes)) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + '"';
}

std::string csv_line(const Label& l) {
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\n", to_hex(l.key), to_hex(l.pair), quoted(l.category),
                     quoted(l.point), quoted(l.judge), quoted(l.template_name), l.swapped, l.sample, to_string(l.verdict),
                     quoted(l.reply), l.first_probability < 0 ? "" : fmt::format("{}", l.first_probability), l.prompt_tokens,
                     l.completion_tokens, l.cost_micros, l.time_ms);
}

}  // namespace

json to_json(const Label& l) {
  json row{{"key", to_hex(l.key)},
           {"pair", to_hex(l.pair)},
           {"category", l.category},
           {"point", l.point},
           {"judge", l.judge},
           {"template", l.template_name},
           {"swapped", l.swapped},
           {"sample", l.sample},
           {"verdict", to_string(l.verdict)},
           {"first_probability", l.first_probability < 0 ? json() : json(l.first_probability)},
           {"prompt_tokens", l.prompt_tokens},
           {"completion_tokens", l.completion_tokens},
           {"cost_micros", l.cost_micros},
           {"time_ms", l.time_ms}};
  if (is_utf8(l.reply)) {
    row["reply"] = l.reply;
  } else {
    row["reply_hex"] = hex_of(l.reply);
  }
  return row;
}

Label label_from_json(const json& row) {
  Label l;
  l.key = digest_of(row, "key");
  l.pair = digest_of(row, "pair");
  l.category = text(row, "category");
  l.point = text(row, "point");
  l.judge = text(row, "judge");
  l.template_name = text(row, "template");
  const json& swapped = preference::need(row, "swapped");
  if (!swapped.is_boolean())
    throw RowError("label-field-not-boolean",
                   fmt::format("expected true or false in \"swapped\", found {}", preference::shown(swapped)));
  l.swapped = swapped.get<bool>();
  l.sample = integer_of<std::int32_t>(row, "sample");
  try {
    l.verdict = preference::verdict_from(text(row, "verdict"));
  } catch (const DataError& e) {
    throw RowError(e.code(), e.what());
  }
  l.reply = row.contains("reply_hex") ? bytes_of_hex(row, "reply_hex") : text(row, "reply");
  if (preference::has(row, {"first_probability"})) {
    l.first_probability = static_cast<float>(preference::number_of(row["first_probability"], "first_probability"));
    if (l.first_probability < 0 || l.first_probability > 1) {
      throw RowError("label-field-probability", fmt::format("expected null or 0 to 1 in \"first_probability\", found {}",
                                                            preference::shown(row["first_probability"])));
    }
  }
  l.prompt_tokens = integer_of<std::int32_t>(row, "prompt_tokens");
  l.completion_tokens = integer_of<std::int32_t>(row, "completion_tokens");
  l.cost_micros = integer_of<std::int64_t>(row, "cost_micros");
  l.time_ms = integer_of<std::int64_t>(row, "time_ms");
  return l;
}

std::int64_t export_labels(const LabelReader& reader, LabelFilter filter, TextFormat format, std::ostream& out) {
  filter.replies = true;
  std::int64_t count = 0;
  if (format == TextFormat::csv) out << kHeader;
  reader.each_piece(filter, [&](const LabelColumns& rows) {
    const std::vector<std::size_t> starts = rows.reply_starts();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Label label = rows.label(i, starts[i]);
      out << (format == TextFormat::csv ? csv_line(label) : to_json(label).dump() + "\n");
    }
    count += static_cast<std::int64_t>(rows.size());
    if (!out)
      throw IoError("label-export-not-written",
                    "the exported labels cannot be written: the disk may be full, or the program that reads them has ended");
  });
  if (!out.flush())
    throw IoError("label-export-not-written",
                  "the exported labels cannot be written: the disk may be full, or the program that reads them has ended");
  return count;
}

}  // namespace dmoerm::label_store
