// The bundles that a server answers for, by name. A bundle can be read again while requests are under way.
#pragma once
#include <c10/core/Device.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "moe/bundle.h"
#include "nn/base_weights.h"
#include "serve/templated_text.h"

namespace dmoerm::serve {

/// A bundle as it was read once. Requests keep the one with which they began.
struct Loaded {
  std::string name;
  std::shared_ptr<const moe::Bundle> bundle;
  TemplatedTextReader texts;
  std::int64_t created = 0;   ///< When it was read, seconds since 1970
  std::string digest{};       ///< SHA-256 of its manifest, which has the checksums of all files
  std::uint64_t reading = 0;  ///< Greater for what was read later
};

struct BundlePlace {
  std::string name;
  std::filesystem::path directory;
};
/// "NAME=DIR" or "DIR", whose name is that of the run that made it ("runs/x/bundle" -> "x") or its own.
/// @throws ConfigError for an empty name or folder
BundlePlace parse_place(const std::string& text);

class Bundles {
 public:
  /// Read all of them. The first is the default.
  /// @param aliases  other name -> name
  /// @param threads  threads that compute golden scores
  /// @param weights  of all bundles, as load_bundle() takes them
  /// @throws ConfigError for a name that is given twice or an alias of no bundle; DataError, IoError as load_bundle()
  Bundles(const std::vector<BundlePlace>& places, const std::map<std::string, std::string>& aliases, c10::Device device,
          int threads, nn::BaseWeights weights = nn::BaseWeights::float32);

  /// The bundle of a name or alias; "" = the default; null = there is none.
  [[nodiscard]] std::shared_ptr<const Loaded> find(const std::string& name) const;
  [[nodiscard]] std::vector<std::shared_ptr<const Loaded>> all() const;
  [[nodiscard]] std::vector<std::string> own_names() const;
  /// All names, those of the bundles first, and then the aliases.
  [[nodiscard]] std::vector<std::string> all_names() const;
  /// Read a bundle again and check its golden scores, then let new requests use it; "" = all of them. If one cannot be read, the
  /// old one stays.
  /// @throws ConfigError for an unknown name; DataError, IoError as load_bundle()
  void reload(const std::string& name);
  [[nodiscard]] std::int64_t reloads() const;

  /// The digests of all bundles, in their order: what two processes that give the same scores have in common.
  [[nodiscard]] std::string digests() const;
  /// What GET /info says of the bundles.
  [[nodiscard]] nlohmann::json info() const;
  /// "a, b", for messages.
  [[nodiscard]] std::string names() const;

 private:
  [[nodiscard]] std::shared_ptr<const Loaded> load(const BundlePlace& place) const;
  const std::vector<BundlePlace> places_;
  const std::map<std::string, std::string> aliases_;
  const c10::Device device_;
  const int threads_;
  const nn::BaseWeights weights_;
  mutable std::atomic<std::uint64_t> readings_{0};
  std::mutex reloading_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<const Loaded>> loaded_;  ///< In the order of places_
  std::int64_t reloads_ = 0;
};

}  // namespace dmoerm::serve
