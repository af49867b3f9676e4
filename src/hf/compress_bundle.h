// A bundle whose categories have backbones of their own, made smaller: the pretrained backbone, one vector of changes, and a mask
// for each of them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace dmoerm::hf {

struct Compressed {
  std::vector<std::string> backbones;  ///< Folders whose weights are masks now, such as base/CATEGORY and single
  std::uintmax_t bytes_before = 0, bytes_after = 0;
  double score_difference_max = 0;  ///< Largest difference of a golden score
};

/// Told how many steps of the work are done, about one for each backbone; all = 0: not known yet.
using OnStep = std::function<void(std::int64_t done, std::int64_t all)>;

/// Write a compressed copy of a bundle to `out`, an empty or absent folder. The copy is a bundle of schema 3 with golden scores
/// of its own. @see nn/masked_weights.h
/// @throws ConfigError if fewer than two backbones were trained whole, or `out` holds something; DataError, IoError; Stopped
/// after a signal, see base/stop.h
Compressed compress_bundle(const std::filesystem::path& bundle, const std::filesystem::path& out, const OnStep& on_step);

}  // namespace dmoerm::hf
