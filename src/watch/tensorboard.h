// TensorBoard event files, written without TensorFlow: TFRecords of Event messages with simple scalars.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace dmoerm::watch {

/// CRC-32C (Castagnoli) of `bytes`, the checksum of TFRecords before masking.
std::uint32_t crc32c(std::string_view bytes);

/// Bring the event file in `folder` up to date with `history`. Every number of a line except "step" and "seconds" becomes a
/// scalar with the name of its key. Events that the file has already stay, with their wall times, and new ones are appended, so
/// that a TensorBoard that shows the file continues. No event is written twice and no step goes back, whatever checkpoint a run
/// was resumed from. A torn end is cut off. A file that disagrees with `history` is replaced by a new one.
/// @param history  array of objects as in metrics.jsonl, with ascending steps
/// @param now      seconds since 1970, the wall time of new events
/// @throws IoError
void write_tensorboard(const std::filesystem::path& folder, const nlohmann::json& history, double now);

}  // namespace dmoerm::watch
