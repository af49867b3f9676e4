// A text with placeholders, e.g. "point: {point}". It is parsed once and filled in many times. A literal brace is written {{ or
// }}.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dmoerm::judge {

/// The placeholders in a judge's prompt.
enum class Field : std::uint8_t { conversation, response_1, response_2, category, point, criterion, tag, answer_format };
inline constexpr std::array<std::string_view, 8> kFieldNames = {"conversation", "response_1", "response_2", "category",
                                                                "point",        "criterion",  "tag",        "answer_format"};
/// Values by Field.
using FieldValues = std::array<std::string_view, kFieldNames.size()>;

class TemplateText {
 public:
  /// Parse a text. Each problem is passed to `problem`, in order, with the part of the text at fault and a message; then the
  /// result must not be used.
  /// @param fields  whether the text may have placeholders
  static TemplateText parse(std::string_view text, bool fields,
                            const std::function<void(std::string_view part, const std::string& message)>& problem);

  /// The text with its values inserted. Braces inside values have no meaning.
  [[nodiscard]] std::string render(const FieldValues& values) const;
  /// Number of occurrences of a field.
  [[nodiscard]] int count(Field field) const;

 private:
  struct Piece {
    std::string text;  ///< Text before the field
    int field = -1;    ///< -1 for the last piece
  };
  std::vector<Piece> pieces_;
};

}  // namespace dmoerm::judge
