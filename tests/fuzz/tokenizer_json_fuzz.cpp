// Fuzzer of the tokenizer.json reader: any bytes are either refused with a DataError or make a tokenizer that encodes any text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The file, and behind the first zero byte a text for it.
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  const std::string_view text =
      end == std::string_view::npos ? "The caf\xC3\xA9's 12 <s>\xE2\x96\x81\n  \xFF" : input.substr(end + 1);
  try {
    const auto tokenizer = dmoerm::tokenizer::Tokenizer::parse(input.substr(0, end), "fuzz.json");
    for (const bool special : {false, true}) (void)tokenizer.encode_with_post_processor(text, special);
  } catch (const dmoerm::DataError&) {
  }
  return 0;
}
