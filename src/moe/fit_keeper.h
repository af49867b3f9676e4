// Keeps fits when the task that they belong to is broken off, so that it goes on in the middle of one with the same bits.
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "nn/safetensors.h"

namespace dmoerm::moe {

/// Where the parts of a task's work are kept.
class PartKeeper {
 public:
  virtual ~PartKeeper() = default;
  /// A part that was kept under this name by the same task; nothing if there is none.
  virtual std::optional<nn::NamedTensors> load(const std::string& name) = 0;
  /// Keep a part, or log a warning if that fails. @return whether it is kept
  virtual bool keep(const std::string& name, const nn::NamedTensors& tensors) = 0;
  /// Whether the task should break off now.
  virtual bool stop() = 0;
};

/// While it lives, the fits of this thread are kept, under names by their order: "fit-0", "fit-1", ...
class KeptFits {
 public:
  /// @param keeper  outlives this object
  explicit KeptFits(PartKeeper& keeper);
  ~KeptFits();
  KeptFits(const KeptFits&) = delete;
  KeptFits& operator=(const KeptFits&) = delete;

  /// The keeper of this thread's next fit and the fit's name; {nullptr, ""} if fits are not kept.
  static std::pair<PartKeeper*, std::string> next();
};

}  // namespace dmoerm::moe
