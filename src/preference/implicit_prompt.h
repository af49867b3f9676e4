// The prompt of two texts that begin with it, where no column of the row holds one.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::preference {

/// Bytes of the prompt with which both texts of a row begin.
/// @throws RowError if they begin with different words, if the row's "chosen" is a message of the assistant, or if another column
/// seems to hold the prompt: then the words that both share are the beginning of two answers
std::size_t implicit_prompt_size(const nlohmann::json& row, const std::string& chosen, const std::string& rejected);

}  // namespace dmoerm::preference
