// The device that tests compute on: DMOERM_TEST_DEVICE=cpu (default) or cuda.
#pragma once
#include <cstdlib>

#include "nn/device.h"

namespace dmoerm::test {

/// @throws ConfigError if the device is not there: a test that was told to use a GPU must not pass without one
inline c10::Device test_device() {
  const char* wanted = std::getenv("DMOERM_TEST_DEVICE");
  return nn::pick_device(wanted != nullptr ? wanted : "cpu", "DMOERM_TEST_DEVICE");
}

}  // namespace dmoerm::test
