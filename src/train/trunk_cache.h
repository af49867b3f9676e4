// Caches the states of whole groups below the adapted layers. If experts adapt only the top layers, these states are the same for
// every expert, epoch and phase, so they are computed once per group and kept while memory allows.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>

#include "data/token_store.h"
#include "nn/backbone.h"
#include "train/training_set.h"

namespace dmoerm::train {

class TrunkCache {
 public:
  /// @param bytes_max  most bytes of memory that is taken. On a GPU the first of them stay there, up to a quarter of its memory
  /// that is free when the first trunk is computed; the others go to the host's memory, pinned.
  explicit TrunkCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// The trunk of the rows that append_group() lays out for these portions in this order, for an adapter of this frozen backbone.
  /// Empty if the adapter adapts every layer. A group is always computed alone and with all its responses, so that the bits
  /// depend neither on the batch nor on what is in the cache.
  /// @param tokens_max  most tokens of a pass; a larger group is computed in several
  nn::Trunk of(const nn::Backbone& backbone, const nn::LoraAdapter* adapter, const data::TokenStore& store,
               std::span<const Portion> portions, std::int64_t tokens_max);

  /// Forget everything, before another backbone is used.
  void clear();
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Kept {
    at::Tensor x_TD;  ///< States of all the group's rows
    std::uint64_t used = 0;
    std::size_t bytes = 0;  ///< memory that they take
  };
  at::Tensor whole(const nn::Backbone& backbone, std::size_t layer, const data::TokenStore& store, std::int64_t index,
                   std::int64_t tokens_max);
  void keep(std::int64_t index, const at::Tensor& x_TD);
  /// Whether a trunk is on a GPU that has room to keep it.
  [[nodiscard]] bool stays_on_gpu(const at::Tensor& x_TD);

  std::size_t bytes_max_, bytes_ = 0, layer_ = 0;
  std::optional<std::size_t> gpu_bytes_max_;  ///< The first trunk sets it
  std::size_t gpu_bytes_ = 0;
  const nn::Backbone* backbone_ = nullptr;
  std::uint64_t clock_ = 0;
  std::unordered_map<std::int64_t, Kept> kept_;
};

}  // namespace dmoerm::train
