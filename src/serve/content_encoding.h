// Bodies that clients send compressed.
#pragma once
#include <cstddef>
#include <optional>
#include <string>

#include "base/error.h"

namespace dmoerm::serve {

struct EncodingProblem {
  int status = 400;
  ErrorCode code;
  std::string words;
};

/// Replaces a body by what it is without its encoding, which is the value of Content-Encoding (RFC 9110, section 8.4): gzip,
/// deflate, or "" or identity for none.
/// @param bytes_max  largest size of the result
/// @return what is wrong: another encoding (415), a result that is too long (413), a body that is not so encoded (400)
std::optional<EncodingProblem> decode_body(const std::string& encoding, std::string& body, std::size_t bytes_max);

}  // namespace dmoerm::serve
