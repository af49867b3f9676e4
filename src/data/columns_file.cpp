#include "data/columns_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "base/activity.h"
#include "base/cannot_write.h"
#include "base/error.h"
#include "base/files.h"
#include "base/hash_cache.h"
#include "base/log.h"
#include "base/passing_file.h"
#include "data/token_store_hdf5.h"

namespace dmoerm::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// The file: columns, each from a multiple of kAligned on; JSON that says where they are; the length of the JSON; kMark.
constexpr std::size_t kAligned = 64;
constexpr std::string_view kMark = "dmoerm columns 1";
constexpr std::time_t kRecentS = 3;

fs::path columns_file_of(const fs::path& store) { return store.string() + ".columns"; }

class Mapping {
 public:
  explicit Mapping(const fs::path& file) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw IoError("cannot-open-file", fmt::format("{}: cannot open: {}", file.string(), std::strerror(errno)));
    struct stat status {};
    if (::fstat(fd, &status) == 0) bytes_ = static_cast<std::size_t>(status.st_size);
    void* map = bytes_ > 0 ? ::mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, fd, 0) : nullptr;
    ::close(fd);
    if (map == MAP_FAILED)
      throw IoError("cannot-map-file", fmt::format("{}: cannot map: {}", file.string(), std::strerror(errno)));
    data_ = static_cast<const char*>(map);
  }
  ~Mapping() {
    if (data_ != nullptr) ::munmap(const_cast<char*>(data_), bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] std::string_view bytes() const { return {data_, bytes_}; }

 private:
  const char* data_ = nullptr;
  std::size_t bytes_ = 0;
};

struct Place {
  std::size_t begin = 0, values = 0;
};

/// Where the columns are in a mapped file, by name.
using Places = std::map<std::string, Place>;

/// Point a view at its columns. @return whether all lie within the file
template <class View>
bool look(const Mapping& mapping, const Places& places, View& view) {
  bool good = true;
  View::each(
      [&](const char* name, auto& column) {
        using T = typename std::decay_t<decltype(column)>::element_type;
        const auto found = places.find(name);
        if (found == places.end()) return;  // a column without values
        const auto [begin, values] = found->second;
        const std::string_view all = mapping.bytes();
        if (begin % kAligned != 0 || begin > all.size() || values > (all.size() - begin) / sizeof(T)) {
          good = false;
          return;
        }
        column = {reinterpret_cast<T*>(all.data() + begin), values};
      },
      view);
  return good;
}

/// Writes columns one after the other.
class Writer {
 public:
  explicit Writer(fs::path path) : path_(std::move(path)), file_(path_, std::ios::binary | std::ios::trunc) {
    if (!file_) throw IoError("cannot-create-file", fmt::format("{}: cannot create this file", path_.string()));
  }
  void add(const std::string& name, std::size_t values, std::span<const std::byte> piece) {
    if (!places_.contains(name)) {
      static constexpr char kZeros[kAligned] = {};
      write(kZeros, (kAligned - at_ % kAligned) % kAligned);
      places_[name] = {at_, values};
    }
    write(reinterpret_cast<const char*>(piece.data()), piece.size());
    note_activity();
  }
  void flush() {
    if (!file_.flush()) throw IoError("cannot-write-file", cannot_write(path_.string()));
  }
  void finish(json about) {
    for (const auto& [name, place] : places_) about["columns"][name] = {place.begin, place.values};
    const std::string text = about.dump();
    const std::uint64_t length = text.size();
    write(text.data(), text.size());
    write(reinterpret_cast<const char*>(&length), sizeof length);
    write(kMark.data(), kMark.size());
    flush();
  }
  [[nodiscard]] const Places& places() const { return places_; }

 private:
  void write(const char* data, std::size_t bytes) {
    if (!file_.write(data, static_cast<std::streamsize>(bytes))) throw IoError("cannot-write-file", cannot_write(path_.string()));
    at_ += bytes;
  }
  fs::path path_;
  std::ofstream file_;
  std::size_t at_ = 0;
  Places places_;
};

/// The JSON at the end of a columns file; null if the file is not whole.
json about_of(std::string_view file) {
  std::uint64_t length = 0;
  if (file.size() < kMark.size() + sizeof length || !file.ends_with(kMark)) return nullptr;
  file.remove_suffix(kMark.size());
  std::memcpy(&length, file.data() + file.size() - sizeof length, sizeof length);
  file.remove_suffix(sizeof length);
  return length > file.size() ? json() : json::parse(file.substr(file.size() - length), nullptr, false);
}

/// The store whose columns lie in the file where `about` says; nothing if one lies outside.
std::optional<MappedStore> mapped(std::shared_ptr<const Mapping> mapping, const json& about) {
  Places places;
  for (const auto& [name, place] : about.at("columns").items()) places[name] = {place.at(0), place.at(1)};
  MappedStore store;
  about.at("digest").get_to(store.digest);
  about.at("provenance").get_to(store.attributes.provenance);
  about.at("categories").get_to(store.attributes.categories);
  about.at("labels").get_to(store.attributes.labels);
  about.at("files").get_to(store.attributes.files);
  about.at("head_tokens").get_to(store.attributes.head_tokens);
  if (!look(*mapping, places, store.columns) || !look(*mapping, places, store.index)) return std::nullopt;
  store.mapping = std::move(mapping);
  return store;
}

bool changed_recently(const fs::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) != 0 || status.st_mtim.tv_sec + kRecentS >= std::time(nullptr);
}

}  // namespace

std::optional<MappedStore> open_columns_file(const fs::path& store) {
  const fs::path file = columns_file_of(store);
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  try {
    auto mapping = std::make_shared<const Mapping>(file);
    const json about = about_of(mapping->bytes());
    if (!about.is_object() || about.value("store", "") != file_fingerprint(store)) return std::nullopt;
    return mapped(std::move(mapping), about);
  } catch (const std::exception& e) {
    spdlog::debug("[data] {} is not used: {}", file.string(), e.what());
    return std::nullopt;
  }
}

std::optional<MappedStore> make_columns_file(const fs::path& store) {
  const fs::path file = columns_file_of(store);
  remove_stale_temporaries_of(file);
  const PassingFile temporary(temporary_name(file));
  const std::string before = file_fingerprint(store);
  Writer writer(temporary.path());
  StoreAttributes attributes;
  const std::string digest = stream_store(
      store, attributes,
      [&](const char* name, std::size_t values, std::span<const std::byte> piece) { writer.add(name, values, piece); });
  if (attributes.schema == kStoreSchemaWithoutKeys) return std::nullopt;
  writer.flush();
  {
    const Mapping columns(temporary.path());
    StoreView view;
    look(columns, writer.places(), view);
    const StoreIndex index = index_of_file(store, view, attributes);
    StoreIndex::each([&](const char* name, const auto& part) { writer.add(name, part.size(), std::as_bytes(std::span(part))); },
                     index);
  }
  writer.finish({{"store", before},
                 {"digest", digest},
                 {"provenance", attributes.provenance},
                 {"categories", attributes.categories},
                 {"labels", attributes.labels},
                 {"files", attributes.files},
                 {"head_tokens", attributes.head_tokens},
                 {"columns", json::object()}});
  auto mapping = std::make_shared<const Mapping>(temporary.path());
  const json about = about_of(mapping->bytes());
  if (!changed_recently(store) && file_fingerprint(store) == before) publish_file(temporary.path(), file);
  return mapped(std::move(mapping), about);
}

}  // namespace dmoerm::data
