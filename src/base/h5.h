// HDF5 handles that close themselves, and what the token store and the label segments both write. No other header includes
// hdf5.h.
#pragma once
#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

namespace dmoerm::h5 {

/// Keep HDF5 silent in this thread (its errors are ours to report), and let it register nothing that runs at exit.
inline void quiet_library() {
  static std::once_flag once;
  std::call_once(once, [] { H5dont_atexit(); });
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

/// How to open a file without HDF5's own lock, which some file systems lack. Nothing is lost: a file is written under a name of
/// its process and renamed when it is complete, and it does not change afterwards.
class Unlocked {
 public:
  Unlocked() : id_(H5Pcreate(H5P_FILE_ACCESS)) { H5Pset_file_locking(id_, 0, 1); }
  ~Unlocked() { H5Pclose(id_); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  operator hid_t() const { return id_; }  // NOLINT: stands for the id everywhere

 private:
  hid_t id_;
};

/// What the operating system said when the last call of HDF5 failed, as ": No space left on device"; "" if it said nothing.
inline std::string reason_of_failure() {
  std::string reason;
  const auto look = [](unsigned, const H5E_error2_t* error, void* found) -> herr_t {
    const std::string text = error->desc == nullptr ? "" : error->desc, mark = "error message = '";
    const auto from = text.find(mark);
    if (from == std::string::npos) return 0;
    const auto start = from + mark.size();
    *static_cast<std::string*>(found) = ": " + text.substr(start, text.find('\'', start) - start);
    return 1;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, look, &reason);
  return reason;
}

/// An HDF5 handle that closes itself.
/// @tparam Failure  what is thrown if HDF5 gives no handle: IoError, DataError
template <class Failure>
class Handle {
 public:
  /// @throws Failure with `message` if HDF5 gave no handle
  Handle(hid_t id, herr_t (*closer)(hid_t), const std::string& message) : id_(id), close_(closer) {
    if (id_ < 0) throw Failure("hdf5-failed", message + reason_of_failure());
  }
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  operator hid_t() const { return id_; }  // NOLINT: stands for the id everywhere
  /// Close now, which writes buffered data. @return whether that worked
  bool close() { return close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

inline hid_t type_of(std::int32_t) { return H5T_NATIVE_INT32; }
inline hid_t type_of(std::int64_t) { return H5T_NATIVE_INT64; }
inline hid_t type_of(std::uint64_t) { return H5T_NATIVE_UINT64; }
inline hid_t type_of(std::uint8_t) { return H5T_NATIVE_UINT8; }
inline hid_t type_of(float) { return H5T_NATIVE_FLOAT; }
inline hid_t type_of(double) { return H5T_NATIVE_DOUBLE; }

/// Write a text as a dataset of its own, because HDF5's attributes end at 64 KiB. @throws Failure with `message`
template <class Failure>
void write_text(hid_t file, const std::string& name, const std::string& text, const std::string& message) {
  const Handle<Failure> type(H5Tcopy(H5T_C_S1), H5Tclose, message), space(H5Screate(H5S_SCALAR), H5Sclose, message);
  H5Tset_size(type, text.size());
  H5Tset_cset(type, H5T_CSET_UTF8);
  const Handle<Failure> dataset(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), H5Dclose,
                                message);
  if (H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0)
    throw Failure("hdf5-failed", message + reason_of_failure());
}

/// The text that write_text() wrote. @throws Failure with `message` if it is missing or damaged
template <class Failure>
std::string read_text(hid_t file, const std::string& name, const std::string& message) {
  const Handle<Failure> dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose, message);
  const Handle<Failure> type(H5Dget_type(dataset), H5Tclose, message);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0) throw Failure("hdf5-failed", message);
  std::string text(H5Tget_size(type), '\0');
  if (H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text.data()) < 0) throw Failure("hdf5-failed", message);
  return text;
}

}  // namespace dmoerm::h5
