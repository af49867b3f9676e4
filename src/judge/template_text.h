// A text with placeholders, e.g. "point: {point}": read once, filled in often. A literal brace is written {{ or }}.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::judge {

/// What a judge's prompt is made of.
enum class Field : std::uint8_t { conversation, response_1, response_2, category, point, criterion, tag, answer_format };
inline constexpr std::array<std::string_view, 8> kFieldNames = {"conversation", "response_1", "response_2", "category",
                                                                "point",        "criterion",  "tag",        "answer_format"};
/// By Field.
using FieldValues = std::array<std::string_view, kFieldNames.size()>;

class TemplateText {
 public:
  /// Read a text. What is wrong with it goes to `problem` as the part of the text that is meant and a message, in order; the
  /// result then is of no use.
  /// @param fields  whether placeholders may stand in it at all
  static TemplateText parse(std::string_view text, bool fields,
                            const std::function<void(std::string_view part, const std::string& message)>& problem);

  /// The text with the values in their places, once: braces inside of values mean nothing.
  [[nodiscard]] std::string render(const FieldValues& values) const;
  /// How often a field stands in it.
  [[nodiscard]] int count(Field field) const;

 private:
  struct Piece {
    std::string text;  ///< stands in front of the field
    int field = -1;    ///< none at the end
  };
  std::vector<Piece> pieces_;
};

}  // namespace dmoerm::judge
