// The directory of a transformers sequence classifier: a backbone with a value head, and its tokenizer.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "nn/weights.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace dmoerm::moe {

/// What a sequence classifier with one label computes with.
struct Classifier {
  const nn::BackboneSpec& spec;
  const nn::Weights& weights;
  at::Tensor head_D;
};

/// "float32" or "bfloat16", as config.json and dmoerm.json spell it.
std::string dtype_name(at::ScalarType dtype);

/// The id to pad with. transformers reads the reward at the last token that is not padding, so the padding token must not be one
/// that ends a text. Tokenizers treat it as special, so it should be a special token already.
/// @param source  directory of the model, whose config.json and tokenizer_config.json are asked first
std::int64_t pad_id(const std::filesystem::path& source, const tokenizer::Tokenizer& tokenizer,
                    const tokenizer::ChatTemplate& chat_template);

/// Write config.json and model.safetensors, which transformers loads as XForSequenceClassification.
/// @param source  directory of a model of this shape, whose config.json is changed into the classifier's
void save_classifier(const std::filesystem::path& directory, const std::filesystem::path& source, const Classifier& model,
                     std::int64_t pad);

/// Copy the source's tokenizer. It pads with the token that the base's config.json names, and it loses the source's chat
/// template, because this model was trained with another.
/// @param pad  the padding token; "" keeps the source's
void copy_tokenizer(const std::filesystem::path& source, const std::filesystem::path& directory, const std::string& pad);

}  // namespace dmoerm::moe
