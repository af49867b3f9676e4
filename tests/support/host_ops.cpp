#include "support/host_ops.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/function_schema.h>
#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <span>

namespace dmoerm::test {
namespace {

std::mutex mutex;
std::map<std::string, HostOps> counted;

/// The tensors of one call.
struct Call : at::ObserverContext {
  bool any = false, elsewhere = false;
  std::int64_t largest = 0;

  void see(const c10::IValue& value) {
    if (value.isList()) {
      for (const c10::IValue& one : value.toListRef()) see(one);
    } else if (value.isTensor() && value.toTensor().defined()) {
      const at::Tensor& tensor = value.toTensor();
      any = true;
      elsewhere = elsewhere || !tensor.is_cpu();
      largest = std::max(largest, tensor.numel());
    }
  }
};

/// Whether a call gives other shapes of its arguments' memory, or answers a question about a tensor, and reads no element.
bool only_looks(const at::RecordFunction& function) {
  const std::optional<c10::FunctionSchema> schema = function.operator_schema();
  if (!schema) return true;  // a range of a profiler, no operation
  const auto view = [](const c10::Argument& result) { return result.alias_info() != nullptr && !result.alias_info()->isWrite(); };
  const std::string& name = schema->name();
  return name == "aten::is_pinned" || (!schema->returns().empty() && std::ranges::all_of(schema->returns(), view));
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
  auto call = std::make_unique<Call>();
  for (const c10::IValue& value : function.inputs()) call->see(value);
  return call;
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  auto& call = static_cast<Call&>(*context);
  for (const c10::IValue& value : function.outputs()) call.see(value);
  if (!call.any || call.elsewhere || only_looks(function)) return;
  const std::lock_guard lock(mutex);
  counted[function.name()] += {1, call.largest};
}

}  // namespace

void count_host_ops() {
  at::addGlobalCallback(
      at::RecordFunctionCallback(begin, end).needsInputs(true).needsOutputs(true).scopes({at::RecordScope::FUNCTION}));
}

std::map<std::string, HostOps> host_ops() {
  const std::lock_guard lock(mutex);
  return counted;
}

}  // namespace dmoerm::test
