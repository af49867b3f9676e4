#include "data/store_chunk.h"

#include <cstring>

#include "base/h5.h"
#include "base/rng.h"
#include "data/token_store_hdf5.h"
#include "support/scratch.h"

namespace dmoerm::data {
namespace {

class StoreChunk : public test::Scratch {
 protected:
  /// The packed first chunk of a column of the file.
  std::vector<std::byte> packed(const char* column) const {
    const hid_t file = H5Fopen(path().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(file, column, H5P_DEFAULT);
    const hsize_t at = 0;
    hsize_t bytes = 0;
    std::uint32_t skipped = 0;
    H5Dget_chunk_storage_size(dataset, &at, &bytes);
    std::vector<std::byte> chunk(bytes);
    H5Dread_chunk(dataset, H5P_DEFAULT, &at, &skipped, chunk.data());
    H5Dclose(dataset);
    H5Fclose(file);
    return chunk;
  }
  [[nodiscard]] std::filesystem::path path() const { return directory_ / "store.h5"; }
};

template <class T>
bool begins_with(const std::vector<std::byte>& bytes, const std::vector<T>& values) {
  return bytes.size() >= values.size() * sizeof(T) && std::memcmp(bytes.data(), values.data(), values.size() * sizeof(T)) == 0;
}

TEST_F(StoreChunk, UnpacksWhatTheLibraryPacked) {
  constexpr std::size_t kValues = 1 << 16;  // of a chunk
  StoreColumns columns;
  Rng rng(3);
  for (std::size_t i = 0; i < kValues + 1000; ++i) {
    columns.tokens.push_back(static_cast<std::int32_t>(rng.below(50000)));
    columns.prompt_key.push_back(rng.next());
    columns.id_bytes.push_back(static_cast<std::uint8_t>(rng.below(256)));
  }
  columns.overall = {0.5, -1.0};
  const StoreColumns given = columns;
  StoreFile file(path());
  file.write_chunks(columns);
  file.finish(columns, {});
  const auto first = [](const auto& values) { return std::decay_t<decltype(values)>(values.begin(), values.begin() + kValues); };
  EXPECT_TRUE(begins_with(unpack_chunk(packed("tokens"), kValues * 4, 4), first(given.tokens)));
  EXPECT_TRUE(begins_with(unpack_chunk(packed("groups/prompt_key"), kValues * 8, 8), first(given.prompt_key)));
  EXPECT_TRUE(begins_with(unpack_chunk(packed("groups/id_bytes"), kValues, 1), first(given.id_bytes)));
  EXPECT_TRUE(begins_with(unpack_chunk(packed("responses/overall"), kValues * 8, 8), given.overall)) << "fewer than a chunk";

  const std::vector<std::byte> whole = packed("tokens");
  for (int i = 0; i < 100; ++i) {
    std::vector<std::byte> damaged = whole;
    const std::size_t at = rng.below(damaged.size());
    damaged[at] ^= static_cast<std::byte>(1 << rng.below(8));
    EXPECT_TRUE(unpack_chunk(damaged, kValues * 4, 4).empty()) << "seed 3, byte " << at;
  }
  EXPECT_TRUE(unpack_chunk({}, kValues * 4, 4).empty());
  EXPECT_TRUE(unpack_chunk(whole, kValues * 4 - 4, 4).empty()) << "more values than a chunk has";
  EXPECT_TRUE(unpack_chunk(whole, kValues * 4 + 4, 4).empty()) << "fewer";
}

}  // namespace
}  // namespace dmoerm::data
