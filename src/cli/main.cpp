// dmoerm: double-layer mixture-of-experts reward models.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cli/unexpected.h"
#include "cli/verbs.h"
#include "cli/version.h"
#include "comm/mpi_world.h"

namespace {

/// Ranks leave at once when MPI is over: one that is stopped while it tears itself down would keep the launcher waiting, and
/// nobody else is left to notice.
int leave(int exit_code) {
  if (!dmoerm::comm::launched_by_mpi()) return exit_code;
  spdlog::shutdown();
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

/// Tells a reader at a terminal where the code at the end of a message is explained.
void offer_explanation(const std::string& message) {
  const std::size_t open = message.rfind('[');
  if (open == std::string::npos || message.back() != ']' || ::isatty(STDERR_FILENO) != 1) return;
  const std::string code = message.substr(open + 1, message.size() - open - 2);
  if (code.empty() || code.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") != std::string::npos) return;
  std::fprintf(stderr, "(what to do: launch/dmoerm explain %s)\n", code.c_str());
}

/// Names go into JSON and HDF5, which hold UTF-8. @throws ConfigError if a word of the command line or the folder's name is not
void expect_utf8_names(int argc, char** argv) {
  const auto expect = [](const std::string& name, const char* what) {
    if (dmoerm::is_utf8(name)) return;
    std::string shown;
    for (std::size_t i = 0; i < name.size();) {
      const std::size_t length = dmoerm::utf8_length(name, i);
      shown += length == 0 ? fmt::format("\\x{:02x}", static_cast<unsigned char>(name[i])) : name.substr(i, length);
      i += std::max<std::size_t>(length, 1);
    }
    throw dmoerm::ConfigError("name-not-utf8",
                              fmt::format("{} is not UTF-8: {}; rename it, for instance with convmv", what, shown));
  };
  for (int i = 1; i < argc; ++i) expect(argv[i], "a word of the command line");
  std::error_code removed;
  expect(std::filesystem::current_path(removed).string(), "the name of this folder");
}

/// A file must not get the number of a standard stream that is closed, or what is printed would end up in the file. Reading and
/// writing such a stream still fails. A file that grows beyond `ulimit -f` is an error like a full disk and not a signal.
void prepare_process() {
  for (int stream = 0; stream < 3; ++stream) {
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace

int main(int argc, char** argv) {
  prepare_process();
  CLI::App app{"Trains, evaluates and applies double-layer mixture-of-experts reward models (DMoERM, arXiv 2403.01197).",
               "dmoerm"};
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("dmoerm {} ({})", dmoerm::cli::version(), dmoerm::cli::commit()));
  app.footer("Start with launch/quickstart.sh, or with docs/tutorial.md if you have data of your own.");
  dmoerm::cli::add_run(app);
  dmoerm::cli::add_status(app);
  dmoerm::cli::add_clean(app);
  dmoerm::cli::add_slurm(app);
  dmoerm::cli::add_synth(app);
  dmoerm::cli::add_ingest(app);
  dmoerm::cli::add_label(app);
  dmoerm::cli::add_score(app);
  dmoerm::cli::add_serve(app);
  dmoerm::cli::add_eval(app);
  dmoerm::cli::add_bon(app);
  dmoerm::cli::add_export(app);
  dmoerm::cli::add_report(app);
  dmoerm::cli::add_compare(app);
  dmoerm::cli::add_label_store(app);
  dmoerm::cli::add_plan(app);
  dmoerm::cli::add_evidence(app);
  dmoerm::cli::add_inspect(app);
  dmoerm::cli::add_explain(app);
  dmoerm::cli::add_licences(app);
  dmoerm::cli::add_completion(app);
  dmoerm::cli::add_man(app);
  app.failure_message([](const CLI::App* program, const CLI::Error& e) {
    const std::string unexpected = dmoerm::cli::unexpected_text(*program);
    return fmt::format("dmoerm: {}\nRun with --help for more information.\n",
                       dmoerm::with_code(unexpected.empty() ? e.what() : unexpected, dmoerm::ErrorCode("bad-command-line")));
  });
  try {
    expect_utf8_names(argc, argv);
    app.parse(argc, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw dmoerm::IoError("standard-output-failed", "standard output: not all could be written");
    return leave(0);
  } catch (const CLI::RuntimeError& e) {  // a verb's own exit code
    return leave(e.get_exit_code());
  } catch (const CLI::ParseError& e) {
    const auto called = [&](const CLI::App* verb) { return verb->check_name(argv[1]); };
    if (argc > 1 && argv[1][0] != '-' && std::ranges::none_of(app.get_subcommands({}), called)) {
      const std::string said = fmt::format("there is no verb {}; `dmoerm --help` lists all verbs", argv[1]);
      std::fprintf(stderr, "dmoerm: %s\n", dmoerm::with_code(said, dmoerm::ErrorCode("bad-command-line")).c_str());
      return 2;
    }
    return app.exit(e) == 0 ? 0 : 2;
  } catch (const std::exception& e) {
    dmoerm::Failure failure = dmoerm::failure_of(e);
    if (std::ferror(stdout) != 0 && dynamic_cast<const std::system_error*>(&e) != nullptr)
      failure = dmoerm::failure_of(dmoerm::IoError("standard-output-failed", fmt::format("standard output: {}", e.what())));
    std::fprintf(stderr, "dmoerm: %s\n", failure.message.c_str());
    offer_explanation(failure.message);
    return leave(failure.exit_code);
  }
}
