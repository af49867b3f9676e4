#include "preference/pair_digest.h"

#include <string>

namespace dmoerm::preference {
namespace {

void append(std::string& bytes, std::string_view text) {
  bytes += std::to_string(text.size()) + ':';
  bytes += text;
}

}  // namespace

Digest pair_digest(const std::vector<preference::Message>& prompt, std::string_view a, std::string_view b) {
  std::string bytes = std::to_string(prompt.size()) + ':';
  for (const preference::Message& message : prompt) {
    append(bytes, message.role);
    append(bytes, message.content);
  }
  append(bytes, a);
  append(bytes, b);
  return sha256(bytes);
}

}  // namespace dmoerm::preference
