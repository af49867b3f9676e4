#include "data/store_chunk.h"

#include <algorithm>
#include <cstring>

#include "base/h5.h"
#include "base/rng.h"
#include "data/token_store_hdf5.h"
#include "support/scratch.h"

namespace dmoerm::data {
namespace {

constexpr std::size_t kValues = 1 << 16;  // of a chunk

class StoreChunk : public test::Scratch {
 protected:
  /// The packed first chunk of a dataset of the file.
  std::vector<std::byte> packed(const char* name) const {
    const hid_t file = H5Fopen(path().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(file, name, H5P_DEFAULT);
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

  /// Let HDF5 read a whole dataset of the file.
  template <class T>
  std::vector<T> read(const char* name) const {
    const hid_t file = H5Fopen(path().c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), dataset = H5Dopen2(file, name, H5P_DEFAULT),
                space = H5Dget_space(dataset);
    std::vector<T> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
    EXPECT_GE(H5Dread(dataset, h5::type_of(T{}), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0) << name;
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(file);
    return values;
  }

  /// Let HDF5 write values into a file of their own, as one chunk "values" through the filters of a store.
  template <class T>
  void write(const std::vector<T>& values) const {
    const hsize_t size = values.size(), unlimited = H5S_UNLIMITED, chunk = kValues;
    const hid_t file = H5Fcreate(path().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
                space = H5Screate_simple(1, &size, &unlimited), properties = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(properties, 1, &chunk);
    H5Pset_shuffle(properties);
    H5Pset_deflate(properties, 6);
    H5Pset_fletcher32(properties);
    const hid_t dataset = H5Dcreate2(file, "values", h5::type_of(T{}), space, H5P_DEFAULT, properties, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(dataset, h5::type_of(T{}), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Dclose(dataset);
    H5Pclose(properties);
    H5Sclose(space);
    H5Fclose(file);
  }

  [[nodiscard]] std::filesystem::path path() const { return directory_ / "store.h5"; }
};

/// Values of the three widths, more than a chunk of each.
StoreColumns some_columns() {
  StoreColumns columns;
  Rng rng(3);
  for (std::size_t i = 0; i < kValues + 1000; ++i) {
    columns.tokens.push_back(static_cast<std::int32_t>(rng.below(50000)));
    columns.prompt_key.push_back(rng.next());
    columns.id_bytes.push_back(static_cast<std::uint8_t>(rng.below(256)));
  }
  columns.overall = {0.5, -1.0};
  return columns;
}

template <class T>
bool begins_with(const std::vector<std::byte>& bytes, const std::vector<T>& values) {
  return bytes.size() >= values.size() * sizeof(T) && std::memcmp(bytes.data(), values.data(), values.size() * sizeof(T)) == 0;
}

TEST_F(StoreChunk, TheLibraryReadsWhatIsPackedHere) {
  const StoreColumns given = some_columns();
  for (const int threads : {0, 3}) {
    StoreColumns columns = given;
    StoreFile file(path(), threads);
    file.write_chunks(columns);
    file.finish(columns, {});
    EXPECT_EQ(read<std::int32_t>("tokens"), given.tokens);
    EXPECT_EQ(read<std::uint64_t>("groups/prompt_key"), given.prompt_key);
    EXPECT_EQ(read<std::uint8_t>("groups/id_bytes"), given.id_bytes);
    EXPECT_EQ(read<double>("responses/overall"), given.overall) << "fewer than a chunk";
  }
}

TEST_F(StoreChunk, UnpacksWhatTheLibraryPacked) {
  const StoreColumns given = some_columns();
  const auto unpacks = [&](const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    const std::decay_t<decltype(values)> chunk(values.begin(),
                                               values.begin() + std::min<std::ptrdiff_t>(kValues, std::ssize(values)));
    write(chunk);
    return begins_with(unpack_chunk(packed("values"), kValues * sizeof(T), sizeof(T)), chunk);
  };
  EXPECT_TRUE(unpacks(given.prompt_key));
  EXPECT_TRUE(unpacks(given.id_bytes));
  EXPECT_TRUE(unpacks(given.overall)) << "fewer than a chunk";
  EXPECT_TRUE(unpacks(given.tokens));
}

TEST_F(StoreChunk, FindsDamage) {
  const StoreColumns given = some_columns();
  write(std::vector<std::int32_t>(given.tokens.begin(), given.tokens.begin() + kValues));
  const std::vector<std::byte> whole = packed("values");
  Rng rng(3);
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
