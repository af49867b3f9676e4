#include "label_store/journal.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file_lock.h"
#include "label_store/wal_check.h"

namespace dmoerm::label_store {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kJournalVersion = 1;
constexpr int kVerdicts = 6;
constexpr const char* kKept = "labels that were stored before are kept";

constexpr const char* kTables =
    "CREATE TABLE label(sequence INTEGER PRIMARY KEY, key BLOB, pair BLOB, category TEXT, point TEXT, judge TEXT,"
    " template_name TEXT, swapped INTEGER, sample INTEGER, verdict INTEGER, reply BLOB, first_probability REAL,"
    " prompt_tokens INTEGER, completion_tokens INTEGER, cost_micros INTEGER, time_ms INTEGER, row_check INTEGER);"
    // The journal must hold the labels cleared + 1 to last.
    "CREATE TABLE state(cleared INTEGER, last INTEGER);"
    "INSERT INTO state VALUES(0, 0);";

/// A database handle; check() is the one place that interprets SQLite's result codes.
class Database {
 public:
  explicit Database(const fs::path& path) : path_(path.string()) {
    // StoreLock keeps other labellers away. SQLite's own locks keep other programs away, where the file system has such locks.
    const char* system = has_record_locks(path) ? nullptr : "unix-none";
    const int result = sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, system);
    if (result != SQLITE_OK) {
      const std::string why = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(result);
      sqlite3_close(db_);
      throw IoError("label-journal-not-opened", fmt::format("{}: cannot open the label journal: {}", path_, why));
    }
    sqlite3_extended_result_codes(db_, 1);
  }
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// @throws IoError or DataError unless `result` means success
  void check(int result, const char* action) const {
    if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE) return;
    const int system = sqlite3_system_errno(db_);
    const std::string text = sqlite3_errmsg(db_);
    switch (result & 0xff) {
      case SQLITE_FULL:
        throw full(action);
      case SQLITE_IOERR:
        if (system == ENOSPC || system == EDQUOT || system == EFBIG) throw full(action);
        if (result == SQLITE_IOERR_FSYNC || result == SQLITE_IOERR_DIR_FSYNC) {
          throw IoError(
              "label-store-cannot-flush",
              fmt::format("{}: cannot {}: the file could not be flushed to the disk, so answers that are paid for could "
                          "be lost: the disk is broken, or its file system cannot do it (fsync); set labels.store to a "
                          "folder on another, such as a disk of this host; {}",
                          path_, action, kKept));
        }
        if (system == ESTALE) {
          throw IoError("label-store-not-written",
                        fmt::format("{}: cannot {}: the file server has lost or replaced the file (stale file handle): mount it "
                                    "again; {}",
                                    path_, action, kKept));
        }
        if (result == SQLITE_IOERR_WRITE) {  // SQLite does not always report the reason
          throw IoError(
              "label-store-not-written",
              fmt::format("{}: cannot {}: the system refused to write: a quota, a limit on file sizes, or a broken disk; {}",
                          path_, action, kKept));
        }
        break;
      case SQLITE_CORRUPT:
      case SQLITE_NOTADB:
        throw DataError("label-journal-damaged",
                        fmt::format("{}: the label journal is damaged ({}); `dmoerm label-store repair` saves what is readable",
                                    path_, text));
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        throw IoError(
            "label-journal-in-use",
            fmt::format(
                "{}: cannot {}: another program has the label journal open, such as a shell of SQLite or a backup: end it", path_,
                action));
      case SQLITE_READONLY:
      case SQLITE_CANTOPEN:
      case SQLITE_PERM:
        throw IoError("label-store-not-writable",
                      fmt::format("{}: cannot {}: the label store cannot be written ({}); check permissions and mount", path_,
                                  action, text));
      default:
        break;
    }
    throw IoError("label-journal-failed", fmt::format("{}: cannot {}: {}{}{}; {}", path_, action, text, system != 0 ? ": " : "",
                                                      system != 0 ? std::strerror(system) : "", kKept));
  }

  void run(const char* sql, const char* action) const { check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), action); }
  [[nodiscard]] sqlite3* get() const { return db_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  [[nodiscard]] IoError full(const char* action) const {
    return IoError("disk-full", fmt::format("{}: cannot {}: no space left; free some and run again; {}", path_, action, kKept));
  }
  std::string path_;
  sqlite3* db_ = nullptr;
};

class Statement {
 public:
  Statement(const Database& db, const char* sql, const char* action) : db_(db), action_(action) {
    db.check(sqlite3_prepare_v2(db.get(), sql, -1, &statement_, nullptr), action);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(std::int64_t value) { db_.check(sqlite3_bind_int64(statement_, ++bound_, value), action_); }
  void bind(double value) { db_.check(sqlite3_bind_double(statement_, ++bound_, value), action_); }
  void bind_text(std::string_view text) {
    db_.check(sqlite3_bind_text64(statement_, ++bound_, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8), action_);
  }
  void bind_bytes(const void* data, std::size_t size) {
    db_.check(sqlite3_bind_blob64(statement_, ++bound_, size == 0 ? "" : data, size, SQLITE_STATIC), action_);
  }
  /// Go to the next row. @return whether there is one
  bool step() {
    const int result = sqlite3_step(statement_);
    db_.check(result, action_);
    return result == SQLITE_ROW;
  }
  void reset() {
    sqlite3_reset(statement_);  // returns the error that step() has already thrown
    bound_ = 0;
  }
  [[nodiscard]] std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  [[nodiscard]] double real(int column) const { return sqlite3_column_double(statement_, column); }
  [[nodiscard]] std::string_view bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_, column);
    return {static_cast<const char*>(data),
            data == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  const Database& db_;
  const char* action_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

bool take_digest(std::string_view bytes, Digest& digest) {
  if (bytes.size() != digest.size()) return false;
  std::memcpy(digest.data(), bytes.data(), digest.size());
  return true;
}

/// Read a row of "SELECT *" into a label. @return false if it is damaged
bool take_row(const Statement& row, Label& l, std::int64_t& sequence, std::uint64_t& check) {
  sequence = row.number(0);
  if (!take_digest(row.bytes(1), l.key) || !take_digest(row.bytes(2), l.pair)) return false;
  l.category = row.bytes(3);
  l.point = row.bytes(4);
  l.judge = row.bytes(5);
  l.template_name = row.bytes(6);
  l.swapped = row.number(7) != 0;
  l.sample = static_cast<std::int32_t>(row.number(8));
  if (row.number(9) < 0 || row.number(9) >= kVerdicts) return false;
  l.verdict = static_cast<Verdict>(row.number(9));
  l.reply = row.bytes(10);
  l.first_probability = static_cast<float>(row.real(11));
  l.prompt_tokens = static_cast<std::int32_t>(row.number(12));
  l.completion_tokens = static_cast<std::int32_t>(row.number(13));
  l.cost_micros = row.number(14);
  l.time_ms = row.number(15);
  check = static_cast<std::uint64_t>(row.number(16));
  return check == row_check(l, sequence);
}

/// The first damage that SQLite finds in its own structures; "" if there is none.
std::string structure_damage(const Database& db) {
  Statement check(db, "PRAGMA integrity_check(1)", "check the label journal");
  check.step();
  const std::string said(check.bytes(0));
  return said == "ok" ? "" : fmt::format("{}: the label journal is damaged ({})", db.path(), said);
}

fs::path log_of(const fs::path& path) { return path.string() + "-wal"; }

}  // namespace

struct Journal::Impl {
  explicit Impl(const fs::path& path) : db(path) {}
  Database db;
  std::int64_t cleared = 0, last = 0;

  void open() {
    db.run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL;", "open the label journal");
    Statement mode(db, "PRAGMA journal_mode=WAL", "open the label journal");
    if (!mode.step() || mode.bytes(0) != "wal") {
      throw IoError(
          "label-journal-no-wal",
          fmt::format("{}: SQLite cannot use a write-ahead log here: expected journal mode wal, found {}; put the store on "
                      "another file system",
                      db.path(), mode.bytes(0)));
    }
    mode.reset();
    Statement version(db, "PRAGMA user_version", "read the version of the label journal");
    version.step();
    if (version.number(0) > kJournalVersion) {
      throw DataError("label-journal-newer",
                      fmt::format("{}: expected a label journal of version {} or older, found {}: use a newer dmoerm", db.path(),
                                  kJournalVersion, version.number(0)));
    }
    if (version.number(0) == 0) {
      version.reset();
      db.run(fmt::format("BEGIN IMMEDIATE; {} PRAGMA user_version={}; COMMIT;", kTables, kJournalVersion).c_str(),
             "create the label journal");
    }
    Statement state(db, "SELECT cleared, last FROM state", "read the label journal");
    if (!state.step())
      throw DataError("label-journal-damaged", fmt::format("{}: the label journal is damaged (no state)", db.path()));
    cleared = state.number(0);
    last = state.number(1);
  }

  /// Roll back a failed transaction.
  void roll_back() const {
    if (sqlite3_get_autocommit(db.get()) == 0) sqlite3_exec(db.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }

  template <class Work>
  void in_transaction(const Work& work, const char* action) {
    try {
      db.run("BEGIN IMMEDIATE", action);
      work();
      db.run("COMMIT", action);
    } catch (...) {
      roll_back();
      throw;
    }
  }
};

Journal::Journal(const fs::path& path) {
  const std::string log = wal_damage(log_of(path));
  if (!log.empty()) throw DataError("label-journal-damaged", log + "; `dmoerm label-store repair` saves what is readable");
  impl_ = std::make_unique<Impl>(path);
  impl_->open();
  const std::string structure = structure_damage(impl_->db);
  if (!structure.empty())
    throw DataError("label-journal-damaged", structure + "; `dmoerm label-store repair` saves what is readable");
}
Journal::~Journal() = default;
Journal::Journal(Journal&&) noexcept = default;
Journal& Journal::operator=(Journal&&) noexcept = default;

void Journal::append(std::span<const Label> labels, std::int64_t first_sequence) {
  if (labels.empty()) return;
  constexpr const char* kAction = "add labels";
  Impl& in = *impl_;
  DMOERM_CHECK(first_sequence == in.last + 1 || (in.cleared == in.last && first_sequence > in.last), "numbers have no gaps");
  const std::int64_t cleared = size() == 0 ? first_sequence - 1 : in.cleared;
  const std::int64_t last = first_sequence + static_cast<std::int64_t>(labels.size()) - 1;
  in.in_transaction(
      [&] {
        Statement insert(in.db, "INSERT INTO label VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", kAction);
        std::int64_t sequence = first_sequence;
        for (const Label& l : labels) {
          insert.bind(sequence);
          insert.bind_bytes(l.key.data(), l.key.size());
          insert.bind_bytes(l.pair.data(), l.pair.size());
          for (const std::string* text : {&l.category, &l.point, &l.judge, &l.template_name}) insert.bind_text(*text);
          insert.bind(std::int64_t{l.swapped});
          insert.bind(std::int64_t{l.sample});
          insert.bind(static_cast<std::int64_t>(l.verdict));
          insert.bind_bytes(l.reply.data(), l.reply.size());
          insert.bind(static_cast<double>(l.first_probability));
          insert.bind(std::int64_t{l.prompt_tokens});
          insert.bind(std::int64_t{l.completion_tokens});
          insert.bind(l.cost_micros);
          insert.bind(l.time_ms);
          insert.bind(static_cast<std::int64_t>(row_check(l, sequence)));
          insert.step();
          insert.reset();
          ++sequence;
        }
        Statement state(in.db, "UPDATE state SET cleared=?, last=?", kAction);
        state.bind(cleared);
        state.bind(last);
        state.step();
      },
      kAction);
  in.cleared = cleared;
  in.last = last;
}

std::int64_t Journal::size() const { return impl_->last - impl_->cleared; }
std::int64_t Journal::cleared() const { return impl_->cleared; }
std::int64_t Journal::last() const { return impl_->last; }

LabelColumns Journal::rows() const {
  LabelColumns rows;
  Statement all(impl_->db, "SELECT * FROM label ORDER BY sequence", "read the label journal");
  Label label;
  std::int64_t sequence = 0, expected = impl_->cleared + 1;
  std::uint64_t check = 0;
  for (; all.step(); ++expected) {
    if (!take_row(all, label, sequence, check) || sequence != expected) {
      throw DataError(
          "label-journal-damaged",
          fmt::format("{}: label {} of the journal is damaged or missing; `dmoerm label-store repair` saves the others",
                      impl_->db.path(), expected));
    }
    rows.add(label, sequence, check);
  }
  if (expected != impl_->last + 1) {
    throw DataError(
        "label-journal-damaged",
        fmt::format("{}: expected labels up to number {} in the journal, found the last at {}; `dmoerm label-store repair` "
                    "saves what is there",
                    impl_->db.path(), impl_->last, expected - 1));
  }
  return rows;
}

void Journal::clear(std::int64_t through) {
  constexpr const char* kAction = "clear the label journal";
  Impl& in = *impl_;
  through = std::min(through, in.last);
  if (through <= in.cleared) return;
  in.in_transaction(
      [&] {  // without a condition SQLite drops whole pages at once
        const std::string rows = through == in.last ? "" : fmt::format(" WHERE sequence <= {}", through);
        in.db.run(fmt::format("DELETE FROM label{}; UPDATE state SET cleared={};", rows, through).c_str(), kAction);
      },
      kAction);
  in.cleared = through;
}

std::vector<fs::path> Journal::files(const fs::path& path) {
  std::vector<fs::path> found;
  for (const fs::path& file : {path, log_of(path)}) {
    if (fs::exists(file)) found.push_back(file);
  }
  return found;
}

Journal::Salvaged Journal::salvage(const fs::path& path) {
  Salvaged result;
  if (!fs::exists(path)) return result;
  // Work on a copy: SQLite changes the files that it opens.
  std::string scratch = (fs::temp_directory_path() / "dmoerm-journal-XXXXXX").string();
  if (::mkdtemp(scratch.data()) == nullptr)
    throw IoError("cannot-create-folder", fmt::format("{}: cannot create: {}", scratch, std::strerror(errno)));
  struct Remover {
    const std::string& directory;
    ~Remover() {
      std::error_code ignored;
      fs::remove_all(directory, ignored);
    }
  } const remover{scratch};
  std::error_code error;
  for (const fs::path& file : files(path)) {
    fs::copy_file(file, fs::path(scratch) / file.filename(), error);
    if (error)
      throw IoError("cannot-copy-file", fmt::format("{}: cannot copy to {}: {}", file.string(), scratch, error.message()));
  }
  const fs::path copy = fs::path(scratch) / path.filename();
  try {
    const Journal journal(copy);
    result.rows = journal.rows();
    result.cleared = journal.cleared();
    result.last = journal.last();
    return result;
  } catch (const Error& e) {
    result.damage = e.what();
    for (std::size_t at; (at = result.damage.find(scratch)) != std::string::npos;) {
      result.damage.replace(at, scratch.size(), path.parent_path().string());
    }
  }
  // Read rows in ascending order until one fails, then in descending order.
  std::map<std::int64_t, std::pair<Label, std::uint64_t>> found;
  for (const char* sql : {"SELECT * FROM label ORDER BY sequence", "SELECT * FROM label ORDER BY sequence DESC"}) {
    try {
      const Database db(copy);
      Statement all(db, sql, "read the label journal");
      Label label;
      std::int64_t sequence = 0;
      std::uint64_t check = 0;
      while (all.step()) {
        if (take_row(all, label, sequence, check)) found.try_emplace(sequence, label, check);
      }
      break;
    } catch (const Error&) {  // goes on from the other end
    }
  }
  for (const auto& [sequence, row] : found) result.rows.add(row.first, sequence, row.second);
  return result;
}

}  // namespace dmoerm::label_store
