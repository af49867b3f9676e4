// TensorBoard event files, written by hand: TFRecords of Event messages with simple scalars.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace dmoerm::watch {

/// CRC-32C (Castagnoli) of `bytes`, the checksum of TFRecords before masking.
std::uint32_t crc32c(std::string_view bytes);

/// Bring the event file in `folder` to `history`: a scalar for every number of a line but "step" and "seconds", named by its key.
/// What the file has already stays, with its wall times; the rest is appended, so that a TensorBoard that shows it goes on.
/// Nothing is there twice and no step goes back, whatever checkpoint a run was resumed from; a torn end is cut off. A file that
/// says anything else than `history` is replaced by a new one.
/// @param history  array of objects as in metrics.jsonl, steps ascending
/// @param now  seconds since 1970, the wall time of what is new
/// @throws IoError
void write_tensorboard(const std::filesystem::path& folder, const nlohmann::json& history, double now);

}  // namespace dmoerm::watch
