// Texts that are messages as a program prints them, in place of JSON: Python's lists, casts of databases, objects of JavaScript.
#pragma once
#include <algorithm>
#include <array>
#include <string_view>

namespace dmoerm::preference {

/// The types of a message's parts that are texts, and those that never are anything but parts of a message.
inline constexpr std::array<std::string_view, 3> kTextParts = {"text", "input_text", "output_text"};
inline constexpr std::array<std::string_view, 6> kMediaParts = {"image_url", "image",     "input_image",
                                                                "video_url", "audio_url", "input_audio"};

/// Whether a word is one of a list.
bool is_one_of(std::string_view word, const auto& words) { return std::ranges::find(words, word) != words.end(); }

/// Who prints messages in a form, and what writes them as JSON instead.
struct Printer {
  const char* name;     ///< "Python", "a cast of Spark to string"
  const char* instead;  ///< "json.dumps"
};

/// The printer of a text that is wholly a message, or a list of messages; null if it is another text. What follows the closing
/// bracket, or stands before the first, makes it another text.
const Printer* printer_of_messages(std::string_view text);
/// The printer of a text that is wholly one message of the assistant, or a list that begins with one; null if it is another text.
const Printer* printer_of_answer(std::string_view text);
/// Whether a text is wholly a list of parts of a message as Python prints it: [{'type': 'text', 'text': 'Hi'}], or
/// [TextBlock(text='Hi', type='text')].
bool is_printed_parts(std::string_view text);
/// Whether a text that is no JSON begins as messages in JSON do, and nothing follows them: it is cut off, damaged or escaped.
bool is_damaged_messages(std::string_view text);

/// The text behind white space, byte-order marks and characters without width at its beginning.
std::string_view after_space(std::string_view text);

}  // namespace dmoerm::preference
