// Writes the models of a bundle in the layouts of other programs: transformers with PEFT, and whole models for transformers and
// vLLM.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hf/model_card.h"
#include "hf/parts.h"

namespace dmoerm::hf {

struct ExportOptions {
  std::filesystem::path bundle;
  std::filesystem::path out;  ///< A folder that is empty or does not exist
  Layout layout = Layout::peft;
  std::vector<std::string> parts;  ///< Names as in hf/parts.h; empty: all
  CardFacts facts;                 ///< For the cards; the bundle's config.json may know the base model
};

struct Exported {
  std::string name;                 ///< Name of the part
  std::filesystem::path directory;  ///< Its folder below `out`; empty if that is `out`
};

/// Called when so many of all models are written.
using OnExported = std::function<void(std::size_t done, std::size_t all)>;

/// Export a bundle. Every model is read again and must give the expert's reward on the bundle's golden texts, within 1e-4, before
/// the folder appears. A single model that is laid out whole lies in `out` itself, others in folders below it.
/// @throws ConfigError for an unknown part, or a folder that holds something; DataError, IoError; Stopped after a signal, see
/// base/stop.h
std::vector<Exported> export_bundle(const ExportOptions& options, const OnExported& on_exported);

}  // namespace dmoerm::hf
