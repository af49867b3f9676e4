#include "pair/line_reader.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace dmoerm::pair {
namespace {

constexpr std::size_t kBlock = 1 << 18;
constexpr std::size_t kLineMax = std::size_t{64} << 20;

/// Where decompressed bytes come from.
class Source {
 public:
  virtual ~Source() = default;
  /// Up to kBlock bytes into `out`; 0 at the end.
  virtual std::size_t read(char* out) = 0;
};

/// Plain files and gzip: zlib reads both.
class ZlibSource final : public Source {
 public:
  explicit ZlibSource(const std::filesystem::path& path) : path_(path.string()), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr) throw IoError(fmt::format("{}: cannot open: {}", path_, std::strerror(errno)));
    gzbuffer(file_, kBlock);
  }
  ~ZlibSource() override { gzclose(file_); }
  ZlibSource(const ZlibSource&) = delete;
  ZlibSource& operator=(const ZlibSource&) = delete;

  std::size_t read(char* out) override {
    const int got = gzread(file_, out, kBlock);
    int code = Z_OK;
    const char* reason = gzerror(file_, &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
      throw DataError(fmt::format("{}: damaged or truncated gzip file: {}", path_, reason));
    return static_cast<std::size_t>(got);
  }

 private:
  std::string path_;
  gzFile file_;
};

class ZstdSource final : public Source {
 public:
  explicit ZstdSource(const std::filesystem::path& path)
      : path_(path.string()),
        file_(std::fopen(path.c_str(), "rb"), std::fclose),
        stream_(ZSTD_createDStream(), ZSTD_freeDStream),
        packed_(kBlock) {
    if (!file_) throw IoError(fmt::format("{}: cannot open: {}", path_, std::strerror(errno)));
  }
  std::size_t read(char* out) override {
    ZSTD_outBuffer to{out, kBlock, 0};
    while (to.pos < to.size) {
      if (from_.pos == from_.size) {
        from_ = {packed_.data(), std::fread(packed_.data(), 1, packed_.size(), file_.get()), 0};
        if (from_.size == 0) {
          if (pending_ != 0) throw DataError(fmt::format("{}: truncated zstd file", path_));
          break;
        }
      }
      pending_ = ZSTD_decompressStream(stream_.get(), &to, &from_);
      if (ZSTD_isError(pending_) != 0U)
        throw DataError(fmt::format("{}: damaged zstd file: {}", path_, ZSTD_getErrorName(pending_)));
    }
    return to.pos;
  }

 private:
  std::string path_;
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> packed_;
  ZSTD_inBuffer from_{nullptr, 0, 0};
  std::size_t pending_ = 0;
};

bool is_zstd(const std::filesystem::path& path) {
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) throw IoError(fmt::format("{}: cannot open: {}", path.string(), std::strerror(errno)));
  unsigned char magic[4] = {};
  return std::fread(magic, 1, 4, file.get()) == 4 && magic[0] == 0x28 && magic[1] == 0xB5 && magic[2] == 0x2F && magic[3] == 0xFD;
}

}  // namespace

struct LineReader::Impl {
  std::string path;
  std::unique_ptr<Source> source;
  std::vector<char> block = std::vector<char>(kBlock);
  std::size_t at = 0, size = 0;
  std::int64_t number = 0;
};

LineReader::LineReader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path.string();
  if (std::filesystem::is_directory(path)) throw IoError(fmt::format("{}: is a directory, expected a JSONL file", impl_->path));
  if (is_zstd(path)) {
    impl_->source = std::make_unique<ZstdSource>(path);
  } else {
    impl_->source = std::make_unique<ZlibSource>(path);
  }
}
LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;

std::int64_t LineReader::number() const { return impl_->number; }

bool LineReader::next(std::string& line) {
  line.clear();
  bool any = false;
  for (;;) {
    if (impl_->at == impl_->size) {
      impl_->size = impl_->source->read(impl_->block.data());
      impl_->at = 0;
      if (impl_->size == 0) break;
    }
    any = true;
    const char* begin = impl_->block.data() + impl_->at;
    const auto* end = static_cast<const char*>(std::memchr(begin, '\n', impl_->size - impl_->at));
    const std::size_t length = end != nullptr ? static_cast<std::size_t>(end - begin) : impl_->size - impl_->at;
    line.append(begin, length);
    impl_->at += length + (end != nullptr ? 1 : 0);
    if (line.size() > kLineMax) throw DataError(fmt::format("{}:{}: line longer than 64 MiB", impl_->path, impl_->number + 1));
    if (end != nullptr) break;
  }
  if (!any) return false;
  if (impl_->number++ == 0 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace dmoerm::pair
