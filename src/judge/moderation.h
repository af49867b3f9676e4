// Tells whether a server declines a question because of what its texts say: providers have no common way to say so.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "judge/api_problem.h"

namespace dmoerm::judge {

/// Names of filters that a body holds beside its message: innererror.code (Azure), metadata.reasons (OpenRouter),
/// promptFeedback.blockReason (Gemini), contentFilter (Zhipu), prompt_filter_results with a filter that struck. "" if it has
/// none.
std::string filter_names(const nlohmann::json& body);

/// Whether an error report declines the question for its content: status 451 does unless it is about the caller's place; others
/// say so by a name or in words. A server's own fault (5xx) must say so by a name, because its message may quote anything.
bool is_moderation(int status, const ApiProblem& report);

/// Whether the report is about the key, the account or the place of the caller, so that every question will be refused.
bool is_about_access(const ApiProblem& report);

/// Whether a finish_reason says that the content was filtered.
bool is_filtered(const std::string& finish_reason);

}  // namespace dmoerm::judge
