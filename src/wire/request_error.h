// A request that cannot be answered as it stands.
#pragma once
#include <cstdint>
#include <string>

#include "base/error.h"

namespace dmoerm::wire {

/// Whose form an error has.
enum class Family : std::uint8_t { own, vllm, sglang, tei, fastapi, kserve };

/// A request that is refused. `what()` is one sentence that names the place in the JSON body and the value found there; the HTTP
/// status is 4xx.
class RequestError : public Error {
 public:
  RequestError(ErrorCode code, int status, Family family, const std::string& message)
      : Error(code, message), status_(status), family_(family) {}
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] Family family() const { return family_; }
  [[nodiscard]] int exit_code() const override { return 2; }
  [[nodiscard]] bool may_pass() const override { return false; }

 private:
  int status_;
  Family family_;
};

}  // namespace dmoerm::wire
