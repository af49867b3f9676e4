// A prompt template for judges: a YAML file in configs/judge.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "judge/template_text.h"
#include "judge/verdict_parser.h"
#include "preference/group.h"

namespace dmoerm::judge {

class JudgeTemplate {
 public:
  /// Read a template. @throws IoError, or ConfigError that lists every problem as file:line:column
  static JudgeTemplate load(const std::filesystem::path& path);
  /// Read a template from text. @param file  name of its file, for messages
  static JudgeTemplate parse(const std::string& text, const std::string& file);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& language() const { return language_; }
  /// Whether a tie is among the answers, for parse_verdict().
  [[nodiscard]] bool ties() const { return ties_; }
  /// SHA-256 of the content; comments, the order of keys and the quoting of texts do not change it.
  [[nodiscard]] const Digest& digest() const { return digest_; }
  /// "pairwise-en@3f9c01d2a4b7": name and the first 12 hex digits of the digest.
  [[nodiscard]] std::string id() const;

  /// The request's messages. @param values  values of all fields but answer_format, which is the text for `form`
  [[nodiscard]] std::vector<preference::Message> render(FieldValues values, AnswerForm form) const;
  /// Heading of the conversation's turns with that role, e.g. "User". A role without a heading in the template is its own.
  [[nodiscard]] const std::string& heading(const std::string& role) const;
  /// Marks for cut text: the first stands before the conversation, the second after a response.
  [[nodiscard]] const std::string& conversation_mark() const { return conversation_mark_; }
  [[nodiscard]] const std::string& response_mark() const { return response_mark_; }

 private:
  /// One message of the request.
  struct TemplateBlock {
    std::string role;
    TemplateText text;
  };

  std::string name_, language_, conversation_mark_, response_mark_, json_schema_, verdict_line_;
  std::string system_, user_, assistant_;  ///< Headings
  bool ties_ = false;
  std::vector<TemplateBlock> messages_;
  Digest digest_{};
};

}  // namespace dmoerm::judge
