// The folder of an export: absent until it is complete, or an empty one that stays the one it is.
#include "hf/out_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/stop.h"
#include "hf/export_bundle.h"
#include "support/scratch.h"

namespace dmoerm::hf {
namespace {

namespace fs = std::filesystem;

class OutFolderTest : public test::Scratch {
 protected:
  ~OutFolderTest() override { request_stop(0); }

  [[nodiscard]] fs::path bundle() const { return directory_ / "bundle"; }
  /// Writes an export of two files.
  static void fill(const OutFolder& folder) {
    fs::create_directory(folder.path() / "base");
    write_file_atomically(folder.path() / "base" / "config.json", "{}");
    write_file_atomically(folder.path() / "README.md", "read me");
  }
  /// @param published  whether the export comes to its end
  void export_to(const fs::path& out, bool published = true) const {
    OutFolder folder(bundle(), out);
    fill(folder);
    EXPECT_FALSE(fs::exists(out / "README.md")) << "it is not complete yet";
    if (published) folder.publish();
  }
  /// Exports while another program does something. @return the message of the refusal
  template <class Work>
  std::string refusal_of(const fs::path& out, const Work& other_program) const {
    try {
      OutFolder folder(bundle(), out);
      fill(folder);
      other_program();
      folder.publish();
    } catch (const ConfigError& e) {
      EXPECT_STREQ(e.code().text(), "output-not-empty");
      return e.what();
    }
    ADD_FAILURE() << "it was not refused";
    return "";
  }
  static std::size_t entries_of(const fs::path& folder) {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
  }
  static ino_t number_of(const fs::path& path) {
    struct stat found {};
    EXPECT_EQ(::stat(path.c_str(), &found), 0) << path;
    return found.st_ino;
  }
};

TEST_F(OutFolderTest, AppearsWhenItIsComplete) {
  const fs::path out = directory_ / "above" / "out";
  export_to(out, false);
  EXPECT_FALSE(fs::exists(directory_ / "above")) << "nothing is left of an export that failed";
  export_to(out);
  EXPECT_EQ(read_file(out / "README.md"), "read me");
  EXPECT_EQ(entries_of(out), 2U);
  EXPECT_EQ(entries_of(directory_ / "above"), 1U);
}

TEST_F(OutFolderTest, IsFilledWhereAnEmptyOneIsThere) {
  const fs::path out = directory_ / "mount";
  fs::create_directory(out);
  const ino_t number = number_of(out);
  export_to(out, false);
  EXPECT_TRUE(fs::is_empty(out));
  export_to(out);
  EXPECT_EQ(number_of(out), number) << "another folder took the place of the one that was there";
  EXPECT_EQ(read_file(out / "base" / "config.json"), "{}");
  EXPECT_EQ(entries_of(out), 2U);
  EXPECT_EQ(entries_of(directory_), 1U) << "something was written beside it, perhaps on another disk";
}

TEST_F(OutFolderTest, MayBeALinkToAnEmptyFolder) {
  const fs::path target = directory_ / "disk", link = directory_ / "link";
  fs::create_directory(target);
  fs::create_symlink(target, link);
  export_to(link);
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_file(target / "README.md"), "read me");
}

TEST_F(OutFolderTest, IsNoLinkToNowhere) {
  const fs::path link = directory_ / "link";
  fs::create_symlink("nowhere", link);
  EXPECT_THAT(test::message_of<ConfigError>([&] { export_to(link); }), testing::HasSubstr("is a link to nowhere"));
  EXPECT_TRUE(fs::is_symlink(link));
}

TEST_F(OutFolderTest, ReplacesNothingThatAnotherProgramHasPutThere) {
  const fs::path out = directory_ / "mount";
  fs::create_directory(out);
  const std::string said = refusal_of(out, [&] { write_file_atomically(out / "README.md", "of somebody else"); });
  EXPECT_EQ(read_file(out / "README.md"), "of somebody else") << "README.md is moved last";
  EXPECT_THAT(said, testing::HasSubstr((out / "README.md").string()));
  EXPECT_THAT(said, testing::HasSubstr("the finished export is in " + (out / "export").string() + ":"));
  EXPECT_EQ(entries_of(out), 2U) << "no part of the export lies beside it";
  EXPECT_EQ(read_file(out / "export" / "README.md"), "read me");
  EXPECT_EQ(read_file(out / "export" / "base" / "config.json"), "{}");
}

TEST_F(OutFolderTest, DoesNotMixWithAFolderOfAnotherProgram) {
  const fs::path out = directory_ / "mount";
  fs::create_directory(out);
  refusal_of(out, [&] { fs::create_directories(out / "README.md" / "of somebody else"); });
  EXPECT_TRUE(fs::is_directory(out / "README.md" / "of somebody else"));
  EXPECT_EQ(read_file(out / "export" / "README.md"), "read me");
  EXPECT_EQ(entries_of(out), 2U);
}

TEST_F(OutFolderTest, ReplacesNoFolderThatAppearsDuringTheExport) {
  const fs::path out = directory_ / "above" / "out";
  const std::string said = refusal_of(out, [&] {
    fs::create_directory(out);
    write_file_atomically(out / "notes", "of somebody else");
  });
  EXPECT_EQ(read_file(out / "notes"), "of somebody else");
  EXPECT_THAT(said, testing::HasSubstr("the finished export is in " + out.string() + ".export:"));
  EXPECT_EQ(read_file(out.string() + ".export/README.md"), "read me");
  EXPECT_EQ(entries_of(directory_ / "above"), 2U);
}

/// Exports the bundle of an earlier version, and asks to stop when its first model is written.
TEST_F(OutFolderTest, NothingIsLeftOfAnExportThatASignalStops) {
  ExportOptions options;
  options.bundle = DMOERM_SOURCE "/tests/golden/earlier/bundle", options.out = directory_ / "above" / "out";
  std::size_t written = 0;
  EXPECT_THROW(export_bundle(options,
                             [&](std::size_t done, std::size_t all) {
                               written = done;
                               ASSERT_LT(done, all);
                               request_stop(SIGTERM);
                             }),
               Stopped);
  EXPECT_EQ(written, 1U);
  EXPECT_TRUE(fs::is_empty(directory_));
}

}  // namespace
}  // namespace dmoerm::hf
