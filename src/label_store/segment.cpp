#include "label_store/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/h5.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr hsize_t kChunkRows = 4096, kChunkBytes = 1 << 16;
constexpr const char* kReplies = "reply_bytes";

using Handle = h5::Handle<DataError>;
using h5::type_of;

hid_t type_of(const Digest&) { return H5T_NATIVE_UINT8; }

/// Shape of a column of `rows` values; a digest is a row of 32 bytes.
template <class T>
std::vector<hsize_t> shape(hsize_t rows) {
  if constexpr (std::is_same_v<T, Digest>) return {rows, sizeof(Digest)};
  return {rows};
}

// ---- writing ----

/// Write one column. Numbers compress better with shuffled bytes; equal digests in a row only compress unshuffled.
template <class T>
void write_column(hid_t file, const std::string& name, const std::vector<T>& values, hsize_t chunk_rows,
                  const std::string& failed) {
  const auto dims = shape<T>(values.size()), chunk = shape<T>(std::max<hsize_t>(1, std::min<hsize_t>(chunk_rows, values.size())));
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose, failed);
  const Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, failed);
  H5Pset_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  if constexpr (sizeof(T) > 1 && !std::is_same_v<T, Digest>) H5Pset_shuffle(properties);
  H5Pset_deflate(properties, 4);
  H5Pset_fletcher32(properties);
  const Handle dataset(H5Dcreate2(file, name.c_str(), type_of(T{}), space, H5P_DEFAULT, properties, H5P_DEFAULT), H5Dclose,
                       failed);
  if (H5Dwrite(dataset, type_of(T{}), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0)
    throw DataError("label-segment-not-built", failed);
}

json to_json(const judge::Usage& s) { return {s.requests, s.prompt_tokens, s.completion_tokens, s.cost_micros}; }

judge::Usage spent_of(const json& list) {
  return {list.at(0).get<std::int64_t>(), list.at(1).get<std::int64_t>(), list.at(2).get<std::int64_t>(),
          list.at(3).get<std::int64_t>()};
}

std::string about_text(const LabelColumns& rows, const std::vector<std::uint32_t>& order, const SegmentNotes& notes) {
  std::vector<SegmentRun> runs;
  std::int64_t last = 0;
  for (std::size_t at = 0; at < order.size(); ++at) {
    const std::uint32_t i = order[at];
    const auto of = [](const SegmentRun& r) { return std::tie(r.category, r.point, r.judge, r.template_name); };
    SegmentRun run{rows.category[i], rows.point[i], rows.judge[i], rows.template_name[i], static_cast<std::int64_t>(at), 0, {}};
    if (runs.empty() || of(runs.back()) != of(run)) runs.push_back(run);
    ++runs.back().rows;
    runs.back().spent += rows.spent(i);
    last = std::max(last, rows.sequence[i]);
  }
  json about{{"schema", kSegmentSchema},     {"rows", order.size()},       {"last_sequence", last},
             {"names", rows.names},          {"replaces", notes.replaces}, {"salvaged", notes.salvaged},
             {"rows_lost", notes.rows_lost}, {"runs", json::array()},      {"rows_dropped", json::array()}};
  for (const SegmentRun& r : runs) {
    about["runs"].push_back({r.category, r.point, r.judge, r.template_name, r.first, r.rows, to_json(r.spent)});
  }
  for (const PointSpent& p : notes.rows_dropped) {
    about["rows_dropped"].push_back({p.category, p.point, p.judge, p.template_name, to_json(p.spent)});
  }
  return about.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// The whole HDF5 file, built in memory, so that a full disk fails in write(2) and not inside HDF5.
std::string image_of(const LabelColumns& rows, const SegmentNotes& notes, const std::string& path) {
  const std::string failed = fmt::format("{}: HDF5 cannot lay the segment out in memory", path);
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, failed);
  H5Pset_fapl_core(access, 1 << 24, false);
  const Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access), H5Fclose, failed);
  const std::vector<std::uint32_t> order = rows.sorted();
  const auto write = [&](const char* name, const auto& column) {
    std::decay_t<decltype(column)> in_order;
    in_order.reserve(order.size());
    for (const std::uint32_t i : order) in_order.push_back(column[i]);
    write_column(file, name, in_order, kChunkRows, failed);
  };
  LabelColumns::each(write, rows);
  const std::vector<std::size_t> starts = rows.reply_starts();
  std::vector<std::uint8_t> replies;
  replies.reserve(rows.reply_bytes.size());
  for (const std::uint32_t i : order) {
    const auto start = rows.reply_bytes.begin() + static_cast<std::ptrdiff_t>(starts[i]);
    replies.insert(replies.end(), start, start + rows.reply_length[i]);
  }
  write_column(file, kReplies, replies, kChunkBytes, failed);
  h5::write_text<DataError>(file, "attributes", about_text(rows, order, notes), failed);
  if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) throw DataError("label-segment-not-built", failed);
  const ssize_t size = H5Fget_file_image(file, nullptr, 0);
  std::string image(size > 0 ? static_cast<std::size_t>(size) : 0, '\0');
  if (size <= 0 || H5Fget_file_image(file, image.data(), image.size()) != size)
    throw DataError("label-segment-not-built", failed);
  return image;
}

// ---- reading ----

struct Shape {
  Handle dataset, space;
  hsize_t rows = 0;
};

/// Open a dataset of `T`, whatever its length. @throws DataError
template <class T>
Shape open_column(hid_t file, const std::string& name, const std::string& failed) {
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose, failed);
  H5Pset_chunk_cache(access, 1, 2 * kChunkRows * sizeof(T), 1);  // neighbouring points share a chunk
  Handle dataset(H5Dopen2(file, name.c_str(), access), H5Dclose, failed), space(H5Dget_space(dataset), H5Sclose, failed);
  const auto expected = shape<T>(0);
  std::vector<hsize_t> dims(expected.size());
  const int rank = static_cast<int>(dims.size());
  if (H5Sget_simple_extent_ndims(space) != rank || H5Sget_simple_extent_dims(space, dims.data(), nullptr) != rank ||
      (rank == 2 && dims[1] != expected[1])) {
    throw DataError("label-segment-damaged", failed);
  }
  return {std::move(dataset), std::move(space), dims[0]};
}

/// Append values [first, first + count) of a column. @throws DataError
template <class T>
void read_values(const Shape& from, hsize_t first, hsize_t count, std::vector<T>& into, const std::string& failed) {
  if (first > from.rows || count > from.rows - first) throw DataError("label-segment-damaged", failed);
  if (count == 0) return;
  std::vector<hsize_t> start = shape<T>(first), size = shape<T>(count);
  if (start.size() == 2) start[1] = 0;
  const Handle part(H5Screate_simple(static_cast<int>(size.size()), size.data(), nullptr), H5Sclose, failed);
  const std::size_t before = into.size();
  into.resize(before + count);
  if (H5Sselect_hyperslab(from.space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr) < 0 ||
      H5Dread(from.dataset, type_of(T{}), part, from.space, H5P_DEFAULT, into.data() + before) < 0) {
    into.resize(before);
    throw DataError("label-segment-damaged", failed);
  }
}

SegmentAbout about_of(const std::string& text, const std::string& path) {
  const json value = json::parse(text, nullptr, false);
  const std::string failed = fmt::format("{}: its attributes are damaged; {}", path, kSegmentSeal.advice);
  SegmentAbout about;
  try {
    if (const auto schema = value.at("schema").get<std::int64_t>(); schema > kSegmentSchema) {
      throw DataError("label-segment-newer",
                      fmt::format("{}: expected a label segment of schema {} or older, found {}: use a newer dmoerm", path,
                                  kSegmentSchema, schema));
    }
    value.at("names").get_to(about.names);
    value.at("rows").get_to(about.rows);
    value.at("last_sequence").get_to(about.last_sequence);
    value.at("replaces").get_to(about.notes.replaces);
    value.at("salvaged").get_to(about.notes.salvaged);
    value.at("rows_lost").get_to(about.notes.rows_lost);
    std::int64_t next = 0;
    const auto known = [&](std::int32_t name) { return name >= 0 && static_cast<std::size_t>(name) < about.names.size(); };
    for (const json& r : value.at("runs")) {
      const SegmentRun run{r.at(0).get<std::int32_t>(),
                           r.at(1).get<std::int32_t>(),
                           r.at(2).get<std::int32_t>(),
                           r.at(3).get<std::int32_t>(),
                           r.at(4).get<std::int64_t>(),
                           r.at(5).get<std::int64_t>(),
                           spent_of(r.at(6))};
      if (run.first != next || run.rows < 1 || !known(run.category) || !known(run.point) || !known(run.judge) ||
          !known(run.template_name)) {
        throw DataError("label-segment-damaged", failed);
      }
      next += run.rows;
      about.runs.push_back(run);
    }
    if (next != about.rows) throw DataError("label-segment-damaged", failed);
    for (const json& p : value.at("rows_dropped")) {
      about.notes.rows_dropped.push_back(
          {{p.at(0).get<std::string>(), p.at(1).get<std::string>(), p.at(2).get<std::string>(), p.at(3).get<std::string>()},
           spent_of(p.at(4))});
    }
  } catch (const json::exception&) {
    throw DataError("label-segment-damaged", failed);
  }
  return about;
}

}  // namespace

PointKey SegmentAbout::point_key(const SegmentRun& run) const {
  const auto word = [&](std::int32_t name) { return names[static_cast<std::size_t>(name)]; };
  return {word(run.category), word(run.point), word(run.judge), word(run.template_name)};
}

judge::Usage SegmentAbout::spent() const {
  judge::Usage all;
  for (const SegmentRun& run : runs) all += run.spent;
  for (const PointSpent& dropped : notes.rows_dropped) all += dropped.spent;
  return all;
}

void write_segment(const fs::path& path, const LabelColumns& rows, const SegmentNotes& notes) {
  h5::quiet_library();
  const std::string image = image_of(rows, notes, path.string());
  write_file_atomically(path, seal_of(image, kSegmentSeal) + image);
  std::error_code error;
  fs::permissions(path, fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read, error);
  if (error)
    throw IoError("cannot-change-file-mode", fmt::format("{}: cannot make it read-only: {}", path.string(), error.message()));
}

struct Segment::Impl {
  fs::path path;
  Handle file;
  SegmentAbout about;
  std::map<std::string, Shape> columns;
  std::vector<std::uint64_t> ends_of_replies;

  static std::unique_ptr<Impl> open(const fs::path& path) {
    h5::quiet_library();
    const std::string name = path.string();
    Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, h5::Unlocked()), H5Fclose,
                fmt::format("{}: HDF5 cannot open it, so it is damaged; {}", name, kSegmentSeal.advice));
    SegmentAbout about =
        about_of(h5::read_text<DataError>(
                     file, "attributes", fmt::format("{}: its attributes are missing or damaged; {}", name, kSegmentSeal.advice)),
                 name);
    return std::make_unique<Impl>(Impl{path, std::move(file), std::move(about), {}, {}});
  }

  [[nodiscard]] std::string failed(const std::string& column) const {
    return fmt::format("{}: column {} cannot be read, so the file is damaged; {}", path.string(), column, kSegmentSeal.advice);
  }

  /// A column, opened once.
  template <class T>
  const Shape& column(const std::string& name) {
    const auto found = columns.find(name);
    return found != columns.end() ? found->second : columns.emplace(name, open_column<T>(file, name, failed(name))).first->second;
  }

  void read(std::int64_t first, std::int64_t count, ColumnSet wanted, LabelColumns& into) {
    const auto start = static_cast<hsize_t>(first), rows = static_cast<hsize_t>(count);
    LabelColumns got;
    got.names = about.names;
    const auto read_column = [&](const std::string& name, auto& values) {
      using T = typename std::decay_t<decltype(values)>::value_type;
      const bool indexed = name == "key" || name == "sequence" || name == "verdict" || name == "first_probability";
      if ((wanted == ColumnSet::index && !indexed) || (wanted != ColumnSet::all && name == "reply_length")) return;
      read_values<T>(column<T>(name), start, rows, values, failed(name));
    };
    LabelColumns::each(read_column, got);
    if (wanted == ColumnSet::all && count > 0) {
      const std::vector<std::uint64_t>& ends = reply_ends();
      const std::string why = failed(kReplies);
      if (start + rows > ends.size()) throw DataError("label-segment-damaged", why);
      const std::uint64_t from = start == 0 ? 0 : ends[start - 1];
      read_values(column<std::uint8_t>(kReplies), from, ends[start + rows - 1] - from, got.reply_bytes, why);
    }
    append(got, into);
  }

  /// Offset at which the reply of each row ends, read once.
  const std::vector<std::uint64_t>& reply_ends() {
    if (ends_of_replies.empty()) {
      const std::string why = failed("reply_length");
      const Shape& from = column<std::int32_t>("reply_length");
      std::vector<std::int32_t> lengths;
      read_values(from, 0, from.rows, lengths, why);
      std::uint64_t end = 0;
      for (const std::int32_t length : lengths) {
        if (length < 0) throw DataError("label-segment-damaged", why);
        ends_of_replies.push_back(end += static_cast<std::uint64_t>(length));
      }
    }
    return ends_of_replies;
  }

  /// Append rows whose names are renumbered to those of `into`. @throws DataError for a value out of range
  void append(LabelColumns& got, LabelColumns& into) const {
    const std::string why = failed("names or lengths");
    std::vector<std::int32_t> renamed;
    for (const std::string& word : about.names) renamed.push_back(into.name(word));
    for (auto* column : {&got.category, &got.point, &got.judge, &got.template_name}) {
      for (std::int32_t& index : *column) {
        if (index < 0 || static_cast<std::size_t>(index) >= renamed.size()) throw DataError("label-segment-damaged", why);
        index = renamed[static_cast<std::size_t>(index)];
      }
    }
    if (std::ranges::any_of(got.verdict, [](std::uint8_t v) { return v > static_cast<std::uint8_t>(Verdict::error); })) {
      throw DataError("label-segment-damaged", why);
    }
    const auto move_to = [](const char*, auto& from, auto& to) {
      if (to.empty()) {
        to = std::move(from);
      } else {
        to.insert(to.end(), from.begin(), from.end());
      }
    };
    LabelColumns::each(move_to, got, into);
    move_to(kReplies, got.reply_bytes, into.reply_bytes);
  }
};

Segment::Segment(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Segment::Segment(const fs::path& path) {
  check_seal(path, kSegmentSeal);
  impl_ = Impl::open(path);
}
Segment::~Segment() = default;
Segment::Segment(Segment&&) noexcept = default;
Segment& Segment::operator=(Segment&&) noexcept = default;

const SegmentAbout& Segment::about() const { return impl_->about; }
const fs::path& Segment::path() const { return impl_->path; }

void Segment::read(std::int64_t first, std::int64_t count, ColumnSet wanted, LabelColumns& into) const {
  impl_->read(first, count, wanted, into);
}

LabelColumns Segment::salvage(const fs::path& path, SegmentAbout& about) {
  const std::unique_ptr<Impl> segment = Impl::open(path);
  about = segment->about;
  LabelColumns good;
  for (std::int64_t first = 0; first < about.rows; first += kChunkRows) {
    LabelColumns chunk;
    try {
      segment->read(first, std::min<std::int64_t>(kChunkRows, about.rows - first), ColumnSet::all, chunk);
    } catch (const DataError&) {
      continue;  // this chunk is lost
    }
    const std::vector<std::size_t> starts = chunk.reply_starts();
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      const Label label = chunk.label(i, starts[i]);
      if (row_check(label, chunk.sequence[i]) == chunk.check[i]) good.add_row(chunk, i, starts[i]);
    }
  }
  return good;
}

}  // namespace dmoerm::label_store
