#include "base/files.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/cannot_write.h"
#include "base/error.h"
#include "base/hash.h"
#include "support/scratch.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

TEST(CannotWrite, NamesTheReasonThatTheSystemGave) {
  errno = ESTALE;
  EXPECT_NE(cannot_write("f").find("stale file handle"), std::string::npos);
  errno = EDQUOT;
  EXPECT_NE(cannot_write("f").find("disk quota"), std::string::npos);
  errno = 0;
  EXPECT_NE(cannot_write("f").find("is the disk full"), std::string::npos);
}

class FilesFolder : public test::Scratch {
 protected:
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(directory_))
      names.push_back(fs::relative(entry.path(), directory_).string());
    std::ranges::sort(names);
    return names;
  }
  /// Id of a process that has ended.
  [[nodiscard]] static pid_t ended_process() {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    return child;
  }
  /// temporary_name() as that process would have it.
  [[nodiscard]] static std::string temporary_of(const fs::path& path, pid_t process) {
    const std::string own = temporary_name(path).string();
    return own.substr(0, own.rfind('-') + 1) + std::to_string(process);
  }
};

TEST_F(FilesFolder, WritesAllBytesAndLeavesNothingBesideTheFile) {
  const std::string bytes("a\0b\n\xff", 5);
  write_file_atomically(directory_ / "f", "old and longer than the new");
  write_file_atomically(directory_ / "f", bytes);
  EXPECT_EQ(read_file(directory_ / "f"), bytes);
  write_file_atomically(directory_ / "empty", "");
  EXPECT_EQ(read_file(directory_ / "empty"), "");
  EXPECT_EQ(names(), (std::vector<std::string>{"empty", "f"}));
}

TEST_F(FilesFolder, LeavesTemporariesOfAContainerWithTheSameHostNameAlone) {
  const std::string ours = temporary_name("f").string();  // this process lives, but its id is unknown in the container
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(77);
    const pid_t inside = ::fork();
    if (inside == 0) ::_exit(is_stale_temporary(ours) ? 1 : 0);
    int status = 0;
    ::waitpid(inside, &status, 0);
    ::_exit(WEXITSTATUS(status));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "only root may make a namespace";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(FilesFolder, TakesAProcessWhoseCodeNobodyAskedForAsEnded) {
  std::string name = temporary_name("f").string();
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);  // it has ended, and still has its number
  ASSERT_EQ(::kill(child, 0), 0);
  name.resize(name.rfind('-') + 1);
  EXPECT_TRUE(is_stale_temporary(name + std::to_string(child)));
  ::waitpid(child, nullptr, 0);
}

TEST_F(FilesFolder, SaysOfALinkThatItsTargetIsNotThere) {
  fs::create_symlink(".git/annex/objects/x", directory_ / "rows.jsonl");
  fs::create_directory_symlink("gone", directory_ / "cache");
  const auto said = [&](const char* file) { return test::message_of<IoError>([&] { read_file(directory_ / file); }); };
  const std::string whole = (directory_ / "rows.jsonl").string();
  EXPECT_EQ(said("rows.jsonl")
                .find(whole + ": cannot open: No such file or directory; " + whole +
                      " is a link to .git/annex/objects/x, which does not exist: fetch what it stands for"),
            0U)
      << said("rows.jsonl");
  EXPECT_NE(said("cache/rows.jsonl").find("/cache is a link to gone, which does not exist"), std::string::npos);
  EXPECT_EQ(said("rows.json").find("link"), std::string::npos) << "there is nothing of this name";
  EXPECT_EQ(test::message_of<IoError>([&] { sha256_file(directory_ / "rows.jsonl"); }), said("rows.jsonl"));
}

TEST_F(FilesFolder, KeepsTheOldFileWhenTheDiskIsFull) {
  write_file_atomically(directory_ / "f", "old");
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small { 1000, before.rlim_max };
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string said = test::message_of<IoError>([&] { write_file_atomically(directory_ / "f", std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(said.find("f: cannot write: "), std::string::npos) << said;
  EXPECT_EQ(read_file(directory_ / "f"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"f"});
}

TEST_F(FilesFolder, RemovesAFileThatCannotBeRenamed) {
  fs::create_directories(directory_ / "f" / "in the way");
  const std::string temporary = write("f.tmp", "x");
  EXPECT_THROW(publish_file(temporary, directory_ / "f"), IoError);
  EXPECT_EQ(names(), (std::vector<std::string>{"f", "f/in the way"}));
}

/// Whether move_without_replacing() moves a file, a link and a folder to names that nothing has, and to no other ones.
bool moves_to_free_names_only(const fs::path& folder) {
  fs::create_directories(folder / "from" / "folder");
  fs::create_directories(folder / "taken" / "folder" / "kept");
  fs::create_directory(folder / "to");
  bool right = true;
  for (const std::string name : {"file", "link", "folder"}) {
    if (name == "file") write_file_atomically(folder / "from" / name, "new");
    if (name == "link") fs::create_symlink("nowhere", folder / "from" / name);
    if (name != "folder") write_file_atomically(folder / "taken" / name, "old");
    right = right && !move_without_replacing(folder / "from" / name, folder / "taken" / name);
    right = right && move_without_replacing(folder / "from" / name, folder / "to" / name);
    right = right && !fs::exists(fs::symlink_status(folder / "from" / name));
  }
  return right && read_file(folder / "taken" / "file") == "old" && read_file(folder / "taken" / "link") == "old" &&
         fs::is_directory(folder / "taken" / "folder" / "kept") && read_file(folder / "to" / "file") == "new" &&
         fs::is_symlink(folder / "to" / "link") && fs::is_directory(folder / "to" / "folder");
}

/// Has the system refuse RENAME_NOREPLACE for this process, as NFS does. @return whether it does
bool refuse_noreplace() {
  const auto number = static_cast<std::uint32_t>(SYS_renameat2);
  std::array<sock_filter, 6> rules{
      {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
       BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[4])),  // the flags
       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RENAME_NOREPLACE, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
       BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
  const sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 &&
         ::renameat2(AT_FDCWD, "/nowhere", AT_FDCWD, "/nowhere too", RENAME_NOREPLACE) != 0 && errno == EINVAL;
}

TEST_F(FilesFolder, MovesToFreeNamesOnly) { EXPECT_TRUE(moves_to_free_names_only(directory_)); }

TEST_F(FilesFolder, MovesToFreeNamesOnlyWhereTheFileSystemCannotPromiseIt) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      if (!refuse_noreplace()) ::_exit(77);
      ::_exit(moves_to_free_names_only(directory_) ? 0 : 1);
    } catch (...) {
      ::_exit(2);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "the system filters no calls";
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(FilesFolder, SaysWhatCannotBeMoved) {
  const std::string said =
      test::message_of<IoError>([&] { move_without_replacing(directory_ / "nothing", directory_ / "something"); });
  EXPECT_NE(said.find("nothing: cannot move it to "), std::string::npos) << said;
}

TEST_F(FilesFolder, RefusesToReplaceADeviceOrPipe) {
  const fs::path pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THROW(write_file_atomically(pipe, "text"), IoError);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(names(), std::vector<std::string>{"pipe"});
}

TEST_F(FilesFolder, NamesTheFileAndTheReasonInErrors) {
  for (const auto& [name, said] :
       {std::pair("*.json", "; patterns are not expanded here"), {"https:/x.org/a", "; addresses are not read"}})
    EXPECT_NE(test::message_of<IoError>([&] { (void)read_file(directory_ / name); }).find(said), std::string::npos) << name;
  EXPECT_NE(test::message_of<IoError>([&] { (void)read_file(directory_ / "absent"); }).find("absent: cannot open: No such file"),
            std::string::npos);
  const std::string said = test::message_of<DataError>([&] { (void)read_json(write("j.json", "{\n\"a\": 1,\n]")); });
  EXPECT_NE(said.find("j.json:3: not valid JSON"), std::string::npos) << said;
}

TEST_F(FilesFolder, RefusesAKeyThatAJsonFileHasTwice) {
  for (const char* text :
       {R"({"rms_norm_eps": 1e-6, "a": {}, "rms_norm_eps": 1e-5})", R"([{"b": {"rms_norm_eps": 1, "rms_norm_eps": 1}}])"}) {
    const std::string said = test::message_of<DataError>([&] { (void)read_json(write("j.json", text)); });
    EXPECT_NE(said.find("the key \"rms_norm_eps\" stands twice in one object"), std::string::npos) << said;
    EXPECT_EQ(said.find("j.json: element 1 of the list: ") != std::string::npos, text[0] == '[') << said;
  }
  EXPECT_EQ(read_json(write("j.json", R"([{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}]}, {"a": 4}])")).size(), 2U);
}

TEST_F(FilesFolder, ReadsBackTheJsonItWrote) {
  const nlohmann::json value = {{"a", {1, 2.5, nullptr}}};
  write_json_atomically(directory_ / "j.json", value);
  EXPECT_EQ(read_json(directory_ / "j.json"), value);
  EXPECT_TRUE(read_file(directory_ / "j.json").ends_with("}\n"));
}

TEST_F(FilesFolder, RemovesOnlyWhatDeadProcessesOfThisHostLeft) {
  const pid_t dead = ended_process();
  fs::create_directories(directory_ / "task" / "deep");
  const fs::path folder = temporary_of(directory_ / "bundle", dead);
  fs::create_directories(folder / "base");
  const auto put = [](const fs::path& path) { std::ofstream(path) << "x"; };
  put(folder / "base" / "model.safetensors");
  put(temporary_of(directory_ / "task" / "deep" / "checkpoint-3.json", dead));
  put(temporary_name(directory_ / "task" / "mine"));  // this process is alive
  put(directory_ / "task" / ("theirs.tmp-another-host-" + std::to_string(dead)));
  put(directory_ / "task" / "checkpoint-2.json");
  put(temporary_of(directory_ / "task" / "odd", dead).append("x"));
  const std::size_t before = names().size();
  remove_stale_temporaries(directory_);
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_FALSE(fs::exists(temporary_of(directory_ / "task" / "deep" / "checkpoint-3.json", dead)));
  EXPECT_EQ(names().size(), before - 4) << "the bundle's folder, base, its file, and one checkpoint";
}

}  // namespace
}  // namespace dmoerm
