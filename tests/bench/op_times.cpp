#include "bench/op_times.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <chrono>
#include <vector>

namespace dmoerm::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// The operations that run now, and the sums of those that have ended. Only the main thread has one that is on.
struct Listener {
  bool on = false;
  int depth = 0;
  Clock::time_point began;
  std::string kind;
  std::map<std::string, OpTimes::Kind> kinds;
};
thread_local Listener listener;

/// Two operations for each multiplication of a matrix product; 0 for other operations.
double flops_of(const at::RecordFunction& op) {
  const std::string_view name = op.name();
  const bool sum = name == "aten::addmm" || name == "aten::addmm_";
  if (name != "aten::mm" && !sum) return 0;
  const std::size_t first = sum ? 1 : 0;
  const c10::ArrayRef<const c10::IValue> inputs = op.inputs();
  if (inputs.size() < first + 2 || !inputs[first].isTensor() || !inputs[first + 1].isTensor()) return 0;
  const at::Tensor &a = inputs[first].toTensor(), &b = inputs[first + 1].toTensor();
  return 2.0 * static_cast<double>(a.size(0)) * static_cast<double>(a.size(1)) * static_cast<double>(b.size(1));
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& op) {
  Listener& l = listener;
  if (!l.on) return nullptr;
  if (l.depth++ == 0) {
    l.kind = kind_of(op.name());
    l.began = Clock::now();
  }
  l.kinds[l.kind].flops += flops_of(op);
  return nullptr;
}

void end(const at::RecordFunction&, at::ObserverContext*) {
  Listener& l = listener;
  if (!l.on || --l.depth > 0) return;
  OpTimes::Kind& kind = l.kinds[l.kind];
  kind.seconds += std::chrono::duration<double>(Clock::now() - l.began).count();
  ++kind.calls;
}

}  // namespace

std::string kind_of(std::string_view name) {
  if (name.starts_with("nn::attention")) return "attention";
  if (name.starts_with("nn::lora")) return "LoRA";
  if (name.starts_with("train::")) return std::string(name.substr(7));
  if (name == "nn::product" || name == "aten::mm" || name == "aten::addmm" || name == "aten::addmm_") return "matrix products";
  return "elementwise";
}

OpTimes::OpTimes() : handle_(at::addGlobalCallback(at::RecordFunctionCallback(begin, end).needsInputs(true))) {
  listener = {};
  listener.on = true;
}

OpTimes::~OpTimes() {
  at::removeCallback(handle_);
  listener.on = false;
}

std::map<std::string, OpTimes::Kind> OpTimes::kinds() const { return listener.kinds; }

}  // namespace dmoerm::bench
