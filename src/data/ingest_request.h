// What an ingest is asked to do.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/workers.h"
#include "config/run_config.h"
#include "preference/group.h"

namespace dmoerm::data {

/// Category of rows that name none, where neither their file nor a single configured category does.
inline constexpr const char* kNoCategory = "default";

/// Ids of a prompt alone, and of the prompt with each response.
struct RenderedGroup {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> texts;
};

/// How texts become ids. A run uses a ChatTemplate; tests number words by themselves. Several threads call it at a time.
struct Renderer {
  /// The prompt and one response.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>, std::string_view)> render;
  /// The prompt alone.
  std::function<std::vector<std::int32_t>(std::span<const preference::Message>)> render_prompt;
  /// Both for a group, if that is faster than one by one; may be empty.
  std::function<RenderedGroup(std::span<const preference::Message>, std::span<const preference::Response>)> render_group = {};
  std::int64_t head_tokens = 0;   ///< tokens at the start of every text that are never cut
  std::string provenance = "{}";  ///< JSON about tokenizer and template
};

/// Is told often how far the work is: what is being done, the number of groups so far, and of all of them (0 = not known).
using IngestProgress = std::function<void(const std::string& what, std::int64_t done, std::int64_t all)>;

struct IngestRequest {
  config::DataConfig data;
  std::vector<config::CategoryConfig> categories;  ///< categories to keep; empty: all of the data, sorted, with all their points
  std::uint64_t seed = 17;
  Renderer renderer;
  std::filesystem::path output;
  IngestProgress progress = {};
  int threads = processors();  ///< threads beside the caller's; the result does not depend on them
};

}  // namespace dmoerm::data
