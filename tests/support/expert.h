// An adapter with a value head in one buffer but without a backbone, as tests of the layers hold it and its gradient.
#pragma once
#include <ATen/ops/zeros.h>

#include "nn/lora_adapter.h"
#include "nn/value_head.h"
#include "support/test_device.h"

namespace dmoerm::test {

struct Expert {
  Expert(const nn::BackboneSpec& spec, const nn::LoraSpec& lora, at::Device device = test_device())
      : flat(at::zeros({nn::LoraAdapter::parameters(spec, lora) + spec.width}, at::TensorOptions().device(device))),
        adapter(spec, lora, flat.narrow(0, 0, flat.numel() - spec.width)),
        head{flat.narrow(0, flat.numel() - spec.width, spec.width)} {}

  at::Tensor flat;
  nn::LoraAdapter adapter;
  nn::ValueHead head;
};

}  // namespace dmoerm::test
