// Fuzzer of requests: any bytes at any address give a refusal with a status 4xx that can be written as JSON, or a request whose
// reply can be written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/json_text.h"
#include "wire/parse.h"
#include "wire/render_error.h"
#include "wire/reply.h"

namespace {

namespace wire = dmoerm::wire;

void demand(bool good) {
  if (!good) std::abort();
}

void check(const wire::Request& request, const wire::Limits& limits) {
  demand(request.size() <= limits.texts_max);
  std::vector<char> seen(request.size());
  for (const wire::Group& group : request.groups) {
    demand(!group.items.empty() && (group.form != wire::Form::messages || !group.prompt.empty()));
    for (const wire::Item& item : group.items) {
      demand(item.place < seen.size() && seen[item.place]++ == 0 && item.prompt_bytes <= item.text.size());
      demand(group.form == wire::Form::tokens ? !item.tokens.empty() : !item.text.empty());
    }
  }
  const std::vector<wire::Scored> scored(request.size());
  demand(!dmoerm::json_line(wire::render(request, scored, {"m", "id", 0, "", {}})).empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view body(reinterpret_cast<const char*>(data + 2), size - 2);
  wire::Limits limits;
  limits.texts_max = 64;
  limits.sglang = (data[1] & 1U) != 0;
  wire::Endpoint endpoint;
  endpoint.path = static_cast<wire::Path>(data[0] % (static_cast<unsigned>(wire::Path::infer) + 1));
  endpoint.versioned = (data[1] & 2U) != 0;
  try {
    const bool binary = (data[1] & 4U) != 0 && endpoint.path == wire::Path::infer;
    check(wire::parse(endpoint, body, limits, binary ? std::optional(body.find('}') + 1) : std::nullopt), limits);
  } catch (const wire::RequestError& e) {
    demand(e.status() >= 400 && e.status() < 500 && !e.code().empty());
    demand(!dmoerm::json_line(wire::render_error(e.family(), e.status(), e.code(), e.what())).empty());
  }
  return 0;
}
