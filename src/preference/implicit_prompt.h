// The prompt of two texts that begin with it, where no column of the row holds one.
#pragma once
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmoerm::preference {

/// Refuse a row with a column of an unknown name that seems to hold the prompt: the words that both texts share are then the
/// beginning of two answers. @throws RowError that names the column and what to do
void expect_prompt_in_no_column(const nlohmann::json& row, const std::string& chosen, const std::string& rejected);

/// Bytes of the prompt with which both texts of a row begin.
/// @throws RowError if they begin with different words, or if the row's "chosen" is a message of the assistant
std::size_t implicit_prompt_size(const nlohmann::json& row, const std::string& chosen, const std::string& rejected);

}  // namespace dmoerm::preference
