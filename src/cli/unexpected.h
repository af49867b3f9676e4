// What a command line has that its verb does not take.
#pragma once
#include <string>

#include "cli/verbs.h"

namespace dmoerm::cli {

/// "score: not expected: --data x.jsonl; score has --input": the words that the called verb does not take, in their order, and
/// for an unknown option the verb's own of the same meaning or of nearly the same name. "" if all words were taken.
std::string unexpected_text(const CLI::App& program);

}  // namespace dmoerm::cli
