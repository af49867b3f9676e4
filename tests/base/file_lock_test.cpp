#include "base/file_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/error.h"
#include "support/scratch.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

class FileLock : public test::Scratch {};

TEST_F(FileLock, KeepsASecondDescriptorAway) {
  const std::string file = write("LOCK", "");
  const int first = ::open(file.c_str(), O_RDWR), second = ::open(file.c_str(), O_RDWR);
  EXPECT_EQ(take_lock(first, file), LockOutcome::taken);
  EXPECT_EQ(take_lock(second, file), LockOutcome::held_elsewhere);
  EXPECT_EQ(take_lock(second, file, true), LockOutcome::held_elsewhere);
  ::close(first);
  EXPECT_EQ(take_lock(second, file), LockOutcome::taken);
  ::close(second);
}

TEST_F(FileLock, LeavesNothingAfterLookingForRecordLocks) {
  EXPECT_TRUE(has_record_locks(directory_ / "journal"));
  EXPECT_FALSE(fs::exists(directory_ / "journal"));
  const std::string file = write("journal", "kept");
  EXPECT_TRUE(has_record_locks(file));
  EXPECT_EQ(fs::file_size(file), 4U);
}

TEST_F(FileLock, NamesTheFileSystem) {
  const std::string said = without_locks("/proc/self");
  EXPECT_NE(said.find("proc at /proc has no file locks"), std::string::npos) << said;
}

class ControlGroup : public test::Scratch {
 protected:
  void limit(const std::string& folder, const std::string& name, const std::string& text) const {
    fs::create_directories(directory_ / folder);
    std::ofstream(directory_ / folder / name) << text << "\n";
  }
  [[nodiscard]] std::optional<std::int64_t> memory(const std::string& membership) const {
    return cgroup_limit_in(directory_, membership, "memory.max", "memory/memory.limit_in_bytes");
  }
};

TEST_F(ControlGroup, TheSmallestLimitOfTheGroupAndThoseAboveItCounts) {
  limit("job", "memory.max", "5000");
  limit("job/step", "memory.max", "max");
  EXPECT_EQ(memory("0::/job/step\n"), 5000);
  limit("job/step", "memory.max", "400");
  EXPECT_EQ(memory("0::/job/step\n"), 400);
  EXPECT_EQ(memory("0::/elsewhere\n"), std::nullopt);
  EXPECT_EQ(memory(""), std::nullopt);
}

TEST_F(ControlGroup, ReadsTheOlderLayoutToo) {
  limit("memory/slurm/job_7", "memory.limit_in_bytes", "7000");
  limit("memory", "memory.limit_in_bytes", "9223372036854771712");  // no limit
  EXPECT_EQ(memory("5:cpu,cpuacct:/\n4:memory:/slurm/job_7\n"), 7000);
  EXPECT_EQ(memory("4:memory:/\n"), std::nullopt);
}

}  // namespace
}  // namespace dmoerm
