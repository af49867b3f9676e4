// Keys of a prompt and of the conversation that it belongs to, from their whole texts, and what is drawn by them.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "preference/group.h"

namespace dmoerm::preference {

/// The prompt as one text with its roles. Equal prompts have equal texts.
std::string prompt_text(const std::vector<Message>& prompt);
/// The beginning of the prompt up to its first message of the user, as prompt_text() writes it, without system messages and
/// without white space at the ends of texts: all turns of one conversation have it in common, and all copies of one question.
std::string session_text(const std::vector<Message>& prompt);

/// stable_hash() of prompt_text() and of session_text(). They do not depend on the tokenizer or on how a prompt is cut.
std::uint64_t prompt_key(const std::vector<Message>& prompt);
std::uint64_t session_key(const std::vector<Message>& prompt);

/// Whether the groups of a conversation are in phase 1, which has `phase1_share` of the train split; else they are in phase 3.
bool is_in_phase1(std::uint64_t session_key, double phase1_share, std::uint64_t seed);

}  // namespace dmoerm::preference
