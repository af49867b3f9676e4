#include "base/json_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/repeated_keys.h"
#include "base/text.h"
#include "base/utf8.h"

namespace dmoerm {

using nlohmann::json;
using namespace std::string_view_literals;

namespace {

struct Signature {
  std::string_view begin;
  const char* what;
};

constexpr const char* kGitLfs = "a Git LFS pointer, not the file itself: fetch it with git lfs pull";
constexpr const char* kZlib = "a zlib stream without gzip's header: unpack it with Python's zlib.decompress()";
constexpr const char* kUtf16 = "UTF-16 text: convert it with iconv -f UTF-16 -t UTF-8";
constexpr const char* kZeros = "zero bytes, as a power cut or a full disk leaves them: make the file again, or fetch it again";

constexpr std::array kSignatures = {
    Signature{"version https://git-lfs.github.com/"sv, kGitLfs},
    Signature{"\xEF\xBB\xBFversion https://git-lfs.github.com/"sv, kGitLfs},
    Signature{"# xet version "sv, "a pointer of Xet, not the file itself: fetch it with git xet, or with hf download"},
    Signature{"\x00\x05\x16\x07"sv, "what a Mac keeps beside a file (AppleDouble, ._NAME): name the file without ._ before it"},
    Signature{"PAR1"sv, "a Parquet file: convert it in pandas with df.to_json(NAME, orient=\"records\", lines=True)"},
    Signature{"ARROW1"sv, "an Arrow file: convert it with the dataset's to_json(NAME)"},
    Signature{"FEA1"sv, "a Feather file: convert it in pandas with df.to_json(NAME, orient=\"records\", lines=True)"},
    Signature{"\xFF\xFF\xFF\xFF"sv, "an Arrow stream: convert it with the dataset's to_json(NAME)"},
    Signature{"\x1F\x8B"sv, "a gzip file: unpack it with gunzip"},
    Signature{"\x28\xB5\x2F\xFD"sv, "a zstd file: unpack it with unzstd"},
    Signature{"BZh"sv, "a bzip2 file: unpack it with bunzip2"},
    Signature{"\xFD"
              "7zXZ"sv,
              "an xz file: unpack it with unxz"},
    Signature{"\x04\x22\x4D\x18"sv, "an lz4 file: unpack it with unlz4"},
    Signature{"\xFF\x06\x00\x00sNaPpY"sv, "a Snappy file: unpack it with snzip -d"},
    Signature{"\x78\x01"sv, kZlib},
    Signature{"\x78\x9C"sv, kZlib},
    Signature{"\x78\xDA"sv, kZlib},
    Signature{"LZIP"sv, "an lzip file: unpack it with lzip -d"},
    Signature{"\x5D\x00\x00"sv, "an lzma file: unpack it with unlzma"},
    Signature{"\x1F\x9D"sv, "a file of compress: unpack it with uncompress"},
    Signature{"Rar!\x1A\x07"sv, "a rar archive: unpack it"},
    Signature{"7z\xBC\xAF"sv, "a 7z archive: unpack it"},
    Signature{"PK\x03\x04"sv, "a zip file (or a workbook, or a torch file): unpack it"},
    Signature{"\x89HDF"sv, "an HDF5 file"},
    Signature{"\x93NUMPY"sv, "a NumPy array"},
    Signature{"SQLite format 3"sv, "an SQLite database: export its rows as JSON"},
    Signature{"ORC"sv, "an ORC file: convert it in pandas with df.to_json(NAME, orient=\"records\", lines=True)"},
    Signature{"Obj\x01"sv, "an Avro file: convert it to JSON lines"},
    Signature{"%PDF"sv, "a PDF document"},
    Signature{"\x89PNG"sv, "an image"},
    Signature{"\xFF\xD8\xFF"sv, "an image"},
    Signature{"GIF8"sv, "an image"},
    Signature{"RIFF"sv, "a sound, film or image"},
    Signature{"\xD0\xCF\x11\xE0"sv, "an old workbook or document of Office: export it as CSV and convert that"},
    Signature{"\x80\x02"sv, "a Python pickle: write JSON from Python with json.dumps"},
    Signature{"\x80\x03"sv, "a Python pickle: write JSON from Python with json.dumps"},
    Signature{"\x80\x04"sv, "a Python pickle: write JSON from Python with json.dumps"},
    Signature{"\x80\x05"sv, "a Python pickle: write JSON from Python with json.dumps"},
    Signature{"\xFF\xFE\x00\x00"sv, "UTF-32 text: convert it with iconv -f UTF-32 -t UTF-8"},
    Signature{"\x00\x00\xFE\xFF"sv, "UTF-32 text: convert it with iconv -f UTF-32 -t UTF-8"},
    Signature{"\xFF\xFE"sv, kUtf16},
    Signature{"\xFE\xFF"sv, kUtf16},
};

/// What a zip file is whose first names are those of an office's document or of arrays; null if it is another.
const char* inside_zip(std::string_view head) {
  const std::string_view names = head.substr(0, 4096);
  const auto holds = [&](std::string_view name) { return names.find(name) != std::string_view::npos; };
  if (holds("word/document.xml") || holds("opendocument.text")) return "a document of a word processor";
  if (holds("[Content_Types].xml") || holds("xl/workbook.xml") || holds("opendocument.spreadsheet"))
    return "a workbook: convert it in pandas with pd.read_excel(NAME).to_json(OTHER, orient=\"records\", lines=True)";
  if (holds("/data.pkl")) return "a torch file";
  return holds(".npy") ? "an archive of NumPy arrays" : nullptr;
}

/// A small file that stands for another one: of DVC, of git-annex, or a link that was written as a file.
std::string type_by_pointer(std::string_view head) {
  const std::string_view line = trim(head.substr(0, head.find('\n')));
  if (line == "outs:" && trim(head.substr(std::min(head.find('\n'), head.size()))).starts_with("- "))
    return "a file of DVC, not the data themselves: fetch them with dvc pull, and name them without .dvc";
  constexpr std::size_t kLongest = 1024;  // of a path
  if (head.size() > kLongest || line.find_first_of("{}\" ") != std::string_view::npos) return {};
  if (line.starts_with("/annex/objects/") || line.find(".git/annex/objects/") != std::string_view::npos)
    return "a pointer of git-annex, not the file itself: fetch it with git annex get";
  return line.starts_with("../") && line.find("/blobs/") != std::string_view::npos
             ? "a link of the Hub's cache that was copied as a text: fetch the file again"
             : "";
}

/// Recognises UTF-16 and UTF-32 without a mark, and zeros. JSON begins with ASCII, so the first four bytes show where zeros are.
std::string type_by_zeros(std::string_view head) {
  if (head.size() < 2) return {};
  if (head.size() >= 9 && head[8] == '{' && head.substr(3, 5) == "\0\0\0\0\0"sv) return "a safetensors file";
  const auto zero = [&](std::size_t i) { return i < head.size() && head[i] == 0; };
  const auto shown = [&](std::size_t i) { return i >= head.size() || head[i] != 0; };
  if (zero(0) && zero(1) && zero(2) && head.size() >= 4 && shown(3))
    return "UTF-32 text: convert it with iconv -f UTF-32BE -t UTF-8";
  if (shown(0) && zero(1) && zero(2) && zero(3)) return "UTF-32 text: convert it with iconv -f UTF-32LE -t UTF-8";
  if (shown(0) && zero(1) && shown(2)) return "UTF-16 text: convert it with iconv -f UTF-16LE -t UTF-8";
  if (zero(0) && shown(1) && zero(2)) return "UTF-16 text: convert it with iconv -f UTF-16BE -t UTF-8";
  return zero(0) ? kZeros : "";
}

/// A web page or another document of angle brackets.
std::string type_by_markup(std::string_view head) {
  const std::string start = lower(trim(head.starts_with("\xEF\xBB\xBF") ? head.substr(3) : head).substr(0, 64));
  if (start.starts_with("<!doctype html") || start.starts_with("<html") || start.starts_with("<head") ||
      start.starts_with("<body"))
    return "a web page (HTML), such as a login or error page saved under this name: download the file again";
  if (start.starts_with("<?xml") || start.starts_with("<error"))
    return "an XML document, such as the error of a storage service: download the file again";
  return {};
}

/// What the characters at the place of an error are, whatever the parser expected there; "" if nothing particular.
std::string what_stands(std::string_view text, std::size_t at) {
  const std::string_view rest = text.substr(at);
  const auto before = text.substr(0, at).find_last_not_of(kWhiteSpace);
  if (rest.starts_with('\0')) {
    const std::size_t end = std::min(rest.find_first_not_of('\0'), rest.size());
    return fmt::format("{} zero byte{}, as a power cut or a full disk leaves them: remove them, or make the file again", end,
                       end == 1 ? "" : "s");
  }
  if (rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#')) return "a comment: JSON has none, remove it";
  if ((rest.starts_with('}') || rest.starts_with(']')) && before != std::string_view::npos && text[before] == ',')
    return "a comma before the closing bracket: remove it";
  if (rest.starts_with('\'') || rest.starts_with("u'") || rest.starts_with("b'"))
    return "single quotes, as Python prints them: JSON has double quotes, write it with json.dumps";
  for (const std::string_view word : {"True", "False", "None"}) {
    if (rest.starts_with(word)) return fmt::format("{}, as Python prints it: write JSON with json.dumps", word);
  }
  for (const std::string_view word : {"NaN", "nan", "Infinity", "-Infinity", "Inf", "inf", "-inf"}) {
    if (rest.starts_with(word))
      return fmt::format("{}, a number that JSON does not have: write null, or leave the key out", word);
  }
  for (const std::string_view quote : {"\xE2\x80\x9C", "\xE2\x80\x9D", "\xE2\x80\x98", "\xE2\x80\x99"}) {
    if (rest.starts_with(quote)) return "typographic quotes: JSON has straight double quotes";
  }
  if (rest.starts_with("\xC2\xA0")) return "a no-break space between values: replace it by a blank";
  if (rest.starts_with("<<<<<<< ") || rest.starts_with("=======") || rest.starts_with(">>>>>>> "))
    return "a mark of a merge conflict: resolve it, or fetch the file again";
  if (rest.starts_with('\x1E')) return "a record separator (0x1e), as JSON text sequences have: remove it";
  if (rest.starts_with("\xEF\xBB\xBF")) return "a byte-order mark inside the text: remove it";
  const std::size_t word_end =
      std::min(rest.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), rest.size());
  if (word_end > 0 && trim(rest.substr(word_end)).starts_with(':') && before != std::string_view::npos &&
      (text[before] == '{' || text[before] == ','))
    return fmt::format("the key {} without quotes: JSON has double quotes around keys", rest.substr(0, word_end));
  return {};
}

std::string byte_shown(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  return byte > 0x20 && byte < 0x7F ? fmt::format("'{}'", static_cast<char>(byte)) : fmt::format("the byte 0x{:02x}", byte);
}

/// What follows a whole value.
std::string after_value(std::string_view text, std::size_t at) {
  if (text.substr(0, at).ends_with('\r'))
    return "a line end of old Macs (CR alone) after the value: convert the file with tr '\\r' '\\n'";
  if (text[at] == '{' || text[at] == '[') return "another value after the first: write one a line, as jq -c . FILE does";
  if (text[at] == ',') return "a comma after the value: remove it";
  if (text.substr(at).starts_with("\xE2\x80\xA8")) return "a line separator (U+2028) after the value: write a line end";
  return fmt::format("{} after the end of the value", byte_shown(text, at));
}

/// What a text is that has bytes which are not UTF-8.
std::string other_encoding(std::string_view text) {
  const auto is_high = [&](std::size_t i) { return i < text.size() && static_cast<unsigned char>(text[i]) >= 0x80; };
  std::size_t characters = 0, bad = 0, high = 0,
              alone = 0;  // of several bytes; bytes of none; bytes from 0x80 on; those by themselves
  for (std::size_t i = 0, length = 0; i < text.size(); i += std::max<std::size_t>(length, 1)) {
    length = utf8_length(text, i);
    characters += length > 1 ? 1 : 0;
    bad += length == 0 ? 1 : 0;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    high += is_high(i) ? 1 : 0;
    alone += is_high(i) && !is_high(i + 1) && (i == 0 || !is_high(i - 1)) ? 1 : 0;
  }
  if (characters > bad)
    return "bytes that are not UTF-8 among characters that are: write these again; iconv -f UTF-8 -t UTF-8 FILE names the place";
  if (2 * alone < high)
    return "bytes that are not UTF-8, but of another encoding, such as GB18030, Shift-JIS, EUC-KR or Windows-1251: convert the "
           "file with iconv -f ENCODING -t UTF-8, with the encoding of the program that wrote it";
  return "bytes that are not UTF-8, perhaps Latin-1 or Windows-1252: convert the file with iconv -f WINDOWS-1252 -t UTF-8";
}

std::string words_of(std::string_view text, std::size_t at, std::string_view said) {
  const auto says = [&](std::string_view part) { return said.find(part) != std::string_view::npos; };
  if (says("ill-formed UTF-8")) return other_encoding(text);
  if (at >= text.size()) return says("missing closing quote") ? "an end within a text in quotes" : "an end within a value";
  if (says("control character"))
    return text[at] == 0 ? what_stands(text, at)
                         : "a line end, tab or control character inside quotes: write \\n or \\t, or close the quotes";
  if (says("backslash") || says("'\\u'")) return "a backslash that begins no escape of JSON: write \\\\";
  if (says("surrogate")) return "half of a character (\\ud800 to \\udfff without its other half)";
  if (std::string what = what_stands(text, at); !what.empty()) return what;
  if (says("expected end of input")) return after_value(text, at);
  if (says("unexpected string literal") || says("unexpected '{'") || says("unexpected '['"))
    return says("object key") || says("':'") ? "a missing colon or a missing key" : "a missing comma before this place";
  const auto first = static_cast<unsigned char>(text[at]);
  if (at == 0 && (first < 0x20 || first == 0x7F || utf8_length(text, 0) == 0))
    return fmt::format(
        "{}, with which no JSON begins: if it is packed by a program whose files have no mark (Brotli, raw Snappy), "
        "unpack it (brotli -d, snzip -d)",
        byte_shown(text, at));
  return byte_shown(text, at);
}

}  // namespace

std::string foreign_type(std::string_view head) {
  if (head.starts_with("PK\x03\x04") && inside_zip(head) != nullptr) return inside_zip(head);
  for (const Signature& known : kSignatures) {
    if (head.starts_with(known.begin)) return known.what;
  }
  if (head.size() > 262 && head.substr(257, 5) == "ustar") return "a tar archive: unpack it";
  if (std::string pointer = type_by_pointer(head); !pointer.empty()) return pointer;
  std::string markup = type_by_markup(head);
  return markup.empty() ? type_by_zeros(head) : markup;
}

JsonProblem json_problem(std::string_view text, const json::parse_error& error) {
  const std::string_view said = error.what();
  std::size_t at = std::min(error.byte > 0 ? error.byte - 1 : 0, text.size());
  const auto is_letter = [&](std::size_t i) { return (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z'); };
  if (said.find("invalid literal") != std::string_view::npos) {
    while (at > 0 && at <= text.size() && is_letter(at - 1)) --at;
  }
  const std::string_view before = text.substr(0, at);
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return {1 + std::count(before.begin(), before.end(), '\n'), static_cast<std::int64_t>(at - line_start) + 1,
          words_of(text, at, said), at >= text.size()};
}

std::string json_complaint(std::string_view text, const json::exception& error) {
  const auto* parse = dynamic_cast<const json::parse_error*>(&error);
  if (parse == nullptr) return json_mismatch(error);
  if (is_blank(text)) return "found nothing";
  const JsonProblem problem = json_problem(text, *parse);
  return problem.line > 1 ? fmt::format("found {} (line {}, column {})", problem.what, problem.line, problem.column)
                          : fmt::format("found {} (column {})", problem.what, problem.column);
}

json parse_json(std::string_view text, const std::string& name) {
  RepeatedKeys keys;
  bool in_list = false;
  std::int64_t element = 0;  // of the list that the whole file is
  const auto watch = [&](int depth, json::parse_event_t event, const json& value) {
    using Event = json::parse_event_t;
    if (depth == 0 && event == Event::array_start) in_list = true;
    if (depth == 1 && (event == Event::object_start || event == Event::array_start || event == Event::value)) ++element;
    if (keys.repeats(event, value))
      throw DataError("key-given-twice",
                      fmt::format("{}: {}the key {} stands twice in one object: remove one of the two", name,
                                  in_list ? fmt::format("element {} of the list: ", element) : "", value.dump()));
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::parse_error& e) {
    if (is_blank(text)) throw DataError("json-file-empty", fmt::format("{}: expected JSON, found an empty file", name));
    if (const std::string type = foreign_type(text.substr(0, 4096)); !type.empty())
      throw DataError("not-a-json-file", fmt::format("{}: expected JSON, found {}", name, type));
    const JsonProblem problem = json_problem(text, e);
    throw DataError("not-valid-json", fmt::format("{}:{}: not valid JSON: {} (column {}){}", name, problem.line, problem.what,
                                                  problem.column, problem.cut_off ? ": is the file cut off?" : ""));
  } catch (const json::exception& e) {
    throw DataError("not-valid-json", fmt::format("{}: not valid JSON: {}", name, json_mismatch(e)));
  }
}

}  // namespace dmoerm
