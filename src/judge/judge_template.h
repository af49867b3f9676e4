// How a judge is asked, as people write it: YAML in configs/judge.
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
  /// @throws IoError, or ConfigError with everything that is wrong, each as file:line:column
  static JudgeTemplate load(const std::filesystem::path& path);
  /// The same of the file's text. @param file  its name in messages
  static JudgeTemplate parse(const std::string& text, const std::string& file);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& language() const { return language_; }
  /// Whether a tie is among the answers; parse_verdict() wants to know.
  [[nodiscard]] bool ties() const { return ties_; }
  /// SHA-256 of what was read: comments, the order of keys and the way a text is quoted play no part.
  [[nodiscard]] const Digest& digest() const { return digest_; }
  /// "pairwise-en@3f9c01d2a4b7": name and the first 12 hex digits of the digest.
  [[nodiscard]] std::string id() const;

  /// The request's messages. @param values  all but answer_format, which is the text for `form`
  [[nodiscard]] std::vector<preference::Message> render(FieldValues values, AnswerForm form) const;
  /// How turns of the conversation of that role are headed, e.g. "User"; a role the template does not know is its own heading.
  [[nodiscard]] const std::string& heading(const std::string& role) const;
  /// Stand in the place of what was cut: in front of the conversation, behind a response.
  [[nodiscard]] const std::string& conversation_mark() const { return conversation_mark_; }
  [[nodiscard]] const std::string& response_mark() const { return response_mark_; }

 private:
  struct Part {
    std::string role;
    TemplateText text;
  };

  std::string name_, language_, conversation_mark_, response_mark_, json_schema_, verdict_line_;
  std::string system_, user_, assistant_;  ///< headings
  bool ties_ = false;
  std::vector<Part> messages_;
  Digest digest_{};
};

}  // namespace dmoerm::judge
