// Fuzzer of the configuration reader: any bytes are either refused with a ConfigError or survive writing and reading.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "config/reader.h"
#include "config/writer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const std::string smallest = "backbone: {dir: m}\ndata: {inputs: [{path: a}]}\ncategories: [{name: c, points: [p]}]\n";
  using namespace dmoerm;
  for (const bool as_override : {false, true}) {
    config::RunConfig config;
    try {
      config = config::parse_run_config(as_override ? smallest : text, "fuzz.yaml", "/",
                                        as_override ? std::vector{text} : std::vector<std::string>{});
    } catch (const dmoerm::ConfigError&) {
      continue;
    }
    if (!config::difference(config, config::parse_run_config(config::to_yaml(config), "again.yaml", "/", {})).empty())
      std::abort();
  }
  return 0;
}
