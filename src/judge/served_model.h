// Whether a server answers with the model that was asked for.
#pragma once
#include <string_view>

namespace dmoerm::judge {

/// Whether two names can be of one model: apart from upper case, the folder or provider before the last "/", the ending ".gguf",
/// and endings such as "-2024-08-06", "-0613", ":free", "-latest" and "-preview". "gpt-4o-mini" is another model than "gpt-4o".
bool may_be_same_model(std::string_view asked, std::string_view served);

}  // namespace dmoerm::judge
