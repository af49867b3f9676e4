#include "judge/moderation.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "judge/untrusted_text.h"

namespace dmoerm::judge {
namespace {

using nlohmann::json;

/// A name without case, blanks, dashes and underscores, so that content_filter and ContentFilter are one.
std::string plain(const std::string& name) {
  std::string result = lower(name);
  std::erase_if(result, [](char c) { return c == '_' || c == '-' || c == ' '; });
  return result;
}

/// Whether an object of Azure's filter results, or one inside it, has "filtered": true.
bool filter_struck(const json& value, int depth = 0) {
  if (depth > 6) return false;
  if (value.is_array()) return std::ranges::any_of(value, [&](const json& item) { return filter_struck(item, depth + 1); });
  if (!value.is_object()) return false;
  if (member(value, "filtered") == true) return true;
  return std::ranges::any_of(value, [&](const json& item) { return filter_struck(item, depth + 1); });
}

/// Whether a message says that a text was blocked, or that it offends against a policy; not that an account or address was.
bool is_about_texts(const std::string& message) {
  if (message.starts_with('<')) return false;  // a page, whose words may be about anything
  const bool text = holds_any(message, {"prompt", "content", "input", "output", "response", "completion", "question", "message"});
  if (holds_any(message, {"guardrail", "model armor", "jailbreak"})) return true;
  if (text && holds_any(message, {"flagged", "blocked", "harmful", "unsafe", "violat"})) return true;
  return holds_any(message, {"violat"}) && holds_any(message, {"polic", "guideline", "terms"});
}

void add(std::string& names, const json& value) {
  if (value.is_string()) names += (names.empty() ? "" : ", ") + one_line(value.get<std::string>(), 80);
}

}  // namespace

std::string filter_names(const json& body) {
  std::string names;
  const json& error = member(body, "error");
  for (const json* holder : {&error, &body}) {
    add(names, member(member(*holder, "innererror"), "code"));
    const json& metadata = member(*holder, "metadata");
    if (const json& reasons = member(metadata, "reasons"); reasons.is_array()) {
      for (const json& reason : reasons) add(names, reason);
    }
    if (member(metadata, "flagged_input").is_string()) add(names, "flagged_input");
    if (const json& levels = member(*holder, "contentFilter"); levels.is_array() && !levels.empty()) add(names, "contentFilter");
    if (filter_struck(member(*holder, "prompt_filter_results"))) add(names, "prompt_filter_results");
    if (filter_struck(member(*holder, "content_filter_results"))) add(names, "content_filter_results");
  }
  if (const json& reason = member(member(body, "promptFeedback"), "blockReason"); reason.is_string())
    add(names, "blockReason " + reason.get<std::string>());
  return names;
}

bool is_moderation(int status, const ApiProblem& report) {
  if (!report.filters.empty()) return true;
  for (const std::string* name : {&report.code, &report.type}) {
    if (*name == "1301") return true;  // Zhipu
    if (holds_any(plain(*name), {"contentfilter", "contentpolicy", "moderation", "responsibleai", "inspectionfailed", "sensitive",
                                 "safety", "invalidprompt", "contentviolat", "policyviolation", "guardrail", "promptblocked",
                                 "contentblocked", "inputblocked", "outputblocked", "responseblocked", "jailbreak"}))
      return true;
  }
  if (status == 451) return !is_about_access(report);
  if (status >= 500) return false;
  const std::string message = lower(report.message);
  if (holds_any(message, {"moderation",
                          "content policy",
                          "contentpolicy",
                          "content management policy",
                          "content filter",
                          "usage polic",
                          "usage guideline",
                          "safety system",
                          "safety polic",
                          "inappropriate content",
                          "sensitive content",
                          "sensitive word",
                          "sensitive information",
                          "prohibited content",
                          "new_sensitive",
                          "content exists risk",
                          "considered high risk",
                          "不安全",
                          "敏感",
                          "违规",
                          "内容审核"}))
    return true;
  return (holds_any(message, {"flagged"}) || is_about_texts(message)) && !is_about_access(report);
}

bool is_about_access(const ApiProblem& report) {
  return holds_any(lower(report.code + " " + report.type + " " + report.message),
                   {"api key",       "api_key",      "apikey",        "authenti",   "authoriz",    "authoris", "unauthori",
                    "permission",    "forbidden",    "access denied", "access to",  "not allowed", "token",    "account",
                    "organization",  "organisation", "subscription",  "credential", "region",      "country",  "ip address",
                    "not supported", "billing",      "密钥",          "权限",       "账户",        "鉴权"});
}

bool is_filtered(const std::string& finish_reason) {
  return holds_any(plain(finish_reason), {"contentfilter", "safety", "prohibitedcontent", "blocklist", "spii", "recitation",
                                          "sensitive", "refusal", "moderation", "guardrail", "modelarmor", "toxic", "blocked"});
}

}  // namespace dmoerm::judge
