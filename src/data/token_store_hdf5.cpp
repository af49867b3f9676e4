#include "data/token_store_hdf5.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/cannot_write.h"
#include "base/error.h"
#include "base/file_seal.h"
#include "base/h5.h"
#include "base/hash.h"
#include "base/workers.h"
#include "data/store_chunk.h"

namespace dmoerm::data {
namespace {

using nlohmann::json;
constexpr std::size_t kChunk = 1 << 16;     // values
constexpr std::size_t kChunksAhead = 8;     // that are read before they are asked for, or packed before they are written
constexpr hsize_t kDeflateRatioMax = 1100;  // deflate reaches 1032

using Handle = h5::Handle<IoError>;

/// Closes HDF5 when the process ends, unless a file could not be finished: HDF5 1.10 crashes when it closes such a file.
class Library {
 public:
  static Library& get() {
    static Library library;
    return library;
  }
  /// Do not close HDF5 when the process ends.
  void abandon() { abandoned_ = true; }

 private:
  Library() { h5::quiet_library(); }
  ~Library() {
    if (!abandoned_) H5close();
  }
  bool abandoned_ = false;
};

/// Digest of all columns except those that say where rows were read from, so that equal data have equal digests.
std::string content_digest(const std::map<std::string, PieceDigest>& columns, const StoreAttributes& attributes) {
  std::string all = json{attributes.categories, attributes.labels}.dump();
  for (const auto& [name, digest] : columns) {
    if (name != "groups/file" && name != "groups/line") all += "\n" + name + " " + digest.state;
  }
  return sha256_hex(all);
}

Handle create_dataset(hid_t file, const std::string& name, hid_t type, const std::string& path) {
  const std::string failed = cannot_write(path, "create dataset " + name);
  const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk = kChunk;
  Handle space(H5Screate_simple(1, &none, &unlimited), H5Sclose, failed);
  Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, failed), links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, failed);
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_shuffle(properties);
  H5Pset_deflate(properties, 1);  // the level is for whoever lets HDF5 write more: pack_chunk() has its own
  H5Pset_fletcher32(properties);
  H5Pset_create_intermediate_group(links, 1);
  return {H5Dcreate2(file, name.c_str(), type, space, links, properties, H5P_DEFAULT), H5Dclose, failed};
}

/// Let HDF5 read the values [start, start + values.size()) of a dataset.
template <class T>
bool read_part(hid_t dataset, hsize_t start, std::span<T> values) {
  const hsize_t count = values.size();
  Handle all(H5Dget_space(dataset), H5Sclose, "no data space"),
      part(H5Screate_simple(1, &count, nullptr), H5Sclose, "no data space");
  return H5Sselect_hyperslab(all, H5S_SELECT_SET, &start, nullptr, &count, nullptr) >= 0 &&
         H5Dread(dataset, h5::type_of(T{}), part, all, H5P_DEFAULT, values.data()) >= 0;
}

json read_json_text(hid_t file, const std::string& name, const std::string& path) {
  const std::string failed = fmt::format("{}: \"{}\" is missing or damaged: not a whole token store; ingest again", path, name);
  const auto text = h5::read_text<DataError>(file, name, failed);
  json value = json::parse(text, nullptr, false);
  if (!value.is_object()) throw DataError("token-store-damaged", failed);
  return value;
}

/// Whether StoreFile would make such a dataset, so that unpack_chunk() knows its chunks.
bool is_made_here(hid_t dataset, hid_t type, const std::string& failed) {
  const Handle properties(H5Dget_create_plist(dataset), H5Pclose, failed), own(H5Dget_type(dataset), H5Tclose, failed);
  constexpr std::array kFilters = {H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE, H5Z_FILTER_FLETCHER32};
  hsize_t chunk = 0;
  if (H5Tequal(own, type) <= 0 || H5Pget_layout(properties) != H5D_CHUNKED || H5Pget_chunk(properties, 1, &chunk) != 1 ||
      chunk != kChunk || H5Pget_nfilters(properties) != static_cast<int>(kFilters.size()))
    return false;
  for (unsigned i = 0; i < kFilters.size(); ++i) {
    std::size_t values = 0;
    unsigned flags = 0, configuration = 0;
    if (H5Pget_filter2(properties, i, &flags, &values, nullptr, 0, nullptr, &configuration) != kFilters[i]) return false;
  }
  return true;
}

/// The bytes of a dataset's chunk as they are in the file; empty if only HDF5 can tell what is wrong with it.
/// @param at  the chunk's first value
std::vector<std::byte> packed_chunk(hid_t dataset, hsize_t at) {
  constexpr hsize_t kPackedMax = hsize_t{2} * kChunk * sizeof(double);
  hsize_t bytes = 0;
  std::uint32_t skipped_filters = 0;
  if (H5Dget_chunk_storage_size(dataset, &at, &bytes) < 0 || bytes > kPackedMax) return {};
  std::vector<std::byte> packed(bytes);
  if (H5Dread_chunk(dataset, H5P_DEFAULT, &at, &skipped_filters, packed.data()) < 0 || skipped_filters != 0) return {};
  return packed;
}

/// Read one column in pieces. @param take  called with the number of all values and each piece
template <class T>
PieceDigest read_column(hid_t file, const std::string& name, std::uintmax_t file_size, const std::string& path, Workers& workers,
                        const std::function<void(std::size_t, std::span<const T>)>& take) {
  const std::string failed =
      fmt::format("{}: column {} cannot be read: damaged (checksum), truncated or of another schema; ingest again", path, name);
  Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, failed), space(H5Dget_space(dataset), H5Sclose, failed);
  hsize_t size = 0;
  const bool flat = H5Sget_simple_extent_ndims(space) == 1 && H5Sget_simple_extent_dims(space, &size, nullptr) == 1;
  if (!flat || size > file_size * kDeflateRatioMax) throw DataError("token-store-damaged", failed);
  const bool unpacks = is_made_here(dataset, h5::type_of(T{}), failed);
  InOrder<std::vector<std::byte>> unpacked(workers, kChunksAhead);
  PieceDigest digest;
  std::vector<T> read_by_library;
  for (std::size_t at = 0, given = 0; at < size; at += kChunk) {
    for (; unpacks && given < size && !unpacked.full(); given += kChunk)
      unpacked.give([packed = packed_chunk(dataset, given)] { return unpack_chunk(packed, kChunk * sizeof(T), sizeof(T)); });
    const std::vector<std::byte> bytes = unpacks ? unpacked.take() : std::vector<std::byte>();
    std::span<const T> piece(reinterpret_cast<const T*>(bytes.data()),
                             bytes.empty() ? 0 : std::min<std::size_t>(kChunk, size - at));
    if (bytes.empty()) {
      read_by_library.resize(std::min<std::size_t>(kChunk, size - at));
      if (!read_part<T>(dataset, at, read_by_library)) throw DataError("token-store-damaged", failed);
      piece = read_by_library;
    }
    digest.add(piece.data(), piece.size_bytes());
    take(size, piece);
  }
  return digest;
}

/// Read and verify a store. @param take  called with the name of a column, the number of its values, and each piece of them
/// @param threads  threads that unpack, beside this one
/// @return the content digest
template <class Take>
std::string read(const std::filesystem::path& file_path, StoreAttributes& attributes, int threads, const Take& take) {
  Library::get();
  Workers workers(threads, "a thread that unpacks a token store", 0);
  check_seal(file_path, kTokenStoreSeal);
  const std::string path = file_path.string();
  const std::uintmax_t file_size = std::filesystem::file_size(file_path);
  try {
    Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, h5::Unlocked()), H5Fclose,
                fmt::format("{}: HDF5 cannot open it: damaged; ingest again", path));
    const json stored = read_json_text(file, "attributes", path);
    const json schema = stored.value("schema", json());
    if (schema != kStoreSchema && schema != kStoreSchemaWithoutKeys) {
      throw DataError("token-store-schema", fmt::format("{}: expected a token store of schema {}, found {}; ingest again", path,
                                                        kStoreSchema, schema.is_null() ? "none" : schema.dump()));
    }
    attributes.schema = schema;
    try {
      stored.at("names").at("categories").get_to(attributes.categories);
      stored.at("names").at("labels").get_to(attributes.labels);
      stored.at("names").at("files").get_to(attributes.files);
    } catch (const json::exception&) {
      throw DataError("token-store-damaged", fmt::format("{}: its attributes are damaged; ingest again", path));
    }
    const json provenance = read_json_text(file, "provenance", path);
    attributes.provenance = provenance.dump();
    // Stores of earlier programs say it among the provenance.
    attributes.head_tokens = stored.value("head_tokens", provenance.value("head_tokens", std::int64_t{0}));
    std::map<std::string, PieceDigest> digests;
    const StoreColumns types;
    StoreColumns::each(
        [&](const char* name, auto& column) {
          using T = typename std::decay_t<decltype(column)>::value_type;
          if (attributes.schema == kStoreSchemaWithoutKeys && std::string_view(name).ends_with("_key")) return;
          digests[name] = read_column<T>(file, name, file_size, path, workers,
                                         [&](std::size_t size, std::span<const T> piece) { take(name, size, piece); });
        },
        types);
    const std::string digest = content_digest(digests, attributes), expected = stored.value("digest", "");
    if (digest == expected) return digest;
    throw DataError("token-store-damaged",
                    fmt::format("{}: expected the content digest {}, found {}: damaged; ingest again", path, expected, digest));
  } catch (const IoError& e) {  // HDF5 gave no handle, because the content of the file is wrong
    throw DataError(e.code().empty() ? "token-store-damaged" : e.code(), e.what());
  } catch (const json::exception&) {
    throw DataError("token-store-damaged", fmt::format("{}: its attributes are damaged; ingest again", path));
  }
}

}  // namespace

struct StoreFile::Impl {
  /// A chunk of a column, ready to be written.
  struct Chunk {
    std::string column;
    hsize_t first;  ///< its first value
    std::vector<std::byte> packed;
  };

  Impl(std::string file_path, Handle opened, int threads)
      : path(std::move(file_path)), file(std::move(opened)), workers(threads, "a thread that packs a token store", 0) {}

  std::string path;
  Handle file;
  std::map<std::string, Handle> datasets;
  std::map<std::string, PieceDigest> digests;
  std::map<std::string, hsize_t> given;  ///< values of each column that are in the file or on their way
  Workers workers;
  InOrder<Chunk> packing{workers, kChunksAhead};
  bool finished = false;

  void write_oldest() {
    const Chunk chunk = packing.take();
    if (H5Dwrite_chunk(datasets.at(chunk.column), H5P_DEFAULT, 0, &chunk.first, chunk.packed.size(), chunk.packed.data()) < 0)
      throw cannot_write_column(chunk.column);
  }

  [[nodiscard]] IoError cannot_write_column(const std::string& name) const {
    return IoError("cannot-write-file", cannot_write(path, "write column " + name));
  }

  /// Write whole chunks from the front of a column, or all of it.
  template <class T>
  void drain(const std::string& name, std::vector<T>& column, bool all) {
    std::size_t at = 0;
    while (column.size() - at >= (all ? 1 : kChunk)) {
      const std::span<const T> piece(column.data() + at, std::min(kChunk, column.size() - at));
      hsize_t& done = given[name];
      const hsize_t first = std::exchange(done, done + piece.size());
      if (H5Dset_extent(datasets.at(name), &done) < 0) throw cannot_write_column(name);
      digests[name].add(piece.data(), piece.size_bytes());
      std::vector<T> values(kChunk);  // a chunk is always whole in the file
      std::ranges::copy(piece, values.begin());
      packing.give([name, first, values = std::move(values)] {
        return Chunk{name, first, pack_chunk(std::as_bytes(std::span(values)), sizeof(T))};
      });
      while (packing.full()) write_oldest();
      at += piece.size();
    }
    column.erase(column.begin(), column.begin() + static_cast<std::ptrdiff_t>(at));
  }
};

StoreFile::StoreFile(const std::filesystem::path& path, int threads) {
  Library::get();
  const std::string name = path.string(), failed = fmt::format("{}: cannot create this file", name);
  Handle properties(H5Pcreate(H5P_FILE_CREATE), H5Pclose, failed);
  H5Pset_userblock(properties, kSealBytes);
  Handle file(H5Fcreate(name.c_str(), H5F_ACC_TRUNC, properties, h5::Unlocked()), H5Fclose, failed);
  impl_ = std::make_unique<Impl>(name, std::move(file), threads);
  StoreColumns none;
  StoreColumns::each(
      [&](const char* column_name, auto& column) {
        using T = typename std::decay_t<decltype(column)>::value_type;
        impl_->datasets.emplace(column_name, create_dataset(impl_->file, column_name, h5::type_of(T{}), name));
        impl_->digests[column_name] = {};
      },
      none);
}
StoreFile::~StoreFile() {
  if (impl_ && !impl_->finished) Library::get().abandon();
}

void StoreFile::write_chunks(StoreColumns& columns) {
  StoreColumns::each([&](const char* name, auto& column) { impl_->drain(name, column, false); }, columns);
}

void StoreFile::finish(StoreColumns& columns, const StoreAttributes& attributes) {
  StoreColumns::each([&](const char* name, auto& column) { impl_->drain(name, column, true); }, columns);
  while (!impl_->packing.empty()) impl_->write_oldest();
  const json names{{"categories", attributes.categories}, {"labels", attributes.labels}, {"files", attributes.files}};
  const json about{{"schema", kStoreSchema},
                   {"digest", content_digest(impl_->digests, attributes)},
                   {"names", names},
                   {"head_tokens", attributes.head_tokens}};
  const auto write_text = [&](const std::string& name, const std::string& text) {
    h5::write_text<IoError>(impl_->file, name, text, cannot_write(impl_->path, "write " + name));
  };
  write_text("attributes", about.dump());
  write_text("provenance", attributes.provenance);
  bool good = true;
  for (auto& [name, dataset] : impl_->datasets) good = dataset.close() && good;
  if (!good || H5Fflush(impl_->file, H5F_SCOPE_GLOBAL) < 0 || !impl_->file.close()) {
    throw IoError("cannot-write-file", cannot_write(impl_->path, "finish writing"));
  }
  impl_->finished = true;
  write_seal(impl_->path, kTokenStoreSeal);
}

void read_store(const std::filesystem::path& path, StoreColumns& columns, StoreAttributes& attributes, std::string& digest) {
  digest = read(path, attributes, 0, [&](std::string_view wanted, std::size_t size, const auto& piece) {
    StoreColumns::each(
        [&](std::string_view name, auto& column) {
          if constexpr (std::is_same_v<std::span<const typename std::decay_t<decltype(column)>::value_type>,
                                       std::decay_t<decltype(piece)>>) {
            if (name != wanted) return;
            column.reserve(size);
            column.insert(column.end(), piece.begin(), piece.end());
          }
        },
        columns);
  });
}

std::string stream_store(const std::filesystem::path& path, StoreAttributes& attributes, const TakePiece& take) {
  return read(path, attributes, 0,
              [&](const char* name, std::size_t size, const auto& piece) { take(name, size, std::as_bytes(piece)); });
}

std::string verify_store(const std::filesystem::path& path, int threads) {
  StoreAttributes attributes;
  return read(path, attributes, threads, [](const char*, std::size_t, const auto&) {});
}

}  // namespace dmoerm::data
