#include "config/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "base/text.h"
#include "base/utf8.h"
#include "config/nearest.h"
#include "config/odd_characters.h"

namespace dmoerm::config {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// The number that a text means which YAML or this program writes otherwise: 1_000, 1,000, 0,5, +5, 0x1f, 0o17, 10k, 50%.
std::optional<double> number_meant(std::string text) {
  std::erase(text, '_');
  if (text.starts_with('+')) text.erase(0, 1);
  for (const auto& [prefix, base] : {std::pair{"0x", 16}, {"0o", 8}, {"0b", 2}}) {
    if (!text.starts_with(prefix)) continue;
    std::uint64_t whole = 0;
    const auto [stop, error] = std::from_chars(text.data() + 2, text.data() + text.size(), whole, base);
    if (error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
    return static_cast<double>(whole);
  }
  double factor = 1;
  for (const auto& [suffix, times] : {std::pair{'k', 1e3}, {'K', 1e3}, {'M', 1e6}, {'%', 0.01}}) {
    if (!text.ends_with(suffix)) continue;
    factor = times;
    text.pop_back();
    break;
  }
  const std::size_t comma = text.find(',');
  if (comma != std::string::npos && comma == text.rfind(',') && comma + 4 != text.size()) text[comma] = '.';
  std::erase(text, ',');
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || stop != text.data() + text.size() || text.empty() || !std::isfinite(value * factor))
    return std::nullopt;
  return value * factor;
}

/// How a value of the wanted type is written that the text seems to mean: ": write 1000"; "" if it seems to mean none.
std::string written_as(const std::string& text, bool whole, bool below_zero) {
  const std::optional<double> value = number_meant(text);
  if (!value || std::fabs(*value) >= 1e15 || (whole && *value != std::floor(*value)) || (!below_zero && *value < 0)) return "";
  const bool as_it_is = text.find_first_not_of(whole ? "-0123456789" : "-0123456789.eE") == std::string::npos;
  if (as_it_is) return ": write " + text;
  return whole ? fmt::format(": write {:.0f}", *value) : fmt::format(": write {:.12g}", *value);
}

/// ": write true" for a word that other programs take for it.
std::string truth_written_as(const std::string& text) {
  const std::string word = lower(text);
  for (const char* yes : {"true", "yes", "on", "y", "1"}) {
    if (word == yes) return ": write true";
  }
  for (const char* no : {"false", "no", "off", "n", "0"}) {
    if (word == no) return ": write false";
  }
  return "";
}

/// "a number" was expected, this was found. @param better  what it seems to mean
std::string expected(const char* what, const Tree& tree, const std::string& better = "") {
  if (tree.kind != Tree::Kind::scalar) {
    return fmt::format("expected {}, found {}", what,
                       tree.kind == Tree::Kind::list  ? "a list"
                       : tree.kind == Tree::Kind::map ? "a section with keys"
                                                      : "no value");
  }
  if (tree.quoted && better == ": write " + tree.text)
    return fmt::format("expected {}, found the text \"{}\": remove the quotes", what, tree.text);
  if (tree.quoted && !better.empty())
    return fmt::format("expected {}, found the text \"{}\"{}, without quotes", what, tree.text, better);
  if (tree.text.find("${") != std::string::npos) {
    return fmt::format("expected {}, found {}: environment variables are replaced in texts only; use --set", what, tree.text);
  }
  return fmt::format("expected {}, found {}\"{}\"{}", what, tree.quoted ? "the text " : "", tree.text,
                     better.empty() ? odd_character(tree.text) : better);
}

/// Complaint about a leading zero, or "". YAML 1.1 reads 010 as 8, YAML 1.2 as 10.
std::string leading_zero(const std::string& text) {
  const std::size_t start = !text.empty() && text[0] == '-' ? 1 : 0;
  if (text.size() < start + 2 || text[start] != '0' || !is_digit(text[start + 1])) return "";
  std::size_t first = start;
  while (first + 1 < text.size() && text[first] == '0' && is_digit(text[first + 1])) ++first;
  return fmt::format("\"{}\" starts with 0, which YAML may read as octal: write {}{}", text, text.substr(0, start),
                     text.substr(first));
}

template <class T>
std::string read_whole(const Tree& tree, T& value, const char* what) {
  const auto wrong = [&] { return expected(what, tree, written_as(tree.text, true, std::is_signed_v<T>)); };
  if (tree.kind != Tree::Kind::scalar || tree.quoted) return wrong();
  if (std::string advice = leading_zero(tree.text); !advice.empty()) return advice;
  const char* end = tree.text.data() + tree.text.size();
  T parsed{};
  const auto [stop, error] = std::from_chars(tree.text.data(), end, parsed);
  if (error == std::errc::result_out_of_range) return fmt::format("{} does not fit into 64 bits", tree.text);
  if (error == std::errc{} && stop == end) {
    value = parsed;
    return "";
  }
  return wrong();
}

/// Replace ${...} from the environment. Returns what is wrong, or "".
std::string expand(const std::string& text, std::string& result) {
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, 3, "$${") == 0) {
      result += "${";
      i += 3;
      continue;
    }
    if (text.compare(i, 2, "${") != 0) {
      result += text[i++];
      continue;
    }
    const std::size_t end = text.find('}', i);
    if (end == std::string::npos)
      return fmt::format("\"{}\" has no closing brace; a literal ${{ is written $${{", text.substr(i));
    const std::string inside = text.substr(i + 2, end - i - 2);
    const std::size_t colon = inside.find(":-");
    const std::string name = inside.substr(0, colon);
    const bool good_name = !name.empty() && !is_digit(name[0]) &&
                           std::all_of(name.begin(), name.end(), [](char c) { return is_alnum(c) || c == '_'; });
    if (!good_name)
      return fmt::format(
          "\"${{{}}}\" does not name an environment variable: write ${{NAME}} or ${{NAME:-default}}; a literal ${{ is written "
          "$${{",
          inside);
    const char* value = std::getenv(name.c_str());
    const bool given =
        value != nullptr && (colon == std::string::npos || *value != '\0');  // as in a shell, :- also replaces an empty value
    if (!given && colon == std::string::npos)
      return fmt::format("environment variable {} is not set: set it, or write ${{{}:-default}}", name, name);
    if (given && !is_utf8(value)) return fmt::format("environment variable {} is not UTF-8: rename what it names", name);
    result += given ? std::string(value) : inside.substr(colon + 2);
    i = end + 1;
  }
  return "";
}

/// The word here for a word of other programs; "" if it is none.
std::string usual_word(const std::string& value) {
  const std::string word = lower(value);
  if (word == "gpu" || word.starts_with("cuda:")) return "cuda";
  if (word == "bf16" || word == "torch.bfloat16") return "bfloat16";
  if (word == "fp32" || word == "float" || word == "f32" || word == "torch.float32") return "float32";
  return word == "full_finetuning" || word == "full_ft" ? "full" : "";
}

/// A name of letters, digits and underscores that is like a text: "Q_A" for "Q&A", "gruesse" for "grüße"; "" if nothing is left.
std::string plain_name(const std::string& text) {
  struct Letters {
    std::string_view from;  ///< characters of two bytes each
    std::string_view to;
  };
  constexpr std::array<Letters, 21> kLetters = {
      {{"ä", "ae"},  {"ö", "oe"},      {"ü", "ue"},  {"ß", "ss"},  {"Ä", "Ae"},      {"Ö", "Oe"},     {"Ü", "Ue"},
       {"æ", "ae"},  {"àáâãåāą", "a"}, {"çćč", "c"}, {"đď", "d"},  {"èéêëēęě", "e"}, {"ìíîïīı", "i"}, {"łľ", "l"},
       {"ñńň", "n"}, {"òóôõøōő", "o"}, {"řŕ", "r"},  {"śšş", "s"}, {"ťţ", "t"},      {"ùúûūůű", "u"}, {"ýÿžźż", "z"}}};
  std::string name;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = std::max<std::size_t>(utf8_length(text, i), 1);
    const std::string_view character = std::string_view(text).substr(i, length);
    const auto* const letters = std::ranges::find_if(
        kLetters, [&](const Letters& l) { return length == 2 && l.from.find(character) != std::string_view::npos; });
    if (is_alnum(text[i]))
      name += text[i];
    else if (letters != kLetters.end())
      name += letters->to;
    else if (!name.empty() && name.back() != '_')
      name += '_';
    i += length;
  }
  constexpr std::size_t kNameMax = 100;
  name.resize(std::min(name.size(), kNameMax));
  while (name.ends_with('_')) name.pop_back();
  return name;
}

/// What a path holds that a shell or another system would replace, or "".
std::string check_path(const std::string& path) {
  if (path.starts_with('~')) return "~ is not expanded; write ${HOME}";
  const auto drive = [&](char end) { return path.size() > 2 && is_alnum(path[0]) && path[1] == ':' && path[2] == end; };
  if (drive('\\') || drive('/') || path.starts_with("\\\\"))
    return fmt::format("\"{}\" is a path of Windows: write the one that this system has, such as /mnt/c/...", path);
  for (std::size_t i = path.find('$'); i != std::string::npos; i = path.find('$', i + 1)) {
    std::size_t end = i + 1;
    while (end < path.size() && (is_alnum(path[end]) || path[end] == '_')) ++end;
    if (end > i + 1)
      return fmt::format("{0} is not replaced: write ${{{1}}}", path.substr(i, end - i), path.substr(i + 1, end - i - 1));
  }
  return "";
}

}  // namespace

std::string read_value(const Tree& tree, bool& value) {
  if (tree.kind != Tree::Kind::scalar || tree.quoted || (tree.text != "true" && tree.text != "false"))
    return expected("true or false", tree, truth_written_as(tree.text));
  value = tree.text == "true";
  return "";
}

std::string read_value(const Tree& tree, std::int64_t& value) { return read_whole(tree, value, "a whole number"); }
std::string read_value(const Tree& tree, std::uint64_t& value) { return read_whole(tree, value, "a whole number >= 0"); }

std::string read_value(const Tree& tree, double& value) {
  const auto wrong = [&] { return expected("a number", tree, written_as(tree.text, false, true)); };
  if (tree.kind != Tree::Kind::scalar || tree.quoted) return wrong();
  if (std::string advice = leading_zero(tree.text); !advice.empty()) return advice;
  const char* end = tree.text.data() + tree.text.size();
  double parsed = 0;
  const auto [stop, error] = std::from_chars(tree.text.data(), end, parsed);
  if (error == std::errc::result_out_of_range) return fmt::format("{} is too large or too small for a double", tree.text);
  const bool infinite = tree.text.find(".inf") != std::string::npos || tree.text.find(".nan") != std::string::npos;
  if (infinite || (error == std::errc{} && stop == end && !std::isfinite(parsed)))
    return fmt::format("{} is not finite", tree.text);
  if (error != std::errc{} || stop != end) return wrong();
  value = parsed;
  return "";
}

std::string read_value(const Tree& tree, std::string& value) {
  if (tree.kind == Tree::Kind::null) return "has no value: write \"\" for an empty text";
  if (tree.kind != Tree::Kind::scalar) return expected("a text", tree);
  std::string expanded;
  if (std::string problem = expand(tree.text, expanded); !problem.empty()) return problem;
  for (std::size_t i = 0; i < expanded.size();) {
    const std::size_t length = utf8_length(expanded, i);
    const auto byte = static_cast<unsigned char>(expanded[i]);
    if (length == 0) return fmt::format("holds byte 0x{:02x}, which is not UTF-8", byte);
    if (byte < 0x20 || byte == 0x7f) return fmt::format("holds a line end or control character (0x{:02x}): remove it", byte);
    i += length;
  }
  value = std::move(expanded);
  return "";
}

std::string write_value(bool value) { return value ? "true" : "false"; }
std::string write_value(std::int64_t value) { return fmt::format("{}", value); }
std::string write_value(std::uint64_t value) { return fmt::format("{}", value); }
std::string write_value(double value) { return fmt::format("{}", value); }

std::string write_value(const std::string& value) {
  const bool plain = !value.empty() && (is_alnum(value[0]) || value[0] == '/' || value[0] == '_') && !is_digit(value[0]) &&
                     std::all_of(value.begin(), value.end(), [](char c) {
                       return is_alnum(c) || std::string_view("_./-").find(c) != std::string_view::npos;
                     });
  // Words that YAML reads as something else than a text.
  static const std::vector<std::string> kTaken = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
  std::string lower = value;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (plain && std::find(kTaken.begin(), kTaken.end(), lower) == kTaken.end()) return value;
  std::string quoted = "\"";
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '"' || value[i] == '\\') quoted += '\\';
    if (value.compare(i, 2, "${") == 0) quoted += '$';
    quoted += value[i];
  }
  return quoted + '"';
}

std::string write_value(const ScoreGap& value) {
  if (value.by_label.empty()) return write_value(value.of_all);
  std::string text;
  for (const auto& [label, gap] : value.by_label)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", write_value(label), write_value(gap));
  return "{" + text + "}";
}

namespace {

/// "expected more than 0 and at most 1"
std::string range_in_words(const Rule& rule) {
  std::string text;
  const bool low = std::isfinite(rule.min), high = std::isfinite(rule.max);
  if (low && high && !rule.min_excluded && !rule.max_excluded) return fmt::format("expected {} to {}", rule.min, rule.max);
  if (low && !rule.min_excluded && !high) return fmt::format("expected {} or more", rule.min);
  if (low) text = fmt::format("{} {}", rule.min_excluded ? "more than" : "at least", rule.min);
  if (high) text += fmt::format("{}{} {}", low ? " and " : "", rule.max_excluded ? "less than" : "at most", rule.max);
  return "expected " + text;
}

}  // namespace

std::string check_range(double value, const Rule& rule) {
  const bool low = rule.min_excluded ? value <= rule.min : value < rule.min;
  const bool high = rule.max_excluded ? value >= rule.max : value > rule.max;
  return low || high ? fmt::format("{} is out of range: {}", value, range_in_words(rule)) : "";
}

std::string check_text(const std::string& value, const Rule& rule) {
  const bool is_path = rule.is_path || rule.from_cwd || (rule.or_file && names_file(value));
  if (is_path) {
    if (std::string wrong = check_path(value); !wrong.empty()) return wrong;
  }
  if (rule.or_file && names_file(value)) return "";
  if (!rule.words.empty() && std::find(rule.words.begin(), rule.words.end(), value) == rule.words.end()) {
    const std::string usual = usual_word(value);
    const std::optional<std::string> near =
        std::ranges::find(rule.words, usual) != rule.words.end() ? usual : nearest(value, rule.words);
    return fmt::format("\"{}\" is not one of {}{}{}", value, describe_range(rule), odd_character(value),
                       near && !near->empty() ? fmt::format("; did you mean {}?", *near) : "");
  }
  if (rule.required && value.empty()) return "must not be empty";
  if (rule.is_name) {
    const auto fits = [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; };
    if (!std::all_of(value.begin(), value.end(), fits) || value[0] == '.' || value[0] == '-' || value.size() > 100) {
      const std::string plain = plain_name(value);
      return fmt::format(
          "\"{}\" becomes a directory's name: use at most 100 of A-Z a-z 0-9 _ . - and start with a letter, digit or _{}{}",
          value, odd_character(value), plain.empty() ? "" : fmt::format(", e.g. {}", plain));
    }
  }
  return "";
}

bool names_file(const std::string& value) { return value.ends_with(".json") || value.find('/') != std::string::npos; }

std::string describe_range(const Rule& rule) {
  if (!rule.words.empty()) {
    std::vector<std::string> words = rule.words;
    for (std::string& word : words) word = word.empty() ? "\"\"" : word;
    if (rule.or_file) words.emplace_back("FILE.json");
    return fmt::format("{}", fmt::join(words, ", "));
  }
  const char* low = rule.min_excluded ? "<" : "<=";
  const char* high = rule.max_excluded ? "<" : "<=";
  if (std::isfinite(rule.min) && std::isfinite(rule.max)) return fmt::format("{} {} x {} {}", rule.min, low, high, rule.max);
  if (std::isfinite(rule.min)) return fmt::format("{} {}", rule.min_excluded ? ">" : ">=", rule.min);
  if (rule.is_name) return "A-Z a-z 0-9 _ . -";
  return rule.required ? "not empty" : "";
}

}  // namespace dmoerm::config
