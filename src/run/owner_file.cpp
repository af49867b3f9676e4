#include "run/owner_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/host.h"
#include "base/log.h"
#include "base/thread.h"
#include "watch/status_file.h"

namespace dmoerm::run {
namespace {

using nlohmann::json;
constexpr std::chrono::milliseconds kTouch{2000}, kWatch{7000}, kSettle{1000};

std::string job() {
  const char* id = std::getenv("SLURM_JOB_ID");
  return id == nullptr ? "" : id;
}

json read_owner(int descriptor) {
  std::string text(4096, '\0');
  const ssize_t got = ::pread(descriptor, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  json owner = json::parse(text, nullptr, false);
  return owner.is_object() ? owner : json::object();
}

/// A text of owner.json; "" if another program wrote something else there.
std::string text_in(const json& owner, const char* key) {
  const auto found = owner.find(key);
  return found != owner.end() && found->is_string() ? found->get<std::string>() : "";
}

[[noreturn]] void refuse(const std::filesystem::path& directory, const json& owner) {
  const std::string host = text_in(owner, "host"), slurm = text_in(owner, "job");
  const json pid = owner.value("pid", json());
  if (host.empty() || !pid.is_number_integer()) {
    throw ConfigError("run-in-use",
                      fmt::format("{}: another process has locked this run directory and not written who it is: wait for it, end "
                                  "it, or give the run another name",
                                  directory.string()));
  }
  throw ConfigError(
      "run-in-use",
      fmt::format("{}: process {} on host {}{} is working in this run directory, since {}: wait for it, end it, or give the run "
                  "another name",
                  directory.string(), pid.get<std::int64_t>(), host, slurm.empty() ? "" : fmt::format(" (Slurm job {})", slurm),
                  text_in(owner, "since")));
}

bool is_named(int descriptor, const std::filesystem::path& path) {
  struct stat own {
  }, named{};
  return ::fstat(descriptor, &own) == 0 && ::stat(path.c_str(), &named) == 0 && own.st_ino == named.st_ino;
}

/// When a file was last written.
std::pair<std::int64_t, std::int64_t> version(int descriptor) {
  struct stat status {};
  ::fstat(descriptor, &status);
  return {status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

}  // namespace

OwnerFile::OwnerFile(const std::filesystem::path& directory) : path_(directory / "owner.json") {
  for (auto folder = directory; !folder.empty() && !std::filesystem::exists(folder); folder = folder.parent_path())
    made_.push_back(folder);
  std::filesystem::create_directories(directory);
  try {
    take();
    thread_ = start_thread("the thread that keeps owner.json", [this] { touch(); });
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

void OwnerFile::take() {
  const std::filesystem::path directory = path_.parent_path();
  json owner;
  LockOutcome lock = LockOutcome::taken;
  do {  // an owner removes the file when it leaves, so the locked file may no longer be the one with this name
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor_ < 0)
      throw IoError("cannot-open-file", fmt::format("{}: cannot open: {}", path_.string(), std::strerror(errno)));
    lock = take_lock(descriptor_, path_);
    if (lock == LockOutcome::held_elsewhere) {
      for (int i = 0; i < 10 && read_owner(descriptor_).empty(); ++i)  // the owner writes right after locking
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      refuse(directory, read_owner(descriptor_));
    }
    owner = read_owner(descriptor_);
  } while (!is_named(descriptor_, path_));
  const bool locks = lock == LockOutcome::taken;
  const std::string host = text_in(owner, "host"), id = text_in(owner, "job");
  if (!host.empty() && (host != host_name() || !locks) && (id.empty() || id != job())) watch_for(owner);
  if (!host.empty()) {  // a process that leaves by itself removes the file
    spdlog::warn(
        "[run] the last process here (on {}, since {}) was killed or lost its host; if memory was short, lower "
        "compute.micro_batch_tokens or start fewer ranks on a host",
        host, text_in(owner, "since"));
  }
  const std::string text = write_owner();
  if (locks) return;
  spdlog::warn("[run] {}; owner.json, which is written every {} s, keeps a second run away instead", without_locks(directory),
               kTouch.count() / 1000);
  std::this_thread::sleep_for(kSettle);  // of two that start at the same moment, the one that wrote last stays
  owner = read_owner(descriptor_);
  if (owner != json::parse(text)) refuse(directory, owner);
}

/// Refuse the directory if its owner, on a host that may not share locks with this one, lives: it keeps changing the file.
void OwnerFile::watch_for(const json& owner) const {
  const auto before = version(descriptor_);
  const auto until = std::chrono::steady_clock::now() + kWatch;
  while (std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const int fresh = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);  // opening makes a network file system look for changes
    if (fresh < 0) return;                                          // the owner has left
    const bool changed = version(fresh) != before;
    ::close(fresh);
    if (changed) refuse(path_.parent_path(), owner);
  }
}

/// Write down who owns the directory now. @return the text
std::string OwnerFile::write_owner() const {
  const std::time_t now = std::time(nullptr);
  char since[32] = "";
  std::strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S", std::localtime(&now));
  const watch::Place place = watch::this_place();
  const std::string text = json{{"host", place.host},
                                {"boot", place.boot},
                                {"pid_namespace", place.pid_namespace},
                                {"pid", ::getpid()},
                                {"pid_started", watch::this_process().started},
                                {"job", job()},
                                {"since", since}}
                               .dump(2) +
                           "\n";
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw IoError("cannot-write-file", fmt::format("{}: cannot write: {}", path_.string(), std::strerror(errno)));
  return text;
}

OwnerFile::~OwnerFile() {
  {
    const std::lock_guard lock(mutex_);
    left_ = true;
  }
  leaving_.notify_all();
  thread_.join();
  ::unlink(path_.c_str());
  ::close(descriptor_);
  std::error_code in_use;  // removes only folders that stayed empty
  for (const std::filesystem::path& folder : made_) std::filesystem::remove(folder, in_use);
}

void OwnerFile::touch() {
  std::unique_lock lock(mutex_);
  while (!leaving_.wait_for(lock, kTouch, [&] { return left_; })) ::futimens(descriptor_, nullptr);
}

}  // namespace dmoerm::run
