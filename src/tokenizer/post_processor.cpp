#include "tokenizer/post_processor.h"

#include <fmt/format.h>

namespace dmoerm::tokenizer {
namespace {

PostProcessor parse_template(const JsonPart& part) {
  PostProcessor result;
  bool seen = false;
  for (const JsonPart& piece : part.at("single").items()) {
    if (piece.has("Sequence")) {
      if (seen || piece.at("Sequence").at("id").text() != "A") piece.fail("expected the sequence A exactly once");
      seen = true;
      continue;
    }
    const std::string& name = piece.at("SpecialToken").at("id").text();
    for (const JsonPart& id : part.at("special_tokens").at(name.c_str()).at("ids").items())
      (seen ? result.after : result.before).push_back(id.token_id());
  }
  if (!seen) part.at("single").fail("the sequence A is missing");
  return result;
}

/// The id in a list such as ["[SEP]", 102].
std::int32_t named_id(const JsonPart& part) {
  const auto items = part.items();
  if (items.size() != 2) part.fail("expected [token, id]");
  return items[1].token_id();
}

}  // namespace

PostProcessor PostProcessor::parse(const JsonPart& part) {
  if (part.is_null()) return {};
  const JsonPart type = part.at("type");
  const std::string& name = type.text();
  if (name == "ByteLevel") return {};
  if (name == "TemplateProcessing") return parse_template(part);
  if (name == "BertProcessing" || name == "RobertaProcessing") return {{named_id(part.at("cls"))}, {named_id(part.at("sep"))}};
  if (name == "Sequence") {
    PostProcessor result;
    for (const JsonPart& item : part.at("processors").items()) {
      const PostProcessor outer = parse(item);
      result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
      result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
    }
    return result;
  }
  type.fail_unsupported(name, "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence");
}

}  // namespace dmoerm::tokenizer
