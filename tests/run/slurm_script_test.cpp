#include "run/slurm_script.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"

namespace dmoerm::run {
namespace {

const std::string kOriginal = DMOERM_SOURCE "/launch/slurm/dmoerm.sbatch";

config::RunConfig small() {
  config::RunConfig config;
  config.name = "small";
  return config;
}

SlurmJob job() {
  return {"/opt/dmoerm", "/users/somebody", "/users/somebody/my.yaml", {}, "/users/somebody/runs/small/slurm/%j.log"};
}

std::string script(const config::RunConfig& config, const SlurmJob& of = job()) {
  return slurm_script(config, of, read_file(kOriginal));
}

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 256> part{};
  while (fgets(part.data(), part.size(), pipe) != nullptr) text += part.data();
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

TEST(SlurmScript, HasEveryKeyOfTheSection) {
  config::RunConfig config = small();
  config::SlurmConfig& s = config.slurm;
  s.partition = "gpu";
  s.account = "ml-42";
  s.qos = "high";
  s.constraint = "[rack1|rack2]&h100";
  s.nodes = 4;
  s.ranks_per_node = 8;
  s.gpus_per_node = 8;
  s.cpus_per_rank = 12;
  s.memory = "900G";
  s.time = "2-12:00:00";
  s.start = config::Starter::mpirun;
  s.signal_before_s = 300;
  s.requeue = false;
  s.container = "/images/dm oerm.sif";
  s.setup = {"module load openmpi", "export NCCL_DEBUG=WARN"};
  s.options = {"--mail-type=END", "--exclusive"};
  const std::string text = script(config);
  for (const char* line : {"#SBATCH --job-name=dmoerm-small",
                           "#SBATCH --partition=gpu",
                           "#SBATCH --account=ml-42",
                           "#SBATCH --qos=high",
                           "#SBATCH --constraint=\"[rack1|rack2]&h100\"",
                           "#SBATCH --nodes=4",
                           "#SBATCH --ntasks-per-node=8",
                           "#SBATCH --cpus-per-task=12",
                           "#SBATCH --gres=gpu:8",
                           "#SBATCH --mem=900G",
                           "#SBATCH --time=2-12:00:00",
                           "#SBATCH --signal=B:USR2@300",
                           "#SBATCH --no-requeue",
                           "#SBATCH --open-mode=append",
                           "#SBATCH --chdir=/users/somebody",
                           "#SBATCH --output=/users/somebody/runs/small/slurm/%j.log",
                           "#SBATCH --mail-type=END",
                           "#SBATCH --exclusive",
                           "root=/opt/dmoerm",
                           "start=mpirun",
                           "requeue=no",
                           "export DMOERM_CONTAINER='/images/dm oerm.sif'",
                           "  module load openmpi",
                           "  export NCCL_DEBUG=WARN",
                           "arguments=(run --config /users/somebody/my.yaml)"}) {
    EXPECT_TRUE(has_line(text, line)) << line << "\n" << text;
  }
}

TEST(SlurmScript, LeavesOutEmptyOptions) {
  const std::string text = script(small());
  for (const char* option : {"--partition", "--account", "--qos", "--constraint", "--gres", "--mem"})
    EXPECT_EQ(text.find(std::string("#SBATCH ") + option), std::string::npos) << option;
  EXPECT_EQ(text.find("DMOERM_CONTAINER"), std::string::npos);
  EXPECT_TRUE(has_line(text, "#SBATCH --requeue"));
  EXPECT_TRUE(has_line(text, "#SBATCH --cpus-per-task=2")) << "one CPU for the thread, and one for the coordinator";
}

TEST(SlurmScript, PutsOptionsBeforeTheFirstCommand) {
  const std::string text = script(small());
  EXPECT_LT(text.rfind("#SBATCH"), text.find("\nroot="));
  EXPECT_TRUE(text.starts_with("#!"));
}

TEST(SlurmScript, QuotesAnyValueAsOneWord) {
  SlurmJob of = job();
  const std::string nasty = "name=it's $HOME `id` $(id) \"x\" \\ ;|&<>*?# \n line";
  of.overrides = {nasty, "", "categories[0].name=a"};
  const std::string text = script(small(), of);
  const std::size_t begin = text.find("\narguments=(") + 1;
  const std::string assignment = text.substr(begin, text.find("\n# <<< settings") - begin);
  EXPECT_EQ(output_of("bash -c " + shell_quoted(assignment + "; printf '<%s>' \"${arguments[@]}\"")),
            "<run><--config></users/somebody/my.yaml><--set><" + nasty + "><--set><><--set><categories[0].name=a>");
}

TEST(SlurmScript, IsValidShell) {
  config::RunConfig config = small();
  config.slurm.setup = {"if true; then", "  echo \"ready }\"", "fi"};
  const std::filesystem::path file = std::filesystem::temp_directory_path() / ("dmoerm_script_" + std::to_string(getpid()));
  write_file_atomically(file, script(config));
  output_of("bash -n " + shell_quoted(file.string()));
  std::filesystem::remove(file);
}

TEST(SlurmScript, QuotesBlanksAndPercentSigns) {
  SlurmJob of = job();
  of.working_directory = "/users/some body";
  of.log_file = "/runs/50%jam/slurm/%j.log";
  const std::string text = script(small(), of);
  EXPECT_TRUE(has_line(text, "#SBATCH --chdir=\"/users/some body\"")) << text;
  EXPECT_TRUE(has_line(text, "#SBATCH --output=/runs/50%%jam/slurm/%j.log")) << text;
  of.working_directory = "/users/quo\"te";
  EXPECT_THROW(script(small(), of), ConfigError);
  of.working_directory = "/users/line\n#SBATCH --uid=0";
  EXPECT_THROW(script(small(), of), ConfigError);
}

TEST(SlurmScript, RefusesAnOriginalWithoutItsMarks) {
  EXPECT_THROW(slurm_script(small(), job(), "#!/bin/bash\necho"), DataError);
  EXPECT_THROW(slurm_script(small(), job(), "#!/bin/bash\n# <<< options\n# >>> options\n# >>> settings\n# <<< settings\n"),
               DataError);
}

TEST(SlurmTime, ReadsTimesAsSlurmDoes) {
  EXPECT_EQ(slurm_seconds("30"), 30 * 60);
  EXPECT_EQ(slurm_seconds("30:15"), 30 * 60 + 15);
  EXPECT_EQ(slurm_seconds("12:30:15"), 12 * 3600 + 30 * 60 + 15);
  EXPECT_EQ(slurm_seconds("2-12"), 2 * 86400 + 12 * 3600);
  EXPECT_EQ(slurm_seconds("2-12:30"), 2 * 86400 + 12 * 3600 + 30 * 60);
  EXPECT_EQ(slurm_seconds("1-00:00:00"), 86400);
  EXPECT_EQ(slurm_seconds("UNLIMITED"), 0);
  EXPECT_EQ(slurm_seconds("infinite"), 0);
  for (const char* wrong :
       {"", "1d", "-1", "1-", "-", "1:2:3:4", "1-2:3:4:5", "12:", ":30", "1.5", " 5", "24h", "99999999999999999999"})
    EXPECT_EQ(slurm_seconds(wrong), std::nullopt) << wrong;
}

struct Wrong {
  const char* what;
  void (*set)(config::RunConfig&);
  const char* says;
};

class SlurmProblems : public testing::TestWithParam<Wrong> {};

TEST_P(SlurmProblems, NamesKeyAndValue) {
  config::RunConfig config = small();
  EXPECT_TRUE(slurm_problems(config).empty());
  GetParam().set(config);
  const std::vector<std::string> problems = slurm_problems(config);
  ASSERT_EQ(problems.size(), 1U) << GetParam().what;
  EXPECT_NE(problems[0].find(GetParam().says), std::string::npos) << problems[0];
}

INSTANTIATE_TEST_SUITE_P(
    All, SlurmProblems,
    testing::Values(
        Wrong{"time", [](config::RunConfig& c) { c.slurm.time = "1 day"; }, "slurm.time: \"1 day\""},
        Wrong{"memory", [](config::RunConfig& c) { c.slurm.memory = "64 P"; }, "slurm.memory: \"64 P\""},
        Wrong{"memory share", [](config::RunConfig& c) { c.slurm.memory = "1.5 TB"; }, "e.g. 1536G"},
        Wrong{"memory of cores", [](config::RunConfig& c) { c.slurm.options = {"--mem-per-cpu=4 GB"}; }, "e.g. --mem-per-cpu=4G"},
        Wrong{"memory of GPUs", [](config::RunConfig& c) { c.slurm.options = {"--mem-per-gpu=1.5G"}; }, "--mem-per-gpu=64G"},
        Wrong{"partition", [](config::RunConfig& c) { c.slurm.partition = "gpu --uid=0"; }, "slurm.partition: \"gpu --uid=0\""},
        Wrong{"second line", [](config::RunConfig& c) { c.slurm.qos = "a\n#SBATCH --uid=0"; }, "slurm.qos"},
        Wrong{"constraint", [](config::RunConfig& c) { c.slurm.constraint = "a' b"; }, "slurm.constraint"},
        Wrong{"option", [](config::RunConfig& c) { c.slurm.options = {"mail-type=END"}; }, "slurm.options: \"mail-type=END\""},
        Wrong{"option of two lines", [](config::RunConfig& c) { c.slurm.options = {"--x\nrm -rf /"}; }, "slurm.options"},
        Wrong{"array", [](config::RunConfig& c) { c.slurm.options = {"--array=1-5"}; }, "@TASK@"},
        Wrong{"early signal", [](config::RunConfig& c) { c.slurm.time = "2", c.slurm.signal_before_s = 120; },
              "slurm.signal_before_s: 120 s before the end of a job of 120 s"},
        Wrong{"long signal", [](config::RunConfig& c) { c.slurm.signal_before_s = 65536; },
              "65536 is more than Slurm takes, 65535"},
        Wrong{"shared GPU", [](config::RunConfig& c) { c.slurm.gpus_per_node = 2, c.slurm.ranks_per_node = 4; },
              "4 ranks for 2 GPUs of a node"},
        Wrong{"no GPU", [](config::RunConfig& c) { c.compute.device = config::Device::cuda; }, "slurm.gpus_per_node: 0"},
        Wrong{"few CPUs", [](config::RunConfig& c) { c.compute.threads = 4, c.slurm.cpus_per_rank = 2; }, "2 for 4 threads"}));

TEST(SlurmChecks, AllowsTwoRanksOnOneGpuIfConfigured) {
  config::RunConfig config = small();
  config.slurm.gpus_per_node = 2;
  config.slurm.ranks_per_node = 4;
  config.cluster.share_gpu = true;
  EXPECT_TRUE(slurm_problems(config).empty());
}

TEST(SlurmChecks, TakesAmountsOfMemoryThatSlurmReads) {
  config::RunConfig config = small();
  for (const char* amount : {"0", "200000", "64G", "64g", "64GB", "64Gb", "64GiB", "64m", "1T", "2tb", "900k", "64 G", "64 gb"}) {
    config.slurm.memory = amount;
    EXPECT_TRUE(slurm_problems(config).empty()) << amount;
  }
  for (const char* wrong : {"G", "64P", "64 . GB", "1.5T", "-1", "64G;", "6 4G", "64G64"}) {
    config.slurm.memory = wrong;
    EXPECT_EQ(slurm_problems(config).size(), 1U) << wrong;
  }
}

TEST(SlurmScript, WritesMemoryAsSlurmsManualDoes) {
  config::RunConfig config = small();
  for (const auto& [given, written] : {std::pair("64GiB", "64G"), std::pair("64gb", "64G"), std::pair("900k", "900K"),
                                       std::pair("64 GB", "64G"), std::pair("200000", "200000"), std::pair("0", "0")}) {
    config.slurm.memory = given;
    EXPECT_TRUE(has_line(script(config), std::string("#SBATCH --mem=") + written)) << given;
  }
  config.slurm.options = {"--mem-per-gpu=64G", "--mem-bind=local"};
  EXPECT_TRUE(slurm_problems(config).empty()) << "what Slurm reads stands as it is";
}

TEST(SlurmChecks, RefusesDurationsWhosePartsOverflow) {
  config::RunConfig config = small();
  for (const auto& [given, said] : {std::pair("1-25:00:00", "has 25 hours beside days: write 2-01:00:00"),
                                    std::pair("1-25", "has 25 hours beside days: write 2-01:00:00"),
                                    std::pair("12:60:00", "has 60 minutes beside hours: write 13:00:00"),
                                    std::pair("12:00:90", "has 90 seconds beside minutes: write 12:01:30"),
                                    std::pair("30:75", "has 75 seconds beside minutes: write 00:31:15"),
                                    std::pair("1-01:99", "has 99 minutes beside hours: write 1-02:39:00")}) {
    config.slurm.time = given;
    ASSERT_EQ(slurm_problems(config).size(), 1U) << given;
    EXPECT_NE(slurm_problems(config)[0].find(said), std::string::npos) << slurm_problems(config)[0];
  }
  for (const char* right : {"90", "2880", "90:30", "72:00:00", "100-00", "1-23:59:59", "UNLIMITED"}) {
    config.slurm.time = right;
    EXPECT_TRUE(slurm_problems(config).empty()) << right;
  }
}

TEST(SlurmChecks, HintsThatAZeroIsNoLimit) {
  config::RunConfig config = small();
  for (const char* time : {"0", "00:00:00", "infinite"}) {
    config.slurm.time = time;
    EXPECT_TRUE(slurm_problems(config).empty()) << time;
    ASSERT_EQ(slurm_hints(config).size(), 1U) << time;
    EXPECT_NE(slurm_hints(config)[0].find("asks for no limit"), std::string::npos);
  }
}

TEST(SlurmChecks, OnlyHintsAtIdleGpus) {
  config::RunConfig config = small();
  config.slurm.gpus_per_node = 8;
  config.slurm.ranks_per_node = 6;
  EXPECT_TRUE(slurm_problems(config).empty());
  ASSERT_EQ(slurm_hints(config).size(), 1U);
  EXPECT_NE(slurm_hints(config)[0].find("2 of 8 GPUs"), std::string::npos);
}

}  // namespace
}  // namespace dmoerm::run
