// Whether two directories hold the same pretrained model.
#pragma once
#include <filesystem>
#include <string>

#include "nn/backbone_spec.h"

namespace dmoerm::hf {

/// The first tensor, in the order of names, that differs in shape or numbers between two model directories; "" if none does.
/// Heads do not count, nor tensors that only one of them has. Numbers of two types are the same if rounding those of one type to
/// the other makes them equal. Reads one tensor of each at a time.
/// @param spec  of either
/// @throws DataError, IoError for a directory without readable weights; DataError if they are alike as far as they have tensors
/// of the same names, but have none in one of the layers
std::string first_difference(const std::filesystem::path& a, const std::filesystem::path& b, const nn::BackboneSpec& spec);

}  // namespace dmoerm::hf
