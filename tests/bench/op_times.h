// Where the time of a training step goes: wall seconds and arithmetic of the main thread's outermost operations by kind.
// libtorch calls back at the begin and end of each operation, its own and those that src/nn and src/train record; without
// callbacks that costs a look at a flag.
#pragma once
#include <ATen/record_function.h>

#include <map>
#include <string>

namespace dmoerm::bench {

class OpTimes {
 public:
  struct Kind {
    double seconds = 0, flops = 0;  ///< Operations of matrix products only: two for each multiplication
    std::int64_t calls = 0;
  };
  /// Begin to listen. One object at a time.
  OpTimes();
  ~OpTimes();
  OpTimes(const OpTimes&) = delete;
  OpTimes& operator=(const OpTimes&) = delete;

  /// By kind: "matrix products", "attention", "elementwise", "LoRA", "optimizer", "data".
  [[nodiscard]] std::map<std::string, Kind> kinds() const;

 private:
  at::CallbackHandle handle_;
};

/// The kind of an operation, by its name. @param name  such as "aten::mm", "nn::lora" or "train::data"
std::string kind_of(std::string_view name);

}  // namespace dmoerm::bench
