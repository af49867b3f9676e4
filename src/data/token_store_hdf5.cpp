#include "data/token_store_hdf5.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/hash.h"

namespace dmoerm::data {
namespace {

using nlohmann::json;
constexpr std::size_t kChunk = 1 << 16;

/// An HDF5 handle that closes itself.
class Handle {
 public:
  Handle(hid_t id, herr_t (*closer)(hid_t), const std::string& what) : id_(id), close_(closer) {
    if (id_ < 0) throw IoError(what);
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  operator hid_t() const { return id_; }  // NOLINT: stands for the id everywhere
  /// Close now and say whether it worked: buffered data are written here.
  bool close() { return close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

void silence_hdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

template <class T>
hid_t type_of();
template <>
hid_t type_of<std::int32_t>() { return H5T_NATIVE_INT32; }
template <>
hid_t type_of<std::int64_t>() { return H5T_NATIVE_INT64; }
template <>
hid_t type_of<std::uint8_t>() { return H5T_NATIVE_UINT8; }
template <>
hid_t type_of<float>() { return H5T_NATIVE_FLOAT; }
template <>
hid_t type_of<double>() { return H5T_NATIVE_DOUBLE; }

/// Running hash over columns: each adds its name and its bytes in pieces of kChunk values.
class ContentDigest {
 public:
  void add_piece(const void* data, std::size_t bytes) { state_ = sha256_hex(state_ + std::string(static_cast<const char*>(data), bytes)); }
  void add_text(const std::string& text) { add_piece(text.data(), text.size()); }
  template <class T>
  void add_column(const std::string& name, const std::vector<T>& column) {
    add_text(name);
    for (std::size_t i = 0; i < column.size(); i += kChunk) add_piece(column.data() + i, std::min(kChunk, column.size() - i) * sizeof(T));
  }
  [[nodiscard]] const std::string& hex() const { return state_; }

 private:
  std::string state_;
};

template <class T>
Handle create_dataset(hid_t file, const std::string& name, const std::string& path) {
  const auto failed = fmt::format("{}: cannot create dataset {}", path, name);
  const hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk = kChunk;
  Handle space(H5Screate_simple(1, &none, &unlimited), H5Sclose, failed), properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, failed),
      links(H5Pcreate(H5P_LINK_CREATE), H5Pclose, failed);
  H5Pset_chunk(properties, 1, &chunk);
  H5Pset_shuffle(properties);
  H5Pset_deflate(properties, 4);
  H5Pset_fletcher32(properties);
  H5Pset_create_intermediate_group(links, 1);
  return {H5Dcreate2(file, name.c_str(), type_of<T>(), space, links, properties, H5P_DEFAULT), H5Dclose, failed};
}

template <class T>
void append(hid_t dataset, std::size_t at, std::span<const T> values, const std::string& path) {
  if (values.empty()) return;
  const hsize_t size = at + values.size(), start = at, count = values.size();
  const std::string failed = fmt::format("{}: cannot write {} values: is the disk full?", path, values.size());
  if (H5Dset_extent(dataset, &size) < 0) throw IoError(failed);
  Handle all(H5Dget_space(dataset), H5Sclose, failed), part(H5Screate_simple(1, &count, nullptr), H5Sclose, failed);
  H5Sselect_hyperslab(all, H5S_SELECT_SET, &start, nullptr, &count, nullptr);
  if (H5Dwrite(dataset, type_of<T>(), part, all, H5P_DEFAULT, values.data()) < 0) throw IoError(failed);
}

void write_text(hid_t file, const std::string& name, const std::string& text, const std::string& path) {
  const std::string failed = fmt::format("{}: cannot write attribute {}", path, name);
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose, failed), space(H5Screate(H5S_SCALAR), H5Sclose, failed);
  H5Tset_size(type, std::max<std::size_t>(1, text.size()));
  H5Tset_cset(type, H5T_CSET_UTF8);
  // A dataset, not an attribute: attributes end at 64 KiB.
  Handle dataset(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose, failed);
  const std::string padded = text.empty() ? std::string(1, '\0') : text;
  if (H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()) < 0) throw IoError(failed);
}

std::string read_text(hid_t file, const std::string& name, const std::string& path) {
  const std::string failed = fmt::format("{}: \"{}\" is missing: not a token store, or damaged", path, name);
  try {
    Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, failed), type(H5Dget_type(dataset), H5Tclose, failed);
    if (H5Tget_class(type) != H5T_STRING) throw DataError(failed);
    std::string text(H5Tget_size(type), '\0');
    if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0) throw DataError(failed);
    if (text == std::string(1, '\0')) text.clear();
    return text;
  } catch (const IoError& e) {
    throw DataError(e.what());
  }
}

template <class T>
void read_column(hid_t file, const std::string& name, std::vector<T>& column, const std::string& path) {
  const std::string failed = fmt::format("{}: column {} cannot be read: damaged (checksum), truncated or of another schema; ingest again", path, name);
  try {
    Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, failed), space(H5Dget_space(dataset), H5Sclose, failed);
    hsize_t size = 0;
    if (H5Sget_simple_extent_ndims(space) != 1 || H5Sget_simple_extent_dims(space, &size, nullptr) < 0) throw DataError(failed);
    if (size > (hsize_t{1} << 40)) throw DataError(failed);
    column.resize(size);
    if (size > 0 && H5Dread(dataset, type_of<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, column.data()) < 0) throw DataError(failed);
  } catch (const IoError& e) {
    throw DataError(e.what());
  }
}

json attributes_json(const StoreAttributes& a) { return {{"categories", a.categories}, {"labels", a.labels}, {"files", a.files}}; }

/// Everything but provenance: equal data have equal digests wherever they were read from.
void digest_rest(ContentDigest& digest, const StoreColumns& columns, const StoreAttributes& attributes) {
  StoreColumns::each(columns, [&](const char* name, const auto& column) {
    if (std::string_view(name) != "groups/file" && std::string_view(name) != "groups/line") digest.add_column(name, column);
  });
  digest.add_text(json{attributes.categories, attributes.labels}.dump());
}

}  // namespace

struct StoreFile::Impl {
  std::string path;
  Handle file, tokens;
  std::vector<std::int32_t> buffer;
  std::size_t written = 0;
  ContentDigest digest;

  void flush(std::size_t keep_below) {
    std::size_t at = 0;
    while (buffer.size() - at >= keep_below && buffer.size() > at) {
      const std::span<const std::int32_t> piece(buffer.data() + at, std::min(kChunk, buffer.size() - at));
      digest.add_piece(piece.data(), piece.size_bytes());
      append(tokens, written, piece, path);
      written += piece.size();
      at += piece.size();
    }
    buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(at));
  }
};

StoreFile::StoreFile(const std::filesystem::path& path) {
  silence_hdf5();
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), H5Fclose, fmt::format("{}: cannot create", path.string()));
  Handle tokens = create_dataset<std::int32_t>(file, "tokens", path.string());
  impl_ = std::make_unique<Impl>(Impl{path.string(), std::move(file), std::move(tokens), {}, 0, {}});
  impl_->digest.add_text("tokens");
}
StoreFile::~StoreFile() = default;

void StoreFile::append_tokens(std::span<const std::int32_t> tokens) {
  impl_->buffer.insert(impl_->buffer.end(), tokens.begin(), tokens.end());
  impl_->flush(kChunk);
}

void StoreFile::finish(const StoreColumns& columns, const StoreAttributes& attributes) {
  impl_->flush(1);
  StoreColumns::each(columns, [&](const char* name, const auto& column) {
    using T = typename std::decay_t<decltype(column)>::value_type;
    Handle dataset = create_dataset<T>(impl_->file, name, impl_->path);
    append(dataset, 0, std::span<const T>(column), impl_->path);
    if (!dataset.close()) throw IoError(fmt::format("{}: cannot write column {}: is the disk full?", impl_->path, name));
  });
  digest_rest(impl_->digest, columns, attributes);
  write_text(impl_->file, "attributes", json{{"schema", kStoreSchema}, {"digest", impl_->digest.hex()}, {"names", attributes_json(attributes)}}.dump(), impl_->path);
  write_text(impl_->file, "provenance", attributes.provenance, impl_->path);
  if (!impl_->tokens.close() || H5Fflush(impl_->file, H5F_SCOPE_GLOBAL) < 0 || !impl_->file.close()) throw IoError(fmt::format("{}: cannot finish writing: is the disk full?", impl_->path));
}

void read_store(const std::filesystem::path& path, StoreColumns& columns, StoreAttributes& attributes, std::string& digest) {
  silence_hdf5();
  if (!std::filesystem::exists(path)) throw IoError(fmt::format("{}: there is no such token store", path.string()));
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, fmt::format("{}: not an HDF5 file, or damaged", path.string()));
  const json stored = json::parse(read_text(file, "attributes", path.string()), nullptr, false);
  if (!stored.is_object() || !stored.contains("schema")) throw DataError(fmt::format("{}: its attributes are damaged", path.string()));
  if (stored["schema"] != kStoreSchema) throw DataError(fmt::format("{}: schema {} was found, this program reads {}: ingest again", path.string(), stored["schema"].dump(), kStoreSchema));
  try {
    attributes.categories = stored.at("names").at("categories"), attributes.labels = stored.at("names").at("labels"), attributes.files = stored.at("names").at("files");
  } catch (const json::exception&) {
    throw DataError(fmt::format("{}: its attributes are damaged", path.string()));
  }
  attributes.provenance = read_text(file, "provenance", path.string());
  read_column(file, "tokens", columns.tokens, path.string());
  StoreColumns::each(columns, [&](const char* name, auto& column) { read_column(file, name, column, path.string()); });
  ContentDigest computed;
  computed.add_column("tokens", columns.tokens);
  digest_rest(computed, columns, attributes);
  digest = computed.hex();
  if (stored.value("digest", "") != digest) throw DataError(fmt::format("{}: content digest {} is not the stored {}: damaged, ingest again", path.string(), digest, stored.value("digest", "")));
}

}  // namespace dmoerm::data
