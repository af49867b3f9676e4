#include "base/program_files.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/scratch.h"

namespace dmoerm {
namespace {

namespace fs = std::filesystem;

using ProgramFiles = test::Scratch;

TEST_F(ProgramFiles, AreInShareBesideBinOfAnInstalledProgram) {
  const fs::path share = directory_ / "share" / "dmoerm";
  fs::create_directories(share);
  EXPECT_EQ(program_folder_of(directory_ / "bin" / "dmoerm"), share);
}

TEST_F(ProgramFiles, AreInTheSourceTreeForAProgramThatIsNotInstalled) {
  EXPECT_EQ(program_folder_of(directory_ / "bin" / "dmoerm"), fs::path(DMOERM_SOURCE));
  EXPECT_TRUE(fs::exists(program_folder_of("") / "launch" / "dmoerm"));
}

TEST_F(ProgramFiles, AreWhereTheEnvironmentSays) {
  const char* before = std::getenv("DMOERM_ROOT");
  const std::string kept = before == nullptr ? "" : before;
  setenv("DMOERM_ROOT", (directory_ / "sub" / "..").c_str(), 1);
  EXPECT_EQ(program_folder(), directory_ / "");
  setenv("DMOERM_ROOT", kept.c_str(), 1);  // an empty one counts as none
}

}  // namespace
}  // namespace dmoerm
