// Says what lies in a place where a Hugging Face model directory was expected. Does not use torch.
#pragma once
#include <filesystem>
#include <string>

namespace dmoerm::nn {

/// Refuse a place that holds no model that can be read: a name on the Hub, a file, an adapter, weights of another format, a
/// bundle or a run of dmoerm, a half-finished download.
/// @param missing  what was looked for and not found, such as "config.json"
/// @throws DataError that says what lies there instead and what to do
[[noreturn]] void refuse_model_directory(const std::filesystem::path& directory, const std::string& missing);

/// The name of a PEFT adapter's weights that lie in a directory beside those of a whole model; "" if there are none.
std::string adapter_beside(const std::filesystem::path& directory);

}  // namespace dmoerm::nn
