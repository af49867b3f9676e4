#include "preference/line_reader.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/dangling_link.h"
#include "base/error.h"
#include "base/json_problem.h"
#include "base/text.h"

namespace dmoerm::preference {
namespace {

constexpr std::size_t kBlock = 1 << 18;
constexpr std::size_t kLineMax = std::size_t{64} << 20;

/// A source of decompressed bytes.
class Source {
 public:
  virtual ~Source() = default;
  /// Read up to kBlock bytes into `out`. @return number of bytes, 0 at the end
  virtual std::size_t read(char* out) = 0;
};

/// What the system says of a file that cannot be opened, and what to do if its path may be the name of a data set.
std::string why_no_data(const std::filesystem::path& path, int error) {
  std::error_code ignored;
  const std::string why = why_not_opened(path, error);
  const bool name =
      why.find("; ") == std::string::npos && path.extension().empty() && !std::filesystem::exists(path.parent_path(), ignored);
  return why + (name ? "; data sets of a hub are not downloaded: fetch their files first, and name each" : "");
}

/// The bytes of a file as they are.
class PlainSource final : public Source {
 public:
  explicit PlainSource(const std::filesystem::path& path)
      : path_(path.string()), file_(std::fopen(path.c_str(), "rb"), std::fclose) {
    if (file_) return;
    throw IoError("cannot-open-file", fmt::format("{}: cannot open: {}", path_, why_no_data(path, errno)));
  }
  std::size_t read(char* out) override {
    const std::size_t got = std::fread(out, 1, kBlock, file_.get());
    if (std::ferror(file_.get()) != 0)
      throw IoError("cannot-read-file", fmt::format("{}: cannot read: {}", path_, std::strerror(errno)));
    return got;
  }

 private:
  std::string path_;
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
};

/// Gzip with any number of members. Zeros may follow the last member, as padding; other bytes there are damage, which zlib's own
/// file reader would ignore.
class GzipSource final : public Source {
 public:
  explicit GzipSource(const std::filesystem::path& path) : path_(path.string()), file_(path), packed_(kBlock) {
    constexpr int kGzipOnly = 16;
    if (inflateInit2(&stream_, MAX_WBITS + kGzipOnly) != Z_OK)
      throw IoError("out-of-memory", fmt::format("{}: not enough memory for zlib", path_));
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  std::size_t read(char* out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = kBlock;
    while (stream_.avail_out > 0) {
      if (stream_.avail_in == 0 && !fill()) {
        if (inside_) throw DataError("compressed-file-truncated", fmt::format("{}: truncated gzip file", path_));
        break;
      }
      if (!inside_ && members_ > 0 && skip_zeros()) continue;
      inside_ = true;
      const int code = inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_STREAM_END) {
        inside_ = false;
        ++members_;
        inflateReset(&stream_);
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        const char* reason = stream_.msg == nullptr ? "unexpected bytes" : stream_.msg;
        throw DataError("compressed-file-damaged", fmt::format("{}: damaged gzip file: {}{}", path_, reason,
                                                               members_ > 0 ? " after a complete member" : ""));
      }
    }
    return kBlock - stream_.avail_out;
  }

 private:
  bool fill() {
    stream_.next_in = reinterpret_cast<Bytef*>(packed_.data());
    stream_.avail_in = static_cast<uInt>(file_.read(packed_.data()));
    return stream_.avail_in > 0;
  }
  /// Skip zeros between members and at the end. @return whether all bytes read so far are used
  bool skip_zeros() {
    for (; stream_.avail_in > 0 && *stream_.next_in == 0; ++stream_.next_in, --stream_.avail_in) {
    }
    return stream_.avail_in == 0;
  }

  std::string path_;
  PlainSource file_;
  std::vector<char> packed_;
  z_stream stream_{};
  bool inside_ = false;  ///< whether the position is inside a member
  int members_ = 0;
};

class ZstdSource final : public Source {
 public:
  explicit ZstdSource(const std::filesystem::path& path)
      : path_(path.string()), file_(path), stream_(ZSTD_createDStream(), ZSTD_freeDStream), packed_(kBlock) {}
  std::size_t read(char* out) override {
    ZSTD_outBuffer to{out, kBlock, 0};
    while (to.pos < to.size) {
      if (from_.pos == from_.size) {
        from_ = {packed_.data(), file_.read(packed_.data()), 0};
        if (from_.size == 0) {
          if (pending_ != 0) throw DataError("compressed-file-truncated", fmt::format("{}: truncated zstd file", path_));
          break;
        }
      }
      pending_ = ZSTD_decompressStream(stream_.get(), &to, &from_);
      if (ZSTD_isError(pending_) != 0U)
        throw DataError("compressed-file-damaged", fmt::format("{}: damaged zstd file: {}", path_, ZSTD_getErrorName(pending_)));
    }
    return to.pos;
  }

 private:
  std::string path_;
  PlainSource file_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> packed_;
  ZSTD_inBuffer from_{nullptr, 0, 0};
  std::size_t pending_ = 0;
};

/// A compressed file's text. @throws DataError if there is something else than text inside
template <class Packed>
std::unique_ptr<Source> unpacked(const std::filesystem::path& path) {
  std::string head(kBlock, '\0');
  head.resize(Packed(path).read(head.data()));
  if (const std::string other = foreign_type(head); !other.empty())
    throw DataError("not-json-lines",
                    fmt::format("{}: expected JSON lines in UTF-8 inside the compressed file, found {}", path.string(), other));
  return std::make_unique<Packed>(path);
}

/// The source for the type that the first bytes of a file show. @throws DataError for a known type that is not text
std::unique_ptr<Source> open_source(const std::filesystem::path& path) {
  std::string head(kBlock, '\0');
  head.resize(PlainSource(path).read(head.data()));
  const auto begins = [&](std::string_view magic) { return head.starts_with(magic); };
  if (begins("\x1F\x8B")) return unpacked<GzipSource>(path);
  const bool skippable = head.size() >= 4 && (head[0] & 0xF0) == 0x50 &&
                         head.compare(1, 3, "\x2A\x4D\x18") == 0;  // pzstd begins its files with such a frame
  if (begins("\x28\xB5\x2F\xFD") || skippable) return unpacked<ZstdSource>(path);
  std::string other = foreign_type(head);
  if (other.empty() && path.extension() == ".br" && !trim(head).starts_with('{'))
    other = "a Brotli file by its name: unpack it with brotli -d";
  if (!other.empty())
    throw DataError("not-json-lines",
                    fmt::format("{}: expected JSON lines in UTF-8, plain, gzip or zstd, found {}", path.string(), other));
  return std::make_unique<PlainSource>(path);
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
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status))
    throw IoError("is-a-directory", fmt::format("{}: is a directory, expected a JSONL file", impl_->path));
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    throw IoError("input-is-pipe",
                  fmt::format("{}: expected a file, found a pipe or device: inputs are read twice", impl_->path));
  impl_->source = open_source(path);
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
    if (line.size() > kLineMax)
      throw DataError("line-too-long",
                      fmt::format("{}:{}: line longer than 64 MiB: if the file is one JSON list, convert it with jq -c "
                                  "'.[]' FILE",
                                  impl_->path, impl_->number + 1));
    if (end != nullptr) break;
  }
  if (!any) return false;
  if (impl_->number++ == 0 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);
  if (line.ends_with('\r')) line.pop_back();
  return true;
}

}  // namespace dmoerm::preference
