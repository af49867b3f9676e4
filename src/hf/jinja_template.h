// A bundle's chat template as transformers and vLLM read one: a Jinja template.
#pragma once
#include <string>

#include "tokenizer/chat_template.h"

namespace dmoerm::hf {

/// A Jinja template that writes a conversation as the chat template does. If the last message is the assistant's, that is the
/// response; otherwise `add_generation_prompt` adds what leads to one. It refuses other roles than system, user and assistant,
/// and turns that do not follow each other in the chat template.
std::string jinja_template(const tokenizer::ChatTemplate& chat_template);

}  // namespace dmoerm::hf
