// What every format refuses: rows that are more than text, and texts in which there is nothing to read.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// Refuse an object (a row or a message) whose keys hold images, videos, sounds or tools beside its text. Null, "", [] and the
/// like hold nothing. @throws RowError that does not count as bad
void expect_text_only(const nlohmann::json& object);

/// Whether a prompt shows a picture in Markdown whose file lies beside the data, ![chart](images/1.png), outside of code. It may
/// be the question's, or a text that is to be edited.
bool shows_picture(std::string_view prompt);

/// What reasoning_keys() calls a part of a message that holds reasoning. unpack_messages() writes it into rows whose parts it
/// joins.
inline constexpr const char* kReasoningPart = "part of type thinking";
/// Whether a part of a message's content is reasoning, as of Anthropic, Gemini or Bedrock. Beside a text nothing reads it.
bool is_reasoning_part(const nlohmann::json& part);
/// Refuse the parts of a text if all are reasoning. @throws RowError that does not count as bad
void expect_more_than_reasoning(const nlohmann::json& parts, const char* key);
/// The keys under which messages and responses of a row hold reasoning beside their text, such as reasoning_content or thinking.
/// Nothing reads it.
std::vector<std::string> reasoning_keys(const nlohmann::json& row);
/// "; "reasoning_content" is not read" for a message about a group that has such keys; else "".
std::string unread_words(const Group& group);

/// Refuse a group whose prompt, or one of whose responses, is blank or shows nothing (U+3000, zero-width characters), and texts
/// with marks of images, videos or sounds, or that begin with those of a tool's call. @throws RowError, which counts as bad for
/// blank texts only
void check_texts(const Group& group);

}  // namespace dmoerm::preference
