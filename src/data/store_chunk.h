// Packs and unpacks the chunks of a token store's columns without HDF5, whose library works on one thread at a time.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

namespace dmoerm::data {

/// The bytes of a chunk as HDF5's filters shuffle, deflate and fletcher32 would leave them, in this order; on any thread.
/// @param values  all values of the chunk, each of `width` bytes: 1, 4 or 8
std::vector<std::byte> pack_chunk(std::span<const std::byte> values, std::size_t width);

/// The values of a chunk that HDF5's filters shuffle, deflate and fletcher32 packed, in this order; on any thread.
/// @param bytes  bytes of all values of the chunk
/// @param width  bytes of a value
/// @return the bytes of the values; empty if these filters did not write the chunk, or it is damaged: HDF5 then says what is
/// wrong
std::vector<std::byte> unpack_chunk(std::span<const std::byte> packed, std::size_t bytes, std::size_t width);

}  // namespace dmoerm::data
