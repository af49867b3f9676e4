#include "nn/safetensors.h"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/activity.h"
#include "base/dangling_link.h"
#include "base/error.h"
#include "base/files.h"
#include "base/flush.h"
#include "nn/model_directory.h"

namespace dmoerm::nn {
namespace {

struct DtypeName {
  at::ScalarType dtype;
  const char* name;
};
constexpr DtypeName kDtypes[] = {{at::kFloat, "F32"}, {at::kBFloat16, "BF16"}, {at::kHalf, "F16"},  {at::kDouble, "F64"},
                                 {at::kLong, "I64"},  {at::kInt, "I32"},       {at::kShort, "I16"}, {at::kChar, "I8"},
                                 {at::kByte, "U8"},   {at::kBool, "BOOL"}};

at::ScalarType dtype_of(const std::string& name) {
  for (const DtypeName& d : kDtypes) {
    if (name == d.name) return d.dtype;
  }
  throw DataError("dtype-unsupported", fmt::format("dtype {} is not supported", name));
}

const char* name_of(at::ScalarType dtype) {
  for (const DtypeName& d : kDtypes) {
    if (dtype == d.dtype) return d.name;
  }
  throw ShapeError("dtype-unsupported", fmt::format("tensors of dtype {} cannot be saved", c10::toString(dtype)));
}

/// Write and flush to the disk piece by piece, so that a slow disk is seen to make progress, and one flush at the end is short.
bool write_in_pieces(FILE* file, const std::filesystem::path& path, const char* data, std::size_t bytes) {
  constexpr std::size_t kPiece = std::size_t{256} << 20;
  for (std::size_t begin = 0; begin < bytes; begin += kPiece) {
    const std::size_t count = std::min(kPiece, bytes - begin);
    if (std::fwrite(data + begin, 1, count, file) != count) return false;
    if (count == kPiece && (std::fflush(file) != 0 || !flush_to_disk(fileno(file), path))) return false;
    note_activity();
  }
  return true;
}

}  // namespace

/// A read-only memory map of a file, with its parsed header.
class SafetensorsReader::Mapping {
 public:
  explicit Mapping(const std::filesystem::path& file) : file_(file.string()) {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) throw IoError("cannot-open-file", fmt::format("{}: cannot open: {}", file_, why_not_opened(file, errno)));
    struct stat status {};
    const bool known = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    bytes_ = known ? static_cast<std::size_t>(status.st_size) : 0;
    void* map = bytes_ > 0 ? ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
    const int reason = errno;
    if (!known || map == MAP_FAILED) ::close(fd);
    if (!known) throw IoError("not-a-regular-file", fmt::format("{}: not a regular file", file_));
    if (map == MAP_FAILED) throw IoError("cannot-map-file", fmt::format("{}: cannot map: {}", file_, std::strerror(reason)));
    fd_ = fd;
    data_ = static_cast<const char*>(map);
    try {
      header_ = parse_safetensors_header({data_, bytes_}, bytes_, file_);
    } catch (...) {
      unmap();
      throw;
    }
  }
  ~Mapping() { unmap(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] const SafetensorsHeader& header() const { return header_; }
  [[nodiscard]] const char* data() const { return data_ + header_.data_offset; }
  [[nodiscard]] const std::string& file() const { return file_; }
  /// Read bytes of the file without its map, whose pages would count as memory of the process.
  /// @param from  where they are in the map
  void read(const char* from, char* to, std::size_t bytes) const {
    for (auto offset = from - data_; bytes > 0;) {
      const ssize_t got = ::pread(fd_, to, bytes, offset);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0)
        throw IoError("cannot-read-file", fmt::format("{}: cannot read {} bytes at {}: {}", file_, bytes, offset,
                                                      got == 0 ? "the file became shorter" : std::strerror(errno)));
      offset += got, to += got, bytes -= static_cast<std::size_t>(got);
    }
  }

 private:
  void unmap() {
    if (bytes_ > 0) ::munmap(const_cast<char*>(data_), bytes_);
    ::close(fd_);
  }
  std::string file_;
  int fd_ = -1;
  const char* data_ = nullptr;
  std::size_t bytes_ = 0;
  SafetensorsHeader header_;
};

void SafetensorsReader::add(const std::filesystem::path& file) {
  const auto mapping = std::make_shared<const Mapping>(file);
  for (const TensorEntry& entry : mapping->header().tensors) {
    if (!entries_.emplace(entry.name, Located{mapping, mapping->data() + entry.begin, entry}).second) {
      throw DataError("tensor-twice", fmt::format("{}: tensor {} is also in another shard", file.string(), entry.name));
    }
  }
  metadata_.insert(mapping->header().metadata.begin(), mapping->header().metadata.end());
}

SafetensorsReader SafetensorsReader::open(const std::filesystem::path& file) {
  SafetensorsReader reader;
  reader.source_ = file.string();
  reader.add(file);
  return reader;
}

SafetensorsReader SafetensorsReader::open_model(const std::filesystem::path& directory, const std::string& single_name) {
  const auto index_path = directory / (single_name + ".index.json");
  if (std::filesystem::exists(directory / single_name)) return open(directory / single_name);  // before an index, as transformers
  if (!std::filesystem::exists(index_path)) refuse_model_directory(directory, single_name);
  SafetensorsReader reader;
  reader.source_ = directory.string();
  const nlohmann::json index = read_json(index_path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw DataError("shard-index-damaged", fmt::format("{}: weight_map is missing", index_path.string()));
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    const std::string file = shard.is_string() ? shard.get<std::string>() : "";
    if (file.empty() || file.find('/') != std::string::npos)
      throw DataError("shard-index-damaged", fmt::format("{}: {}: not a file name", index_path.string(), name));
    shards[file].push_back(name);
  }
  std::vector<std::string> missing;
  for (const auto& [file, names] : shards) {
    if (!std::filesystem::exists(directory / file)) missing.push_back(file);
  }
  if (!missing.empty()) {
    throw DataError("shards-missing",
                    fmt::format("{}: {} of the {} files that {} names are missing: {}. Fetch the model again", directory.string(),
                                missing.size(), shards.size(), index_path.filename().string(), fmt::join(missing, ", ")));
  }
  for (const auto& [file, names] : shards) {
    reader.add(directory / file);
    for (const std::string& name : names) {
      if (!reader.has(name))
        throw DataError("shard-index-damaged", fmt::format("{}: tensor {} is not in {}", index_path.string(), name, file));
    }
  }
  return reader;
}

const SafetensorsReader::Located& SafetensorsReader::at(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw DataError("tensor-missing", fmt::format("{}: tensor {} is missing", source_, name));
  return found->second;
}

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> names;
  for (const auto& [name, located] : entries_) names.push_back(name);
  return names;
}

const std::vector<std::int64_t>& SafetensorsReader::shape(const std::string& name) const { return at(name).entry.shape; }

const std::string& SafetensorsReader::dtype(const std::string& name) const { return at(name).entry.dtype; }

std::string SafetensorsReader::file_of(const std::string& name) const { return at(name).mapping->file(); }

at::Tensor SafetensorsReader::load(const std::string& name) const {
  const Located& located = at(name);
  at::Tensor tensor = at::empty(located.entry.shape, at::TensorOptions().dtype(dtype_of(located.entry.dtype)));
  std::memcpy(tensor.data_ptr(), located.data, located.entry.end - located.entry.begin);
  return tensor;
}

at::Tensor SafetensorsReader::rows(const std::string& name, const at::Tensor& rows) const {
  const Located& located = at(name);
  std::vector<std::int64_t> shape = located.entry.shape;
  DMOERM_CHECK(!shape.empty(), "the tensor has rows");
  const std::int64_t all = shape[0], count = rows.numel();
  const std::size_t row_bytes = all > 0 ? (located.entry.end - located.entry.begin) / static_cast<std::size_t>(all) : 0;
  shape[0] = count;
  at::Tensor result = at::empty(shape, at::TensorOptions().dtype(dtype_of(located.entry.dtype)));
  const at::Tensor local = rows.contiguous();
  const std::int64_t* row = local.const_data_ptr<std::int64_t>();
  auto* to = static_cast<char*>(result.data_ptr());
  for (std::int64_t i = 0, run = 0; i < count; i += run) {
    for (run = 1; i + run < count && row[i + run] == row[i] + run;) ++run;  // neighbours are read together
    DMOERM_CHECK(row[i] >= 0 && row[i] + run <= all, "the rows are in the tensor");
    const std::size_t bytes = static_cast<std::size_t>(run) * row_bytes;
    located.mapping->read(located.data + static_cast<std::size_t>(row[i]) * row_bytes, to, bytes);
    to += bytes;
  }
  return result;
}

std::string safetensors_head(const std::vector<TensorLayout>& tensors, std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "pt");
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorLayout& tensor : tensors) {
    const std::string dtype = name_of(tensor.dtype);
    std::uint64_t bytes = element_size(dtype);
    for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::uint64_t>(extent);
    header[tensor.name] = {{"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // data starts aligned
  const std::uint64_t header_bytes = text.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes) + text;
}

void save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                      std::map<std::string, std::string> metadata) {
  std::vector<TensorLayout> layout;
  std::uint64_t all_bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    layout.push_back({name, tensor.scalar_type(), tensor.sizes().vec()});
    all_bytes += static_cast<std::uint64_t>(tensor.numel()) * tensor.element_size();
  }
  const std::string head = safetensors_head(layout, std::move(metadata));
  const std::filesystem::path temporary = temporary_name(path);
  FILE* file = std::fopen(temporary.c_str(), "wb");
  if (file == nullptr)
    throw IoError("cannot-create-file", fmt::format("{}: cannot create: {}", path.string(), std::strerror(errno)));
  bool good = std::fwrite(head.data(), 1, head.size(), file) == head.size();
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor local = tensor.detach().cpu().contiguous();
    good =
        good && write_in_pieces(file, path, static_cast<const char*>(local.data_ptr()), static_cast<std::size_t>(local.nbytes()));
  }
  const int reason = errno;
  if (std::fclose(file) != 0 || !good) {
    std::filesystem::remove(temporary);
    throw IoError("cannot-write-file",
                  fmt::format("{}: cannot write {} bytes: {}", path.string(), all_bytes, std::strerror(good ? errno : reason)));
  }
  publish_file(temporary, path);
}

}  // namespace dmoerm::nn
