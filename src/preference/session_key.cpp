#include "preference/session_key.h"

#include <algorithm>
#include <span>

#include "base/hash.h"
#include "base/rng.h"
#include "base/text.h"

namespace dmoerm::preference {
namespace {

std::string text_of_messages(std::span<const Message> messages) {
  std::string text;
  for (const Message& m : messages) text += m.role + "\x1f" + m.content + "\x1e";
  return text;
}

}  // namespace

std::string prompt_text(const std::vector<Message>& prompt) { return text_of_messages(prompt); }

std::string session_text(const std::vector<Message>& prompt) {
  const auto first = std::ranges::find(prompt, "user", &Message::role);
  if (first == prompt.end()) return text_of_messages(prompt);
  std::vector<Message> beginning;
  for (auto m = prompt.begin(); m <= first; ++m) {
    if (m->role != "system") beginning.push_back({m->role, std::string(trim(m->content))});
  }
  return text_of_messages(beginning);
}

std::uint64_t prompt_key(const std::vector<Message>& prompt) { return stable_hash(prompt_text(prompt)); }

std::uint64_t session_key(const std::vector<Message>& prompt) { return stable_hash(session_text(prompt)); }

bool is_in_phase1(std::uint64_t session_key, double phase1_share, std::uint64_t seed) {
  return static_cast<double>(mix64(session_key ^ seed)) * 0x1.0p-64 < phase1_share;
}

}  // namespace dmoerm::preference
